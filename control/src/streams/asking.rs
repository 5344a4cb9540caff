//! A request for a file of a broadcast that is packaged: who asks, what for, and whether it may be sent.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use shardcast_link::{BroadcastId, fragment::RungName};
use siphasher::sip::SipHasher13;

use super::{
    answer::{is_known, not_modified, takes_gzip},
    refusal::Refusal,
    visitor::Visitor,
};
use crate::{
    backend::StreamEvent,
    hls::{Asked, Media, Page, Stream, Track},
    lifecycle,
    settings::ApplicationSettings,
    state::Control,
    store::BroadcastRecord,
    wants, webhooks,
};

/// What fragments of MP4 are.
pub(super) const MP4: &str = "video/mp4";
/// Seconds that a segment may be kept by caches. Its name is never used again.
const SEGMENT_CACHED_S: u32 = 3_600;

/// A request for a file of a broadcast.
pub(super) struct Asking<'a> {
    pub(super) control: &'a Arc<Control>,
    pub(super) settings: &'a ApplicationSettings,
    pub(super) id: BroadcastId,
    /// Of the ladder; `None`: the publisher's video.
    pub(super) rung: Option<RungName>,
    pub(super) parts: &'a Parts,
    pub(super) visitor: Visitor,
}

impl Asking<'_> {
    /// The stream, packaged from now on.
    pub(super) fn open(&self) -> Result<Arc<Stream>, Refusal> {
        let (control, id) = (self.control, &self.id);
        let record = control.catalog.broadcast(id);
        let is_live = |record: &Arc<BroadcastRecord>| {
            lifecycle::status_word(control, record) == "broadcasting"
        };
        let Some(record) = record.filter(is_live) else {
            let ended = control
                .hls
                .get(id)
                .filter(|it| it.source().read(Media::is_ended));
            let message = "no_stream_exist: the stream is not live";
            return ended.ok_or_else(|| Refusal::not_found(message));
        };
        let now = Instant::now();
        let stream = match control.hls.ask(now, id, self.settings.hls.list_size()) {
            Asked::Known(stream) => stream,
            Asked::New(stream) => {
                wants::again(control, id);
                stream
            }
            Asked::Full => return Err(Refusal::later("this server has no memory for more HLS")),
        };
        let limit = usize::try_from(record.profile.hls_viewer_limit);
        let Visitor { watcher, token } = &self.visitor;
        if limit.is_ok_and(|limit| stream.watchers(now) >= limit)
            && !stream.knows(now, *watcher, token)
        {
            let message = "viewerLimitReached: the stream has as many viewers as it may";
            return Err(Refusal::forbidden(message));
        }
        Ok(stream)
    }

    /// Has the ladder packaged from now on, or for longer; its rungs.
    pub(super) fn open_ladder(&self, stream: &Stream) -> Vec<RungName> {
        let (control, id) = (self.control, &self.id);
        let rungs = wants::rungs(control, &self.settings.encoding, id);
        let names: Vec<RungName> = rungs.iter().map(RungName::from).collect();
        let is_live = !stream.source().read(Media::is_ended);
        if is_live && !names.is_empty() && control.hls.ask_ladder(Instant::now(), stream, &names) {
            wants::again(control, id);
        }
        names
    }

    /// This one has been sent a playlist. Whether it plays by the ladder.
    pub(super) fn seen(&self, stream: &Stream, of_ladder: bool) -> bool {
        let Visitor { watcher, token } = &self.visitor;
        let seen = stream.seen(Instant::now(), *watcher, token, of_ladder);
        if seen.is_new {
            let event = StreamEvent::PlayStarted { subscriber: "" };
            webhooks::owe_soon(self.control, &self.id, &event);
        }
        seen.by_ladder
    }

    /// What is kept of the media that is asked for.
    pub(super) fn track(&self) -> Result<Arc<Track>, Refusal> {
        let stream = self.control.hls.get(&self.id).ok_or_else(gone)?;
        stream.track(self.rung).ok_or_else(gone)
    }

    /// Parts as one file: shared with what is kept.
    pub(super) fn media_file(
        &self,
        kind: &'static str,
        parts: Vec<Bytes>,
    ) -> Result<Response, Refusal> {
        // The name says what is in it.
        let tag = format!(
            "\"{:016x}\"",
            SipHasher13::new().hash(self.parts.uri.path().as_bytes())
        );
        let caching = self.caching(SEGMENT_CACHED_S, ", immutable");
        if is_known(&self.parts.headers, &tag) {
            return Ok(not_modified(tag, caching));
        }
        let length: usize = parts.iter().map(Bytes::len).sum();
        let headers = [
            (header::CONTENT_TYPE, kind.to_owned()),
            (header::CONTENT_LENGTH, length.to_string()),
            (header::CACHE_CONTROL, caching),
            (header::ETAG, tag),
        ];
        let parts = parts.into_iter().map(Ok::<_, Infallible>);
        Ok((headers, Body::from_stream(stream::iter(parts))).into_response())
    }

    /// A playlist of this kind.
    pub(super) fn page(&self, page: Page, kind: &'static str, caching: &str) -> Response {
        let headers = &self.parts.headers;
        if is_known(headers, &page.etag) {
            return not_modified(page.etag, caching.to_owned());
        }
        let mut response = [
            (header::CONTENT_TYPE, kind.to_owned()),
            (header::CACHE_CONTROL, caching.to_owned()),
            (header::VARY, header::ACCEPT_ENCODING.to_string()),
            (header::ETAG, page.etag),
        ]
        .into_response();
        if takes_gzip(headers) {
            let gzip = HeaderValue::from_static("gzip");
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, gzip);
            *response.body_mut() = Body::from(page.gzip);
        } else {
            *response.body_mut() = Body::from(page.text);
        }
        response
    }

    /// What is asked for with a token is for its bearer alone.
    pub(super) fn caching(&self, seconds: u32, more: &str) -> String {
        let is_open = !self.settings.play_token_control_enabled;
        let whose = if is_open { "public" } else { "private" };
        format!("{whose}, max-age={seconds}{more}")
    }

    /// Gives a browser that has none the cookie that tells it from others.
    pub(super) fn put_cookie(&self, response: &mut Response) {
        let cookie = self.visitor.new_cookie(self.id.application());
        if let Some(Ok(cookie)) = cookie.map(HeaderValue::try_from) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
}

/// Waits for the first segment.
pub(super) async fn wait_for_segment(track: &Track, patience: Duration) -> Result<(), Refusal> {
    let is_settled = |media: &Media| media.has_segment() || media.is_left_out();
    if !track.wait(patience, is_settled).await {
        let message = "the first segment is not complete yet: ask again, or make the encoder's keyframes \
                       two seconds apart";
        return Err(Refusal::later(message));
    }
    if track.read(Media::is_left_out) {
        return Err(not_made());
    }
    Ok(())
}

/// A rung has no media.
pub(super) fn not_made() -> Refusal {
    Refusal::not_found(
        "this rung is not made: there is no capacity for it, or the publisher's video is smaller",
    )
}

/// There is no such segment.
pub(super) fn gone() -> Refusal {
    Refusal::not_found("this part of the stream is not there yet, or not any more")
}
