//! The alert rules and the Grafana board in `tuning/monitoring` ask for metrics that a running control
//! has, with labels that it gives them, and the board's panels do not overlap.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

use crate::server::{Server, shard::Shard};

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tuning/monitoring");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// The names in `text` that begin with `shardcast_`, each with the labels in the braces behind it.
fn selectors(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (at, prefix) in text.match_indices("shardcast_") {
        let rest = &text[at..];
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        assert!(end > prefix.len(), "{rest}");
        let labels = found.entry(rest[..end].to_owned()).or_default();
        if let Some(braces) = rest[end..].strip_prefix('{') {
            let inside = braces.split('}').next().unwrap();
            labels.extend(inside.split(',').filter_map(|matcher| {
                let (label, _) = matcher.split_once('=')?;
                Some(label.trim_end_matches('!').trim().to_owned())
            }));
        }
    }
    found
}

#[tokio::test]
async fn every_metric_of_alerts_and_board_is_one_of_a_running_control() {
    let server = Server::start().await;
    let _shard = Shard::join(&server).await;
    // Makes the first look at the machine, whose findings are counted from then on.
    server.get("/api/v1/doctor").await;
    let metrics = server.get("/metrics").await.text();
    let families: BTreeSet<&str> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    for name in ["alerts.yml", "alerts.test.yml", "grafana.json"] {
        let wanted = selectors(&file(name).replace("\\\"", "\""));
        assert!(wanted.len() > 10, "{name}: {wanted:?}");
        for (metric, labels) in wanted {
            assert!(
                families.contains(metric.as_str()),
                "{name} asks for {metric}"
            );
            for label in labels {
                // Prometheus adds the first. The others are of rows that an idle server does not have.
                let known = ["instance", "state", "path"].contains(&label.as_str())
                    || metrics.lines().any(|line| {
                        line.starts_with(&format!("{metric}{{"))
                            && line.contains(&format!("{label}=\""))
                    });
                assert!(known, "{name} asks for {metric} by {label}");
            }
        }
    }
}

#[test]
fn the_states_in_alerts_and_board_are_states_of_destinations() {
    for name in ["alerts.yml", "grafana.json"] {
        let text = file(name).replace("\\\"", "\"");
        let mut found = 0;
        for (at, prefix) in text.match_indices("state=") {
            let rest = text[at + prefix.len()..].trim_start_matches('~');
            let Some(words) = rest
                .strip_prefix('"')
                .and_then(|rest| rest.split('"').next())
            else {
                continue;
            };
            for word in words.split('|') {
                let state: Result<shardcast_link::DestinationState, _> =
                    serde_json::from_value(Value::from(word));
                assert!(state.is_ok(), "{name}: there is no state {word}");
                found += 1;
            }
        }
        assert!(found > 2, "{name}");
    }
}

#[test]
fn the_panels_of_the_board_have_names_and_places_of_their_own() {
    let board: Value = serde_json::from_str(&file("grafana.json")).unwrap();
    let mut ids = BTreeSet::new();
    let mut places = BTreeSet::new();
    for panel in board["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(!panel["title"].as_str().unwrap().is_empty(), "{panel}");
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{panel}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(places.insert((x, y)), "{panel} lies on another panel");
            }
        }
        if panel["type"] != "row" {
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{panel}"
            );
        }
    }
}
