//! TCP connections: opened and closed for the shard, read by a task each, written from the drive
//! loop with gathering writes.
//!
//! ```text
//!   shard ── Write ──► queue ── sendmsg, at the end of each drive ──► kernel
//!                        └─ kernel full: the task waits for room, then writes on
//! ```
//!
//! A connection that cannot be written never holds up the others: its slices wait in its own
//! queue, which the shard bounds.

mod queue;
mod task;
mod words;

use std::{cell::RefCell, collections::HashMap, io, os::fd::AsRawFd, rc::Rc, task::Waker};

use bytes::Bytes;
use glommio::net::TcpStream;
use shardcast_core::io::{Close, ConnId};

use self::queue::WriteQueue;
pub(crate) use self::task::{adopt, spawn};
use crate::limits::{
    TCP_CONNECTIONS_MAX, TCP_QUEUE_BYTES_MAX, TCP_QUEUE_SLICES_MAX, TCP_READ_BYTES,
};

type SharedConnection = Rc<RefCell<Connection>>;

/// What is shared between the drive loop, which writes, and the connection's task.
struct Connection {
    id: ConnId,
    /// Present between connecting and the end.
    stream: Option<TcpStream>,
    queue: WriteQueue,
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

    /// Gives the kernel what it takes; how many bytes that was.
    fn write(&mut self) -> io::Result<usize> {
        let Some(stream) = &self.stream else {
            return Ok(0);
        };
        let (accepted, result) = self.queue.write_to(stream.as_raw_fd());
        match result {
            Ok(()) => Ok(accepted),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                self.wake();
                Ok(accepted)
            }
            Err(error) => Err(error),
        }
    }
}

/// What a flush has done to one connection.
pub(crate) struct Flushed {
    pub(crate) conn: ConnId,
    pub(crate) result: Result<usize, String>,
}

/// All connections of a shard.
pub(crate) struct ConnectionTable {
    open: HashMap<ConnId, SharedConnection>,
    dirty: Vec<SharedConnection>,
    /// Connections that exist, those included that the shard has closed already.
    alive: Rc<()>,
    /// One for all: a read is handed to the shard before anything else runs.
    read_buffer: Rc<RefCell<Box<[u8]>>>,
}

impl ConnectionTable {
    pub(crate) fn new() -> Self {
        Self {
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

    /// Enters a connection that is about to be made; the words when there are too many.
    fn insert(&mut self, id: ConnId) -> Result<SharedConnection, String> {
        if self.alive() >= TCP_CONNECTIONS_MAX {
            return Err(format!(
                "this shard has {TCP_CONNECTIONS_MAX} connections already"
            ));
        }
        let connection = Rc::new(RefCell::new(Connection {
            id,
            stream: None,
            queue: WriteQueue::default(),
            blocked: false,
            dirty: false,
            closing: None,
            waker: None,
        }));
        self.open.insert(id, Rc::clone(&connection));
        Ok(connection)
    }

    /// Queues slices; they leave with the next [`Self::flush`]. The words when the queue is over
    /// its bound, and the connection given up.
    pub(crate) fn write(&mut self, id: ConnId, slices: Vec<Bytes>) -> Result<(), String> {
        let Some(shared) = self.open.get(&id) else {
            return Ok(());
        };
        let mut connection = shared.borrow_mut();
        connection.queue.push(slices);
        let over = if connection.queue.bytes() > TCP_QUEUE_BYTES_MAX {
            format!("more than {TCP_QUEUE_BYTES_MAX} bytes were waiting")
        } else if connection.queue.slices() > TCP_QUEUE_SLICES_MAX {
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
            return Err(over);
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
        if writable && !connection.dirty && !connection.queue.is_empty() {
            connection.dirty = true;
            self.dirty.push(Rc::clone(shared));
        }
    }

    /// The shard wants no more of this connection.
    pub(crate) fn close(&mut self, id: ConnId, how: Close) {
        if let Some(shared) = self.open.remove(&id) {
            let mut connection = shared.borrow_mut();
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
                        result: Err(words::broken(&error)),
                    });
                }
            }
        }
    }
}
