//! S3-compatible storage: the bucket of an application, and requests about its objects that are signed by its key.
//!
//! The signature is in the query of each address (AWS Signature Version 4), so addresses are secrets: none is logged.
//! A bucket of Amazon's has its name in the host; other servers have it in the path.

mod client;
mod error;

use std::{fmt, time::Duration};

use rusty_s3::{Bucket as Signed, Credentials, S3Action, UrlStyle};
use url::Url;

pub(crate) use self::{client::S3Client, error::S3Error};
use crate::{limits, settings::S3Settings, store::PlaceRecord};

/// Hosts of Amazon's end with it.
const AMAZON: &str = ".amazonaws.com";

/// A bucket, and the key that requests about it are signed with.
pub(crate) struct Bucket {
    signed: Signed,
    credentials: Credentials,
}

/// Without the key.
impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket")
            .field(&self.signed.base_url().as_str())
            .finish()
    }
}

impl Bucket {
    /// The one at `place`, with the key of today.
    ///
    /// # Errors
    /// [`S3Error::Address`] when no address can be made of it.
    pub(crate) fn at(place: &PlaceRecord, settings: &S3Settings) -> Result<Self, S3Error> {
        let endpoint = Url::parse(&place.endpoint).map_err(|_| S3Error::Address)?;
        let host = endpoint.host_str().unwrap_or_default();
        let style = if host.ends_with(AMAZON) && !place.bucket.contains('.') {
            UrlStyle::VirtualHost
        } else {
            UrlStyle::Path
        };
        let (bucket, region) = (place.bucket.clone(), place.region.clone());
        let signed = Signed::new(endpoint, style, bucket, region).map_err(|_| S3Error::Address)?;
        let (key, secret) = (&settings.access_key, &settings.secret_key);
        let credentials = Credentials::new(key.as_str(), secret.as_str());
        Ok(Self {
            signed,
            credentials,
        })
    }

    /// Where an object is, without what permits to read it.
    pub(crate) fn url(&self, key: &str) -> Url {
        self.signed.object_url(key)
    }

    /// An address by which everybody can read an object for a while; `is_head`: its head alone.
    pub(crate) fn link(&self, key: &str, is_head: bool) -> Url {
        let credentials = Some(&self.credentials);
        if is_head {
            let action = self.signed.head_object(credentials, key);
            action.sign(limits::S3_LINK_VALID)
        } else {
            let action = self.signed.get_object(credentials, key);
            action.sign(limits::S3_LINK_VALID)
        }
    }

    /// Host and port, as people are told it.
    fn host(&self) -> String {
        let url = self.signed.base_url();
        let host = url.host_str().unwrap_or_default();
        match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    fn sign<'a>(action: &impl S3Action<'a>) -> Url {
        // Its clock may be a little ahead or behind.
        let valid: Duration = limits::S3_PART_TIME + limits::S3_SMALL_TIME;
        action.sign(valid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(endpoint: &str, bucket: &str) -> PlaceRecord {
        PlaceRecord {
            endpoint: endpoint.to_owned(),
            bucket: bucket.to_owned(),
            region: "eu-west-1".to_owned(),
        }
    }

    #[test]
    fn amazon_has_the_bucket_in_the_host_and_others_in_the_path_and_no_secret_is_shown() {
        let settings = S3Settings {
            access_key: "hush-key".to_owned(),
            secret_key: "hush-secret".to_owned(),
            ..S3Settings::default()
        };
        let amazon = "https://s3.eu-west-1.amazonaws.com";
        for (place, url) in [
            (
                place(amazon, "shows"),
                "https://shows.s3.eu-west-1.amazonaws.com/streams/a%20b.mp4",
            ),
            (
                place(amazon, "my.shows"),
                "https://s3.eu-west-1.amazonaws.com/my.shows/streams/a%20b.mp4",
            ),
            (
                place("http://127.0.0.1:9000", "shows"),
                "http://127.0.0.1:9000/shows/streams/a%20b.mp4",
            ),
        ] {
            let bucket = Bucket::at(&place, &settings).unwrap();
            assert_eq!(bucket.url("streams/a b.mp4").as_str(), url);
            assert!(!format!("{bucket:?}").contains("hush"));
            let link = bucket.link("streams/a b.mp4", false);
            assert!(
                link.as_str()
                    .starts_with(&format!("{url}?X-Amz-Algorithm=AWS4-HMAC-SHA256&"))
            );
            assert!(link.as_str().contains("hush-key") && !link.as_str().contains("hush-secret"));
        }
        assert!(Bucket::at(&place("no address", "shows"), &settings).is_err());
    }
}
