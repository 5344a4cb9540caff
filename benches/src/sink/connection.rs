//! One connection of a sink: moves bytes between the socket and the RTMP session, which does no
//! I/O itself, and produces the faults of this connection.

use std::{io, time::Duration};

use shardcast_core::rtmp::{ServerConfig, ServerOutput, ServerSession};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until},
};
use tokio_rustls::TlsAcceptor;

use super::{
    SinkOptions,
    fault_script::{Answer, ConnectionFaults, FaultAction, NonRtmpAnswer, TlsFault, Trigger},
    measure::Ended,
    non_rtmp,
    outbound::Outbound,
    pipe::{Pipe, reset_on_close},
    register::ConnectionEntry,
    tls::{Certificate, TestCa},
};
use crate::{arrival, clock};

const READ_BYTES: usize = 64 * 1_024;
/// Interval of the reads of a slow reader, and of the checks for a client that hung up.
const SLOW_TICK: Duration = Duration::from_millis(100);

/// Serves a client until the client or the sink ends the connection.
pub(super) async fn serve(
    tcp: TcpStream,
    options: SinkOptions,
    faults: ConnectionFaults,
    entry: ConnectionEntry,
) {
    // Without this, Nagle's algorithm would delay acknowledgements.
    let _ = tcp.set_nodelay(true);
    arrival::stamp(&tcp);
    if faults.read_bytes_per_second.is_some() {
        shrink_buffer(&tcp);
    }
    let ended = match converse(tcp, &options, faults, &entry).await {
        Ok(ended) => ended,
        Err(error) => Ended::Broken(error.to_string()),
    };
    entry.measure(|measure| measure.ended(ended));
}

/// Shrinks the receive buffer, so that unread bytes stay with the sender and not in the kernel.
fn shrink_buffer(tcp: &TcpStream) {
    /// The kernel doubles this value (socket(7)).
    const BUFFER_BYTES: usize = 4_096;
    let _ = socket2::SockRef::from(tcp).set_recv_buffer_size(BUFFER_BYTES);
}

async fn converse(
    tcp: TcpStream,
    options: &SinkOptions,
    faults: ConnectionFaults,
    entry: &ConnectionEntry,
) -> io::Result<Ended> {
    if faults.non_rtmp == NonRtmpAnswer::Reset {
        reset_on_close(&tcp)?;
        return Ok(Ended::by_sink("reset"));
    }
    let pipe = match &options.tls {
        Some(ca) => match shake_hands(tcp, ca, faults.tls, entry).await? {
            Some(pipe) => pipe,
            None => return Ok(Ended::by_sink("TLS refused")),
        },
        None => Pipe::Plain(tcp),
    };
    if faults.non_rtmp != NonRtmpAnswer::None {
        return non_rtmp::serve(pipe, faults.non_rtmp).await;
    }
    let config = ServerConfig {
        chunk_bytes: faults.chunk_bytes.unwrap_or_else(|| {
            // An answer is shorter than a usual chunk: it would be one chunk, with nothing to interleave.
            let small = faults.interleaves.then_some(INTERLEAVED_CHUNK_BYTES);
            small.unwrap_or(options.platform.server_config().chunk_bytes)
        }),
        takes_opus: options.takes_opus,
        ..options.platform.server_config()
    };
    let outbound = Outbound::new(faults.interleaves, options.platform.acknowledges_growth());
    let mut connection = Connection {
        pipe,
        session: ServerSession::new(config),
        outbound,
        options,
        faults,
        entry,
        answer_at: None,
        fault_at: None,
        reading: true,
        arrived_us: clock::now_us(),
        over: None,
    };
    connection.run().await
}

/// Chunk size that cuts each answer into several chunks.
const INTERLEAVED_CHUNK_BYTES: u32 = 32;

