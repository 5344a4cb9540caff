//! Reads the parts of HLS and the previews that the engine hands over ([`shardcast_link::fragment`]), and ends what nobody watches.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use shardcast_link::{
    BroadcastId,
    fragment::{
        self, FragmentFrameError, FragmentHead, HandedOver, LENGTHS_BYTES, Lengths, PreviewHead,
    },
};
use tokio::{
    io::{AsyncReadExt, BufReader},
    net::UnixStream,
    time::sleep,
};

use crate::{backend::StreamEvent, limits, state::Control, wants, webhooks};

/// The connection ended. It is made again.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Frame(#[from] FragmentFrameError),
}

/// Keeps the connection up for as long as the process runs.
pub(crate) async fn keep(control: Arc<Control>) {
    let path = control.settings.link_dir.join(fragment::FILE_NAME);
    loop {
        // Before the engine is up this fails, which is normal.
        if let Ok(stream) = UnixStream::connect(&path).await {
            let Err(error) = read_all(&control, stream).await;
            tracing::debug!(%error, "parts of HLS are not read any more");
        }
        sleep(limits::LINK_RETRY).await;
    }
}

async fn read_all(
    control: &Control,
    stream: UnixStream,
) -> Result<std::convert::Infallible, ReadError> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut lengths = [0; LENGTHS_BYTES];
        stream.read_exact(&mut lengths).await?;
        let lengths = Lengths::read(lengths)?;
        let mut head = vec![0; lengths.head];
        stream.read_exact(&mut head).await?;
        // The one copy of the media in this process.
        let mut body = vec![0; lengths.body];
        stream.read_exact(&mut body).await?;
        match fragment::decode(&head) {
            Ok(HandedOver::Part(head)) => take(control, &head, body.into()),
            Ok(HandedOver::Preview(head)) => take_preview(control, head, body.into()),
            // From a newer engine perhaps; the next may be known.
            Err(error) => tracing::debug!(%error, "a part of HLS is skipped"),
        }
    }
}

fn take(control: &Control, head: &FragmentHead, body: Bytes) {
    let now = Instant::now();
    let id = &head.broadcast;
    let application = control.application(id.application());
    if let Some(application) = application.filter(|it| it.hls.is_packaged() && it.hls.always)
        && !control.hls.is_asked(id)
    {
        control.hls.ask(now, id, application.hls.list_size());
    }
    control.hls.take(now, head, body);
}

/// What was on its way when its broadcast was deleted is dropped.
fn take_preview(control: &Control, head: PreviewHead, file: Bytes) {
    if control.catalog.broadcast(&head.broadcast).is_some() {
        control.previews.take(head, file);
    }
}

/// Tells the receivers of webhooks of those who watch no more.
fn report_gone(control: &Control, now: Instant) {
    for (id, gone) in control.hls.take_gone(now) {
        // More of one stream are not kept.
        for _ in 0..gone.min(limits::HOOKS_PER_STREAM_MAX) {
            let event = StreamEvent::PlayStopped { subscriber: "" };
            webhooks::owe_soon(control, &id, &event);
        }
    }
}

/// Ends the packaging of what nobody asks for, until the process ends.
pub(crate) async fn sweep(control: Arc<Control>) {
    loop {
        sleep(limits::HLS_SWEEP).await;
        report_gone(&control, Instant::now());
        let always = |id: &BroadcastId| {
            let application = control.application(id.application());
            application.is_some_and(|it| it.hls.always)
        };
        for id in control.hls.sweep(Instant::now(), always) {
            wants::again(&control, &id);
        }
    }
}
