//! The data channel of a client, as a page uses it.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use str0m::{
    Event, Rtc,
    channel::{ChannelConfig, ChannelId},
};

/// Chunks of Ant Media's SDK, without the token in front.
const CHUNK_BYTES: usize = 16_000;

/// What a client sends and receives over its data channel.
#[derive(Default)]
pub struct Messages {
    open: Option<ChannelId>,
    unsent: VecDeque<(bool, Vec<u8>)>,
    /// Streams that are to be used without a channel, and those that have been begun.
    flood: std::ops::Range<u16>,
    flooded: Vec<ChannelId>,
    /// Whole, in the order in which they came: whether it is binary, and its bytes.
    pub received: Vec<(bool, Vec<u8>)>,
    /// When the last one came.
    pub last: Option<Instant>,
}

impl Messages {
    /// Sends a text as soon as the channel takes it.
    pub fn text(&mut self, text: &str) {
        self.unsent.push_back((false, text.into()));
    }

    /// Sends bytes as soon as the channel takes them.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.unsent.push_back((true, bytes.into()));
    }

    /// Sends a large message as the SDK does: a header of token and length, then chunks.
    pub fn large(&mut self, token: i32, bytes: &[u8]) {
        let length = i32::try_from(bytes.len()).unwrap();
        let head = [token.to_le_bytes(), length.to_le_bytes()].concat();
        self.unsent.push_back((true, head));
        for chunk in bytes.chunks(CHUNK_BYTES) {
            let chunk = [&token.to_le_bytes(), chunk].concat();
            self.unsent.push_back((true, chunk));
        }
    }

    /// Sends a byte on each of these SCTP streams, without the message that opens a channel (RFC 8832).
    pub fn flood(&mut self, streams: std::ops::Range<u16>) {
        self.flood = streams;
    }

    /// Whether the channel stands.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The texts that have come.
    pub fn texts(&self) -> Vec<&str> {
        let texts = self.received.iter().filter(|(binary, _)| !binary);
        texts
            .map(|(_, text)| str::from_utf8(text).unwrap())
            .collect()
    }

    /// The large messages that have come whole, put together as the SDK does it.
    ///
    /// # Panics
    /// When chunks come without their header.
    pub fn large_received(&self) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        let mut under_way: HashMap<[u8; 4], (usize, Vec<u8>)> = HashMap::new();
        for (_, part) in self.received.iter().filter(|(binary, _)| *binary) {
            let (token, rest) = part.split_first_chunk().unwrap();
            let Some((length, bytes)) = under_way.get_mut(token) else {
                let length = u32::from_le_bytes(rest.try_into().expect("a header"));
                under_way.insert(*token, (length as usize, Vec::new()));
                continue;
            };
            bytes.extend_from_slice(rest);
            if bytes.len() == *length {
                whole.push(std::mem::take(bytes));
                under_way.remove(token);
            }
        }
        whole
    }

    pub(crate) fn take(&mut self, now: Instant, event: Event) {
        match event {
            Event::ChannelOpen(id, _) if !self.flooded.contains(&id) => self.open = Some(id),
            Event::ChannelClose(_) => self.open = None,
            Event::ChannelData(data) => {
                self.last = Some(now);
                self.received.push((data.binary, data.data));
            }
            _ => {}
        }
    }

    /// Writes what the channel takes; whether that was something.
    pub(crate) fn write(&mut self, rtc: &mut Rtc) -> bool {
        let before = self.unsent.len();
        while let Some((binary, message)) = self.unsent.front() {
            let channel = self.open.and_then(|id| rtc.channel(id));
            let Some(true) = channel.map(|mut it| it.write(*binary, message).unwrap()) else {
                break;
            };
            self.unsent.pop_front();
        }
        self.unsent.len() < before || self.write_flood(rtc)
    }

    fn write_flood(&mut self, rtc: &mut Rtc) -> bool {
        let begun = std::mem::take(&mut self.flood).map(|stream| {
            let config = ChannelConfig {
                negotiated: Some(stream),
                ..ChannelConfig::default()
            };
            rtc.direct_api().create_data_channel(config)
        });
        self.flooded.extend(begun);
        let before = self.flooded.len();
        self.flooded.retain(|id| {
            let channel = rtc.channel(*id);
            !channel.is_some_and(|mut it| it.write(true, b"x").unwrap())
        });
        self.flooded.len() < before
    }

    /// How long ago the last message came.
    pub fn quiet_for(&self, now: Instant) -> Duration {
        self.last.map_or(Duration::MAX, |last| now - last)
    }
}