/// Performs the TLS handshake; `None` when the fault prevents it on purpose.
async fn shake_hands(
    tcp: TcpStream,
    ca: &TestCa,
    fault: TlsFault,
    entry: &ConnectionEntry,
) -> io::Result<Option<Pipe>> {
    let certificate = match fault {
        TlsFault::None => Certificate::Good,
        TlsFault::Certificate(certificate) => certificate,
        TlsFault::Garbage => {
            non_rtmp::serve(Pipe::Plain(tcp), NonRtmpAnswer::Garbage).await?;
            return Ok(None);
        }
        TlsFault::HangsUp => {
            non_rtmp::serve(Pipe::Plain(tcp), NonRtmpAnswer::ClosesAtOnce).await?;
            return Ok(None);
        }
    };
    let acceptor = TlsAcceptor::from(ca.server_config(certificate));
    let tls = acceptor.accept(tcp).await?;
    let (_, session) = tls.get_ref();
    let server_name = session.server_name().map(str::to_owned);
    entry.measure(|measure| measure.shook_hands(server_name));
    Ok(Some(Pipe::Tls(Box::new(tls))))
}

/// An RTMP command that the sink has not answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Connect,
    Publish,
}

struct Connection<'a> {
    pipe: Pipe,
    session: ServerSession,
    outbound: Outbound,
    options: &'a SinkOptions,
    faults: ConnectionFaults,
    entry: &'a ConnectionEntry,
    /// The command to be accepted late, and when.
    answer_at: Option<(Command, Instant)>,
    /// When the scheduled fault is due, if it is one of time.
    fault_at: Option<Instant>,
    reading: bool,
    /// When the bytes of the last read were in the socket.
    arrived_us: u64,
    /// Set when the sink ends the connection.
    over: Option<Ended>,
}

