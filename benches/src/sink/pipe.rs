//! The byte stream of a connection, with or without TLS.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::{arrival, clock};

#[derive(Debug)]
pub(super) enum Pipe {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Pipe {
    pub(super) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer).await,
            Self::Tls(tls) => tls.read(buffer).await,
        }
    }

    /// The same with the time at which the last of the bytes was in the socket, in microseconds of
    /// [`clock::now_us`]; with TLS it is that of the read.
    pub(super) async fn read_stamped(&mut self, buffer: &mut [u8]) -> io::Result<(usize, u64)> {
        match self {
            Self::Plain(tcp) => arrival::read(tcp, buffer).await,
            Self::Tls(tls) => Ok((tls.read(buffer).await?, clock::now_us())),
        }
    }

    pub(super) async fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.read_exact(buffer).await,
            Self::Tls(tls) => tls.read_exact(buffer).await,
        }?;
        Ok(())
    }

    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.write_all(bytes).await,
            Self::Tls(tls) => {
                tls.write_all(bytes).await?;
                tls.flush().await
            }
        }
    }

    /// The TCP connection itself: bytes written to it are not encrypted.
    pub(super) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_mut().0,
        }
    }

    /// Ends the sending direction: `close_notify` where TLS is spoken, then FIN.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.shutdown().await,
            Self::Tls(tls) => tls.shutdown().await,
        }
    }

    /// Makes the close of the connection send a reset (RST).
    pub(super) fn reset_on_close(&mut self) -> io::Result<()> {
        reset_on_close(self.tcp())
    }

    /// Reads and discards until the client closes too: the close of a socket with unread bytes
    /// would send a reset.
    pub(super) async fn drain(&mut self) {
        /// A client that still sends after this time does not react to the close.
        const TIME_LIMIT: Duration = Duration::from_secs(10);
        let mut buffer = vec![0; 64 * 1_024];
        let tcp = self.tcp();
        let emptied = async { while tcp.read(&mut buffer).await.is_ok_and(|length| length > 0) {} };
        let _ = tokio::time::timeout(TIME_LIMIT, emptied).await;
    }
}

/// Makes the close of the connection send a reset, by a linger time of zero (socket(7)).
pub(super) fn reset_on_close(tcp: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO))
}
