//! Settings by variables of the environment, and variables that are none.

use std::process::{Command, Output};

use crate::server::process::BINARY;

fn print_config(variable: (&str, &str)) -> Output {
    Command::new(BINARY)
        .args(["control", "--print-config"])
        .env(variable.0, variable.1)
        .output()
        .unwrap()
}

#[test]
fn a_variable_that_is_a_setting_of_either_process_is_taken() {
    for (variable, line) in [
        (("SHARDCAST_HTTP_PORT", "6080"), "http_port = 6080"),
        (("SHARDCAST_UDP_PORT_BASE", "0"), "udp_port_base = 0"),
        (
            ("SHARDCAST_DESTINATION_DENY", "10.0.0.0/8"),
            "destination_deny = \"10.0.0.0/8\"",
        ),
        (
            ("SHARDCAST_RTMPS_CA_FILE", "/a.pem"),
            "rtmps_ca_file = \"/a.pem\"",
        ),
        // The engine reads it.
        (("SHARDCAST_ENGINE_CODECS_INLINE", "true"), "shards = "),
        (("SHARDCAST_TEST_ANYTHING", "1"), "shards = "),
        // Kubernetes makes it for a Service named `shardcast`.
        (("SHARDCAST_PORT", "tcp://10.0.0.1:5080"), "shards = "),
    ] {
        let output = print_config(variable);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && printed.contains(line),
            "{variable:?}: {output:?}"
        );
    }
}

#[test]
fn a_misspelt_variable_ends_the_start_and_is_told_with_the_one_that_was_meant() {
    let output = print_config(("SHARDCAST_ALLOWED_PUBLISHERS_CIDR", "10.0.0.0/8"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let wanted =
        "SHARDCAST_ALLOWED_PUBLISHERS_CIDR: did you mean SHARDCAST_ALLOWED_PUBLISHER_CIDR?";
    assert!(error.contains(wanted), "{error}");
}
