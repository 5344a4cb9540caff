//! `watch`: viewers over WebRTC.

use std::time::Duration;

use clap::{Args, ValueEnum};
use shardcast_bench::{
    BenchError,
    test_clip::TestClip,
    viewer::ImpairmentOptions,
    watch::{WatchBy, WatchOptions, watch as measure},
};
use shardcast_link::RenditionSpec;

use super::{Output, ServerArgs, VideoArgs};
use crate::print;

/// How viewers ask for a broadcast.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum By {
    /// WHEP
    Whep,
    /// Ant Media's SDK
    Sdk,
}

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Numbers of viewers, all broadcasts together, such as 30,100,300; none is measured first
    #[arg(long, value_delimiter = ',', default_value = "30,100")]
    pub(crate) viewers: Vec<u32>,
    /// Broadcasts at the same time
    #[arg(long, default_value_t = 1)]
    pub(crate) broadcasts: u32,
    /// Length of each measurement in seconds
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    /// How viewers ask for a broadcast
    #[arg(long, value_enum, default_value_t = By::Whep)]
    pub(crate) by: By,
    /// Share of media packets that the network of each viewer loses, in percent, up to 50; what it loses is no failure
    #[arg(long, default_value_t = 0.0)]
    pub(crate) loss_percent: f64,
    /// Packets that it loses at once, on average
    #[arg(long, default_value_t = 1.0)]
    pub(crate) loss_burst: f64,
    /// Delay of what a viewer receives, in milliseconds
    #[arg(long, default_value_t = 0)]
    pub(crate) delay_ms: u64,
    /// Rate of the network of each viewer in kbit/s; unlimited without it
    #[arg(long)]
    pub(crate) rate_kbps: Option<u64>,
    /// Rate in the second third of each measurement, in kbit/s; with --by sdk it is told when viewers change rungs
    #[arg(long)]
    pub(crate) low_rate_kbps: Option<u64>,
    /// Viewers take datagrams one by one; the engine's core then does what a network card does that segments
    #[arg(long)]
    pub(crate) one_by_one: bool,
    /// Heights of the ladder of each broadcast, such as 480,360,240; without it there is none
    #[arg(long, value_delimiter = ',')]
    pub(crate) ladder: Vec<u32>,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) video: VideoArgs,
}

impl Watch {
    fn load(&self) -> WatchOptions {
        let heights = self.ladder.iter();
        WatchOptions {
            sizes: self.viewers.clone(),
            broadcasts: self.broadcasts,
            pace: self.video.pace(),
            duration: Duration::from_secs(self.seconds),
            by: match self.by {
                By::Whep => WatchBy::Whep,
                By::Sdk => WatchBy::Sdk,
            },
            impairment: ImpairmentOptions {
                loss_percent: self.loss_percent,
                burst: self.loss_burst,
                delay: Duration::from_millis(self.delay_ms),
                rate_bps: self.rate_kbps.map(|kbps| kbps.saturating_mul(1_000)),
                seed: 0,
            },
            one_by_one: self.one_by_one,
            low_bps: self.low_rate_kbps.map(|kbps| kbps.saturating_mul(1_000)),
            ladder: heights.map(|it| RenditionSpec::of_height(*it)).collect(),
        }
    }
}

pub(super) async fn run(options: &Watch, output: &Output) -> Result<bool, BenchError> {
    let load = options.load();
    load.check()?;
    let clip = TestClip::load(options.video.format())?;
    let (harness, _pinned) = options.server.setup().start().await?;
    let report = measure(&harness, &clip, &load).await?;
    print::watch(&report, output)?;
    Ok(report.destination_frames_missing == 0 && report.faults.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use shardcast_bench::publisher::Pace;

    use crate::cli::{Cli, Command};

    #[test]
    fn frames_have_varying_distances_where_that_is_asked_for() {
        for (options, pace) in [
            (vec!["--varying-fps"], Pace::Varying),
            (vec![], Pace::Constant),
        ] {
            let words = ["shardcast-bench", "watch"].into_iter().chain(options);
            let Command::Watch(watch) = Cli::parse_from(words).command else {
                panic!("another command than watch");
            };
            assert_eq!(watch.load().pace, pace);
        }
    }
}
