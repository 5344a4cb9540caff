//! The bytes of a signalling socket, metered. Messages are counted too, but frames that make up no
//! message never come to be one: an endless text in empty fragments would keep a core busy.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits;

/// Reads no more than a budget, which is refilled over time.
#[derive(Debug)]
pub(super) struct Metered<Io> {
    io: Io,
    /// Bytes read and not yet earned back.
    spent: f64,
    at: Instant,
}

impl<Io> Metered<Io> {
    pub(super) fn new(io: Io) -> Self {
        Self {
            io,
            spent: 0.0,
            at: Instant::now(),
        }
    }

    pub(super) fn into_inner(self) -> Io {
        self.io
    }

    /// Whether there was budget for `bytes` that were read by `now`.
    fn pay(&mut self, now: Instant, bytes: usize) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        let earned = passed * f64::from(limits::SOCKET_BYTES_PER_SECOND);
        self.at = now;
        self.spent = (self.spent - earned).max(0.0) + bytes as f64;
        self.spent <= f64::from(limits::SOCKET_BYTES_BURST)
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Metered<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        if bytes > 0 && !self.pay(Instant::now(), bytes) {
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        read
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Metered<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_let_through_and_earned_back() {
        let mut io = Metered::new(());
        let now = io.at;
        let burst = limits::SOCKET_BYTES_BURST as usize;
        assert!(io.pay(now, burst));
        assert!(!io.pay(now, 1));
        let second = limits::SOCKET_BYTES_PER_SECOND as usize;
        assert!(io.pay(now + Duration::from_secs(1), second - 1));
        assert!(!io.pay(now + Duration::from_secs(1), 1));
    }
}
