//! JSON bodies: limit, content type, syntax, in this order; and the bytes of others.

use std::{collections::BTreeSet, convert::Infallible, future::Future, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, Request},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::BytesMut;
use futures_util::StreamExt;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::limits;

/// The body is not what the operation takes. The client's fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the body is over {0} bytes")]
    TooLarge(usize),
    #[error("the body must be application/json")]
    NotJson,
    #[error("malformed JSON: {0}")]
    Malformed(String),
    #[error("the body could not be read")]
    Broken,
    #[error("the body did not come within {} s", limits::BODY_READ.as_secs())]
    TooSlow,
    #[error("Unrecognized field \"{field}\" of {bean}, not marked as ignorable")]
    UnknownField { field: String, bean: &'static str },
    #[error("{0}")]
    Value(String),
}

impl IntoResponse for BodyError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::BAD_REQUEST,
        };
        (status, format!("{self}\n")).into_response()
    }
}

/// A body as it came; it is looked at by [`JsonBody::object`].
#[derive(Debug)]
pub(crate) struct JsonBody(Result<Option<Value>, BodyError>);

impl JsonBody {
    /// The JSON object without its nulls, which Jackson takes for "not given"; `None` without a
    /// body.
    pub(crate) fn object(self) -> Result<Option<Map<String, Value>>, BodyError> {
        let mut object = self.object_with_nulls()?;
        if let Some(object) = &mut object {
            object.retain(|_, value| !value.is_null());
        }
        Ok(object)
    }

    /// The JSON object as it came; `None` without a body.
    pub(crate) fn object_with_nulls(self) -> Result<Option<Map<String, Value>>, BodyError> {
        match self.0? {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(BodyError::Malformed("an object is expected".to_owned())),
        }
    }

    /// The JSON list of texts; `None` without a body.
    pub(crate) fn texts(self) -> Result<Option<Vec<String>>, BodyError> {
        let Some(value) = self.0? else {
            return Ok(None);
        };
        let texts = serde_json::from_value(value);
        texts.map(Some).map_err(|_| {
            let expected = "a list of texts is expected";
            BodyError::Malformed(expected.to_owned())
        })
    }
}

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Infallible;

    async fn from_request(request: Request, _: &S) -> Result<Self, Self::Rejection> {
        let (parts, body) = request.into_parts();
        Ok(Self(read(&parts.headers, body).await))
    }
}

async fn read(headers: &HeaderMap, body: Body) -> Result<Option<Value>, BodyError> {
    let bytes = collect(body, limits::BODY_BYTES_MAX).await?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let kind = kind
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(BodyError::NotJson);
    }
    let value = serde_json::from_slice(&bytes);
    value
        .map(Some)
        .map_err(|error| BodyError::Malformed(error.to_string()))
}

/// All bytes of a body of at most `most`.
pub(crate) async fn collect(body: Body, most: usize) -> Result<BytesMut, BodyError> {
    within(limits::BODY_READ, collect_in_time(body, most)).await
}

async fn within<T>(
    time: Duration,
    whole: impl Future<Output = Result<T, BodyError>>,
) -> Result<T, BodyError> {
    timeout(time, whole)
        .await
        .unwrap_or(Err(BodyError::TooSlow))
}

async fn collect_in_time(body: Body, most: usize) -> Result<BytesMut, BodyError> {
    let mut stream = body.into_data_stream();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk = chunk.map_err(|_| BodyError::Broken)?;
        if bytes.len() + chunk.len() > most {
            // A client still writing would see a reset instead of the answer.
            let drain = async {
                let mut drained = 0;
                while let Some(Ok(chunk)) = stream.next().await {
                    drained += chunk.len();
                    if drained > limits::BODY_DRAIN_BYTES_MAX {
                        break;
                    }
                }
            };
            let _ = timeout(limits::BODY_DRAIN, drain).await;
            return Err(BodyError::TooLarge(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Refuses fields that `bean` does not have.
pub(crate) fn only_known(
    object: &Map<String, Value>,
    known: &BTreeSet<String>,
    bean: &'static str,
) -> Result<(), BodyError> {
    match object.keys().find(|key| !known.contains(*key)) {
        None => Ok(()),
        Some(field) => Err(BodyError::UnknownField {
            field: field.chars().take(80).collect(),
            bean,
        }),
    }
}

/// The text of `key`; another type is an error.
pub(crate) fn text(object: &Map<String, Value>, key: &str) -> Result<Option<String>, BodyError> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() <= limits::TEXT_BYTES_MAX => Ok(Some(text.clone())),
        Some(Value::String(_)) => Err(BodyError::Value(format!("{key} is too long"))),
        Some(_) => Err(BodyError::Value(format!("{key} must be a string"))),
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_body_that_never_ends_is_let_go() {
        let begins = stream::iter([Ok::<_, Infallible>("{")]).chain(stream::pending());
        let whole = collect_in_time(Body::from_stream(begins), 100);
        let refused = within(Duration::from_millis(20), whole).await.unwrap_err();
        assert!(matches!(refused, BodyError::TooSlow));
        let status = refused.into_response().status();
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    }
}
