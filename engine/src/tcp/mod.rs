//! TCP connections: opened and closed for the shard, read by a task each, written from the drive
//! loop with gathering writes.
//!
//! ```text
//!   shard ── Write ──► queue ── sendmsg, at the end of each drive ──► kernel
//!                        └─ kernel full: the task waits for room, then writes on
//! ```
//!
//! Where the shard wants TLS, [`tls`] stands between the slices and the queue.
//!
//! A connection that cannot be written never holds up the others: its slices wait in its own
//! queue, which the shard bounds.

mod info;
mod queue;
mod task;
mod tls;
pub(crate) mod trust;
mod words;

use std::{
    cell::RefCell, collections::HashMap, io, os::fd::AsRawFd, rc::Rc, sync::Arc, task::Waker,
};

use bytes::Bytes;
use glommio::net::TcpStream;
use rustls::ClientConfig;
use shardcast_core::io::{Close, ConnId, TcpInfo};

pub(crate) use self::task::{adopt, spawn};
use self::{queue::WriteQueue, tls::Tls};
use crate::limits::{
    TCP_CONNECTIONS_MAX, TCP_QUEUE_BYTES_MAX, TCP_QUEUE_SLICES_MAX, TCP_READ_BYTES,
};

type SharedConnection = Rc<RefCell<Connection>>;

/// What is shared between the drive loop, which writes, and the connection's task.
struct Connection {
    id: ConnId,
    /// Present between connecting and the end.
    stream: Option<TcpStream>,
    /// What goes on the wire.
    queue: WriteQueue,
    /// Where TLS is spoken; what waits then is in it.
    tls: Option<Box<Tls>>,
    /// The kernel took less than it was given; the task waits for room.
    blocked: bool,
    /// In the list of connections to be written.
    dirty: bool,
    /// The shard wants no more of it.
    closing: Option<Close>,
    waker: Option<Waker>,
}

impl Connection {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// What the shard has written and the kernel has not taken.
    fn waiting(&self) -> &WriteQueue {
        self.tls.as_ref().map_or(&self.queue, |tls| &tls.plain)
    }

    /// Whether nothing is left to be written.
    fn is_written(&self) -> bool {
        self.queue.is_empty() && self.tls.as_ref().is_none_or(|tls| tls.is_idle())
    }

    /// Gives the kernel what it takes; how many of the shard's bytes that was.
    fn write(&mut self) -> io::Result<usize> {
        let Some(stream) = &self.stream else {
            return Ok(0);
        };
        let socket = stream.as_raw_fd();
        let mut accepted = 0;
        loop {
            if let Some(tls) = &mut self.tls {
                tls.seal(&mut self.queue)?;
            }
            let (written, result) = self.queue.write_to(socket);
            accepted += self.taken(written);
            match result {
                Ok(()) if self.is_written() => return Ok(accepted),
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    self.wake();
                    return Ok(accepted);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How many of the shard's bytes have left with `written` bytes of the wire.
    fn taken(&mut self, written: usize) -> usize {
        match &mut self.tls {
            Some(tls) => tls.accepted(&self.queue),
            None => written,
        }
    }
}

/// Why a connection is over, other than by the shard's wish.
#[derive(Debug)]
pub(crate) struct Ended {
    /// In words.
    pub(crate) reason: String,
    /// Whether another attempt may go better without anybody changing something.
    pub(crate) heals: bool,
}

impl Ended {
    fn passing(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            heals: true,
        }
    }

    fn lasting(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            heals: false,
        }
    }
}

/// What a flush has done to one connection.
pub(crate) struct Flushed {
    pub(crate) conn: ConnId,
    pub(crate) result: Result<usize, Ended>,
}

/// All connections of a shard.
pub(crate) struct ConnectionTable {
    open: HashMap<ConnId, SharedConnection>,
    dirty: Vec<SharedConnection>,
    /// Connections that exist, those included that the shard has closed already.
    alive: Rc<()>,
    /// How TLS is spoken by this shard.
    tls_config: Arc<ClientConfig>,
    /// One for all: a read is handed to the shard before anything else runs.
    read_buffer: Rc<RefCell<Box<[u8]>>>,
}

impl ConnectionTable {
    pub(crate) fn new(tls_config: Arc<ClientConfig>) -> Self {
        Self {
            tls_config,
            open: HashMap::new(),
            dirty: Vec::new(),
            alive: Rc::new(()),
            read_buffer: Rc::new(RefCell::new(vec![0; TCP_READ_BYTES].into_boxed_slice())),
        }
    }

