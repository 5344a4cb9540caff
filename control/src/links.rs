//! The client side of a shard's socket: connect, read events, write commands, again and again.

use std::{
    panic::resume_unwind,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use shardcast_link::{
    Assembly, Command, ControlHello, Event, ShardHello, ShardStatus, VERSION, frame,
};
use shardcast_log::Limiter;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Notify, mpsc},
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};

use crate::{events, limits, shards::Commands, state::Control};

static TOO_LONG: Limiter = Limiter::refusals();

/// A link ended. It is made again.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Frame(#[from] frame::FrameError),
    #[error("the shard closed the connection")]
    Closed,
    #[error("the shard was silent for {} s", limits::LINK_SILENCE.as_secs())]
    Silent,
    #[error("the shard has not read {} commands", limits::LINK_QUEUE_MAX)]
    Overrun,
    #[error("the shard did not open with a hello and a status")]
    NoHello,
    #[error("the shard speaks version {0} of the link, this process {VERSION}: update the older")]
    Version(u32),
}

/// One link for each shard that the engine says it has.
pub(crate) async fn keep(control: Arc<Control>) {
    let mut links = JoinSet::new();
    loop {
        let wanted = control.shards_expected.load(Ordering::Relaxed);
        let wanted = wanted.clamp(1, u64::from(limits::SHARDS_MAX));
        for shard in links.len()..usize::try_from(wanted).unwrap_or(1) {
            let shard = u16::try_from(shard).unwrap_or(u16::MAX);
            links.spawn(run(Arc::clone(&control), shard));
        }
        tokio::select! {
            Some(ended) = links.join_next() => {
                // A link ends by a panic only; it goes on to the watcher of this task.
                if let Err(panic) = ended.map_err(JoinError::try_into_panic) {
                    resume_unwind(panic.unwrap_or_else(|_| Box::new("a link was aborted")));
                }
                return;
            }
            () = sleep(limits::LINK_RETRY) => {}
        }
    }
}

/// Keeps the link to shard `shard` up for as long as the process runs.
async fn run(control: Arc<Control>, shard: u16) {
    let path = socket_path(&control, shard);
    loop {
        // Before the engine is up this fails, which is normal.
        let connected = UnixStream::connect(&path).await;
        if shard == 0 {
            control.shards.set_absent(connected.is_err());
        }
        if let Ok(stream) = connected {
            let error = match serve(&control, shard, stream).await {
                Ok(never) => never,
                Err(error) => error,
            };
            control.shards.disconnected(shard);
            if control.stopping.load(Ordering::Relaxed) {
                tracing::info!(shard, "the engine has stopped");
            } else {
                tracing::warn!(shard, %error, "the link to the shard is down");
            }
            if matches!(error, LinkError::Version(_) | LinkError::NoHello) {
                sleep(Duration::from_secs(5)).await;
            }
        }
        sleep(limits::LINK_RETRY).await;
    }
}

/// Where shard `shard` listens.
pub(crate) fn socket_path(control: &Control, shard: u16) -> PathBuf {
    control
        .settings
        .link_dir
        .join(format!("shard-{shard}.sock"))
}

async fn serve(
    control: &Arc<Control>,
    shard: u16,
    stream: UnixStream,
) -> Result<LinkError, LinkError> {
    let engine_pid = stream
        .peer_cred()
        .ok()
        .and_then(|credentials| credentials.pid());
    let (read, mut write) = stream.into_split();
    let hello = ControlHello {
        version: VERSION,
        instance: control.instance.clone(),
    };
    write_one(&mut write, &Command::Hello(hello)).await?;
    let mut reader = Reader {
        control: Arc::clone(control),
        shard,
        read,
        decoder: frame::Decoder::default(),
        assembly: Assembly::default(),
    };
    let (hello, status) = timeout(limits::HANDSHAKE, opening(&mut reader))
        .await
        .map_err(|_| LinkError::Silent)??;
    if hello.shard != shard {
        return Err(LinkError::NoHello);
    }
    let (commands, queue) = mpsc::channel(limits::LINK_QUEUE_MAX);
    let broken = Arc::new(Notify::new());
    let commands = Commands {
        queue: commands,
        broken: Arc::clone(&broken),
    };
    events::connected(control, hello, status, engine_pid, commands);
    let writer = tokio::spawn(write_all(write, queue));
    let result = tokio::select! {
        result = read_all(control, shard, &mut reader) => result,
        () = broken.notified() => Err(LinkError::Overrun),
    };
    writer.abort();
    result
}

/// The shard opens with its hello and, at once, its status.
async fn opening(reader: &mut Reader) -> Result<(ShardHello, ShardStatus), LinkError> {
    let Event::Hello(hello) = reader.next().await? else {
        return Err(LinkError::NoHello);
    };
    if hello.version != VERSION {
        return Err(LinkError::Version(hello.version));
    }
    let Event::Status(status) = reader.next().await? else {
        return Err(LinkError::NoHello);
    };
    Ok((hello, status))
}

async fn read_all(
    control: &Arc<Control>,
    shard: u16,
    reader: &mut Reader,
) -> Result<LinkError, LinkError> {
    loop {
        match timeout(limits::LINK_SILENCE, reader.next()).await {
            Ok(event) => events::take(control, shard, event?),
            Err(_) => return Err(LinkError::Silent),
        }
    }
}

/// Writes commands as they come, those that have piled up in one go.
async fn write_all(mut write: OwnedWriteHalf, mut queue: mpsc::Receiver<Command>) {
    let mut buffer = BytesMut::new();
    while let Some(command) = queue.recv().await {
        let mut next = Some(command);
        while let Some(command) = next {
            if let Err(error) = frame::encode(&command, &mut buffer) {
                tracing::error!(%error, "a command cannot be written");
            }
            next = queue.try_recv().ok();
        }
        if write.write_all_buf(&mut buffer).await.is_err() {
            // The reader sees the same end and reports it.
            return;
        }
    }
}

async fn write_one(write: &mut OwnedWriteHalf, command: &Command) -> Result<(), LinkError> {
    let mut buffer = BytesMut::new();
    frame::encode(command, &mut buffer)?;
    write.write_all_buf(&mut buffer).await?;
    Ok(())
}

#[derive(Debug)]
struct Reader {
    control: Arc<Control>,
    shard: u16,
    read: OwnedReadHalf,
    decoder: frame::Decoder,
    assembly: Assembly,
}

impl Reader {
    /// The next event, reports whole. Frames of unknown kinds are skipped, they come from a newer
    /// version; and so are those that are too long.
    async fn next(&mut self) -> Result<Event, LinkError> {
        loop {
            match self.decoder.next_message() {
                Ok(Some(event)) => {
                    if let Some(event) = self.assembly.take(event) {
                        return Ok(event);
                    }
                }
                Ok(None) => {
                    if self.read.read_buf(self.decoder.buffer()).await? == 0 {
                        return Err(LinkError::Closed);
                    }
                    self.control.shards.heard(Instant::now(), self.shard);
                }
                Err(frame::FrameError::Json(error)) => {
                    tracing::debug!(%error, "an event of an unknown kind is skipped");
                }
                Err(error @ frame::FrameError::TooLarge(_)) => {
                    if let Some(left_out) = TOO_LONG.admit(Instant::now()) {
                        tracing::error!(%error, left_out, "an event of a shard is skipped");
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