impl Connection<'_> {
    async fn run(&mut self) -> io::Result<Ended> {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if let Some(ended) = self.over.take() {
                return Ok(ended);
            }
            let answer_at = self.answer_at.map(|(_, at)| at);
            let at = answer_at.into_iter().chain(self.fault_at).min();
            let timer = async move {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let length = self.read_length();
            let window = buffer.get_mut(..length).unwrap_or_default();
            tokio::select! {
                read = self.pipe.read_stamped(window), if self.reading => {
                    let (length, arrived_us) = read?;
                    self.arrived_us = arrived_us;
                    if length == 0 {
                        return Ok(Ended::Closed);
                    }
                    if let Err(error) = self.session.handle(window.get(..length).unwrap_or(&[])) {
                        return Ok(Ended::Broken(error.to_string()));
                    }
                    self.process_outputs().await?;
                    if self.is_slow() {
                        sleep(SLOW_TICK).await;
                    }
                }
                () = timer => self.on_timer().await?,
                () = sleep(SLOW_TICK), if !self.reading => {
                    // Without reads, only the kernel's table shows that the client hung up.
                    if !self.entry.is_connected() {
                        return Ok(Ended::Closed);
                    }
                }
            }
        }
    }

    fn is_slow(&self) -> bool {
        self.faults.read_bytes_per_second.is_some() && self.session.is_publishing()
    }

    /// Bytes of the next read: a tenth of the rate for a slow reader after acceptance, otherwise the
    /// whole buffer.
    fn read_length(&self) -> usize {
        match self.faults.read_bytes_per_second {
            Some(rate) if self.is_slow() => (rate as usize / 10).clamp(1, READ_BYTES - 1),
            _ => READ_BYTES,
        }
    }

    async fn on_timer(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.fault_at.is_some_and(|at| at <= now) {
            self.fault_at = None;
            return self.run_scheduled_fault().await;
        }
        if let Some((command, _)) = self.answer_at.take_if(|(_, at)| *at <= now) {
            self.answer(command, Answer::Accept);
            self.process_outputs().await?;
        }
        Ok(())
    }

    /// Processes the outputs of the session.
    async fn process_outputs(&mut self) -> io::Result<()> {
        while let Some(output) = self.session.poll() {
            match output {
                ServerOutput::Send(bytes) => {
                    // A client may close without waiting for answers, so a failed write is no
                    // end: bytes that it sent before are still unread, and reading them shows
                    // how the connection ended.
                    let _ = self.pipe.write_all(&self.outbound.send(&bytes)).await;
                }
                ServerOutput::Connect { application, .. } => {
                    self.entry.measure(|measure| measure.connected(application));
                    self.answer(Command::Connect, self.faults.on_connect.clone());
                }
                ServerOutput::Publish { stream_key } => {
                    let in_use = self.entry.is_in_use(&stream_key);
                    self.entry.measure(|measure| measure.requested(stream_key));
                    let answer = match (in_use, self.options.platform.key_in_use()) {
                        (false, _) | (true, Answer::Accept) => self.faults.on_publish.clone(),
                        (true, refusal) => refusal,
                    };
                    self.answer(Command::Publish, answer);
                }
                ServerOutput::Metadata(properties) => {
                    self.entry.measure(|measure| measure.metadata(&properties));
                }
                ServerOutput::Media(message) => {
                    let arrived_us = self.arrived_us;
                    let frames = self.entry.measure(|measure| {
                        measure.media(&message, arrived_us);
                        measure.video_frames()
                    });
                    if self
                        .frames_until_fault()
                        .is_some_and(|count| frames >= count)
                    {
                        return self.run_scheduled_fault().await;
                    }
                }
                ServerOutput::Unpublish { by } => {
                    self.entry.measure(|measure| measure.unpublished(by));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn answer(&mut self, command: Command, answer: Answer) {
        match answer {
            Answer::Accept if command == Command::Connect => self.session.accept_connect(),
            Answer::Accept => self.accept(),
            Answer::AcceptAfter(wait) => self.answer_at = Some((command, Instant::now() + wait)),
            Answer::Reject { code, description } => match command {
                Command::Connect => self.session.reject_connect(&code, &description),
                Command::Publish => self.session.reject_publish(&code, &description),
            },
            Answer::BadKey => self.answer(command, self.options.platform.bad_key()),
            Answer::Close => self.over = Some(Ended::by_sink("closed instead of an answer")),
            Answer::Never => {}
        }
    }

    fn accept(&mut self) {
        self.session.accept_publish();
        self.entry
            .measure(|measure| measure.accepted(clock::now_us()));
        self.fault_at = match self.faults.scheduled.map(|fault| fault.after) {
            Some(Trigger::Time(time)) => Some(Instant::now() + time),
            Some(Trigger::Frames(_)) | None => None,
        };
    }

    fn frames_until_fault(&self) -> Option<u64> {
        match self.faults.scheduled?.after {
            Trigger::Frames(count) if self.reading => Some(count),
            _ => None,
        }
    }

    /// Does what the scheduled fault of this connection says.
    async fn run_scheduled_fault(&mut self) -> io::Result<()> {
        let Some(fault) = self.faults.scheduled else {
            return Ok(());
        };
        let reason = match fault.action {
            FaultAction::StopReading => {
                self.reading = false;
                shrink_buffer(self.pipe.tcp());
                return Ok(());
            }
            FaultAction::Reset => {
                self.pipe.reset_on_close()?;
                "reset"
            }
            FaultAction::Close => {
                self.pipe.shutdown().await?;
                self.pipe.drain().await;
                "closed"
            }
            FaultAction::CloseWithoutNotify => {
                tokio::io::AsyncWriteExt::shutdown(self.pipe.tcp()).await?;
                self.pipe.drain().await;
                "closed without close_notify"
            }
            FaultAction::Garbage => {
                tokio::io::AsyncWriteExt::write_all(self.pipe.tcp(), &non_rtmp::garbage()).await?;
                self.pipe.drain().await;
                "sent garbage"
            }
            FaultAction::Restart { away } => {
                self.entry.port().restart(away);
                "killed"
            }
        };
        self.over = Some(Ended::by_sink(reason));
        Ok(())
    }
}
