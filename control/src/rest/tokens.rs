//! Tokens: issued for one stream and direction, valid until they expire.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use rand::{Rng, distr::Alphanumeric};

use super::{
    application::{Application, Parameters, StreamPath},
    lists,
    responses::{BAD_NAME, Outcome},
    types::Token,
};
use crate::body::{self, BodyError, JsonBody};
use crate::{admission, limits, state::Control, store::TokenRecord};

/// From this on a date is in milliseconds: as seconds it would lie after the year 5000.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

/// GET `/{id}/token?expireDate&type&roomId`
pub(super) async fn issue(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
    Query(query): Parameters,
) -> Response {
    let Some(broadcast) = application.broadcast(&stream) else {
        return Outcome::failed("Stream id is not valid")
            .with_error_id(BAD_NAME)
            .bad_request();
    };
    let date = query
        .get("expireDate")
        .and_then(|text| text.trim().parse::<i64>().ok());
    let Some(date) = date
        .and_then(|date| u64::try_from(date).ok())
        .filter(|date| *date > 0)
    else {
        let problem = "expireDate is missing or not a positive number of seconds since 1970";
        return Outcome::failed(problem).bad_request();
    };
    let kind = query.get("type").map(String::as_str).unwrap_or_default();
    if !matches!(kind, "publish" | "play") {
        return Outcome::failed("type must be publish or play").bad_request();
    }
    let record = TokenRecord {
        token: rand::rng()
            .sample_iter(Alphanumeric)
            .take(32)
            .map(char::from)
            .collect(),
        broadcast,
        kind: kind.to_owned(),
        expire_unix_s: if date >= MILLISECONDS_FROM {
            date / 1000
        } else {
            date
        },
        room: query.get("roomId").filter(|room| !room.is_empty()).cloned(),
    };
    let stored = control
        .catalog
        .change(|t| {
            let room = t.token_count() < limits::TOKENS_MAX;
            if room {
                t.put_token(record.clone());
            }
            room
        })
        .await;
    match stored {
        Ok(true) => Json(Token::from(record)).into_response(),
        Ok(false) => Outcome::failed("there are too many tokens").bad_request(),
        Err(error) => error.into_response(),
    }
}

/// POST `/validate-token`: true once, the token is consumed.
pub(super) async fn validate(
    State(control): State<Arc<Control>>,
    application: Application,
    body: JsonBody,
) -> Response {
    let read = || -> Result<(String, String, String), BodyError> {
        let object = body.object()?.unwrap_or_default();
        let text = |key| Ok::<_, BodyError>(body::text(&object, key)?.unwrap_or_default());
        Ok((text("tokenId")?, text("streamId")?, text("type")?))
    };
    let (token, stream, kind) = match read() {
        Ok(read) => read,
        Err(error) => return error.into_response(),
    };
    let Some(id) = application.broadcast(&stream) else {
        return Outcome::failed("the token is not valid").into_response();
    };
    let consumed = control
        .catalog
        .change(|t| {
            let valid = t
                .token(&token)
                .is_some_and(|known| admission::matches(known, &id, &kind));
            if valid {
                t.remove_tokens(|known| known.token == token);
            }
            valid
        })
        .await;
    match consumed {
        Ok(true) => Outcome::done().into_response(),
        Ok(false) => Outcome::failed("the token is not valid").into_response(),
        Err(error) => error.into_response(),
    }
}

/// DELETE `/{id}/tokens`
pub(super) async fn revoke_all(
    State(control): State<Arc<Control>>,
    application: Application,
    Path(stream): StreamPath,
) -> Response {
    let Some(id) = application.broadcast(&stream) else {
        return Outcome::failed("Stream id is not valid").into_response();
    };
    match control
        .catalog
        .change(|t| t.remove_tokens(|token| token.broadcast == id))
        .await
    {
        Ok(0) => Outcome::failed("the stream has no tokens").into_response(),
        Ok(_) => Outcome::done().into_response(),
        Err(error) => error.into_response(),
    }
}

/// GET `/{id}/tokens/list/{offset}/{size}`
pub(super) async fn list(
    State(control): State<Arc<Control>>,
    application: Application,
    Path((stream, offset, size)): Path<(String, String, String)>,
) -> Response {
    let Some(page) = lists::Page::read(&offset, &size) else {
        return lists::not_a_page();
    };
    let id = application.broadcast(&stream);
    let mut tokens: Vec<TokenRecord> = control
        .catalog
        .tokens()
        .into_iter()
        .filter(|t| Some(&t.broadcast) == id.as_ref())
        .collect();
    tokens.sort_by(|a, b| (a.expire_unix_s, &a.token).cmp(&(b.expire_unix_s, &b.token)));
    Json(page.of(tokens).map(Token::from).collect::<Vec<_>>()).into_response()
}
