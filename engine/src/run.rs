//! The process: check the machine, start the shards, wait for a signal or for a shard that dies.

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr},
    os::fd::AsFd,
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use shardcast_core::{Shard, ShardConfig};
use shardcast_link::{fragment, socket_lot, tls_front as tls_link};

use crate::{
    cli::{Cli, Settings},
    codecs::CodecPlan,
    driver::thread::{ShardEnd, ShardPlan, Shards},
    error::{EXIT_INTERRUPTED, EXIT_STOPPED, EngineError},
    fragments::FragmentQueue,
    limits::{FREE_PORT_ATTEMPTS, STOP_SHARDS},
    os::host::{self, LinkDir},
    os::sched,
    os::signals::{StopSignals, wait},
    probe,
    tcp::listener::Listener,
    tcp::socket_lot::SocketLot,
    tcp::trust::TrustedRoots,
    tls_front,
    udp::socket::{BoundUdp, UdpOptions},
};

/// Weight of a shard in placement: a whole core.
const CAPACITY_OF_A_CORE: u32 = 100;

/// Runs the engine until a signal stops it; the exit code of the process. Errors are in the log.
pub fn run(cli: Cli) -> ExitCode {
    if let Some(kind) = cli.probe() {
        return probe::print(kind, &cli.settings());
    }
    // Before the log starts its thread: a signal goes to any thread that does not block it.
    let started = StopSignals::block()
        .map_err(|source| EngineError::System {
            what: "taking over SIGTERM and SIGINT",
            source,
        })
        .and_then(|signals| {
            cli.check_environment()?;
            let log = shardcast_log::start(cli.log(), cli.log_format())?;
            Ok((signals, log))
        });
    let (signals, log) = match started {
        Ok(started) => started,
        Err(error) => {
            // Nobody may be left who reads it.
            let _ = writeln!(io::stderr(), "shardcast-engine: {error}");
            return error.exit_code();
        }
    };
    let code = start_and_serve(&signals, &cli.settings()).unwrap_or_else(|error| {
        tracing::error!("{error}");
        error.exit_code()
    });
    log.finish();
    code
}

fn start_and_serve(signals: &StopSignals, settings: &Settings) -> Result<ExitCode, EngineError> {
    host::prepare()?;
    let link_dir = LinkDir::hold(&settings.link_dir)?;
    let shards = Shards::start(plan(settings, &link_dir)?)?;
    serve(signals, &shards)
}

fn serve(signals: &StopSignals, shards: &Shards) -> Result<ExitCode, EngineError> {
    let broken = |source| EngineError::System {
        what: "waiting for signals",
        source,
    };
    let mut running = shards.count();
    let mut deadline: Option<Instant> = None;
    let mut received = 0;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let (_, ended) = wait(signals.as_fd(), shards.as_fd(), left).map_err(broken)?;
        received += signals.take();
        if received > 1 {
            tracing::warn!("stopped at once by a second signal");
            return Ok(ExitCode::from(EXIT_INTERRUPTED));
        }
        if received == 1 && deadline.is_none() {
            tracing::info!("stopping: destinations are ended properly");
            deadline = Some(Instant::now() + STOP_SHARDS);
            shards.stop();
        }
        if ended {
            shards.acknowledge();
            while let Some(ShardEnd { shard, result }) = shards.ended(Duration::ZERO) {
                match result {
                    Err(reason) => return Err(EngineError::ShardDied { shard, reason }),
                    Ok(()) => running -= 1,
                }
            }
        }
        if running == 0 {
            tracing::info!("stopped");
            return Ok(ExitCode::from(EXIT_STOPPED));
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            tracing::warn!("{running} shards did not stop in time");
            return Ok(ExitCode::from(EXIT_STOPPED));
        }
    }
}

