//! A load of many broadcasts at once: what it consists of, its start, its measurement, its end.
//!
//! Each broadcast has one publisher, destinations that take its video as it is, and renditions. Destination
//! number `d` of every broadcast is at sink number `d`, with the id of the broadcast as its stream key, so
//! that a server which can only be configured to forward to addresses serves the same load.

mod door;
mod generator;
mod mix;
mod window;

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use tokio::time::sleep;

pub use door::Door;
pub use generator::{BUSY_PERCENT, GeneratorFigures};
pub use mix::{Mix, ShowKind, rendition};
pub(crate) use window::generator_threads;
pub use window::{Processes, Window};

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
}

#[derive(Debug)]
struct Show {
    id: String,
    kind: ShowKind,
    publisher: Publisher,
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
    /// those between two that were.
    pub frames_lost: u64,
    /// All other defects at the destinations, as text.
    pub faults: Vec<String>,
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
        };
        // Keyframes come once in a loop: the starts are spread over it, as those of browsers are.
        let spread = Duration::from_secs(u64::from(LOOP_SECONDS)) / broadcasts.max(1);
        for (number, kind) in (0..broadcasts).zip(mix.kinds()) {
            let show = load.publish(door, number, kind, clips).await?;
            load.shows.push(show);
            sleep(spread.min(STAGGER_MAX)).await;
        }
        load.wait_first_frames().await?;
        Ok(load)
    }

    /// Sinks for the destinations of a mix: one for each destination of its largest broadcast.
    ///
    /// # Errors
    /// When no port is free.
    pub fn sinks(mix: &Mix) -> Result<Vec<Sink>, BenchError> {
        (0..mix.destinations_max())
            .map(|_| Sink::with(SinkOptions::default()))
            .collect()
    }

    async fn publish(
        &self,
        door: &Door<'_>,
        number: u32,
        kind: &ShowKind,
        clips: &Clips,
    ) -> Result<Show, BenchError> {
        let id = format!("live{number}");
        let clip = clips.get(kind.format)?;
        let urls = self.sinks.iter().map(|sink| sink.url(&id));
        let urls: Vec<String> = urls.take(kind.destinations as usize).collect();
        let renditions = kind.renditions.iter().zip(0..);
        let renditions: Vec<_> = renditions
            .map(|(spec, n)| (self.renditions.url(&rendition_key(&id, n)), spec))
            .collect();
        door.prepare(&id, &urls, &renditions).await?;
        let options = PublisherOptions {
            number,
            audio: kind.audio,
            pace: kind.pace,
            ..PublisherOptions::new(door.publish_url(&id), &id)
        };
        Ok(Show {
            publisher: Publisher::start(clip, options),
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
    pub async fn stop(self) -> LoadEnd {
        // A frame that leaves together with `stop` may come after it.
        let sent: Vec<u64> = self
            .publishers()
            .map(|publisher| publisher.report().frames_sent)
            .collect();
        sleep(ARRIVAL).await;
        let mut end = LoadEnd::default();
        let mut stopped = Vec::new();
        for show in self.shows {
            end.publishers.push(show.publisher.stop().await);
            stopped.push((show.id, show.kind));
        }
        for ((id, kind), sent) in stopped.iter().zip(sent) {
            for sink in self.sinks.iter().take(kind.destinations as usize) {
                let streams = ended(sink, id).await;
                end.frames_lost += lost(&streams, sent);
                end.take(streams);
            }
            for (n, spec) in kind.renditions.iter().enumerate() {
                let streams = ended(&self.renditions, &rendition_key(id, n)).await;
                let wanted = f64::from(spec.frames_per_second) * RENDITION_RATE;
                end.faults
                    .extend(streams.iter().filter_map(|s| slow(s, wanted)));
                end.take(streams);
            }
        }
        end.frames_sent = end.publishers.iter().map(|one| one.frames_sent).sum();
        end
    }
}

impl LoadEnd {
    fn take(&mut self, streams: Vec<ConnectionReport>) {
        for stream in streams {
            let key = &stream.stream_key;
            let faults = stream.faults();
            self.faults
                .extend(faults.iter().map(|fault| format!("{key}: {fault}")));
            if !stream.ended_cleanly() {
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
