//! A load of many broadcasts at once: what it consists of, its start, its measurement, its end.
//!
//! Each broadcast has one publisher, destinations that take its video as it is, renditions, viewers, and players
//! that poll its HLS; it may be recorded. Destination number `d` of every broadcast is at sink number `d`, with the
//! id of the broadcast as its stream key, so that a server which can only be configured to forward to addresses
//! serves the same load.

mod audience;
mod door;
mod generator;
mod hls;
mod mix;
mod recordings;
mod window;

use std::{cell::RefCell, collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::time::sleep;

pub use door::Door;
pub use generator::{BUSY_PERCENT, GeneratorFigures};
pub use hls::HlsFigures;
pub use mix::{Ingest, Mix, ShowKind, rendition};
pub(crate) use window::generator_threads;
pub use window::{IngestDelay, Processes, Window};

use audience::Audience;
use hls::Crowd;

use crate::BenchError;
use crate::publisher::{Publisher, PublisherOptions, PublisherReport};
use crate::sink::{ConnectionReport, Sink, SinkOptions};
use crate::test_clip::{LOOP_SECONDS, TestClip, TestClipFormat};

/// Longest wait for the first frame of a destination and for the end of a stream.
pub(crate) const START_TIME_LIMIT: Duration = Duration::from_secs(30);
/// Time in which each frame has to arrive before the publishers stop.
const ARRIVAL: Duration = Duration::from_millis(300);
/// Longest distance of the starts of two publishers.
const STAGGER_MAX: Duration = Duration::from_millis(37);
/// A gap in the timestamps of a rendition above this is a lost frame: the slowest rendition has 15 frames
/// a second.
const RENDITION_GAP_MS: u32 = 140;
/// Share of its frame rate that a rendition has to reach.
const RENDITION_RATE: f64 = 0.97;

/// A running load. Dropping it ends it as a crash of all browsers would.
#[derive(Debug)]
pub struct Load {
    sinks: Vec<Sink>,
    renditions: Sink,
    shows: Vec<Show>,
    crowd: Option<Crowd>,
    /// Address of the server's REST, if it is a Shardcast.
    http: Option<SocketAddr>,
}

#[derive(Debug)]
struct Show {
    id: String,
    kind: ShowKind,
    publisher: Publisher,
    audience: Audience,
}

/// Test clips that were loaded, for all loads of one command.
#[derive(Debug, Default)]
pub struct Clips(RefCell<HashMap<TestClipFormat, Arc<TestClip>>>);

impl Clips {
    /// The clip of this format.
    ///
    /// # Errors
    /// As [`TestClip::load`].
    pub fn get(&self, format: TestClipFormat) -> Result<Arc<TestClip>, BenchError> {
        if let Some(clip) = self.0.borrow().get(&format) {
            return Ok(Arc::clone(clip));
        }
        let clip = TestClip::load(format)?;
        self.0.borrow_mut().insert(format, Arc::clone(&clip));
        Ok(clip)
    }
}

/// What a load left when it was stopped.
#[derive(Clone, Debug, Default)]
pub struct LoadEnd {
    /// Video frames that all publishers sent.
    pub frames_sent: u64,
    /// Frames that were sent and not received, by all destinations together; of the last 300 ms only
    /// those between two that were. Of viewers the frames between two that they saw.
    pub frames_lost: u64,
    /// All other defects at the destinations, of viewers, HLS pollers and recordings, as text.
    pub faults: Vec<String>,
    /// Bytes of all recordings that were on the disk.
    pub recorded_bytes: u64,
    /// The reports of the publishers.
    pub publishers: Vec<PublisherReport>,
    /// The reports of all connections of the destinations.
    pub streams: Vec<ConnectionReport>,
}

impl Load {
    /// Starts so many broadcasts of a mix, and waits until each destination has received a video frame.
    ///
    /// # Errors
    /// When something does not start, or the server refuses it.
    pub async fn start(
        door: &Door<'_>,
        mix: &Mix,
        broadcasts: u32,
        sinks: Vec<Sink>,
        clips: &Clips,
    ) -> Result<Self, BenchError> {
        let mut load = Self {
            sinks,
            renditions: Sink::start()?,
            shows: Vec::new(),
            crowd: None,
            http: door.http().ok(),
        };
        // Keyframes come once in a loop: the starts are spread over it, as those of browsers are.
        let spread = Duration::from_secs(u64::from(LOOP_SECONDS)) / broadcasts.max(1);
        for (number, kind) in (0..broadcasts).zip(mix.kinds()) {
            let show = load.publish(door, number, kind, clips).await?;
            load.shows.push(show);
            sleep(spread.min(STAGGER_MAX)).await;
        }
        load.wait_first_frames().await?;
        for show in &mut load.shows {
            show.audience = Audience::start(door, &show.id, show.kind.viewers).await?;
        }
        let pollers: Vec<u32> = load.shows.iter().map(|it| it.kind.hls_pollers).collect();
        load.add_hls_pollers(&pollers).await?;
        Ok(load)
    }

    /// Sinks for the destinations of a mix: one for each destination of its largest broadcast.
    ///
    /// # Errors
    /// When no port is free.
    pub fn sinks(mix: &Mix) -> Result<Vec<Sink>, BenchError> {
        (0..mix.destinations_max())
            .map(|_| {
                Sink::with(SinkOptions {
                    takes_opus: mix.has_opus(),
                    ..SinkOptions::default()
                })
            })
            .collect()
    }

    async fn publish(
        &self,
        door: &Door<'_>,
        number: u32,
        kind: &ShowKind,
        clips: &Clips,
    ) -> Result<Show, BenchError> {
        kind.check()?;
        let id = format!("live{number}");
        let clip = clips.get(kind.format)?;
        let urls = self.sinks.iter().map(|sink| sink.url(&id));
        let urls: Vec<String> = urls.take(kind.destinations as usize).collect();
        let renditions = kind.renditions.iter().zip(0..);
        let renditions: Vec<_> = renditions
            .map(|(spec, n)| (self.renditions.url(&rendition_key(&id, n)), spec))
            .collect();
        door.prepare(&id, kind.is_recorded, &urls, &renditions)
            .await?;
        let options = PublisherOptions {
            number,
            audio: kind.audio,
            pace: kind.pace,
            ..PublisherOptions::new(door.publish_url(&id, kind.publisher).await?, &id)
        };
        Ok(Show {
            publisher: Publisher::start(clip, options),
            audience: Audience::default(),
            kind: kind.clone(),
            id,
        })
    }

    async fn wait_first_frames(&self) -> Result<(), BenchError> {
        for show in &self.shows {
            show.publisher.published(START_TIME_LIMIT).await?;
        }
        for show in &self.shows {
            for sink in self.sinks.iter().take(show.kind.destinations as usize) {
                sink.frames(&show.id, 1, START_TIME_LIMIT).await?;
            }
            for n in 0..show.kind.renditions.len() {
                let key = rendition_key(&show.id, n);
                self.renditions.frames(&key, 1, START_TIME_LIMIT).await?;
            }
        }
        Ok(())
    }

    /// Broadcasts that were started.
    pub fn broadcasts(&self) -> u32 {
        u32::try_from(self.shows.len()).unwrap_or(u32::MAX)
    }

    /// Ids of the broadcasts.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.shows.iter().map(|show| show.id.as_str())
    }

    /// Connections that all destinations and renditions have.
    pub fn connections(&self) -> u32 {
        let of = |show: &Show| show.kind.destinations + show.kind.renditions.len() as u32;
        self.shows.iter().map(of).sum()
    }

    /// Viewers of all broadcasts.
    pub fn viewers(&self) -> u32 {
        self.shows.iter().map(|show| show.kind.viewers).sum()
    }

    /// Players that poll HLS, of all broadcasts.
    pub fn hls_pollers(&self) -> u32 {
        self.crowd.as_ref().map_or(0, Crowd::count)
    }

    /// Milliseconds from the publisher's send call to the last packet of each frame at a viewer, since the last call.
    pub(crate) fn take_viewer_delays_ms(&self) -> Vec<f64> {
        let shows = self.shows.iter();
        shows
            .flat_map(|show| show.audience.take_delays_ms())
            .collect()
    }

    /// Milliseconds from the publisher's send call to the destination's read call, of the broadcasts that are
    /// published in this way; and how many they are.
    pub(crate) fn delays_ms_of(&self, ingest: Ingest) -> (u32, Vec<f64>) {
        let (mut broadcasts, mut delays_ms) = (0, Vec::new());
        for show in self.shows.iter().filter(|it| it.kind.publisher == ingest) {
            broadcasts += 1;
            for sink in self.sinks.iter().take(show.kind.destinations as usize) {
                delays_ms.extend(sink.delays_ms_of(&show.id));
            }
        }
        (broadcasts, delays_ms)
    }

    /// The publishers.
    pub(crate) fn publishers(&self) -> impl Iterator<Item = &Publisher> {
        self.shows.iter().map(|show| &show.publisher)
    }

    /// The sinks of the destinations.
    pub(crate) fn destination_sinks(&self) -> &[Sink] {
        &self.sinks
    }

    /// The reports of the destinations of each broadcast.
    pub(crate) fn streams_of_shows(&self) -> Vec<Vec<ConnectionReport>> {
        let of = |show: &Show| {
            let sinks = self.sinks.iter().take(show.kind.destinations as usize);
            sinks.filter_map(|sink| sink.stream(&show.id)).collect()
        };
        self.shows.iter().map(of).collect()
    }

    /// Stops all publishers as the SDK does, and waits for the ends of all streams.
    ///
    /// Frames are judged before: from the end of a publisher's media until the server has processed its
    /// `stop`, a broadcast sends filler, which contains an old keyframe.
    pub async fn stop(self) -> LoadEnd {
        // A frame that leaves together with `stop` may come after it.
        let sent: Vec<u64> = self
            .publishers()
            .map(|publisher| publisher.report().frames_sent)
            .collect();
        sleep(ARRIVAL).await;
        let mut end = LoadEnd::default();
        for (show, sent) in self.shows.iter().zip(sent) {
            self.judge(show, sent, &mut end);
        }
        self.judge_recordings(&mut end).await;
        // Before their playlists end.
        if let Some(crowd) = self.crowd {
            end.faults.extend(crowd.fault());
        }
        let mut stopped = Vec::new();
        for show in self.shows {
            show.audience.stop(&show.id, &mut end).await;
            end.publishers.push(show.publisher.stop().await);
            stopped.push((show.id, show.kind));
        }
        for (id, kind) in &stopped {
            for sink in self.sinks.iter().take(kind.destinations as usize) {
                end.ended(ended(sink, id).await);
            }
            for n in 0..kind.renditions.len() {
                end.ended(ended(&self.renditions, &rendition_key(id, n)).await);
            }
        }
        end.frames_sent = end.publishers.iter().map(|one| one.frames_sent).sum();
        end
    }

    fn judge(&self, show: &Show, sent: u64, end: &mut LoadEnd) {
        for sink in self.sinks.iter().take(show.kind.destinations as usize) {
            let streams = sink.streams(&show.id);
            end.frames_lost += lost(&streams, sent);
            end.judge(&streams);
        }
        for (n, spec) in show.kind.renditions.iter().enumerate() {
            let streams = self.renditions.streams(&rendition_key(&show.id, n));
            let wanted = f64::from(spec.frames_per_second) * RENDITION_RATE;
            end.faults
                .extend(streams.iter().filter_map(|s| slow(s, wanted)));
            end.judge(&streams);
        }
    }
}

