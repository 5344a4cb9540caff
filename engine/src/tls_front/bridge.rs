//! One connection: TLS on one side, the same bytes in plain on the other.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    os::fd::AsRawFd,
    sync::Arc,
};

use libc::pollfd;
use rustls::{ServerConfig, ServerConnection};

use crate::os::poll;

/// Plain bytes that wait for their reader; the encoder is not read meanwhile, so TCP slows it down. A keyframe of
/// 4 Mbit/s video.
const WAITING_BYTES_MAX: usize = 128 << 10;
/// Read at a time: a TLS record.
const CHUNK_BYTES: usize = 16 << 10;

/// See the module's documentation.
pub(super) struct Bridge {
    outer: TcpStream,
    inner: TcpStream,
    tls: ServerConnection,
    /// Plain bytes for the inner side.
    waiting: Vec<u8>,
    /// The encoder sends nothing more.
    has_ended: bool,
}

impl Bridge {
    pub(super) fn new(
        config: Arc<ServerConfig>,
        outer: TcpStream,
        inner: TcpStream,
    ) -> io::Result<Self> {
        for side in [&outer, &inner] {
            side.set_nonblocking(true)?;
            side.set_nodelay(true)?;
        }
        Ok(Self {
            outer,
            inner,
            tls: ServerConnection::new(config).map_err(io::Error::other)?,
            waiting: Vec::new(),
            has_ended: false,
        })
    }

    /// What it waits for.
    pub(super) fn waits(&self) -> [pollfd; 2] {
        let writes = self.tls.wants_write();
        [
            poll::either(self.outer.as_raw_fd(), self.reads_outer(), writes),
            poll::either(self.inner.as_raw_fd(), !writes, !self.waiting.is_empty()),
        ]
    }

    fn reads_outer(&self) -> bool {
        !self.has_ended && self.waiting.len() < WAITING_BYTES_MAX
    }

    /// Moves what can be moved; false when it is over.
    pub(super) fn run(&mut self) -> bool {
        match self.inwards().and_then(|()| self.outwards()) {
            Ok(goes_on) => goes_on,
            Err(error) => {
                // Strangers may do what they like.
                tracing::debug!("a TLS connection of an encoder has ended: {error}");
                false
            }
        }
    }

    /// From the encoder to the plain side.
    fn inwards(&mut self) -> io::Result<()> {
        while self.reads_outer() {
            match self.tls.read_tls(&mut self.outer) {
                Ok(0) => self.has_ended = true,
                Ok(_) => self.decrypt()?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        while !self.waiting.is_empty() {
            match self.inner.write(&self.waiting) {
                Ok(length) => drop(self.waiting.drain(..length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn decrypt(&mut self) -> io::Result<()> {
        if let Err(error) = self.tls.process_new_packets() {
            // The alert that says so.
            let _ = self.tls.write_tls(&mut self.outer);
            return Err(io::Error::other(error));
        }
        let mut chunk = [0; CHUNK_BYTES];
        loop {
            match self.tls.reader().read(&mut chunk) {
                // close_notify
                Ok(0) => self.has_ended = true,
                Ok(length) => {
                    self.waiting
                        .extend_from_slice(chunk.get(..length).unwrap_or_default());
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }

    /// From the plain side to the encoder; false when all is over.
    fn outwards(&mut self) -> io::Result<bool> {
        let mut chunk = [0; CHUNK_BYTES];
        let mut is_over = self.has_ended && self.waiting.is_empty();
        loop {
            let moved = if self.tls.wants_write() {
                self.tls.write_tls(&mut self.outer)
            } else if is_over {
                return Ok(false);
            } else {
                match self.inner.read(&mut chunk) {
                    Ok(0) => {
                        is_over = true;
                        self.tls.send_close_notify();
                        Ok(0)
                    }
                    Ok(length) => {
                        let plain = chunk.get(..length).unwrap_or_default();
                        self.tls.writer().write_all(plain).map(|()| length)
                    }
                    Err(error) => Err(error),
                }
            };
            match moved {
                Ok(_) => {}
                // What does not fit any more when all is over is lost.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(!is_over),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
