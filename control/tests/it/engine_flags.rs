//! What the operator has set for the engine is what the engine is started with.

use std::os::unix::fs::PermissionsExt;

use crate::server::{Server, until};

#[tokio::test]
async fn the_engine_is_told_where_destinations_may_be_whom_they_may_trust_and_who_encodes() {
    let folder = tempfile::tempdir().unwrap();
    let (engine, arguments) = (
        folder.path().join("engine"),
        folder.path().join("arguments"),
    );
    // Written under another name first: the test never reads half of it.
    let script = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" > '{0}.new' && mv '{0}.new' '{0}'\nsleep 60\n",
        arguments.display()
    );
    std::fs::write(&engine, script).unwrap();
    std::fs::set_permissions(&engine, std::fs::Permissions::from_mode(0o755)).unwrap();
    let settings = format!(
        "engine_path = '{}'\ndestination_allow = \"0.0.0.0/0, ::/0\"\n         destination_deny = [\"10.0.0.0/8\", \"::1\"]\nrtmps_ca_file = \"/etc/own ca.pem\"\n\
         reencode_enabled = false\ncodec_cores = [1]\naac_encoder = \"libavcodec\"\n",
        engine.display()
    );
    let server = Server::start_with_file(&settings).await;
    let supervisor = server.handle.supervise().unwrap();
    let arguments = until("the engine", async || {
        std::fs::read_to_string(&arguments).ok()
    })
    .await;
    supervisor.stop().await;
    for wanted in [
        "--destination-allow=0.0.0.0/0,::/0",
        "--destination-deny=10.0.0.0/8,::1/128",
        "--ca-file=/etc/own ca.pem",
        "--reencode-enabled=false",
        "--codec-cores=1",
        "--aac-encoder=libavcodec",
    ] {
        assert!(arguments.lines().any(|line| line == wanted), "{arguments}");
    }
}