/// Where control leaves sockets, and fetches parts of HLS.
fn listen_for_control(link_dir: &LinkDir) -> Result<(SocketLot, FragmentQueue), EngineError> {
    let system = |what| move |source| EngineError::System { what, source };
    let lot = link_dir.file(socket_lot::FILE_NAME);
    let sockets = SocketLot::listen(&lot).map_err(system("listening for sockets of control"))?;
    let fragments = FragmentQueue::listen(&link_dir.file(fragment::FILE_NAME))
        .map_err(system("listening for the reader of HLS"))?;
    let tls = link_dir.file(tls_link::FILE_NAME);
    tls_front::listen(&tls).map_err(system("listening for TLS of encoders"))?;
    Ok((sockets, fragments))
}

fn plan(settings: &Settings, link_dir: &LinkDir) -> Result<Vec<ShardPlan>, EngineError> {
    let system = |what| move |source| EngineError::System { what, source };
    let cores = cores(settings)?;
    let shards = match settings.engine.shards {
        Some(shards) => shards,
        None => u16::try_from(cores.len())
            .map_err(|_| EngineError::Settings("more than 65,535 cores".into()))?,
    };
    let udp_port_base = settings.engine.udp_port_base();
    if udp_port_base != 0 && udp_port_base.checked_add(shards - 1).is_none() {
        return Err(EngineError::Settings(format!(
            "{shards} shards need as many UDP ports, and --udp-port-base {udp_port_base} leaves fewer"
        )));
    }
    let roots = TrustedRoots::load(settings.engine.rtmps_ca_file.as_deref())?;
    let interfaces = host::local_addresses().map_err(system("listing network addresses"))?;
    let (sockets, fragments) = listen_for_control(link_dir)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let start = Start {
        engine: format!("{}-{:x}", std::process::id(), now.as_micros()),
        epoch: Instant::now(),
        epoch_unix_ms: u64::try_from(now.as_millis()).unwrap_or_default(),
        shards,
    };
    let mut plans = Vec::with_capacity(usize::from(shards));
    for (shard, core) in (0..shards).zip(cores.iter().copied().cycle()) {
        let port = match udp_port_base {
            0 => 0,
            base => base + shard,
        };
        let (udp, tcp) = bind_media(settings, port, &interfaces)?;
        let seed = host::random_seed().map_err(system("reading random numbers"))?;
        let codecs = codecs(settings, &cores, shard, shards);
        let config = ShardConfig {
            tcp_candidates: tcp.is_some(),
            ..start.config(shard, seed, &udp, &codecs, settings)
        };
        plans.push(ShardPlan {
            shard,
            core: Some(core),
            udp,
            tcp,
            sockets: sockets.clone(),
            fragments: fragments.clone(),
            link_socket: link_dir.socket(shard),
            roots: roots.clone(),
            codecs,
            aac_coder: settings.aac_coder(),
            machine: Box::new(move || Box::new(Shard::new(config))),
        });
    }
    Ok(plans)
}

/// The media port over UDP, and over TCP under the same number. Without TCP the shard serves those whom
/// UDP reaches, which is nearly everybody.
fn bind_media(
    settings: &Settings,
    port: u16,
    interfaces: &[IpAddr],
) -> Result<(BoundUdp, Option<Listener>), EngineError> {
    let options = |port| UdpOptions {
        address: SocketAddr::new(settings.bind, port),
        interfaces: interfaces.to_vec(),
    };
    let mut udp = BoundUdp::bind(&options(port))?;
    if !settings.engine.tcp_candidates_enabled() {
        return Ok((udp, None));
    }
    for attempt in 1.. {
        match Listener::bind(udp.address) {
            Ok(listener) => return Ok((udp, Some(listener))),
            // A number that is free over UDP may be taken over TCP.
            Err(_) if port == 0 && attempt < FREE_PORT_ATTEMPTS => {
                udp = BoundUdp::bind(&options(0))?;
            }
            Err(error) => {
                tracing::warn!(
                    port = udp.address.port(),
                    "clients that UDP does not reach cannot connect: TCP of the same number cannot be \
                     listened at: {error}: stop what has it, or choose another udp_port_base"
                );
                break;
            }
        }
    }
    Ok((udp, None))
}

