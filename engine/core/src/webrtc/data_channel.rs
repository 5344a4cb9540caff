//! The data channel of a session (RFC 8831): one, whichever side opens it. Others are closed.

use std::time::Instant;

use str0m::{Event, Rtc, channel::ChannelId};

use crate::{
    bucket::Bucket,
    limits::{DATA_BUFFERED_BYTES_MAX, DATA_DATAGRAMS},
};

/// What happens to the data channel of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DataEvent {
    Opened,
    /// A message of the client; text where it is not `binary`.
    Received {
        binary: bool,
        payload: Vec<u8>,
    },
    Closed,
}

/// What became of a message to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    Taken,
    /// The client has to take what it was sent before; a datagram of its own comes with that.
    Full,
    /// There is no open channel.
    Gone,
}

/// Whether [`DataChannel::event`] takes it.
pub(super) fn is_of_channel(event: &Event) -> bool {
    matches!(
        event,
        Event::ChannelOpen(..) | Event::ChannelData(_) | Event::ChannelClose(_)
    )
}

#[derive(Debug)]
pub(super) struct DataChannel {
    open: Option<ChannelId>,
    datagrams: Bucket,
}

impl DataChannel {
    pub(super) fn new() -> Self {
        Self {
            open: None,
            datagrams: Bucket::new(DATA_DATAGRAMS),
        }
    }

    /// Whether a datagram of a session whose DTLS stands is let through. One that carries data is left out
    /// where there are too many; SCTP sends it again, more slowly (RFC 9260, 7.2).
    pub(super) fn admits(&mut self, now: Instant, datagram: &[u8]) -> bool {
        let carries_data = match datagram.first() {
            // Application data of DTLS 1.2 (RFC 6347, 4.1) and records of DTLS 1.3 (RFC 9147, 4).
            Some(first) => *first == 23 || (32..64).contains(first),
            None => false,
        };
        !carries_data || self.datagrams.take(now, 1)
    }

    /// Takes what str0m tells of channels; `None` where it is not about the one that is used.
    pub(super) fn event(&mut self, rtc: &mut Rtc, event: Event) -> Option<DataEvent> {
        match event {
            Event::ChannelOpen(id, _) if self.open.is_none() => {
                self.open = Some(id);
                Some(DataEvent::Opened)
            }
            Event::ChannelOpen(id, _) => {
                rtc.direct_api().close_data_channel(id);
                None
            }
            Event::ChannelData(data) if Some(data.id) == self.open => Some(DataEvent::Received {
                binary: data.binary,
                payload: data.data,
            }),
            Event::ChannelClose(id) if Some(id) == self.open => {
                self.open = None;
                Some(DataEvent::Closed)
            }
            _ => None,
        }
    }

    pub(super) fn write(&self, rtc: &mut Rtc, binary: bool, payload: &[u8]) -> Written {
        let Some(mut channel) = self.open.and_then(|id| rtc.channel(id)) else {
            return Written::Gone;
        };
        if channel.buffered_amount() >= DATA_BUFFERED_BYTES_MAX {
            return Written::Full;
        }
        match channel.write(binary, payload) {
            Ok(true) => Written::Taken,
            Ok(false) => Written::Full,
            // Longer than the client takes: nothing that it would miss.
            Err(_) => Written::Taken,
        }
    }
}
