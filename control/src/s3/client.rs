//! Makes requests about objects, and reads what comes back.

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, USER_AGENT},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rusty_s3::actions::CompleteMultipartUpload;
use tokio::time::timeout;
use url::Url;

use super::{Bucket, S3Error, error::element};
use crate::{backend, limits};

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// What objects are.
const KIND: &str = "video/mp4";

/// Makes requests, and keeps connections for the next ones.
#[derive(Debug, Default)]
pub(crate) struct S3Client {
    /// Made with the first request: it reads the certificates that this machine trusts.
    http: OnceLock<Http>,
}

struct Answer {
    headers: HeaderMap,
    text: String,
}

impl S3Client {
    /// Stores an object as a whole.
    pub(crate) async fn put(&self, bucket: &Bucket, key: &str, body: Bytes) -> Result<(), S3Error> {
        let action = bucket.signed.put_object(Some(&bucket.credentials), key);
        let url = Bucket::sign(&action);
        self.send(bucket, Method::PUT, &url, body).await?;
        Ok(())
    }

    /// Begins an object that is stored in parts; its id.
    pub(crate) async fn begin(&self, bucket: &Bucket, key: &str) -> Result<String, S3Error> {
        let credentials = Some(&bucket.credentials);
        let action = bucket.signed.create_multipart_upload(credentials, key);
        let url = Bucket::sign(&action);
        let answer = self.send(bucket, Method::POST, &url, Bytes::new()).await?;
        let id = element(&answer.text, "UploadId").filter(|id| !id.is_empty());
        let id = id.filter(|id| id.len() <= limits::S3_ID_BYTES_MAX);
        id.map(str::to_owned).ok_or_else(|| S3Error::Answer {
            host: bucket.host(),
            missing: "UploadId",
        })
    }

    /// Stores a part, from number 1 on; its tag, which [`Self::complete`] needs.
    pub(crate) async fn part(
        &self,
        bucket: &Bucket,
        key: &str,
        upload: &str,
        number: u16,
        body: Bytes,
    ) -> Result<String, S3Error> {
        let credentials = Some(&bucket.credentials);
        let action = bucket.signed.upload_part(credentials, key, number, upload);
        let url = Bucket::sign(&action);
        let answer = self.send(bucket, Method::PUT, &url, body).await?;
        let tag = answer.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
        let tag = tag.filter(|tag| tag.len() <= limits::S3_ID_BYTES_MAX);
        tag.map(str::to_owned).ok_or_else(|| S3Error::Answer {
            host: bucket.host(),
            missing: "ETag",
        })
    }

    /// Makes the object of its parts, whose tags are `tags`.
    pub(crate) async fn complete(
        &self,
        bucket: &Bucket,
        key: &str,
        upload: &str,
        tags: &[String],
    ) -> Result<(), S3Error> {
        let credentials = Some(&bucket.credentials);
        let tags = tags.iter().map(String::as_str);
        let action = CompleteMultipartUpload::new(&bucket.signed, credentials, key, upload, tags);
        let url = Bucket::sign(&action);
        let body = action.body().into();
        let answer = self.send(bucket, Method::POST, &url, body).await?;
        // It answers before it knows how it ends (AWS API Reference, CompleteMultipartUpload).
        if answer.text.contains("<Error>") {
            return Err(S3Error::refused(bucket, StatusCode::OK, &answer.text));
        }
        Ok(())
    }

    /// Throws away an upload that was begun.
    pub(crate) async fn abort(
        &self,
        bucket: &Bucket,
        key: &str,
        upload: &str,
    ) -> Result<(), S3Error> {
        let credentials = Some(&bucket.credentials);
        let action = bucket
            .signed
            .abort_multipart_upload(credentials, key, upload);
        let url = Bucket::sign(&action);
        self.send(bucket, Method::DELETE, &url, Bytes::new())
            .await?;
        Ok(())
    }

    /// Bytes of an object.
    pub(crate) async fn length(&self, bucket: &Bucket, key: &str) -> Result<u64, S3Error> {
        let action = bucket.signed.head_object(Some(&bucket.credentials), key);
        let url = Bucket::sign(&action);
        let answer = self.send(bucket, Method::HEAD, &url, Bytes::new()).await?;
        let length = answer.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|it| it.to_str().ok()?.parse().ok());
        length.ok_or_else(|| S3Error::Answer {
            host: bucket.host(),
            missing: "Content-Length",
        })
    }

    /// Removes an object. One that is not there is no failure.
    pub(crate) async fn delete(&self, bucket: &Bucket, key: &str) -> Result<(), S3Error> {
        let action = bucket.signed.delete_object(Some(&bucket.credentials), key);
        let url = Bucket::sign(&action);
        match self.send(bucket, Method::DELETE, &url, Bytes::new()).await {
            Err(error) if !error.is_absent() => Err(error),
            _ => Ok(()),
        }
    }

    async fn send(
        &self,
        bucket: &Bucket,
        method: Method,
        url: &Url,
        body: Bytes,
    ) -> Result<Answer, S3Error> {
        let time = match body.len() {
            0..limits::S3_SMALL_BYTES => limits::S3_SMALL_TIME,
            _ => limits::S3_PART_TIME,
        };
        let exchange = self.exchange(bucket, method, url, body);
        let timed_out = |_| S3Error::TimedOut {
            host: bucket.host(),
        };
        let (status, answer) = timeout(time, exchange).await.map_err(timed_out)??;
        if status.is_success() {
            Ok(answer)
        } else {
            Err(S3Error::refused(bucket, status, &answer.text))
        }
    }

    async fn exchange(
        &self,
        bucket: &Bucket,
        method: Method,
        url: &Url,
        body: Bytes,
    ) -> Result<(StatusCode, Answer), S3Error> {
        let uri: Uri = url.as_str().parse().map_err(|_| S3Error::Address)?;
        let request = Request::builder()
            .method(method)
            .uri(uri)
            .header(CONTENT_TYPE, KIND)
            .header(USER_AGENT, concat!("shardcast/", env!("CARGO_PKG_VERSION")))
            .body(Full::new(body))
            .map_err(|_| S3Error::Address)?;
        let response = self.http()?.request(request).await;
        let response = response.map_err(|error| S3Error::Unreachable {
            host: bucket.host(),
            reason: backend::causes(&error),
        })?;
        let (head, body) = response.into_parts();
        // An answer that is longer says nothing that is understood here.
        let body = Limited::new(body, limits::S3_ANSWER_BYTES_MAX)
            .collect()
            .await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let answer = Answer {
            headers: head.headers,
            text: String::from_utf8_lossy(&body).into_owned(),
        };
        Ok((head.status, answer))
    }

    fn http(&self) -> Result<&Http, S3Error> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let mut tcp = HttpConnector::new();
        tcp.set_connect_timeout(Some(limits::S3_CONNECT));
        tcp.enforce_http(false);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(backend::tls()?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let idle: Duration = limits::HOOK_IDLE;
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(idle)
            .build(https);
        Ok(self.http.get_or_init(|| http))
    }
}
