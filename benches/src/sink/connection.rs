//! One connection of a sink: moves bytes between the socket and the pure session, and does what its
//! manners say.

use std::{io, time::Duration};

use shardcast_core::rtmp::{ServerConfig, ServerOutput, ServerSession};
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, sleep_until},
};
use tokio_rustls::TlsAcceptor;

use super::{
    SinkOptions, entry,
    manners::{After, Answer, Entry, Fate, Manner, TlsManner},
    measure::Ended,
    outbound::Outbound,
    pipe::{Pipe, reset_on_close},
    register::Ticket,
    tls::{Certificate, TestCa},
};
use crate::clock;

const READ_BYTES: usize = 64 * 1_024;
/// Slow readers read so often.
const SLOW_TICK: Duration = Duration::from_millis(100);

/// Serves a client until one of the two ends it.
pub(super) async fn serve(tcp: TcpStream, options: SinkOptions, manner: Manner, ticket: Ticket) {
    // Acknowledgements shall not wait for company.
    let _ = tcp.set_nodelay(true);
    if manner.read_bytes_per_second.is_some() {
        shrink_buffer(&tcp);
    }
    let ended = match converse(tcp, &options, manner, &ticket).await {
        Ok(ended) => ended,
        Err(error) => Ended::Broken(error.to_string()),
    };
    ticket.measure(|measure| measure.ended(ended));
}

/// What is not read stays with the sender and not in the kernel.
fn shrink_buffer(tcp: &TcpStream) {
    /// The kernel doubles it.
    const BUFFER_BYTES: usize = 4_096;
    let _ = socket2::SockRef::from(tcp).set_recv_buffer_size(BUFFER_BYTES);
}

async fn converse(
    tcp: TcpStream,
    options: &SinkOptions,
    manner: Manner,
    ticket: &Ticket,
) -> io::Result<Ended> {
    if manner.entry == Entry::Reset {
        reset_on_close(&tcp)?;
        return Ok(Ended::by_sink("reset"));
    }
    let pipe = match &options.tls {
        Some(ca) => match shake_hands(tcp, ca, manner.tls, ticket).await? {
            Some(pipe) => pipe,
            None => return Ok(Ended::by_sink("TLS refused")),
        },
        None => Pipe::Plain(tcp),
    };
    if manner.entry != Entry::Honest {
        return entry::misbehave(pipe, manner.entry).await;
    }
    let config = ServerConfig {
        chunk_bytes: manner.chunk_bytes.unwrap_or_else(|| {
            // Answers are shorter than a usual chunk, and would not be cut up at all.
            let small = manner.interleaves.then_some(INTERLEAVED_CHUNK_BYTES);
            small.unwrap_or(options.platform.server_config().chunk_bytes)
        }),
        ..options.platform.server_config()
    };
    let outbound = Outbound::new(manner.interleaves, options.platform.acknowledges_growth());
    let mut connection = Connection {
        pipe,
        session: ServerSession::new(config),
        outbound,
        options,
        manner,
        ticket,
        answer_at: None,
        turn_at: None,
        reading: true,
        over: None,
    };
    connection.run().await
}

const INTERLEAVED_CHUNK_BYTES: u32 = 32;

/// TLS as the manners want it; `None` when it came to nothing on purpose.
async fn shake_hands(
    tcp: TcpStream,
    ca: &TestCa,
    manner: TlsManner,
    ticket: &Ticket,
) -> io::Result<Option<Pipe>> {
    let certificate = match manner {
        TlsManner::Good => Certificate::Good,
        TlsManner::Shows(certificate) => certificate,
        TlsManner::Garbage => {
            entry::misbehave(Pipe::Plain(tcp), Entry::Garbage).await?;
            return Ok(None);
        }
        TlsManner::HangsUp => {
            entry::misbehave(Pipe::Plain(tcp), Entry::ClosesAtOnce).await?;
            return Ok(None);
        }
    };
    let acceptor = TlsAcceptor::from(ca.server_config(certificate));
    let tls = acceptor.accept(tcp).await?;
    let (_, session) = tls.get_ref();
    let server_name = session.server_name().map(str::to_owned);
    ticket.measure(|measure| measure.shook_hands(server_name));
    Ok(Some(Pipe::Tls(Box::new(tls))))
}

/// Which command waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Connect,
    Publish,
}

