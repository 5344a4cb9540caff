//! The binary `shardcast-bench`: the instruments of the library for people.
#![forbid(unsafe_code)]

mod cli;
mod print;
mod reencoding;

use std::{process::ExitCode, sync::Arc, time::Duration};

use clap::Parser;
use shardcast_bench::{
    BenchError,
    clip::Clip,
    fan_out::{FanOutOptions, fan_out},
    harness::{Harness, HarnessOptions},
    live::{LiveOptions, first_frame, live},
    publisher::{Publisher, PublisherOptions},
    sink::{FrameLog, Manners, Sink, SinkOptions, TestCa, VBV_BUFFER_MS},
};
use tokio::time::sleep;

use cli::{Cli, Command, FanOut, FirstFrame, Listen, Live, Publish};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { json, command } = Cli::parse();
    // One thread moves the bytes, the main thread waits: the rest of the machine is what is
    // measured.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(command, json)),
        Err(error) => Err(error.into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        // The measurement was made, and something was lost.
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            eprintln!("shardcast-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was as it should be.
async fn run(command: Command, json: bool) -> Result<bool, BenchError> {
    match command {
        Command::Publish(options) => publish(options, json).await,
        Command::Sink(options) => sink(&options, json).await,
        Command::Live(options) => measure_live(&options, json).await,
        Command::FanOut(options) => measure_fan_out(&options, json).await,
        Command::FirstFrame(options) => measure_first_frame(&options, json).await,
        Command::Reencode(options) => reencoding::reencode(&options, json).await,
        Command::Beside(options) => reencoding::beside(&options, json).await,
        Command::Overload(options) => reencoding::overload(&options, json).await,
        Command::Bitrate(options) => reencoding::bitrate(&options, json).await,
        Command::Hostile(options) => reencoding::hostile(&options, json).await,
    }
}

async fn publish(options: Publish, json: bool) -> Result<bool, BenchError> {
    let clip = Clip::load(options.picture.format())?;
    let mut publishers = Vec::new();
    for number in 0..options.streams {
        let stream_id = format!("{}{number}", options.stream_prefix);
        let publisher = PublisherOptions {
            number,
            token: options.token.clone(),
            audio: !options.no_audio,
            video: !options.no_video,
            pace: options.picture.pace(),
            ..PublisherOptions::new(options.url.clone(), stream_id)
        };
        publishers.push(Publisher::start(Arc::clone(&clip), publisher));
    }
    wait(options.seconds).await;
    let mut reports = Vec::new();
    for publisher in publishers {
        reports.push(publisher.stop().await);
    }
    print::publishers(&reports, json);
    Ok(reports.iter().all(|report| report.errors.is_empty()))
}

async fn sink(options: &Listen, json: bool) -> Result<bool, BenchError> {
    let ca = options.tls.then(TestCa::new).transpose()?;
    if let Some(ca) = &ca {
        ca.write(&options.ca_file)?;
    }
    let sink = Sink::with(SinkOptions {
        listen: Some(options.listen),
        manners: Manners::script(options.fault.clone()),
        platform: options.platform,
        tls: ca.map(Arc::new),
        looks: options.decode,
    })?;
    if !json {
        println!("listening on {}", sink.url("…"));
        if options.tls {
            let ca_file = options.ca_file.display();
            println!("the certificate to be trusted is in {ca_file}");
        }
    }
    wait(options.seconds).await;
    let connections = sink.connections();
    print::connections(&connections, json);
    if let Some(kbps) = options.vbv_kbps {
        let bps = kbps.saturating_mul(1_000);
        let of = |log: &FrameLog| log.vbv(bps, VBV_BUFFER_MS);
        print::vbv(&sink.logs().iter().map(of).collect::<Vec<_>>(), json);
    }
    Ok(connections
        .iter()
        .all(|connection| connection.faults().is_empty()))
}

async fn measure_live(options: &Live, json: bool) -> Result<bool, BenchError> {
    let clip = Clip::load(options.picture.format())?;
    let harness = HarnessOptions {
        shards: options.shards,
        ..Default::default()
    };
    let harness = Harness::start(harness).await?;
    let report = live(
        &harness,
        &clip,
        &LiveOptions {
            broadcasts: options.broadcasts,
            destinations: options.destinations,
            duration: Duration::from_secs(options.seconds),
            audio: !options.no_audio,
            pace: options.picture.pace(),
        },
    )
    .await?;
    print::live(&report, json);
    Ok(report.frames_lost == 0 && report.faults.is_empty())
}

async fn measure_fan_out(options: &FanOut, json: bool) -> Result<bool, BenchError> {
    let clip = Clip::load(options.picture.format())?;
    let harness = Harness::start(HarnessOptions::default()).await?;
    let options = FanOutOptions {
        destinations: options.destinations,
        faulty: options.faulty,
        duration: Duration::from_secs(options.seconds),
    };
    let report = fan_out(&harness, &clip, &options).await?;
    print::fan_out(&report, json);
    Ok(report.frames_lost == 0 && report.faults.is_empty())
}

async fn measure_first_frame(options: &FirstFrame, json: bool) -> Result<bool, BenchError> {
    let clip = Clip::load(options.picture.format())?;
    let harness = Harness::start(HarnessOptions::default()).await?;
    let report = first_frame(&harness, &clip, options.runs).await?;
    print::first_frame(&report, json);
    Ok(true)
}

/// So many seconds, or until Ctrl-C.
async fn wait(seconds: Option<u64>) {
    let time = async {
        match seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
