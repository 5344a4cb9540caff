//! Why storage did not do what it was asked for, and what to do about it.

use hyper::StatusCode;

use super::Bucket;

/// Longest code of an error that is repeated to people, in characters.
const CODE_CHARS_MAX: usize = 64;

/// A request about an object failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum S3Error {
    /// The operator's.
    #[error("the address of the bucket cannot be used: correct s3Endpoint or s3BucketName")]
    Address,
    /// Ours or the machine's: TLS cannot be used at all.
    #[error("no TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// Down, unreachable, or without a certificate that this machine trusts.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// Of s3Endpoint.
        host: String,
        /// What the network said.
        reason: String,
    },
    /// Up, and too slow.
    #[error("{host} has not answered in time")]
    TimedOut {
        /// Of s3Endpoint.
        host: String,
    },
    /// The operator's, or the server's: the words say which.
    #[error("{words}")]
    Refused {
        /// As people are told it.
        words: String,
        /// The server's own word, such as `NoSuchUpload`; empty where it said none.
        code: String,
        /// 200 where the error came behind it.
        status: StatusCode,
    },
    /// The server's: it is none of S3, or of another kind.
    #[error("{host} did not answer as storage does: {missing} is missing")]
    Answer {
        /// Of s3Endpoint.
        host: String,
        /// What was looked for.
        missing: &'static str,
    },
}

impl S3Error {
    /// The server has refused with this answer.
    pub(super) fn refused(bucket: &Bucket, status: StatusCode, answer: &str) -> Self {
        let code = element(answer, "Code").unwrap_or_default();
        let is_word = |code: &&str| code.chars().all(|it| it.is_ascii_alphanumeric());
        let code = Some(code).filter(is_word).unwrap_or_default();
        let code: String = code.chars().take(CODE_CHARS_MAX).collect();
        let (host, name) = (bucket.host(), bucket.signed.name());
        let words = match code.as_str() {
            "NoSuchBucket" => {
                format!("{host} has no bucket {name}: create it, or correct s3BucketName")
            }
            "InvalidAccessKeyId" => {
                format!("{host} does not know the access key: correct s3AccessKey")
            }
            "SignatureDoesNotMatch" => {
                format!("{host} takes the signature for wrong: correct s3SecretKey")
            }
            "RequestTimeTooSkewed" => {
                format!("the clock of this machine is not that of {host}: set it")
            }
            "AuthorizationHeaderMalformed" | "PermanentRedirect" => {
                format!("the bucket {name} is in another region: correct s3RegionName")
            }
            "AccessDenied" => forbidden(&host, name),
            "" if status == StatusCode::FORBIDDEN => forbidden(&host, name),
            "" => format!("{host} answered {status}"),
            code => format!("{host} answered {status}, {code}"),
        };
        Self::Refused {
            words,
            code,
            status,
        }
    }

    /// Whether the server knows nothing of what was asked for: an object, or an upload that was begun.
    pub(crate) fn is_absent(&self) -> bool {
        match self {
            Self::Refused { code, status, .. } => {
                matches!(code.as_str(), "NoSuchUpload" | "NoSuchKey")
                    || code.is_empty() && *status == StatusCode::NOT_FOUND
            }
            _ => false,
        }
    }
}

fn forbidden(host: &str, bucket: &str) -> String {
    format!(
        "{host} does not let the key write to {bucket}: allow it to put, get and delete objects and to abort uploads"
    )
}

/// What stands in the first element of this name. Answers of storage are flat, and each server has its own namespace.
pub(super) fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    Some(text.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{settings::S3Settings, store::PlaceRecord};

    #[test]
    fn each_refusal_says_what_to_do_and_repeats_nothing_that_is_no_word() {
        let place = PlaceRecord {
            endpoint: "http://127.0.0.1:9000".to_owned(),
            bucket: "shows".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let bucket = Bucket::at(&place, &S3Settings::default()).unwrap();
        let not_found = StatusCode::NOT_FOUND;
        for (status, code, words) in [
            (
                not_found,
                "NoSuchBucket",
                "127.0.0.1:9000 has no bucket shows: create it",
            ),
            (
                StatusCode::FORBIDDEN,
                "SignatureDoesNotMatch",
                "correct s3SecretKey",
            ),
            (
                StatusCode::FORBIDDEN,
                "",
                "does not let the key write to shows",
            ),
            (StatusCode::BAD_GATEWAY, "", "answered 502"),
            (
                StatusCode::BAD_REQUEST,
                "EntityTooSmall",
                "answered 400 Bad Request, EntityTooSmall",
            ),
            (
                StatusCode::BAD_REQUEST,
                "<script>",
                "answered 400 Bad Request",
            ),
        ] {
            let answer = format!("<?xml?><Error>\n<Code>{code}</Code><Message>m</Message></Error>");
            let error = S3Error::refused(&bucket, status, &answer);
            assert!(error.to_string().contains(words), "{error}");
            assert!(!error.to_string().contains("script"), "{error}");
        }
        assert!(S3Error::refused(&bucket, not_found, "").is_absent());
        let upload = "<Error><Code>NoSuchUpload</Code></Error>";
        assert!(S3Error::refused(&bucket, not_found, upload).is_absent());
        let gone = "<Error><Code>NoSuchBucket</Code></Error>";
        assert!(!S3Error::refused(&bucket, not_found, gone).is_absent());
    }
}
