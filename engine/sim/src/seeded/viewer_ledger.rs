//! What the shard sends to one viewer, judged where it leaves the shard by the RTP headers, which SRTP does not hide:
//! sequence numbers without hole or repetition, a time that never steps back, pictures that end before the next begins,
//! a pace, and a bound on what is sent again. A network that loses comes behind this.

use std::time::Instant;

use shardcast_core::simulation_hook::{
    VIEWER_BURST_BYTES, VIEWER_LIVE_BPS, VIEWER_REPEATED_BURST_BYTES,
    VIEWER_REPEATED_BYTES_PER_SECOND,
};

use crate::viewer_client::is_rtcp;

/// Payload types of H.264 and of its retransmissions, as the shard offers them, and of Opus.
const VIDEO: [u8; 4] = [108, 127, 123, 114];
const REPEATED: [u8; 4] = [109, 121, 119, 115];
const OPUS: u8 = 111;
/// Without fragmentation every path carries so much.
const DATAGRAM_BYTES_MAX: usize = 1_200;
/// RTP header, its extensions and the tag of SRTP: at most so much of a datagram is not payload.
const HEADERS_BYTES_MAX: usize = 12 + 12 + 16;
/// Packets of padding behind one picture, while it is tried what a network carries.
const PADDING_BYTES_MAX: usize = 32 * DATAGRAM_BYTES_MAX;
/// What a datagram to a viewer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// A packet of video or audio, counted from 0 on in its stream.
    Video(u64),
    Audio(u64),
    /// Video that is sent again.
    Repeated(u64),
    /// ICE, DTLS or RTCP.
    Other,
}

/// One stream of RTP packets.
#[derive(Debug)]
struct Stream {
    ssrc: u32,
    payload_type: u8,
    /// Of the first packet.
    first: u16,
    /// Of the packet that comes next.
    next: u16,
    /// Of the last packet: its RTP time, and whether it had the marker.
    time: u32,
    marker: bool,
    count: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct ViewerLedger {
    video: Option<Stream>,
    audio: Option<Stream>,
    repeated: Option<Stream>,
    /// When each packet of video left.
    pub(super) video_at: Vec<Instant>,
    /// Video that may still be sent at once, in bytes.
    credit: i64,
    credit_at: Option<Instant>,
    /// What may be sent again, in bytes.
    repeats: f64,
    repeats_at: Option<Instant>,
    /// Packets of video that had left when that was used up last.
    used_up: Option<usize>,
    may_be_padded: bool,
}

struct Header {
    marker: bool,
    payload_type: u8,
    sequence: u16,
    time: u32,
    ssrc: u32,
}

impl Header {
    /// RFC 3550, 5.1.
    fn read(datagram: &[u8]) -> Option<Self> {
        let head = datagram.first_chunk::<12>()?;
        let [first, second, s0, s1, t0, t1, t2, t3, ..] = *head;
        let is_rtp = first >> 6 == 2 && !is_rtcp(datagram);
        is_rtp.then_some(Self {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([s0, s1]),
            time: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
        })
    }
}

impl Stream {
    /// Takes its next packet, and says which it is.
    fn take(stream: &mut Option<Self>, header: &Header) -> Result<u64, String> {
        let stream = stream.get_or_insert_with(|| Self {
            ssrc: header.ssrc,
            payload_type: header.payload_type,
            first: header.sequence,
            next: header.sequence,
            time: header.time,
            marker: true,
            count: 0,
        });
        if (header.ssrc, header.payload_type) != (stream.ssrc, stream.payload_type) {
            return Err("a stream goes on under another SSRC or payload type".to_owned());
        }
        if header.sequence != stream.next {
            let (next, got) = (stream.next, header.sequence);
            return Err(format!("packet {got} comes where {next} is next"));
        }
        stream.next = stream.next.wrapping_add(1);
        stream.count += 1;
        Ok(stream.count - 1)
    }

    fn steps_back(&self, time: u32) -> bool {
        time.wrapping_sub(self.time) > u32::MAX / 2
    }
}

impl ViewerLedger {
    /// `may_be_padded`: it may be tried what the viewer's network carries.
    pub(super) fn new(may_be_padded: bool) -> Self {
        Self {
            video: None,
            audio: None,
            repeated: None,
            video_at: Vec::new(),
            credit: 0,
            credit_at: None,
            repeats: f64::from(VIEWER_REPEATED_BURST_BYTES),
            repeats_at: None,
            used_up: None,
            may_be_padded,
        }
    }

