//! The real binary: what it has acknowledged is there after kill -9, and what it is told wrong it
//! refuses in words.

use std::{
    net::SocketAddr,
    process::{Command, Output},
};

use crate::server::{
    broadcasts,
    process::{BINARY, Process},
    request,
};
use serde_json::{Value, json};

async fn post(to: SocketAddr, path: &str, body: Value) -> u16 {
    let headers = [("Content-Type", "application/json")];
    request(to, "POST", path, &headers, body.to_string().as_bytes())
        .await
        .status
}

fn picture() -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    image::DynamicImage::new_rgb8(160, 90)
        .write_to(&mut file, image::ImageFormat::Png)
        .unwrap();
    file.into_inner()
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let (process, http) = Process::start(folder.path()).await;
    assert_eq!(
        post(http, &broadcasts("create"), json!({"streamId": "s1"})).await,
        200
    );
    let url = json!({"rtmpUrl": "rtmp://h/a/k"});
    assert_eq!(post(http, &broadcasts("s1/rtmp-endpoint"), url).await, 200);
    let (slate, picture) = (broadcasts("s1/slate"), picture());
    let headers = [("Content-Type", "image/png")];
    let put = request(http, "PUT", &slate, &headers, &picture).await;
    assert_eq!(put.status, 200, "{}", put.text());
    drop(process);
    let (_process, http) = Process::start(folder.path()).await;
    let read = request(http, "GET", &broadcasts("s1"), &[], b"")
        .await
        .json();
    assert_eq!(read["endPointList"][0]["rtmpUrl"], "rtmp://h/a/k");
    assert_eq!(read["slate"], put.json()["dataId"]);
    assert_eq!(request(http, "GET", &slate, &[], b"").await.body, picture);
}

#[tokio::test]
async fn a_second_process_on_the_same_data_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (_process, _) = Process::start(folder.path()).await;
    let data_dir = folder.path().to_str().unwrap();
    let output = run(&[
        "control",
        "--http-port",
        "0",
        "--https-port",
        "0",
        "--data-dir",
        data_dir,
    ]);
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("another shardcast"),
        "{}",
        stderr(&output)
    );
}

fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY)
        .args(arguments)
        .env_remove("SHARDCAST_HTTP_PORT")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_wrong_key_in_the_file_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shardcast.toml");
    std::fs::write(&file, "bind = \"127.0.0.1\"\nhtpp_port = 1\n").unwrap();
    let output = run(&["control", "--config", file.to_str().unwrap()]);
    assert!(!output.status.success());
    let text = stderr(&output);
    assert!(
        text.contains("line 2") && text.contains("htpp_port"),
        "{text}"
    );
}

#[test]
fn a_variable_wins_over_the_file_and_a_flag_over_the_variable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shardcast.toml");
    std::fs::write(
        &file,
        "http_port = 1111\nhttps_port = 1112\nhold_ms = 1113\n",
    )
    .unwrap();
    let output = Command::new(BINARY)
        .args([
            "control",
            "--print-config",
            "--http-port",
            "3331",
            "--config",
        ])
        .arg(&file)
        .env("SHARDCAST_HTTP_PORT", "2221")
        .env("SHARDCAST_HTTPS_PORT", "2222")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for line in ["http_port = 3331", "https_port = 2222", "hold_ms = 1113"] {
        assert!(text.contains(line), "{line} is not in:\n{text}");
    }
}

#[test]
fn every_setting_is_in_the_help() {
    let text = String::from_utf8_lossy(&run(&["run", "--help"]).stdout).into_owned();
    for flag in [
        "--bind",
        "--tls-cert",
        "--remote-allowed-cidr",
        "--hold-ms",
        "--engine-path",
    ] {
        assert!(text.contains(flag), "{flag} is missing");
    }
    assert!(text.contains("SHARDCAST_HTTP_PORT"));
}
