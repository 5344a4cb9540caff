//! Options that several commands have.

use std::path::PathBuf;

use clap::Args;
use shardcast_bench::{
    BenchError,
    harness::{CorePlan, Cores},
    live::ServerSetup,
    load::{Ingest, Mix, ShowKind, rendition},
    publisher::Pace,
    test_clip::{AudioChannels, TestClipFormat},
};
use shardcast_link::{RenditionSpec, VideoCodec};

/// Which Shardcast, on which cores.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// Executable `shardcast`, or its directory, of the release to measure; its engine is next to it.
    /// Without it, the one next to this executable
    #[arg(long, value_name = "PATH")]
    pub(crate) server_bin: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cores: CoreArgs,
}

impl ServerArgs {
    pub(crate) fn setup(&self) -> ServerSetup {
        self.cores.setup(self.server_bin.clone())
    }
}

/// Shards and cores.
#[derive(Clone, Debug, Args)]
pub(crate) struct CoreArgs {
    /// Shards of the engine
    #[arg(long, default_value_t = 1)]
    pub(crate) shards: u16,
    /// Cores of the engine, such as 0 or 0-1; without it, the first ones
    #[arg(long, value_name = "CORES")]
    pub(crate) engine_cores: Option<Cores>,
    /// Cores of publishers, sinks and control, such as 1 or 1-3; without it, all
    #[arg(long, value_name = "CORES")]
    pub(crate) generator_cores: Option<Cores>,
}

impl CoreArgs {
    pub(crate) fn setup(&self, server: Option<PathBuf>) -> ServerSetup {
        ServerSetup {
            server,
            shards: self.shards,
            cores: CorePlan {
                engine: self.engine_cores.clone(),
                generator: self.generator_cores.clone(),
            },
        }
    }
}

/// Format of the test clip.
#[derive(Clone, Debug, Args)]
pub(crate) struct VideoArgs {
    /// Video codec: h264, vp8, vp9 or av1
    #[arg(long, default_value = "h264", value_parser = codec)]
    pub(crate) codec: VideoCodec,
    /// Video size in pixels
    #[arg(long, default_value = "1280x720", value_name = "WxH", value_parser = size)]
    pub(crate) size: (u32, u32),
    /// Frames a second
    #[arg(long, default_value_t = 30)]
    pub(crate) fps: u32,
    /// Vary the distance of frames around that rate; timestamps follow
    #[arg(long)]
    pub(crate) varying_fps: bool,
    /// Video bit rate in kbit/s
    #[arg(long, default_value_t = 2_500)]
    pub(crate) bitrate_kbps: u32,
    /// Opus bit rate in kbit/s
    #[arg(long, default_value_t = 96)]
    pub(crate) audio_kbps: u32,
    /// Send mono Opus, as browsers do of a microphone; the default
    #[arg(long, conflicts_with = "stereo")]
    pub(crate) mono: bool,
    /// Send stereo Opus
    #[arg(long)]
    pub(crate) stereo: bool,
}

impl VideoArgs {
    pub(crate) fn format(&self) -> TestClipFormat {
        let (width, height) = self.size;
        TestClipFormat {
            codec: self.codec,
            width,
            height,
            fps: self.fps,
            video_kbps: self.bitrate_kbps,
            audio_kbps: self.audio_kbps,
            channels: if self.stereo {
                AudioChannels::Stereo
            } else {
                AudioChannels::Mono
            },
        }
    }

    /// Broadcasts of this format from WebRTC to so many destinations.
    pub(crate) fn kind(&self, destinations: u32) -> ShowKind {
        ShowKind {
            pace: self.pace(),
            ..ShowKind::new(destinations, self.format())
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

pub(crate) fn size(text: &str) -> Result<(u32, u32), BenchError> {
    let parsed = text
        .split_once('x')
        .and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    parsed.ok_or_else(|| BenchError::Argument(format!("'{text}' is not a size like 1280x720")))
}

pub(crate) fn codec(text: &str) -> Result<VideoCodec, BenchError> {
    let known = VideoCodec::ALL
        .into_iter()
        .find(|codec| codec.name().eq_ignore_ascii_case(text));
    known.ok_or_else(|| BenchError::Argument(format!("'{text}' is not one of h264, vp8, vp9, av1")))
}

/// What each broadcast has beside its destinations.
#[derive(Clone, Debug, Args)]
pub(crate) struct BesideArgs {
    /// Players of each broadcast that poll its HLS: the playlist by blocking reload, and each part, as players of
    /// Low-Latency HLS do
    #[arg(long, default_value_t = 0)]
    pub(crate) hls_pollers: u32,
    /// Record each broadcast to MP4, in a temporary folder; TMPDIR says on which disk
    #[arg(long)]
    pub(crate) record: bool,
}

/// What the broadcasts of a load are.
#[derive(Clone, Debug, Args)]
pub(crate) struct KindArgs {
    /// How the broadcasts are published: webrtc, or rtmp with AAC; a mix may have both
    #[arg(long, default_value = "webrtc", value_name = "PROTOCOL")]
    pub(crate) publisher: Ingest,
    /// RTMP destinations of each broadcast that take its video as it is
    #[arg(long, default_value_t = 1)]
    pub(crate) destinations: u32,
    /// Renditions of each broadcast, one destination for each, such as 720p,360p:700 (height and kbit/s)
    #[arg(long, value_delimiter = ',', value_parser = rendition)]
    pub(crate) renditions: Vec<RenditionSpec>,
    /// Viewers of each broadcast, by WHEP
    #[arg(long, default_value_t = 0)]
    pub(crate) viewers: u32,
    /// Destinations say in their answer to `connect` that they take Opus, so that audio is passed on
    #[arg(long)]
    pub(crate) opus: bool,
    /// TOML file with kinds of broadcasts and their shares, in place of one kind
    #[arg(long, value_name = "FILE", conflicts_with_all = ["destinations", "renditions", "viewers", "hls_pollers"])]
    pub(crate) mix: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) beside: BesideArgs,
    #[command(flatten)]
    pub(crate) video: VideoArgs,
}

impl KindArgs {
    pub(crate) fn mix(&self) -> Result<Mix, BenchError> {
        let kind = ShowKind {
            renditions: self.renditions.clone(),
            viewers: self.viewers,
            opus: self.opus,
            hls_pollers: self.beside.hls_pollers,
            is_recorded: self.beside.record,
            publisher: self.publisher,
            ..self.video.kind(self.destinations)
        };
        match &self.mix {
            Some(path) => Mix::read(path, &kind),
            None => Ok(Mix::of(kind)),
        }
    }
}