    /// Number of the first packet of video.
    pub(super) fn first_video(&self) -> Option<u16> {
        self.video.as_ref().map(|stream| stream.first)
    }

    /// Packets of audio.
    pub(super) fn audio_count(&self) -> u64 {
        self.audio.as_ref().map_or(0, |stream| stream.count)
    }

    /// Packets that were sent again.
    pub(super) fn repeated_count(&self) -> u64 {
        self.repeated.as_ref().map_or(0, |stream| stream.count)
    }

    /// The shard sends this.
    pub(super) fn sent(&mut self, now: Instant, datagram: &[u8]) -> Result<Sent, String> {
        let Some(header) = Header::read(datagram) else {
            return Ok(Sent::Other);
        };
        if datagram.len() > DATAGRAM_BYTES_MAX {
            return Err(format!("a datagram of {} bytes", datagram.len()));
        }
        let payload_type = header.payload_type;
        if VIDEO.contains(&payload_type) {
            let number = self.video(now, &header)?;
            self.pace(now, datagram.len().saturating_sub(HEADERS_BYTES_MAX))?;
            Ok(Sent::Video(number))
        } else if REPEATED.contains(&payload_type) {
            let number = Stream::take(&mut self.repeated, &header)?;
            self.repeat(now, datagram.len())?;
            Ok(Sent::Repeated(number))
        } else if payload_type == OPUS {
            self.audio(&header)
        } else {
            Err(format!("RTP of the unknown payload type {payload_type}"))
        }
    }

    fn video(&mut self, now: Instant, header: &Header) -> Result<u64, String> {
        let number = Stream::take(&mut self.video, header)?;
        let stream = self.video.as_mut().unwrap();
        if number == 0 {
            // RFC 3711, 3.3.1: the client could miss the first rollover.
            if header.sequence >= 0x8000 {
                return Err("video begins in the upper half of the numbers".to_owned());
            }
        } else if stream.steps_back(header.time) {
            return Err(format!("the RTP time of video packet {number} steps back"));
        } else if stream.marker == (header.time == stream.time) {
            let ends = if stream.marker { "ended" } else { "not ended" };
            return Err(format!(
                "video packet {number} is of time {} behind {ends} {}",
                header.time, stream.time
            ));
        }
        (stream.time, stream.marker) = (header.time, header.marker);
        self.video_at.push(now);
        Ok(number)
    }

    fn audio(&mut self, header: &Header) -> Result<Sent, String> {
        let number = Stream::take(&mut self.audio, header)?;
        let stream = self.audio.as_mut().unwrap();
        if number > 0 && (stream.steps_back(header.time) || header.time == stream.time) {
            return Err(format!("the RTP time of audio packet {number} steps back"));
        }
        stream.time = header.time;
        Ok(Sent::Audio(number))
    }

    /// Video is spread, so that no queue on the way overflows.
    fn pace(&mut self, now: Instant, bytes: usize) -> Result<(), String> {
        let padding = if self.may_be_padded {
            PADDING_BYTES_MAX
        } else {
            0
        };
        let most = i64::from(VIEWER_BURST_BYTES) + (DATAGRAM_BYTES_MAX + padding) as i64;
        let since = self.credit_at.replace(now).map(|at| now - at);
        let earned =
            since.map(|since| since.as_micros() as i64 * VIEWER_LIVE_BPS as i64 / 8_000_000);
        self.credit = earned.map_or(most, |earned| (self.credit + earned).min(most));
        self.credit -= bytes as i64;
        if self.credit < 0 {
            return Err("more video at once than the pace allows".to_owned());
        }
        Ok(())
    }

    /// What is sent again has a bucket. When that is empty, what is kept is forgotten: only what was sent since then
    /// can be sent again, and once more it is looked whether it may.
    fn repeat(&mut self, now: Instant, bytes: usize) -> Result<(), String> {
        let since = self.repeats_at.replace(now).unwrap_or(now);
        let earned = (now - since).as_secs_f64() * f64::from(VIEWER_REPEATED_BYTES_PER_SECOND);
        self.repeats = (self.repeats + earned).min(f64::from(VIEWER_REPEATED_BURST_BYTES));
        if self.repeats > 0.0 {
            self.repeats -= bytes as f64;
            return Ok(());
        }
        let sent = self.video_at.len();
        if self.used_up.replace(sent) == Some(sent) {
            return Err("more is sent again than is allowed".to_owned());
        }
        Ok(())
    }
}
