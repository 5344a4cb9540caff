//! `sink`: receives and measures streams of any publisher.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use clap::Args;
use shardcast_bench::{
    BenchError,
    sink::{
        ConnectionFaults, FaultScript, FrameLog, PlatformProfile, Sink, SinkOptions, TestCa,
        VBV_BUFFER_MS,
    },
};

use super::Output;
use super::output::wait;
use crate::print::{self, Received};

#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:1936")]
    pub(crate) listen: SocketAddr,
    /// End after this many seconds; without it, at Ctrl-C
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
    /// Fill a decoder buffer of one second at this bit rate in kbit/s, and print for each stream how
    /// often it runs empty
    #[arg(long)]
    pub(crate) vbv_kbps: Option<u32>,
    /// Decode the video, to measure the audio offset of renditions too
    #[arg(long)]
    pub(crate) decode: bool,
    /// Say that the sink takes Opus, as enhanced RTMP has it
    #[arg(long)]
    pub(crate) opus: bool,
    /// Platform whose ingest the sink resembles
    #[arg(long, value_enum, default_value_t)]
    pub(crate) platform: PlatformProfile,
    /// Faults of a connection, from the list below; repeat the option for the next connection; the
    /// last one counts for all later connections
    #[arg(long, value_name = "FAULT,…")]
    pub(crate) fault: Vec<ConnectionFaults>,
    /// Speak RTMPS, with a certificate for localhost and 127.0.0.1 of a CA that is made for this run
    #[arg(long)]
    pub(crate) tls: bool,
    /// File for the CA certificate, which the client has to trust
    #[arg(
        long,
        value_name = "FILE",
        default_value = "shardcast-bench-ca.pem",
        requires = "tls"
    )]
    pub(crate) ca_file: PathBuf,
}

pub(super) async fn run(options: &Listen, output: &Output) -> Result<bool, BenchError> {
    let ca = options.tls.then(TestCa::new).transpose()?;
    if let Some(ca) = &ca {
        ca.write(&options.ca_file)?;
    }
    let sink = Sink::with(SinkOptions {
        listen: Some(options.listen),
        fault_script: FaultScript::new(options.fault.clone()),
        platform: options.platform,
        tls: ca.map(Arc::new),
        decodes_video: options.decode,
        takes_opus: options.opus,
    })?;
    if output.is_text() {
        println!("listening on {}", sink.url("…"));
        if options.tls {
            let ca_file = options.ca_file.display();
            println!("the CA certificate is in {ca_file}; the client has to trust it");
        }
    }
    wait(options.seconds).await;
    let vbv = options.vbv_kbps.map(|kbps| {
        let bps = kbps.saturating_mul(1_000);
        let of = |log: &FrameLog| log.vbv(bps, VBV_BUFFER_MS);
        sink.logs().iter().map(of).collect()
    });
    let received = Received {
        connections: sink.connections(),
        vbv: vbv.unwrap_or_default(),
    };
    print::received(&received, output)?;
    Ok(received
        .connections
        .iter()
        .all(|connection| connection.faults().is_empty()))
}
