//! `/api/v1/openapi.json` has each path and method that the router has under `/api/v1`, and no other.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::server::{Server, request};

#[tokio::test]
async fn the_methods_of_each_described_path_are_those_of_the_router() {
    let server = Server::start().await;
    let document = server.get("/api/v1/openapi.json").await.json();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, methods) in document["paths"].as_object().unwrap() {
        let methods = methods.as_object().unwrap().keys();
        let mut described: BTreeSet<String> = methods.map(|m| m.to_uppercase()).collect();
        if described.contains("GET") {
            described.insert("HEAD".into());
        }
        let path = path.replace(['{', '}'], "");
        // A method that nothing has: the answer names those that there are (RFC 9110 §15.5.6).
        let reply = request(
            server.http(),
            "PROPFIND",
            &format!("/api/v1{path}"),
            &[],
            b"",
        )
        .await;
        assert_eq!(reply.status, 405, "{path} is not routed");
        let allowed = reply
            .header("allow")
            .split(',')
            .map(|m| m.trim().to_owned());
        assert_eq!(allowed.collect::<BTreeSet<_>>(), described, "{path}");
    }
}

#[tokio::test]
async fn each_reference_in_it_is_to_something() {
    let server = Server::start().await;
    let document = server.get("/api/v1/openapi.json").await.json();
    let mut ids = BTreeSet::new();
    check(&document, &document, &mut ids);
    assert!(ids.len() > 5);
}

/// Looks at each `$ref` and `operationId` below `value`.
fn check(document: &Value, value: &Value, ids: &mut BTreeSet<String>) {
    if let Some(reference) = value["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    if let Some(id) = value["operationId"].as_str() {
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
    }
    match value {
        Value::Object(object) => object.values().for_each(|v| check(document, v, ids)),
        Value::Array(items) => items.iter().for_each(|v| check(document, v, ids)),
        _ => {}
    }
}
