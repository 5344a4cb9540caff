//! Playlists, segments and parts of HLS ([`crate::hls::names`]).
//!
//! What is asked for here never reaches a shard, except that the first request for a broadcast has it packaged.

use std::{
    collections::HashMap,
    convert::Infallible,
    io::Write,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures_util::stream;
use shardcast_link::{BroadcastId, fragment::RungName};
use siphasher::sip::SipHasher13;

use super::{refusal::Refusal, reload::Reload, visitor::Visitor};
use crate::{
    backend::StreamEvent,
    hls::{
        Asked, Media, Page, Stream, Track,
        names::{self, Name},
        playlist::{self, Least, Report, Wish},
    },
    lifecycle, limits,
    settings::ApplicationSettings,
    state::Control,
    store::BroadcastRecord,
    wants, webhooks,
};

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const SEGMENT: &str = "video/mp4";
/// Seconds that a segment may be kept by caches. Its name is never used again.
const SEGMENT_CACHED_S: u32 = 3_600;
/// Seconds that the answer to a request for a playlist to come may be kept by caches: who asks for the same number
/// later goes on from there.
const RELOAD_CACHED_S: u32 = 2;

/// A request for a file of a broadcast.
struct Asking<'a> {
    control: &'a Arc<Control>,
    settings: &'a ApplicationSettings,
    id: BroadcastId,
    /// Of the ladder; `None`: the publisher's video.
    rung: Option<RungName>,
    parts: &'a Parts,
    visitor: Visitor,
}

/// Answers a request for a file of HLS.
pub(super) async fn serve(
    control: &Arc<Control>,
    application: &str,
    name: Name<'_>,
    parts: &Parts,
    mut parameters: HashMap<String, String>,
) -> Result<Response, Refusal> {
    let settings = control
        .application(application)
        .ok_or_else(|| Refusal::not_found("there is no such application"))?;
    if !settings.hls.enabled {
        let message = "this application has no HLS: hlsMuxingEnabled is off";
        return Err(Refusal::not_found(message));
    }
    let (id, rung) = broadcast(control, application, name)?;
    let asking = Asking {
        control,
        settings,
        id,
        rung,
        visitor: Visitor::of(control, parts, &mut parameters)?,
        parts,
    };
    asking.visitor.admit(control, &asking.id)?;
    match name {
        Name::Media { .. } => asking.media(&Reload::read(&parameters)?).await,
        Name::Multivariant { .. } if asking.id.stream() != name.stream() => {
            // A broadcast that is called so.
            asking.media(&Reload::read(&parameters)?).await
        }
        Name::Multivariant { up, .. } => asking.multivariant(up).await,
        Name::Segment { number, .. } => asking.segment(number),
        Name::Part { number, part, .. } => asking.part(number, part).await,
        Name::Init { tag, .. } => asking.init(tag),
    }
}

/// The broadcast and the rung that a file is of. A broadcast may be called `something_adaptive`, or as a rung is.
fn broadcast(
    control: &Control,
    application: &str,
    name: Name<'_>,
) -> Result<(BroadcastId, Option<RungName>), Refusal> {
    let id = |stream: &str| {
        BroadcastId::new(application, stream).map_err(|error| Refusal::bad(error.to_string()))
    };
    if let Name::Multivariant { stream, up } = name {
        let whole = id(&format!("{stream}_adaptive"))?;
        let is_whole = up.is_empty() && control.catalog.broadcast(&whole).is_some();
        return Ok((if is_whole { whole } else { id(stream)? }, None));
    }
    let whole = id(name.stream())?;
    match names::rung_of(name.stream()) {
        Some((stream, rung)) if control.catalog.broadcast(&whole).is_none() => {
            Ok((id(stream)?, Some(rung)))
        }
        _ => Ok((whole, None)),
    }
}

