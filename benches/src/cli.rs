//! The command line of `shardcast-bench`.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use shardcast_bench::{
    BenchError,
    clip::ClipFormat,
    publisher::Pace,
    sink::{FAULTS_HELP, Manner, Personality},
};
use shardcast_link::VideoCodec;

/// Load generator, RTMP sink and measurements for Shardcast.
#[derive(Debug, Parser)]
#[command(name = "shardcast-bench", version)]
pub(crate) struct Cli {
    /// Print JSON and nothing else
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Publish synthetic streams over WebRTC, as Ant Media's SDK does
    Publish(Publish),
    /// Take RTMP or RTMPS streams and measure them, or misbehave
    #[command(after_help = FAULTS_HELP)]
    Sink(Listen),
    /// Start a Shardcast, publish to it, and print what it costs
    #[command(alias = "run")]
    Live(Live),
    /// Start a Shardcast, publish once to many destinations of which some are faulty, and print
    /// what the others lost and what each costs
    FanOut(FanOut),
    /// Start a Shardcast, and measure how soon a destination has picture and sound
    FirstFrame(FirstFrame),
    /// Start a Shardcast, and measure what a re-encoded picture costs beside the codecs alone and
    /// beside ffmpeg
    Reencode(Reencode),
    /// Measure the delay of a broadcast that is passed on, alone and beside a saturating re-encode on
    /// the same core
    Beside(Beside),
    /// Start a Shardcast, and ask for more renditions than it can make
    Overload(Overload),
    /// Start a Shardcast, and look at bit rate, frame rate and keyframes of a rendition, from sources
    /// of different frame rates
    Bitrate(Bitrate),
    /// Start a Shardcast, and publish damaged and absurd pictures of all codecs
    Hostile(Hostile),
}

/// What the clip looks like.
#[derive(Clone, Debug, Args)]
pub(crate) struct Picture {
    /// Codec of the picture: h264, vp8, vp9 or av1
    #[arg(long, default_value = "h264", value_parser = codec)]
    pub(crate) codec: VideoCodec,
    /// Picture size in pixels
    #[arg(long, default_value = "1280x720", value_name = "WxH", value_parser = size)]
    pub(crate) size: (u32, u32),
    /// Frames a second
    #[arg(long, default_value_t = 30)]
    pub(crate) fps: u32,
    /// Distances of frames vary around that rate, with true timestamps
    #[arg(long)]
    pub(crate) varying_fps: bool,
    /// Video bit rate in kbit/s
    #[arg(long, default_value_t = 2_500)]
    pub(crate) bitrate_kbps: u32,
    /// Opus bit rate in kbit/s
    #[arg(long, default_value_t = 96)]
    pub(crate) audio_kbps: u32,
}

impl Picture {
    pub(crate) fn format(&self) -> ClipFormat {
        let (width, height) = self.size;
        ClipFormat {
            codec: self.codec,
            width,
            height,
            fps: self.fps,
            video_kbps: self.bitrate_kbps,
            audio_kbps: self.audio_kbps,
        }
    }

