//! Slices that wait to be written, in order.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    os::fd::{BorrowedFd, RawFd},
};

use bytes::{Buf, Bytes};
use socket2::SockRef;

use crate::{limits::TCP_SLICES_PER_WRITE, work::Work};

/// What waits to be written on one connection.
#[derive(Debug, Default)]
pub(super) struct WriteQueue {
    slices: VecDeque<Bytes>,
    bytes: usize,
}

impl WriteQueue {
    pub(super) fn push(&mut self, slices: Vec<Bytes>) {
        for slice in slices {
            if !slice.is_empty() {
                self.bytes += slice.len();
                self.slices.push_back(slice);
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many slices wait.
    pub(super) fn slices(&self) -> usize {
        self.slices.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// What comes next; empty when nothing waits.
    pub(super) fn front(&self) -> &[u8] {
        self.slices.front().map_or(&[], |slice| slice.as_ref())
    }

    /// What comes next in one piece of at most `bytes_max`, without copying it.
    pub(super) fn gather(&self, bytes_max: usize) -> Vec<IoSlice<'_>> {
        let mut left = bytes_max;
        let mut parts = Vec::with_capacity(self.slices.len().min(TCP_SLICES_PER_WRITE));
        for slice in self.slices.iter().take(TCP_SLICES_PER_WRITE) {
            let length = slice.len().min(left);
            parts.push(IoSlice::new(slice.get(..length).unwrap_or_default()));
            left -= length;
            if left == 0 {
                break;
            }
        }
        parts
    }

    /// The first `bytes` have been written.
    pub(super) fn advance(&mut self, mut bytes: usize) {
        debug_assert!(bytes <= self.bytes, "more was written than waits");
        self.bytes = self.bytes.saturating_sub(bytes);
        while bytes > 0
            && let Some(front) = self.slices.front_mut()
        {
            if front.len() > bytes {
                front.advance(bytes);
                return;
            }
            bytes -= front.len();
            self.slices.pop_front();
        }
    }

    /// Writes until nothing waits or the socket takes no more (`WouldBlock`): the bytes written,
    /// and how it ended.
    pub(super) fn write_to(&mut self, socket: RawFd, work: &Work) -> (usize, io::Result<()>) {
        // SAFETY: the caller holds the stream that owns the descriptor.
        let socket = unsafe { BorrowedFd::borrow_raw(socket) };
        let socket = SockRef::from(&socket);
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let mut written = 0;
        while !self.is_empty() {
            let mut gathered = [IoSlice::new(&[]); TCP_SLICES_PER_WRITE];
            let mut count = 0;
            for (to, slice) in gathered.iter_mut().zip(&self.slices) {
                *to = IoSlice::new(slice);
                count += 1;
            }
            let gathered = gathered.get(..count).unwrap_or_default();
            work.tcp_writes.add(1);
            match socket.send_vectored_with_flags(gathered, flags) {
                Ok(bytes) => {
                    written += bytes;
                    work.tcp_written_bytes.add(bytes);
                    self.advance(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_ends_inside_a_slice_goes_on_there() {
        let mut queue = WriteQueue::default();
        queue.push(vec![
            Bytes::from_static(b"abc"),
            Bytes::new(),
            Bytes::from_static(b"defg"),
        ]);
        queue.push(vec![Bytes::from_static(b"h")]);
        let mut read = Vec::new();
        for step in [1, 2, 3, 2] {
            let mut left = step;
            while left > 0 {
                let taken = left.min(queue.front().len());
                read.extend_from_slice(&queue.front()[..taken]);
                queue.advance(taken);
                left -= taken;
            }
        }
        assert_eq!(read, b"abcdefgh");
        assert!(queue.is_empty() && queue.front().is_empty());
    }
}
