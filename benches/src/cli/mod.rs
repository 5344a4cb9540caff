//! The command line of `shardcast-bench`: one file for each command, or for few that belong together.

mod args;
mod capacity;
mod compare;
mod compare_builds;
mod fan_out;
mod first_frame;
mod hls_crowd;
mod latency;
mod live;
mod output;
mod publish;
mod reencoding;
mod sink;
mod soak;
mod watch;

use clap::{Parser, Subcommand};
use shardcast_bench::{BenchError, sink::FAULTS_HELP};

pub(crate) use output::Output;

use args::{BesideArgs, CoreArgs, KindArgs, ServerArgs, VideoArgs};
use output::OutputArgs;

/// Load generator, RTMP sink and measurements for Shardcast.
#[derive(Debug, Parser)]
#[command(name = "shardcast-bench", version)]
pub(crate) struct Cli {
    #[command(flatten)]
    output: OutputArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish synthetic streams over WebRTC, as Ant Media's SDK does
    Publish(publish::Publish),
    /// Receive RTMP or RTMPS streams and measure them, with faults on request
    #[command(after_help = FAULTS_HELP)]
    Sink(sink::Listen),
    /// Start Shardcast, publish many broadcasts, and measure CPU time, memory, delay and loss
    #[command(alias = "run")]
    Live(live::Live),
    /// Start Shardcast, publish to many destinations of which some are faulty, and measure the loss
    /// of the others and the cost of each
    FanOut(fan_out::FanOut),
    /// Measure Shardcast and another server in turn with the same load
    Compare(compare::Compare),
    /// Measure two builds of Shardcast in turn with the same load, and print the ratio of their costs
    CompareBuilds(compare_builds::CompareBuilds),
    /// Start Shardcast, and measure the delay of shows without and with a crowd of players that poll HLS
    HlsCrowd(hls_crowd::HlsCrowd),
    /// Find the highest load that a machine carries without loss and in time
    #[command(alias = "find-max")]
    Capacity(capacity::Capacity),
    /// Measure the delay of frames idle, under half load, and beside an encoder
    Latency(latency::Latency),
    /// Start Shardcast, and watch its processes for hours while publishers and destinations come and go
    #[command(alias = "churn")]
    Soak(soak::Soak),
    /// Start Shardcast, let viewers watch over WebRTC, and measure what they see and cost
    Watch(watch::Watch),
    /// Start Shardcast, and measure the time to the first video and audio at a destination
    FirstFrame(first_frame::FirstFrame),
    /// Start Shardcast, and measure the CPU time of a re-encode against the codecs alone and ffmpeg
    Reencode(reencoding::Reencode),
    /// Measure the delay of a passthrough broadcast without and with a saturating re-encode on the
    /// same core
    #[command(alias = "beside")]
    Interference(reencoding::Interference),
    /// Start Shardcast, and request more renditions than it can make
    Overload(reencoding::Overload),
    /// Start Shardcast, and measure bit rate, frame rate and keyframes of a rendition, from sources of
    /// different frame rates
    Bitrate(reencoding::Bitrate),
    /// Start Shardcast, and publish corrupted video of all codecs
    Hostile(reencoding::Hostile),
}

impl Cli {
    /// Runs the command. `false` when frames were lost or a stream had defects.
    pub(crate) async fn run(self) -> Result<bool, BenchError> {
        let mut output = Output::new(self.output);
        let output = &mut output;
        match self.command {
            Command::Publish(options) => publish::run(options, output).await,
            Command::Sink(options) => sink::run(&options, output).await,
            Command::Live(options) => live::run(&options, output).await,
            Command::FanOut(options) => fan_out::run(&options, output).await,
            Command::Compare(options) => compare::run(&options, output).await,
            Command::CompareBuilds(options) => compare_builds::run(&options, output).await,
            Command::HlsCrowd(options) => hls_crowd::run(&options, output).await,
            Command::Capacity(options) => capacity::run(&options, output).await,
            Command::Latency(options) => latency::run(&options, output).await,
            Command::Soak(options) => soak::run(&options, output).await,
            Command::Watch(options) => watch::run(&options, output).await,
            Command::FirstFrame(options) => first_frame::run(&options, output).await,
            Command::Reencode(options) => reencoding::reencode(&options, output).await,
            Command::Interference(options) => reencoding::interference(&options, output).await,
            Command::Overload(options) => reencoding::overload(&options, output).await,
            Command::Bitrate(options) => reencoding::bitrate(&options, output).await,
            Command::Hostile(options) => reencoding::hostile(&options, output).await,
        }
    }
}

impl Command {
    /// Whether Ctrl-C ends the command without a result. Two commands run until then, and print one.
    pub(crate) fn ends_on_interrupt(&self) -> bool {
        !matches!(self, Self::Publish(_) | Self::Sink(_))
    }

    /// Threads in which publishers and sinks run: one for each core that they have of their own, else
    /// one.
    pub(crate) fn generator_threads(&self) -> usize {
        let cores = match self {
            Self::Live(options) => &options.server.cores,
            Self::Latency(options) => &options.server.cores,
            Self::Compare(options) => &options.server.cores,
            Self::Soak(options) => &options.server.cores,
            Self::HlsCrowd(options) => &options.server.cores,
            Self::Capacity(options) => &options.server.cores,
            Self::Watch(options) => &options.server.cores,
            _ => return 1,
        };
        let cores = cores.generator_cores.as_ref();
        cores.map_or(1, |cores| cores.numbers().len().max(1))
    }
}
