//! WHIP, the HTTP way to publish (RFC 9725): `POST /{app}/whip/{stream}` with an offer makes a session,
//! whose URL takes candidates and ICE restarts (`PATCH`) and its end (`DELETE`).
//!
//! WHEP is the same for viewers, under `/whep/` ([`whep`]).
//!
//! A session is a signalling socket to the hub, so tokens, limits, takeover and webhooks are those of
//! the WebSocket.

mod refusal;
mod sdp;
pub(super) mod session;
mod whep;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{patch, post},
};
use shardcast_link::BroadcastId;
use tower_http::cors::{Any, CorsLayer};

pub(super) use self::refusal::explanation;
use self::{
    refusal::Refusal,
    sdp::Fragment,
    session::{Session, ask, random_name},
};
use super::{
    caller::Caller,
    commands::{self, Sender},
};
use crate::{
    access, body, limits,
    publishing::message::{ClientMessage, Publish},
    settings::IceServer,
    state::{Answer, Control, WhipSession},
};

const SDP: &str = "application/sdp";
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// The routes of all applications.
pub(crate) fn router() -> Router<Arc<Control>> {
    Router::new()
        .route("/{app}/whip/{stream}", post(publish))
        .route("/{app}/whip/{stream}/{session}", patch(change).delete(end))
        .route("/{app}/whep/{stream}", post(whep::watch))
        .route("/{app}/whep/{stream}/{session}", patch(change).delete(end))
        .layer(cors())
}

/// Any page may ask; whether it may publish is said by the `publisher_origins` of the settings.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::POST, Method::PATCH, Method::DELETE, Method::OPTIONS])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
        ])
        .expose_headers([
            header::LOCATION,
            header::ETAG,
            header::LINK,
            ACCEPT_PATCH,
            header::RETRY_AFTER,
        ])
}

type Parameters = Query<HashMap<String, String>>;

async fn publish(
    State(control): State<Arc<Control>>,
    Path((application, stream)): Path<(String, String)>,
    Query(parameters): Parameters,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let broadcast = name(&control, &application, &stream)?;
    access::check_publisher_origin(&control.settings, &parts.headers)
        .map_err(|refusal| Refusal::new(StatusCode::FORBIDDEN, refusal.to_string()))?;
    if control.stopping.load(std::sync::atomic::Ordering::Relaxed) {
        return Err(Refusal::later("this server is stopping"));
    }
    let attempt = attempt(&broadcast, &parts.headers, parameters)?;
    let offer = text(&parts.headers, body, SDP).await?;
    let caller = Caller::of(&control, &application, &parts.headers, &parts.extensions);
    let Some(mut session) = Session::open(&control, caller, broadcast) else {
        return Err(Refusal::later("too many signalling sockets"));
    };
    let answer = session.begin(attempt, &offer).await?;
    let (name, etag) = session.run(offer, false);
    let location = format!("/{application}/whip/{stream}/{name}");
    Ok(created(&control, &application, location, &etag, &answer))
}

/// The answer to an offer, with the URL of its session.
fn created(
    control: &Control,
    application: &str,
    location: String,
    etag: &str,
    answer: &Answer,
) -> Response {
    let headers = [
        (header::CONTENT_TYPE, SDP.to_owned()),
        (header::LOCATION, location),
        (header::ETAG, format!("\"{etag}\"")),
        (ACCEPT_PATCH, FRAGMENT.to_owned()),
    ];
    let answer = sdp::with_candidates(answer);
    let mut response = (StatusCode::CREATED, headers, answer).into_response();
    let ice = control.application(application).map(|a| &a.ice_server);
    for link in ice.into_iter().flat_map(links) {
        response.headers_mut().append(header::LINK, link);
    }
    response
}

async fn change(
    State(control): State<Arc<Control>>,
    Path((application, stream, name)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let session = find(&control, &application, &stream, &name)?;
    let asked = parts.headers.get(header::IF_MATCH);
    let Some(asked) = asked.and_then(|value| value.to_str().ok()) else {
        let message = "If-Match must hold the entity tag of the session, or * to restart ICE";
        return Err(Refusal::new(StatusCode::PRECONDITION_REQUIRED, message));
    };
    let text = text(&parts.headers, body, FRAGMENT).await?;
    let fragment = Fragment::parse(&text);
    let current = sdp::attribute(&session.offer, "a=ice-ufrag:");
    let restarts = fragment.ufrag.is_some_and(|ufrag| Some(ufrag) != current);
    let is_current = asked == format!("\"{}\"", session.etag);
    if !(is_current || asked == "*" && restarts) {
        let message = "If-Match holds another ICE session than the one of this session";
        return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, message));
    }
    let caller = Caller::of(&control, &application, &parts.headers, &parts.extensions);
    let sender = Sender {
        socket: session.socket,
        application: &application,
        from_allowed_address: caller.from_allowed_address,
    };
    if restarts {
        return restart(&control, sender, &session, &name, &fragment).await;
    }
    trickle(&control, sender, &session, &fragment);
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn restart(
    control: &Arc<Control>,
    sender: Sender<'_>,
    session: &WhipSession,
    name: &str,
    fragment: &Fragment<'_>,
) -> Result<Response, Refusal> {
    let (Some(ufrag), Some(password)) = (fragment.ufrag, fragment.password) else {
        let message = "an ICE restart needs both a=ice-ufrag and a=ice-pwd";
        return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    };
    let offer = sdp::restarted(&session.offer, ufrag, password);
    let answered = ask(session, || {
        let broadcast = session.broadcast.clone();
        if session.watches {
            commands::restart_view(control, sender, &broadcast, offer.clone());
        } else {
            let message = ClientMessage::TakeConfiguration {
                broadcast,
                is_offer: true,
                sdp: Some(offer.clone()),
            };
            commands::carry_out(control, sender, message);
        }
        trickle(control, sender, session, fragment);
    });
    let Some(answered) = answered.await else {
        return Err(Refusal::later("the session did not answer"));
    };
    let answer = answered?;
    let etag = random_name();
    control.whip.restarted(name, etag.clone(), offer);
    let headers = [
        (header::CONTENT_TYPE, FRAGMENT.to_owned()),
        (header::ETAG, format!("\"{etag}\"")),
    ];
    Ok((StatusCode::OK, headers, sdp::fragment_of(&answer)).into_response())
}