struct Connection<'a> {
    pipe: Pipe,
    session: ServerSession,
    outbound: Outbound,
    options: &'a SinkOptions,
    manner: Manner,
    ticket: &'a Ticket,
    answer_at: Option<(Question, Instant)>,
    turn_at: Option<Instant>,
    reading: bool,
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
            let at = answer_at.into_iter().chain(self.turn_at).min();
            let timer = async move {
                match at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let length = self.read_length();
            let window = buffer.get_mut(..length).unwrap_or_default();
            tokio::select! {
                read = self.pipe.read(window), if self.reading => {
                    let length = read?;
                    if length == 0 {
                        return Ok(Ended::Closed);
                    }
                    if let Err(error) = self.session.handle(window.get(..length).unwrap_or(&[])) {
                        return Ok(Ended::Broken(error.to_string()));
                    }
                    self.act().await?;
                    if self.is_slow() {
                        sleep(SLOW_TICK).await;
                    }
                }
                () = timer => self.on_time().await?,
                () = sleep(SLOW_TICK), if !self.reading => {
                    // A client that hung up is only seen by asking.
                    if !self.ticket.is_connected() {
                        return Ok(Ended::Closed);
                    }
                }
            }
        }
    }

    fn is_slow(&self) -> bool {
        self.manner.read_bytes_per_second.is_some() && self.session.is_publishing()
    }

    /// All at once, but for a slow reader, once it has accepted.
    fn read_length(&self) -> usize {
        match self.manner.read_bytes_per_second {
            Some(rate) if self.is_slow() => (rate as usize / 10).clamp(1, READ_BYTES - 1),
            _ => READ_BYTES,
        }
    }

    async fn on_time(&mut self) -> io::Result<()> {
        let now = Instant::now();
        if self.turn_at.is_some_and(|at| at <= now) {
            self.turn_at = None;
            return self.meet_fate().await;
        }
        if let Some((question, _)) = self.answer_at.take_if(|(_, at)| *at <= now) {
            self.answer(question, Answer::Accept);
            self.act().await?;
        }
        Ok(())
    }

    /// Does what the session wants.
    async fn act(&mut self) -> io::Result<()> {
        while let Some(output) = self.session.poll() {
            match output {
                ServerOutput::Send(bytes) => {
                    // A client that has said good-bye does not wait for answers. What it said
                    // before is still to be read, and reading tells how the connection ended.
                    let _ = self.pipe.write_all(&self.outbound.send(&bytes)).await;
                }
                ServerOutput::Connect { application, .. } => {
                    self.ticket
                        .measure(|measure| measure.connected(application));
                    self.answer(Question::Connect, self.manner.on_connect.clone());
                }
                ServerOutput::Publish { stream_key } => {
                    let in_use = self.ticket.is_in_use(&stream_key);
                    self.ticket.measure(|measure| measure.asked(stream_key));
                    let answer = match (in_use, self.options.platform.key_in_use()) {
                        (false, _) | (true, Answer::Accept) => self.manner.on_publish.clone(),
                        (true, refusal) => refusal,
                    };
                    self.answer(Question::Publish, answer);
                }
                ServerOutput::Metadata(properties) => {
                    self.ticket.measure(|measure| measure.metadata(&properties));
                }
                ServerOutput::Media(message) => {
                    let now_us = clock::now_us();
                    let frames = self.ticket.measure(|measure| {
                        measure.media(&message, now_us);
                        measure.video_frames()
                    });
                    if self.frames_to_turn().is_some_and(|count| frames >= count) {
                        return self.meet_fate().await;
                    }
                }
                ServerOutput::Unpublish { by } => {
                    self.ticket.measure(|measure| measure.unpublished(by));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn answer(&mut self, question: Question, answer: Answer) {
        match answer {
            Answer::Accept if question == Question::Connect => self.session.accept_connect(),
            Answer::Accept => self.accept(),
            Answer::AcceptAfter(wait) => self.answer_at = Some((question, Instant::now() + wait)),
            Answer::Reject { code, description } => match question {
                Question::Connect => self.session.reject_connect(&code, &description),
                Question::Publish => self.session.reject_publish(&code, &description),
            },
            Answer::BadKey => self.answer(question, self.options.platform.bad_key()),
            Answer::Close => self.over = Some(Ended::by_sink("closed instead of an answer")),
            Answer::Never => {}
        }
    }

    fn accept(&mut self) {
        self.session.accept_publish();
        self.ticket
            .measure(|measure| measure.accepted(clock::now_us()));
        self.turn_at = match self.manner.turn.map(|turn| turn.after) {
            Some(After::Time(time)) => Some(Instant::now() + time),
            Some(After::Frames(_)) | None => None,
        };
    }

    fn frames_to_turn(&self) -> Option<u64> {
        match self.manner.turn?.after {
            After::Frames(count) if self.reading => Some(count),
            _ => None,
        }
    }

    async fn meet_fate(&mut self) -> io::Result<()> {
        let Some(turn) = self.manner.turn else {
            return Ok(());
        };
        let words = match turn.fate {
            Fate::StopReading => {
                self.reading = false;
                shrink_buffer(self.pipe.tcp());
                return Ok(());
            }
            Fate::Reset => {
                self.pipe.reset_on_close()?;
                "reset"
            }
            Fate::Close => {
                self.pipe.shutdown().await?;
                self.pipe.drain().await;
                "closed"
            }
            Fate::CloseWithoutNotify => {
                tokio::io::AsyncWriteExt::shutdown(self.pipe.tcp()).await?;
                self.pipe.drain().await;
                "closed without close_notify"
            }
            Fate::Garbage => {
                tokio::io::AsyncWriteExt::write_all(self.pipe.tcp(), &entry::garbage()).await?;
                self.pipe.drain().await;
                "sent garbage"
            }
            Fate::Restart { away } => {
                self.ticket.port().restart(away);
                "killed"
            }
        };
        self.over = Some(Ended::by_sink(words));
        Ok(())
    }
}
