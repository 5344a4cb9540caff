//! nginx-rtmp pulls a browser's show by RTMP when somebody asks it for the stream, and gives it on in order: it is one
//! viewer, and goes when nobody watches there any more.

use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use shardcast_bench::{
    harness::{Harness, HarnessOptions},
    publisher::{Publisher, PublisherOptions},
    test_clip::{TestClip, TestClipFormat},
};

use crate::recordings::{Encoder, TIME_LIMIT, rtmp};

/// nginx, which pulls `show` from `origin` while it has players.
fn nginx(folder: &Path, port: u16, origin: &str) -> Encoder {
    let directory = folder.display();
    let configuration = format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\n\
         daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\n\
         error_log {directory}/error.log warn;\nevents {{ worker_connections 64; }}\n\
         rtmp {{ access_log off; server {{ listen 127.0.0.1:{port};\n\
         application edge {{ live on; pull {origin}/StreamLick/show name=show; }}\n\
         }} }}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, configuration).unwrap();
    let nginx = Command::new("nginx")
        .arg("-e")
        .arg(folder.join("error.log"))
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .spawn();
    Encoder(nginx.unwrap())
}

/// What ffprobe reads of `url` in three seconds: kind and time of decoding of each packet.
fn packets(url: &str) -> Vec<(String, f64)> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-read_intervals", "%+3"])
        .args(["-show_entries", "packet=codec_type,dts_time", url])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(words, "");
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packets = read["packets"].as_array().unwrap().iter();
    let word = |packet: &Value, key: &str| packet[key].as_str().unwrap().to_owned();
    packets
        .map(|it| {
            (
                word(it, "codec_type"),
                word(it, "dts_time").parse().unwrap(),
            )
        })
        .collect()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

async fn wait_for_viewers(harness: &Harness, count: u64) {
    let deadline = Instant::now() + TIME_LIMIT;
    loop {
        let show = harness.broadcast("show").await.unwrap();
        if show["rtmpViewerCount"] == count {
            return;
        }
        assert!(Instant::now() < deadline, "{count} viewers: {show}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_pulls_a_show_while_somebody_watches_it_there() {
    let harness = Harness::start(HarnessOptions::default()).await.unwrap();
    harness.create("show").await.unwrap();
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let options = PublisherOptions::new(harness.signalling(), "show");
    let publisher = Publisher::start(clip, options);
    publisher
        .wait("media", TIME_LIMIT, |it| it.frames_sent > 60)
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let nginx = nginx(folder.path(), port, &rtmp(&harness).await);
    let deadline = Instant::now() + TIME_LIMIT;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "nginx does not listen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    let url = format!("rtmp://127.0.0.1:{port}/edge/show");
    let played = tokio::task::spawn_blocking(move || packets(&url));
    wait_for_viewers(&harness, 1).await;
    let played = played.await.unwrap();
    for (kind, least) in [("video", 60), ("audio", 100)] {
        let of_kind = played.iter().filter(|(it, _)| it == kind);
        let times: Vec<f64> = of_kind.map(|(_, dts)| *dts).collect();
        assert!(times.len() >= least, "{} of {kind}", times.len());
        assert!(times.windows(2).all(|two| two[0] < two[1]), "{times:?}");
    }
    drop(nginx);
    wait_for_viewers(&harness, 0).await;
    publisher.stop().await;
}