impl Asking<'_> {
    /// The stream, packaged from now on.
    fn open(&self) -> Result<Arc<Stream>, Refusal> {
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
    fn open_ladder(&self, stream: &Stream) -> Vec<RungName> {
        let (control, id) = (self.control, &self.id);
        let rungs = wants::rungs(control, &self.settings.encoding, id);
        let names: Vec<RungName> = rungs.iter().map(RungName::from).collect();
        let is_live = !stream.source().read(Media::is_ended);
        if is_live && !names.is_empty() && control.hls.ask_ladder(Instant::now(), stream, &names) {
            wants::again(control, id);
        }
        names
    }

    /// What a media playlist is made of, once there is a segment.
    async fn open_track(&self, stream: &Stream) -> Result<Arc<Track>, Refusal> {
        if let Some(rung) = self.rung
            && !self.open_ladder(stream).contains(&rung)
        {
            return Err(Refusal::not_found("the stream has no such rung"));
        }
        let track = stream.track(self.rung).ok_or_else(not_made)?;
        wait_for_segment(&track, limits::HLS_FIRST_SEGMENT).await?;
        Ok(track)
    }

    async fn media(&self, reload: &Reload) -> Result<Response, Refusal> {
        let stream = self.open()?;
        let track = self.open_track(&stream).await?;
        reload.wait(&track).await?;
        if track.read(Media::is_left_out) {
            return Err(not_made());
        }
        let query = self.visitor.query();
        // With a token each is one viewer's own.
        let page = if query.is_empty() {
            let made = track.made_page(reload.skip);
            made.unwrap_or_else(|| {
                let others = self.reports(&stream);
                let make = |media: &Media| self.playlist(media, reload.skip, "", &others);
                track.page(reload.skip, make)
            })
        } else {
            let others = self.reports(&stream);
            track.read(|media| self.playlist(media, reload.skip, &query, &others))
        };
        if self.seen(&stream, self.rung.is_some()) && self.rung.is_none() {
            self.open_ladder(&stream);
        }
        let caching = if reload.is_blocking() {
            self.caching(RELOAD_CACHED_S, "")
        } else {
            "no-cache".to_owned()
        };
        let mut response = self.page(page, &caching);
        if !reload.is_blocking() {
            self.put_cookie(&mut response);
        }
        Ok(response)
    }

    /// This one has been sent a playlist. Whether it plays by the ladder.
    fn seen(&self, stream: &Stream, of_ladder: bool) -> bool {
        let Visitor { watcher, token } = &self.visitor;
        let seen = stream.seen(Instant::now(), *watcher, token, of_ladder);
        if seen.is_new {
            let event = StreamEvent::PlayStarted { subscriber: "" };
            webhooks::owe_soon(self.control, &self.id, &event);
        }
        seen.by_ladder
    }

    fn playlist(&self, media: &Media, skip: bool, query: &str, others: &[Report]) -> Page {
        let stem = names::stem(self.id.stream(), self.rung);
        let wish = Wish {
            skip,
            query,
            others,
        };
        page(&playlist::media_playlist(&stem, media, wish))
    }

    /// How far the playlists are that a player may change to.
    fn reports(&self, stream: &Stream) -> Vec<Report> {
        let rungs = stream.rungs().into_iter();
        let rungs = rungs.map(|(rung, track)| (Some(rung), track));
        let all = std::iter::once((None, Arc::clone(stream.source()))).chain(rungs);
        let others = all.filter(|(rung, _)| *rung != self.rung);
        let report = |(rung, track): (Option<RungName>, Arc<Track>)| {
            let name = names::media(&names::stem(self.id.stream(), rung));
            track.read(|media| Report::of(name, media))
        };
        others.filter_map(report).collect()
    }

    async fn multivariant(&self, up: &str) -> Result<Response, Refusal> {
        let deadline = Instant::now() + limits::HLS_FIRST_SEGMENT;
        let stream = self.open()?;
        self.open_ladder(&stream);
        wait_for_segment(stream.source(), limits::HLS_FIRST_SEGMENT).await?;
        let query = self.visitor.query();
        let address = |rung: Option<RungName>| {
            let name = names::media(&names::stem(self.id.stream(), rung));
            format!("{up}{name}{query}")
        };
        let mut variants = Vec::new();
        let mut frames_per_second = 0;
        for (rung, track) in stream.rungs() {
            let patience = deadline.saturating_duration_since(Instant::now());
            // One that does not come is left out.
            let _ = wait_for_segment(&track, patience.min(limits::HLS_FIRST_RUNG)).await;
            let least = Least {
                bps: u64::from(rung.kbps) * 1_000,
                frames_per_second: 0,
            };
            let address = address(Some(rung));
            variants.extend(track.read(|media| playlist::variant(media, least, &address)));
            frames_per_second = track.read(Media::frames_per_second).max(frames_per_second);
        }
        // The publisher's is measured, and hls.js goes up to no variant that says that it has fewer pictures.
        let least = Least {
            bps: 0,
            frames_per_second,
        };
        let source = |media: &Media| playlist::variant(media, least, &address(None));
        if let Some(source) = stream.source().read(source) {
            variants.insert(0, source);
        }
        let made = playlist::multivariant_playlist(&variants);
        let text = made.ok_or_else(|| Refusal::later("the stream has just ended"))?;
        self.seen(&stream, true);
        let mut response = self.page(page(&text), "no-cache");
        self.put_cookie(&mut response);
        Ok(response)
    }

    fn segment(&self, number: u64) -> Result<Response, Refusal> {
        let parts = self.track()?.read(|media| {
            let segment = media
                .segment(number)
                .filter(|segment| segment.is_complete)?;
            let parts = segment.parts.iter().map(|part| part.bytes.clone());
            Some(parts.collect::<Vec<_>>())
        });
        self.media_file(parts.ok_or_else(gone)?)
    }

    /// A part; the one that comes next is waited for (RFC 8216bis, 6.2.6).
    async fn part(&self, number: u64, part: usize) -> Result<Response, Refusal> {
        let track = self.track()?;
        let next = Some((number, part));
        if track.read(|media| media.next_part() == next && !media.is_ended()) {
            let has_come = |media: &Media| media.next_part() != next || media.is_ended();
            track.wait(limits::HLS_PART_WAIT, has_come).await;
        }
        let bytes = track.read(|media| {
            let part = media.segment(number)?.parts.get(part)?;
            Some(part.bytes.clone())
        });
        self.media_file(vec![bytes.ok_or_else(gone)?])
    }

    fn init(&self, tag: u64) -> Result<Response, Refusal> {
        let bytes = self.track()?.read(|media| media.init(tag));
        self.media_file(vec![bytes.ok_or_else(gone)?])
    }

    fn track(&self) -> Result<Arc<Track>, Refusal> {
        let stream = self.control.hls.get(&self.id).ok_or_else(gone)?;
        stream.track(self.rung).ok_or_else(gone)
    }

    /// Parts as one file: shared with what is kept.
    fn media_file(&self, parts: Vec<Bytes>) -> Result<Response, Refusal> {
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
            (header::CONTENT_TYPE, SEGMENT.to_owned()),
            (header::CONTENT_LENGTH, length.to_string()),
            (header::CACHE_CONTROL, caching),
            (header::ETAG, tag),
        ];
        let parts = parts.into_iter().map(Ok::<_, Infallible>);
        Ok((headers, Body::from_stream(stream::iter(parts))).into_response())
    }

    fn page(&self, page: Page, caching: &str) -> Response {
        let headers = &self.parts.headers;
        if is_known(headers, &page.etag) {
            return not_modified(page.etag, caching.to_owned());
        }
        let mut response = [
            (header::CONTENT_TYPE, PLAYLIST.to_owned()),
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
    fn caching(&self, seconds: u32, more: &str) -> String {
        let is_open = !self.settings.play_token_control_enabled;
        let whose = if is_open { "public" } else { "private" };
        format!("{whose}, max-age={seconds}{more}")
    }

    fn put_cookie(&self, response: &mut Response) {
        let cookie = self.visitor.new_cookie(self.id.application());
        if let Some(Ok(cookie)) = cookie.map(HeaderValue::try_from) {
            response.headers_mut().insert(header::SET_COOKIE, cookie);
        }
    }
}

/// Waits for the first segment.
async fn wait_for_segment(track: &Track, patience: Duration) -> Result<(), Refusal> {
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

fn not_made() -> Refusal {
    Refusal::not_found(
        "this rung is not made: there is no capacity for it, or the publisher's video is smaller",
    )
}

fn gone() -> Refusal {
    Refusal::not_found("this part of the stream is not there yet, or not any more")
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let given = headers.get(header::IF_NONE_MATCH);
    let given = given
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    given
        .split(',')
        .any(|it| it.trim().trim_start_matches("W/") == tag)
}

fn not_modified(tag: String, caching: String) -> Response {
    let headers = [(header::ETAG, tag), (header::CACHE_CONTROL, caching)];
    (StatusCode::NOT_MODIFIED, headers).into_response()
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let given = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = given.flat_map(|value| value.to_str().unwrap_or_default().split(','));
    codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(weight.trim(), "q=0" | "q=0.0")
    })
}

fn page(text: &str) -> Page {
    let etag = format!("\"{:016x}\"", SipHasher13::new().hash(text.as_bytes()));
    let mut gzip = GzEncoder::new(Vec::with_capacity(text.len() / 4), Compression::fast());
    // Writing to memory does not fail.
    let _ = gzip.write_all(text.as_bytes());
    Page {
        text: Bytes::copy_from_slice(text.as_bytes()),
        gzip: gzip.finish().unwrap_or_default().into(),
        etag,
    }
}
