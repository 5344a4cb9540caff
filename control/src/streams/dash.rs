//! The manifest and the segments of DASH ([`crate::dash`]), and the time for its players.

use std::{collections::HashMap, sync::Arc, time::Instant};

use axum::{
    http::{header, request::Parts},
    response::{IntoResponse, Response},
};
use shardcast_link::{BroadcastId, fragment::RungName};

use super::{
    answer::page,
    asking::{Asking, MP4, gone, wait_for_segment},
    refusal::Refusal,
    visitor::Visitor,
};
use crate::{
    clock,
    dash::{
        self, Manifest, Presentation,
        names::{File, Name},
    },
    hls::{Segment, playlist::date_time},
    limits,
    state::Control,
};

const MANIFEST: &str = "application/dash+xml";
/// Name of the file that says what time it is.
pub(super) const TIME: &str = "time";

/// Answers a request for a file of DASH.
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
    if !settings.hls.dash {
        let message = "this application has no DASH: dashMuxingEnabled is off";
        return Err(Refusal::not_found(message));
    }
    let id = BroadcastId::new(application, name.stream)
        .map_err(|error| Refusal::bad(error.to_string()))?;
    let rung = match name.file {
        File::Manifest => None,
        File::Segment { rung, .. } | File::Init { rung, .. } => rung,
    };
    let asking = Asking {
        control,
        settings,
        id,
        rung,
        visitor: Visitor::of(control, parts, &mut parameters)?,
        parts,
    };
    asking.visitor.admit(control, &asking.id)?;
    match name.file {
        File::Manifest => asking.manifest().await,
        File::Segment {
            kind, begins_at, ..
        } => {
            let is_it = |segment: &&Segment| {
                segment.is_complete
                    && segment
                        .span(kind)
                        .is_some_and(|span| span.begins_at == begins_at)
            };
            let found = asking.track()?.read(|media| {
                let mut segments = media.segments().iter();
                segments.find(is_it).cloned()
            });
            let files = found.and_then(|segment| dash::media(&segment, kind));
            asking.media_file(MP4, files.ok_or_else(gone)?)
        }
        File::Init { kind, tag, .. } => {
            let track = asking.track()?;
            let bytes = track.read(|media| dash::init(media.segment_of(tag)?, kind));
            asking.media_file(MP4, vec![bytes.ok_or_else(gone)?])
        }
    }
}

impl Asking<'_> {
    async fn manifest(&self) -> Result<Response, Refusal> {
        let deadline = Instant::now() + limits::HLS_FIRST_SEGMENT;
        let stream = self.open()?;
        self.open_ladder(&stream);
        wait_for_segment(stream.source(), limits::HLS_FIRST_SEGMENT).await?;
        let mut rungs: Vec<Presentation> = Vec::new();
        for (rung, track) in stream.rungs() {
            let patience = deadline.saturating_duration_since(Instant::now());
            // One that does not come is left out.
            let _ = wait_for_segment(&track, patience.min(limits::HLS_FIRST_RUNG)).await;
            let of = |media: &_| Presentation::of(Some::<RungName>(rung), media);
            rungs.push(track.read(of));
        }
        let source = stream.source().read(|media| Presentation::of(None, media));
        let manifest = Manifest {
            stream: self.id.stream(),
            source: &source,
            rungs: &rungs,
            now_unix_ms: clock::unix_ms(),
            query: &self.visitor.query(),
        };
        let text = manifest.text();
        let text = text.ok_or_else(|| Refusal::later("the stream has just begun"))?;
        self.seen(&stream, true);
        let mut response = self.page(page(&text), MANIFEST, "no-cache");
        self.put_cookie(&mut response);
        Ok(response)
    }
}

/// What time it is, for players whose clocks are wrong (`urn:mpeg:dash:utc:http-iso:2014`).
pub(super) fn time() -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, date_time(clock::unix_ms())).into_response()
}
