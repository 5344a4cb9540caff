//! All connections of a sink, open and closed, and which of them were open at the same time.

use std::{
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::measure::{ConnectionReport, Ended, Measure};
use super::port::PortHandle;
use super::video::FrameLog;
use crate::clock;
use crate::limits::SINK_CONNECTIONS_MAX;

/// All connections of one sink, in the order of acceptance.
#[derive(Clone, Debug, Default)]
pub(super) struct Register(Arc<Mutex<Vec<Arc<Mutex<Measure>>>>>);

impl Register {
    /// Adds a new connection, and records which of the earlier ones are still open. `None` when
    /// there are [`SINK_CONNECTIONS_MAX`] already.
    pub(super) fn add(
        &self,
        local: SocketAddr,
        peer: SocketAddr,
        port: PortHandle,
        decodes_video: bool,
    ) -> Option<ConnectionEntry> {
        let mut all = lock(&self.0);
        if all.len() >= SINK_CONNECTIONS_MAX {
            return None;
        }
        // A client that closes one connection and opens the next arrives here before the sink has
        // read the end of the first one. The kernel knows of that end already, so it is asked.
        let open = Connected::now(local.port());
        let concurrent = (0..).zip(all.iter()).filter(|(_, other)| {
            let other = lock(other);
            other.is_open() && other.peer().is_some_and(|peer| open.holds(peer))
        });
        let concurrent: Vec<usize> = concurrent.map(|(number, _)| number).collect();
        let measure = Arc::new(Mutex::new(Measure::new(
            peer,
            concurrent,
            decodes_video,
            clock::now_us(),
        )));
        all.push(Arc::clone(&measure));
        Some(ConnectionEntry {
            measure,
            register: self.clone(),
            port,
            local,
            peer,
        })
    }

    pub(super) fn len(&self) -> usize {
        lock(&self.0).len()
    }

    pub(super) fn reports(&self) -> Vec<ConnectionReport> {
        let all = lock(&self.0).clone();
        all.iter().map(|measure| lock(measure).report()).collect()
    }

    /// The reports of the connections with this key.
    pub(super) fn reports_of(&self, stream_key: &str) -> Vec<ConnectionReport> {
        let all = lock(&self.0).clone();
        let of = |measure: &Arc<Mutex<Measure>>| {
            let measure = lock(measure);
            measure.has_key(stream_key).then(|| measure.report())
        };
        all.iter().filter_map(of).collect()
    }

    /// The video frames of each connection, in the same order.
    pub(super) fn logs(&self) -> Vec<FrameLog> {
        let all = lock(&self.0).clone();
        all.iter()
            .map(|measure| lock(measure).log().clone())
            .collect()
    }

    pub(super) fn delays_ms(&self) -> Vec<f64> {
        let all = lock(&self.0).clone();
        let mut delays_ms = Vec::new();
        for measure in all {
            delays_ms.extend_from_slice(lock(&measure).delays_ms());
        }
        delays_ms
    }

    /// Those of the connections with this key.
    pub(super) fn delays_ms_of(&self, stream_key: &str) -> Vec<f64> {
        let all = lock(&self.0).clone();
        let of = |measure: &Arc<Mutex<Measure>>| {
            let mut measure = lock(measure);
            let is_it = measure.has_key(stream_key);
            is_it.then(|| measure.delays_ms().clone())
        };
        all.iter().filter_map(of).flatten().collect()
    }

    pub(super) fn forget_delays(&self) {
        let all = lock(&self.0).clone();
        for measure in all {
            lock(&measure).delays_ms().clear();
        }
    }
}

/// The entry of one connection. Dropping it marks the connection as closed.
#[derive(Debug)]
pub(super) struct ConnectionEntry {
    measure: Arc<Mutex<Measure>>,
    register: Register,
    port: PortHandle,
    local: SocketAddr,
    peer: SocketAddr,
}

impl ConnectionEntry {
    pub(super) fn measure<T>(&self, change: impl FnOnce(&mut Measure) -> T) -> T {
        change(&mut lock(&self.measure))
    }

    pub(super) fn port(&self) -> &PortHandle {
        &self.port
    }

    /// Whether another connection is publishing with this key.
    pub(super) fn is_in_use(&self, stream_key: &str) -> bool {
        let all = lock(&self.register.0).clone();
        all.iter().any(|other| {
            !Arc::ptr_eq(other, &self.measure) && lock(other).is_publishing(stream_key)
        })
    }

    /// Whether the client's side is still open. Works while the sink does not read.
    pub(super) fn is_connected(&self) -> bool {
        Connected::now(self.local.port()).holds(self.peer)
    }
}

impl Drop for ConnectionEntry {
    fn drop(&mut self) {
        let now_us = clock::now_us();
        self.measure(|measure| {
            // A connection that has not ended is dropped only when the sink is closed or killed.
            measure.ended(Ended::by_sink("killed"));
            measure.closed(now_us);
        });
    }
}

/// Ports of the peers whose connections to one local port are established in both directions.
struct Connected(Vec<u16>);

impl Connected {
    /// Reads the kernel's tables (proc(5)); without them there are no connections.
    fn now(local_port: u16) -> Self {
        /// `TCP_ESTABLISHED` (include/net/tcp_states.h). A connection that the peer has closed is
        /// in `TCP_CLOSE_WAIT`.
        const ESTABLISHED: &str = "01";
        let mut ports = Vec::new();
        for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
            let table = fs::read_to_string(table).unwrap_or_default();
            ports.extend(table.lines().filter_map(|line| {
                let mut fields = line.split_whitespace().skip(1);
                let (local, remote) = (port(fields.next()?)?, port(fields.next()?)?);
                (local == local_port && fields.next()? == ESTABLISHED).then_some(remote)
            }));
        }
        Self(ports)
    }

    fn holds(&self, peer: SocketAddr) -> bool {
        self.0.contains(&peer.port())
    }
}

/// The port behind an address in hexadecimal.
fn port(address: &str) -> Option<u16> {
    u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok()
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