/// What the shards of one start have in common.
struct Start {
    engine: String,
    epoch: Instant,
    epoch_unix_ms: u64,
    shards: u16,
}

impl Start {
    fn config(
        &self,
        shard: u16,
        seed: u64,
        udp: &BoundUdp,
        codecs: &CodecPlan,
        settings: &Settings,
    ) -> ShardConfig {
        ShardConfig {
            shard,
            shards: self.shards,
            engine: self.engine.clone(),
            // That is for the listener to say.
            tcp_candidates: false,
            advertise: udp.candidates(settings.engine.advertise()),
            seed,
            epoch: self.epoch,
            epoch_unix_ms: self.epoch_unix_ms,
            capacity: CAPACITY_OF_A_CORE,
            address_rules: settings.address_rules(),
            codec_capacity_permille: codecs.capacity_permille(),
            codecs_beside: codecs.is_beside() && !codecs.is_inline(),
        }
    }
}

/// The codec workers of one shard. `cores` are those of the shards.
fn codecs(settings: &Settings, cores: &[usize], shard: u16, shards: u16) -> CodecPlan {
    if !cfg!(feature = "x264") {
        return CodecPlan::off("not possible: this server was built without x264");
    }
    if !settings.engine.reencode_enabled() {
        return CodecPlan::off("switched off on this server");
    }
    let codec_cores = settings.codec_cores();
    if !codec_cores.is_empty() {
        let of_shards = cores.get(..usize::from(shards)).unwrap_or(cores);
        return CodecPlan::on(&codec_cores, of_shards, shard, shards);
    }
    let count = cores.len().max(1);
    let place = usize::from(shard) % count;
    // Where there are more shards than cores, some shards run on the same one.
    let sharers = (0..shards).filter(|other| usize::from(*other) % count == place);
    let plan = CodecPlan::beside(cores.get(place).copied(), sharers.count());
    if settings.codecs_inline {
        plan.inline()
    } else {
        plan
    }
}

/// The cores of the shards, in their order.
fn cores(settings: &Settings) -> Result<Vec<usize>, EngineError> {
    let allowed = sched::allowed_cores().map_err(|source| EngineError::System {
        what: "reading the CPU affinity",
        source,
    })?;
    let (named, codec_cores) = (settings.cores(), settings.codec_cores());
    check_cores("--cores", &named, &allowed)?;
    check_cores("--codec-cores", &codec_cores, &allowed)?;
    check_named_once("--codec-cores", &codec_cores)?;
    if !named.is_empty() {
        return Ok(named);
    }
    // Where all cores are set apart for codecs, shards have to share them.
    let left = allowed.iter().filter(|core| !codec_cores.contains(core));
    let left: Vec<usize> = left.copied().collect();
    Ok(if left.is_empty() { allowed } else { left })
}

fn check_cores(flag: &str, named: &[usize], allowed: &[usize]) -> Result<(), EngineError> {
    match named.iter().find(|core| !allowed.contains(core)) {
        Some(core) => Err(EngineError::Settings(format!(
            "{flag} names core {core}, and this process may use {allowed:?} only"
        ))),
        None => Ok(()),
    }
}

/// Two codec workers on one core would be promised twice what it has.
fn check_named_once(flag: &str, named: &[usize]) -> Result<(), EngineError> {
    let mut seen = named.iter().enumerate();
    let twice = seen.find(|(index, core)| named.iter().take(*index).any(|other| other == *core));
    match twice {
        Some((_, core)) => Err(EngineError::Settings(format!(
            "{flag} names core {core} twice; name each core once"
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_named_once() {
        assert!(check_named_once("--codec-cores", &[]).is_ok());
        assert!(check_named_once("--codec-cores", &[3, 1, 2]).is_ok());
        let refused = check_named_once("--codec-cores", &[3, 1, 3]).unwrap_err();
        assert!(refused.to_string().contains("core 3 twice"), "{refused}");
    }
}
