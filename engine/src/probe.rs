//! `shardcast-engine --probe`: tries what can only be known by trying, prints it as JSON and ends.
//! It binds no port of a shard and leaves the link directory alone, so an engine may run beside it.

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::{Arc, mpsc},
    thread,
    time::Instant,
};

use rustls::ClientConfig;
use shardcast_link::{
    machine::{Attempt, Authorities, Probe, Reached},
    settings::ProbeKind,
};

use crate::{
    cli::Settings,
    limits::PROBE_CALL,
    os::{host, sched},
    tcp::{call::call, trust::TrustedRoots},
    udp::socket,
};

/// Where platforms take RTMPS: name, host, port.
const PLATFORMS: [(&str, &str, u16); 3] = [
    ("YouTube", "a.rtmps.youtube.com", 443),
    ("Facebook", "live-api-s.facebook.com", 443),
    ("Twitch", "ingest.global-contribute.live-video.net", 443),
];

/// Prints what this machine allows an engine with `settings`.
pub(crate) fn print(kind: ProbeKind, settings: &Settings) -> ExitCode {
    let text = try_all(kind, settings).to_json();
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn try_all(kind: ProbeKind, settings: &Settings) -> Probe {
    let roots = TrustedRoots::load(settings.engine.rtmps_ca_file.as_deref());
    let platforms = match (kind, &roots) {
        (ProbeKind::Online, Ok(roots)) => roots.client_config().map(|config| call_all(&config)),
        _ => Ok(Vec::new()),
    };
    let queues = socket::queues_given().ok();
    let bytes = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
    let cores = sched::allowed_cores().unwrap_or_default();
    Probe {
        io_uring: Some(attempt(host::try_io_uring())),
        short_slices: sched::request_short_slice().ok(),
        udp_receive_bytes: queues.map(|(receive, _)| bytes(receive)),
        udp_send_bytes: queues.map(|(_, send)| bytes(send)),
        addresses: host::local_addresses().unwrap_or_default(),
        allowed_cores: cores
            .into_iter()
            .filter_map(|core| u16::try_from(core).ok())
            .collect(),
        authorities: Some(match &roots {
            Ok(roots) => Authorities::Read {
                count: roots.count(),
            },
            Err(error) => Authorities::Fails {
                problem: error.to_string(),
            },
        }),
        platforms: platforms.unwrap_or_default(),
    }
}

fn attempt(result: io::Result<()>) -> Attempt {
    match result {
        Ok(()) => Attempt::Works,
        Err(error) => Attempt::Fails {
            errno: error.raw_os_error(),
            problem: error.to_string(),
        },
    }
}

/// Calls all platforms at the same time.
fn call_all(config: &Arc<ClientConfig>) -> Vec<Reached> {
    let calls: Vec<_> = PLATFORMS
        .iter()
        .map(|(platform, host, port)| {
            let (done, waiting) = mpsc::channel();
            let config = Arc::clone(config);
            // One that hangs in the system's resolver ends with the process.
            let started = thread::Builder::new().spawn(move || {
                let _ = done.send(call(host, *port, &config, PROBE_CALL));
            });
            (platform, host, port, started.map(|_| waiting))
        })
        .collect();
    let deadline = Instant::now() + 2 * PROBE_CALL;
    let calls = calls.into_iter();
    calls
        .map(|(platform, host, port, call)| {
            let problem = match call {
                Err(error) => Some(error.to_string()),
                Ok(waiting) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let never = Err("no answer in time".to_owned());
                    waiting.recv_timeout(left).unwrap_or(never).err()
                }
            };
            Reached {
                platform: (*platform).to_owned(),
                address: format!("{host}:{port}"),
                problem,
            }
        })
        .collect()
}
