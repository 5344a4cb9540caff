//! What a shard's work consisted of, as it reports it: in the status and in the metrics.

use crate::server::{Server, shard::Shard, until};
use serde_json::json;
use shardcast_link::{Event, ShardStatus, WorkCounters};

#[tokio::test]
async fn the_work_of_a_shard_is_counted_in_the_status_and_the_metrics() {
    let server = Server::start().await;
    let mut shard = Shard::join(&server).await;
    let report = ShardStatus {
        at_unix_ms: 1,
        work: WorkCounters {
            sleeps: 11,
            turns: 12,
            timer_wakes: 13,
            udp_drains: 14,
            udp_drains_empty: 15,
            udp_datagrams: 16,
            udp_sends: 17,
            tcp_writes: 18,
            tcp_written_bytes: 19,
            tcp_reads: 20,
            tcp_reads_empty: 21,
            payload_copied_bytes: 22,
            opus_us: 1_500_000,
            aac_us: 42,
        },
        ..ShardStatus::default()
    };
    shard.say(Event::Status(report)).await;
    let work = until("the report", async || {
        let status = server.get("/api/v1/status").await.json();
        let work = status["shards"][0]["work"].clone();
        (work["sleeps"] == 11).then_some(work)
    })
    .await;
    assert_eq!(work["tcp_reads_empty"], 21);
    assert_eq!(work["opus_us"], json!(1_500_000));
    let metrics = server.get("/metrics").await.text();
    for row in [
        "# TYPE shardcast_shard_sleeps_total counter",
        "shardcast_shard_sleeps_total{shard=\"0\"} 11",
        "shardcast_shard_turns_total{shard=\"0\"} 12",
        "shardcast_shard_timer_wakes_total{shard=\"0\"} 13",
        "shardcast_shard_udp_drains_total{shard=\"0\"} 14",
        "shardcast_shard_udp_drains_empty_total{shard=\"0\"} 15",
        "shardcast_shard_udp_datagrams_total{shard=\"0\"} 16",
        "shardcast_shard_udp_sends_total{shard=\"0\"} 17",
        "shardcast_shard_tcp_writes_total{shard=\"0\"} 18",
        "shardcast_shard_tcp_written_bytes_total{shard=\"0\"} 19",
        "shardcast_shard_tcp_reads_total{shard=\"0\"} 20",
        "shardcast_shard_tcp_reads_empty_total{shard=\"0\"} 21",
        "shardcast_shard_payload_copied_bytes_total{shard=\"0\"} 22",
        "shardcast_shard_opus_seconds_total{shard=\"0\"} 1.500000",
        "shardcast_shard_aac_seconds_total{shard=\"0\"} 0.000042",
    ] {
        assert!(
            metrics.lines().any(|line| line == row),
            "{row} is missing:\n{metrics}"
        );
    }
}
