//! A scheduler reserves a shard over HTTP at the moment at which the publisher's offer comes over its
//! WebSocket. Whichever is first, a thousand times: both are told the same shard, and no other shard hears
//! of the broadcast.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use shardcast_link::{Command, Event, ShardStatus};
use tokio::{
    task::JoinSet,
    time::{interval, sleep},
};

use crate::server::{Server, client_at, offer, publish, shard::Shard, until};

const RACES: usize = 1_000;
/// Hundredths of a core: there is room for all. Eight shards, so that a second choice is seldom the first.
const WEIGHTS: [u32; 8] = [10_000, 10_000, 10_000, 5_000, 20_000, 10_000, 2_500, 7_500];
const PLAYERS: usize = 4;
/// Races of one client: no more than it may begin at once.
const ROUND: usize = 20;

/// Which shards have heard of a broadcast, and how many offers of it came there.
#[derive(Clone, Debug, Default)]
struct Heard {
    shards: BTreeSet<u64>,
    offers: usize,
}

type Ledger = Arc<Mutex<BTreeMap<String, Heard>>>;

/// Writes down what control asks of shard `number`, which reports each second as a real one does.
async fn listen(mut shard: Shard, number: u64, ledger: Ledger) {
    let mut report = interval(Duration::from_secs(1));
    loop {
        let command = tokio::select! {
            command = shard.next() => command,
            _ = report.tick() => {
                shard.say(Event::Status(ShardStatus::default())).await;
                continue;
            }
        };
        let (broadcast, offers) = match command {
            Command::Want { broadcast } => (broadcast.id, 0),
            Command::Publish { broadcast, .. } => (broadcast, 1),
            _ => continue,
        };
        let mut ledger = ledger.lock().unwrap();
        let heard = ledger.entry(broadcast.stream().to_owned()).or_default();
        heard.shards.insert(number);
        heard.offers += offers;
    }
}

fn stream(number: usize) -> String {
    format!("race{number}")
}

/// What the scheduler is told.
async fn race(server: &Server, client: &mut crate::server::Client, number: usize) -> Value {
    let stream = stream(number);
    let started = client.ask(publish(&stream)).await;
    assert_eq!(started["command"], "start", "{started}");
    // A handicap of up to 2 ms for either, so that each is first at times, on any machine.
    let handicap = Duration::from_millis((number % 3) as u64);
    let offer_is_late = number.is_multiple_of(2);
    let load = json!({"bitRateBps": 0, "destinations": 0});
    let wanted = json!({"application": "StreamLick", "streamId": stream, "load": load,
        "holdSeconds": 600});
    let (reply, ()) = tokio::join!(
        async {
            if !offer_is_late {
                sleep(handicap).await;
            }
            server.post("/api/v1/placements", wanted).await
        },
        async {
            if offer_is_late {
                sleep(handicap).await;
            }
            client.send(offer(&stream)).await;
        }
    );
    assert_eq!(reply.status, 201, "{}", reply.text());
    reply.json()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_and_a_publish_that_race_agree_a_thousand_times() {
    let server = Arc::new(Server::start().await);
    let ledger = Ledger::default();
    let mut shards = JoinSet::new();
    for (number, shard) in (0..).zip(Shard::join_all(&server, &WEIGHTS).await) {
        shards.spawn(listen(shard, number, Arc::clone(&ledger)));
    }
    let mut players = JoinSet::new();
    for player in 0..PLAYERS {
        let server = Arc::clone(&server);
        players.spawn(async move {
            let mut told = Vec::new();
            // Sessions end with their client, so it stays.
            let mut clients = Vec::new();
            let numbers: Vec<usize> = (player..RACES).step_by(PLAYERS).collect();
            for (round, numbers) in numbers.chunks(ROUND).enumerate() {
                let address = format!("203.0.113.{}", round * PLAYERS + player);
                let mut client = client_at(&server, &address).await;
                for number in numbers {
                    told.push((stream(*number), race(&server, &mut client, *number).await));
                }
                clients.push(client);
            }
            (told, clients)
        });
    }
    let (mut told, mut clients) = (BTreeMap::new(), Vec::new());
    while let Some(player) = players.join_next().await {
        let (some, theirs) = player.unwrap();
        told.extend(some);
        clients.extend(theirs);
    }
    // A shard is given only so many offers a second.
    let heard = until("each offer has come to a shard", async || {
        let ledger = ledger.lock().unwrap();
        let came = ledger.values().filter(|heard| heard.offers > 0).count();
        (came == RACES).then(|| ledger.clone())
    })
    .await;
    for (stream, heard) in &heard {
        let shard = told[stream]["shard"].as_u64().unwrap();
        assert_eq!(heard.shards, BTreeSet::from([shard]), "{stream}");
        assert_eq!(heard.offers, 1, "{stream}");
    }
    let publish_was_first = told.values().filter(|told| told["state"] == "assigned");
    let publish_was_first = publish_was_first.count();
    assert!(
        (RACES / 20..RACES - RACES / 20).contains(&publish_was_first),
        "no race: the publish was first {publish_was_first} times"
    );
    // A publisher that is not answered for long gives up; where it was promised to be does not change.
    let listed = server.get("/api/v1/placements?size=1000").await.json();
    for row in listed["placements"].as_array().unwrap() {
        let stream = row["streamId"].as_str().unwrap();
        assert_eq!(row["shard"], told[stream]["shard"], "{stream}");
    }
    let used: BTreeSet<_> = heard.values().flat_map(|heard| &heard.shards).collect();
    assert_eq!(used.len(), WEIGHTS.len(), "each shard has some of them");
}