impl LoadEnd {
    fn judge(&mut self, streams: &[ConnectionReport]) {
        for stream in streams {
            let key = &stream.stream_key;
            let faults = stream.faults();
            self.faults
                .extend(faults.iter().map(|fault| format!("{key}: {fault}")));
        }
    }

    fn ended(&mut self, streams: Vec<ConnectionReport>) {
        for stream in streams {
            if !stream.ended_cleanly() {
                let key = &stream.stream_key;
                self.faults
                    .push(format!("{key}: ended by {:?}", stream.ended));
            }
            self.streams.push(stream);
        }
    }
}

fn rendition_key(id: &str, number: usize) -> String {
    format!("{id}-r{number}")
}

/// The connections with this key, when the newest has ended. A stream that does not end in time is
/// reported as it is.
async fn ended(sink: &Sink, key: &str) -> Vec<ConnectionReport> {
    let _ = sink
        .wait(key, "end", START_TIME_LIMIT, |s| s.ended.is_some())
        .await;
    sink.streams(key)
}

/// Frame numbers missing inside the connections of one destination, and of the first `sent` frames
/// those behind the last one received.
fn lost(streams: &[ConnectionReport], sent: u64) -> u64 {
    let inside: u64 = streams.iter().map(|stream| stream.frames_missing).sum();
    let last = streams.last().and_then(|stream| stream.last_stamp);
    let received = last.map_or(0, |stamp| u64::from(stamp) + 1);
    inside + sent.saturating_sub(received)
}

/// Why a rendition is not what was asked for: its frames have no stamps, so their distances tell.
fn slow(stream: &ConnectionReport, wanted: f64) -> Option<String> {
    let key = &stream.stream_key;
    let rate = stream.video.frames_per_second.unwrap_or_default();
    if stream.video_gap_ms_max > RENDITION_GAP_MS {
        return Some(format!("{key}: a gap of {} ms", stream.video_gap_ms_max));
    }
    (rate < wanted).then(|| format!("{key}: {rate:.1} frames a second"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_behind_the_last_one_are_lost_too() {
        let stream = |last, missing| ConnectionReport {
            last_stamp: last,
            frames_missing: missing,
            ..ConnectionReport::default()
        };
        assert_eq!(lost(&[stream(Some(99), 0)], 100), 0);
        assert_eq!(lost(&[stream(Some(89), 2)], 100), 12);
        assert_eq!(lost(&[], 100), 100);
        // Frames that left while the publishers were being stopped.
        assert_eq!(lost(&[stream(Some(104), 0)], 100), 0);
    }
}