    /// Whether nothing is open and nothing is being closed.
    pub(crate) fn is_empty(&self) -> bool {
        self.alive() == 0
    }

    fn alive(&self) -> usize {
        Rc::strong_count(&self.alive) - 1
    }

    /// Enters a connection that is about to be made; an error when there are too many.
    fn insert(&mut self, id: ConnId, tls: Option<Box<Tls>>) -> Result<SharedConnection, Ended> {
        if self.alive() >= TCP_CONNECTIONS_MAX {
            return Err(Ended::passing(format!(
                "this shard has {TCP_CONNECTIONS_MAX} connections already"
            )));
        }
        let connection = Rc::new(RefCell::new(Connection {
            id,
            stream: None,
            queue: WriteQueue::default(),
            tls,
            blocked: false,
            dirty: false,
            closing: None,
            waker: None,
        }));
        self.open.insert(id, Rc::clone(&connection));
        Ok(connection)
    }

    /// Queues slices; they leave with the next [`Self::flush`]. An error when the queue is over
    /// its bound, and the connection given up.
    pub(crate) fn write(&mut self, id: ConnId, slices: Vec<Bytes>) -> Result<(), Ended> {
        let Some(shared) = self.open.get(&id) else {
            return Ok(());
        };
        let mut connection = shared.borrow_mut();
        match &mut connection.tls {
            Some(tls) => tls.plain.push(slices),
            None => connection.queue.push(slices),
        }
        let waiting = connection.waiting();
        let over = if waiting.bytes() > TCP_QUEUE_BYTES_MAX {
            format!("more than {TCP_QUEUE_BYTES_MAX} bytes were waiting")
        } else if waiting.slices() > TCP_QUEUE_SLICES_MAX {
            format!(
                "more than {TCP_QUEUE_SLICES_MAX} messages were waiting: the server asks for \
                 answers and does not read them"
            )
        } else {
            String::new()
        };
        if !over.is_empty() {
            drop(connection);
            self.close(id, Close::Abort);
            return Err(Ended::passing(over));
        }
        drop(connection);
        let shared = Rc::clone(shared);
        self.mark_dirty(&shared);
        Ok(())
    }

    /// The next flush is to write this connection, if it can be written.
    fn mark_dirty(&mut self, shared: &SharedConnection) {
        let mut connection = shared.borrow_mut();
        let writable = connection.stream.is_some() && !connection.blocked;
        if writable && !connection.dirty && !connection.is_written() {
            connection.dirty = true;
            self.dirty.push(Rc::clone(shared));
        }
    }

    /// What the kernel knows of this connection; `None` when it is not open.
    pub(crate) fn inspect(&self, id: ConnId) -> Option<TcpInfo> {
        let connection = self.open.get(&id)?.borrow();
        let info = info::read(connection.stream.as_ref()?);
        info.inspect_err(|error| tracing::debug!("TCP_INFO was refused: {error}"))
            .ok()
    }

    /// The shard wants no more of this connection.
    pub(crate) fn close(&mut self, id: ConnId, how: Close) {
        if let Some(shared) = self.open.remove(&id) {
            let mut connection = shared.borrow_mut();
            if let Some(stream) = connection.stream.as_ref().filter(|_| how == Close::Abort) {
                task::disconnect(stream);
            }
            connection.closing = Some(how);
            connection.wake();
        }
    }

    /// Writes all connections that have something new.
    pub(crate) fn flush(&mut self, flushed: &mut Vec<Flushed>) {
        for shared in std::mem::take(&mut self.dirty) {
            let mut connection = shared.borrow_mut();
            connection.dirty = false;
            // Nobody is told about a connection that is closed; its task sees to the rest.
            if connection.closing == Some(Close::Abort) || connection.blocked {
                continue;
            }
            let conn = connection.id;
            let result = connection.write();
            if connection.closing.is_some() {
                continue;
            }
            match result {
                Ok(0) => {}
                Ok(bytes) => flushed.push(Flushed {
                    conn,
                    result: Ok(bytes),
                }),
                Err(error) => {
                    drop(connection);
                    self.close(conn, Close::Abort);
                    flushed.push(Flushed {
                        conn,
                        result: Err(Ended::passing(words::broken(&error))),
                    });
                }
            }
        }
    }
}
