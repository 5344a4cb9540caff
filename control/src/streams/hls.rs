//! Playlists, segments and parts of HLS ([`crate::hls::names`]).
//!
//! What is asked for here never reaches a shard, except that the first request for a broadcast has it packaged.

use std::{collections::HashMap, sync::Arc, time::Instant};

use axum::{http::request::Parts, response::Response};
use shardcast_link::{BroadcastId, fragment::RungName};

use super::{
    answer::page,
    asking::{Asking, MP4, gone, not_made, wait_for_segment},
    refusal::Refusal,
    reload::Reload,
    visitor::Visitor,
};
use crate::{
    hls::{
        Media, Page, Stream, Track,
        names::{self, Name},
        playlist::{self, Least, Report, Wish},
    },
    limits,
    settings::SegmentType,
    state::Control,
};

const PLAYLIST: &str = "application/vnd.apple.mpegurl";
const TRANSPORT: &str = "video/MP2T";
/// Seconds that the answer to a request for a playlist to come may be kept by caches: who asks for the same number
/// later goes on from there.
const RELOAD_CACHED_S: u32 = 2;

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
        Name::Transport { number, .. } => asking.transport(number),
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
        let mut response = self.page(page, PLAYLIST, &caching);
        if !reload.is_blocking() {
            self.put_cookie(&mut response);
        }
        Ok(response)
    }

    fn playlist(&self, media: &Media, skip: bool, query: &str, others: &[Report]) -> Page {
        let stem = names::stem(self.id.stream(), self.rung);
        if self.is_transport() {
            return page(&playlist::transport_playlist(&stem, media, query));
        }
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
        let version = if self.is_transport() { 3 } else { 6 };
        let made = playlist::multivariant_playlist(version, &variants);
        let text = made.ok_or_else(|| Refusal::later("the stream has just ended"))?;
        self.seen(&stream, true);
        let mut response = self.page(page(&text), PLAYLIST, "no-cache");
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
        self.media_file(MP4, parts.ok_or_else(gone)?)
    }

    fn transport(&self, number: u64) -> Result<Response, Refusal> {
        if !self.is_transport() {
            let message = "segments are fMP4 here: hlsSegmentType is fmp4";
            return Err(Refusal::not_found(message));
        }
        let segment = self.track()?.read(|media| media.segment(number).cloned());
        let segment = segment.filter(|segment| segment.is_complete);
        self.media_file(TRANSPORT, vec![segment.ok_or_else(gone)?.transport()])
    }

    /// Whether segments are MPEG-TS.
    fn is_transport(&self) -> bool {
        self.settings.hls.segment_type == SegmentType::MpegTs
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
        self.media_file(MP4, vec![bytes.ok_or_else(gone)?])
    }

    fn init(&self, tag: u64) -> Result<Response, Refusal> {
        let bytes = self.track()?.read(|media| media.init(tag));
        self.media_file(MP4, vec![bytes.ok_or_else(gone)?])
    }
}