fn trickle(
    control: &Arc<Control>,
    sender: Sender<'_>,
    session: &WhipSession,
    fragment: &Fragment<'_>,
) {
    for candidate in &fragment.candidates {
        let message = ClientMessage::TakeCandidate {
            broadcast: session.broadcast.clone(),
            candidate: (*candidate).to_owned(),
        };
        commands::carry_out(control, sender, message);
    }
}

async fn end(
    State(control): State<Arc<Control>>,
    Path((application, stream, name)): Path<(String, String, String)>,
) -> Result<Response, Refusal> {
    let session = find(&control, &application, &stream, &name)?;
    control.whip.remove(&name);
    let sender = Sender {
        socket: session.socket,
        application: &application,
        from_allowed_address: true,
    };
    let broadcast = session.broadcast.clone();
    commands::carry_out(&control, sender, ClientMessage::Stop { broadcast });
    Ok(StatusCode::OK.into_response())
}

fn name(control: &Control, application: &str, stream: &str) -> Result<BroadcastId, Refusal> {
    if control.application(application).is_none() {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "there is no such application",
        ));
    }
    BroadcastId::new(application, stream)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string()))
}

fn find(
    control: &Control,
    application: &str,
    stream: &str,
    session: &str,
) -> Result<WhipSession, Refusal> {
    let broadcast = name(control, application, stream)?;
    control.whip.get(session, &broadcast).ok_or_else(|| {
        let message =
            "there is no such session: it has ended, or the server has been started again";
        Refusal::new(StatusCode::NOT_FOUND, message)
    })
}

/// Takes a parameter out of the query; what is missing is empty.
fn take(
    parameters: &mut HashMap<String, String>,
    key: &str,
    bytes_max: usize,
) -> Result<String, Refusal> {
    let value = parameters.remove(key).unwrap_or_default();
    if value.len() > bytes_max {
        let message = format!("{key} is over {bytes_max} bytes");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    }
    Ok(value)
}

/// The token: that of `Authorization`, with or without `Bearer`, or else that of the query.
fn credentials(
    headers: &HeaderMap,
    parameters: &mut HashMap<String, String>,
) -> Result<String, Refusal> {
    let short = limits::CREDENTIAL_BYTES_MAX;
    let of_query = take(parameters, "token", short)?;
    let authorization = headers.get(header::AUTHORIZATION);
    let authorization = authorization.and_then(|value| value.to_str().ok());
    let token = authorization.map_or(of_query, |value| {
        let bearer = value
            .get(..7)
            .filter(|word| word.eq_ignore_ascii_case("bearer "));
        bearer
            .map_or(value, |word| &value[word.len()..])
            .trim()
            .to_owned()
    });
    if token.len() > short {
        let message = format!("the token is over {short} bytes");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, message));
    }
    Ok(token)
}

fn attempt(
    broadcast: &BroadcastId,
    headers: &HeaderMap,
    mut parameters: HashMap<String, String>,
) -> Result<Publish, Refusal> {
    let short = limits::CREDENTIAL_BYTES_MAX;
    let token = credentials(headers, &mut parameters)?;
    let mut take = |key: &str, bytes_max| take(&mut parameters, key, bytes_max);
    Ok(Publish {
        broadcast: broadcast.clone(),
        token,
        subscriber_id: take("subscriberId", short)?,
        subscriber_code: take("subscriberCode", short)?,
        name: take("streamName", short)?,
        meta_data: take("metaData", limits::TEXT_BYTES_MAX)?,
    })
}

/// The body of a request, which must be of this type.
async fn text(headers: &HeaderMap, body: Body, kind: &'static str) -> Result<String, Refusal> {
    let given = headers.get(header::CONTENT_TYPE);
    let given = given
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let given = given.split(';').next().unwrap_or_default().trim();
    if !given.eq_ignore_ascii_case(kind) {
        let message = format!("the body must be {kind}");
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let bytes = body::collect(body, limits::SDP_BYTES_MAX).await?;
    String::from_utf8(bytes.to_vec())
        .map_err(|_| Refusal::new(StatusCode::BAD_REQUEST, "the body must be UTF-8"))
}

/// The STUN and TURN servers for clients (RFC 9725, 4.6).
fn links(server: &IceServer) -> Vec<HeaderValue> {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let link = |uri: &str| {
        let mut link = format!("<{uri}>; rel=\"ice-server\"");
        if IceServer::is_turn(uri) && !server.username.is_empty() {
            link += &format!(
                "; username=\"{}\"; credential=\"{}\"; credential-type=\"password\"",
                quoted(&server.username),
                quoted(&server.credential)
            );
        }
        HeaderValue::from_str(&link).ok()
    };
    server.uris().filter_map(link).collect()
}
