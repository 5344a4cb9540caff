//! `publish`: synthetic publishers for any server that speaks Ant Media's signalling.

use std::sync::Arc;

use clap::Args;
use shardcast_bench::{
    BenchError,
    publisher::{Publisher, PublisherOptions},
    test_clip::TestClip,
};

use super::output::wait;
use super::{Output, VideoArgs};
use crate::print;

#[derive(Debug, Args)]
pub(crate) struct Publish {
    /// Signalling address of the application
    #[arg(long, default_value = "ws://127.0.0.1:5080/StreamLick/websocket")]
    pub(crate) url: String,
    /// Number of publishers
    #[arg(long, default_value_t = 1)]
    pub(crate) streams: u32,
    /// Beginning of the stream ids; a number follows
    #[arg(long, default_value = "bench")]
    pub(crate) stream_prefix: String,
    /// End after this many seconds; without it, at Ctrl-C
    #[arg(long)]
    pub(crate) seconds: Option<u64>,
    /// Publish token
    #[arg(long)]
    pub(crate) token: Option<String>,
    /// Send no audio
    #[arg(long, conflicts_with = "no_video")]
    pub(crate) no_audio: bool,
    /// Send no video
    #[arg(long)]
    pub(crate) no_video: bool,
    #[command(flatten)]
    pub(crate) video: VideoArgs,
}

pub(super) async fn run(options: Publish, output: &Output) -> Result<bool, BenchError> {
    let clip = TestClip::load(options.video.format())?;
    let mut publishers = Vec::new();
    for number in 0..options.streams {
        let stream_id = format!("{}{number}", options.stream_prefix);
        let publisher = PublisherOptions {
            number,
            token: options.token.clone(),
            audio: !options.no_audio,
            video: !options.no_video,
            pace: options.video.pace(),
            ..PublisherOptions::new(options.url.clone(), stream_id)
        };
        publishers.push(Publisher::start(Arc::clone(&clip), publisher));
    }
    wait(options.seconds).await;
    let mut reports = Vec::new();
    for publisher in publishers {
        reports.push(publisher.stop().await);
    }
    print::publishers(&reports, output)?;
    Ok(reports.iter().all(|report| report.errors.is_empty()))
}