    pub(crate) fn pace(&self) -> Pace {
        if self.varying_fps {
            Pace::Varying
        } else {
            Pace::Constant
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// Signalling address of the application
    #[arg(long, default_value = "ws://127.0.0.1:5080/StreamLick/websocket")]
    pub(crate) url: String,
    /// Publishers
    #[arg(long, default_value_t = 1)]
    pub(crate) streams: u32,
    /// Stream ids are this and a number
    #[arg(long, default_value = "bench")]
    pub(crate) stream_prefix: String,
    /// End after so many seconds; without it, at Ctrl-C
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
    /// Publish token
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Send no sound
    #[arg(long, conflicts_with = "no_video")]
    pub(crate) no_audio: bool,
    /// Send no picture
    #[arg(long)]
    pub(crate) no_video: bool,
    #[command(flatten)]
    pub(crate) picture: Picture,
}

#[derive(Debug, Args)]
pub(crate) struct Listen {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:1936")]
    pub(crate) listen: SocketAddr,
    /// End after so many seconds; without it, at Ctrl-C
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
    /// Picture bit rate in kbit/s that a decoder's buffer of one second is filled with: how often it
    /// runs empty is told of each stream
    #[arg(long)]
    pub(crate) vbv_kbps: Option<u32>,
    /// Decode pictures, to hold sound against those of a rendition
    #[arg(long)]
    pub(crate) decode: bool,
    /// Whose ingest to resemble
    #[arg(long, value_enum, default_value_t)]
    pub(crate) platform: Personality,
    /// What to do to a connection, from the list below; given again for the next connection, the
    /// last one for all that follow
    #[arg(long, value_name = "FAULT,…")]
    pub(crate) fault: Vec<Manner>,
    /// Speak RTMPS with a certificate for localhost and 127.0.0.1 by a CA made for this run
    #[arg(long)]
    pub(crate) tls: bool,
    /// Where to write that CA's certificate, which the client has to trust
    #[arg(
        long,
        value_name = "FILE",
        default_value = "shardcast-bench-ca.pem",
        requires = "tls"
    )]
    pub(crate) ca_file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Live {
    /// Broadcasts at the same time
    #[arg(long, default_value_t = 10)]
    pub(crate) broadcasts: u32,
    /// RTMP destinations of each
    #[arg(long, default_value_t = 2)]
    pub(crate) destinations: u32,
    /// Length of the measurement in seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Executors of the engine, on the first cores
    #[arg(long, default_value_t = 1)]
    pub(crate) shards: u16,
    /// Send no sound
    #[arg(long)]
    pub(crate) no_audio: bool,
    #[command(flatten)]
    pub(crate) picture: Picture,
}

#[derive(Debug, Args)]
pub(crate) struct FanOut {
    /// RTMP destinations of the one broadcast, the faulty ones among them
    #[arg(long, default_value_t = 50)]
    pub(crate) destinations: u32,
    /// How many of them are faulty, each in another way
    #[arg(long, default_value_t = 5)]
    pub(crate) faulty: u32,
    /// Length of each of the two measurements in seconds: with one destination, and with all
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u64,
    #[command(flatten)]
    pub(crate) picture: Picture,
}

#[derive(Debug, Args)]
pub(crate) struct FirstFrame {
    /// How often
    #[arg(long, default_value_t = 10)]
    pub(crate) runs: u32,
    #[command(flatten)]
    pub(crate) picture: Picture,
}

#[derive(Debug, Args)]
pub(crate) struct Reencode {
    /// Codec of the source: h264, vp8, vp9 or av1; its picture is 1920x1080 at 30 frames a second
    #[arg(long, default_value = "h264", value_parser = codec)]
    pub(crate) codec: VideoCodec,
    /// Bit rate of the source in kbit/s
    #[arg(long, default_value_t = 4_500)]
    pub(crate) bitrate_kbps: u32,
    /// 720, 480 and 360 lines at once, and not 720 alone
    #[arg(long)]
    pub(crate) ladder: bool,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    /// How often, one after the other
    #[arg(long, default_value_t = 3)]
    pub(crate) runs: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Beside {
    /// Length of each stage in seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Overload {
    /// Renditions to ask for, of 1280x720 at 30 frames a second
    #[arg(long, default_value_t = 12)]
    pub(crate) renditions: u32,
    /// Bit rate of each in kbit/s; far above 3000, they cost more than is expected of them
    #[arg(long, default_value_t = 3_000)]
    pub(crate) rendition_kbps: u32,
    /// Broadcasts beside them that are passed on
    #[arg(long, default_value_t = 2)]
    pub(crate) witnesses: u32,
    /// Length of the measurement in seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Bitrate {
    /// How long each source is watched, in seconds; at least 11
    #[arg(long, default_value_t = 30)]
    pub(crate) seconds: u64,
    /// Bit rate to be kept in kbit/s
    #[arg(long, default_value_t = 3_000)]
    pub(crate) rendition_kbps: u32,
}

#[derive(Debug, Args)]
pub(crate) struct Hostile {
    /// How long, in seconds
    #[arg(long, default_value_t = 60)]
    pub(crate) seconds: u64,
    /// Decides what is sent
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
}

fn size(text: &str) -> Result<(u32, u32), BenchError> {
    let parsed = text
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    parsed.ok_or_else(|| BenchError::Argument(format!("'{text}' is no size like 1280x720")))
}

fn codec(text: &str) -> Result<VideoCodec, BenchError> {
    let known = VideoCodec::ALL
        .into_iter()
        .find(|codec| codec.name().eq_ignore_ascii_case(text));
    known.ok_or_else(|| BenchError::Argument(format!("'{text}' is none of h264, vp8, vp9, av1")))
}
