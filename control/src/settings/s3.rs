//! Where recordings of an application are uploaded to.

use std::fmt;

use serde::Serialize;
use shardcast_link::id::is_name;
use url::Url;

/// Upload to S3-compatible storage of one application; names that Ant Media Server has are kept.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct S3Settings {
    /// Finished recordings are uploaded.
    #[serde(rename = "s3RecordingEnabled")]
    pub enabled: bool,
    /// Of the key that requests are signed with, the part that is sent.
    #[serde(rename = "s3AccessKey")]
    pub access_key: String,
    /// The part that is not.
    #[serde(rename = "s3SecretKey")]
    pub secret_key: String,
    /// Region of the bucket.
    #[serde(rename = "s3RegionName")]
    pub region: String,
    /// Name of the bucket, which is there.
    #[serde(rename = "s3BucketName")]
    pub bucket: String,
    /// The server; empty: Amazon's of the region.
    #[serde(rename = "s3Endpoint")]
    pub endpoint: String,
    /// What names of objects begin with, without a slash at its ends; may be empty.
    #[serde(rename = "s3StreamsFolderPath")]
    pub folder: String,
    /// The file is removed from the disk once it is uploaded.
    #[serde(rename = "s3_delete_local")]
    pub delete_local: bool,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self {
            enabled: false,
            access_key: String::new(),
            secret_key: String::new(),
            region: "us-east-1".to_owned(),
            bucket: String::new(),
            endpoint: String::new(),
            folder: "streams".to_owned(),
            delete_local: false,
        }
    }
}

/// Without the key.
impl fmt::Debug for S3Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Settings")
            .field("enabled", &self.enabled)
            .field("region", &self.region)
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .field("folder", &self.folder)
            .field("delete_local", &self.delete_local)
            .finish_non_exhaustive()
    }
}

impl S3Settings {
    /// Region of the bucket; files of Ant Media Server have it empty.
    pub(crate) fn region(&self) -> &str {
        match self.region.as_str() {
            "" => "us-east-1",
            region => region,
        }
    }

    /// URL of the server.
    pub(crate) fn server(&self) -> String {
        match self.endpoint.as_str() {
            "" => format!("https://s3.{}.amazonaws.com", self.region()),
            endpoint => endpoint.to_owned(),
        }
    }

    /// The name of the object for the file at `path`, which is below `streams/`.
    pub(crate) fn key(&self, path: &str) -> String {
        let file = path.strip_prefix("streams/").unwrap_or(path);
        match self.folder.trim_matches('/') {
            "" => file.to_owned(),
            folder => format!("{folder}/{file}"),
        }
    }

    /// What is shown instead of the key.
    pub(super) fn mask(&mut self) {
        for secret in [&mut self.access_key, &mut self.secret_key] {
            if !secret.is_empty() {
                *secret = "***".to_owned();
            }
        }
    }

    /// The setting that cannot be, and why.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let folders = || self.folder.trim_matches('/').split('/');
        let problem = if !self.endpoint.is_empty() && !is_endpoint(&self.endpoint) {
            (
                "s3Endpoint",
                "must be an http:// or https:// URL without a password",
            )
        } else if !self.folder.is_empty() && !folders().all(is_folder) {
            (
                "s3StreamsFolderPath",
                "must be folders of letters, digits and -_. with / between them",
            )
        } else if !self.bucket.is_empty() && !is_name(&self.bucket) {
            ("s3BucketName", "must be letters, digits and -_.")
        } else if !is_name(self.region()) {
            ("s3RegionName", "must be letters, digits and -_.")
        } else if self.enabled && self.bucket.is_empty() {
            ("s3BucketName", "is needed with s3RecordingEnabled")
        } else if self.enabled && self.access_key.is_empty() {
            ("s3AccessKey", "is needed with s3RecordingEnabled")
        } else if self.enabled && self.secret_key.is_empty() {
            ("s3SecretKey", "is needed with s3RecordingEnabled")
        } else {
            return None;
        };
        let (key, problem) = problem;
        Some((key, problem.to_owned()))
    }
}

fn is_folder(name: &str) -> bool {
    is_name(name) && !name.starts_with('.')
}

fn is_endpoint(text: &str) -> bool {
    let Ok(url) = Url::parse(text) else {
        return false;
    };
    let is_open = url.username().is_empty() && url.password().is_none();
    matches!(url.scheme(), "http" | "https") && url.has_host() && is_open
}

#[cfg(test)]
mod tests {
    use crate::settings::{Overrides, Settings, SettingsError, file, layers::resolve};

    fn read(text: &str) -> Result<Settings, SettingsError> {
        resolve(&Overrides::default(), &file::read(text).unwrap())
    }

    #[test]
    fn an_upload_is_set_by_the_names_that_it_has_there_and_its_key_is_never_shown() {
        let text = "[application.One]\ns3RecordingEnabled = true\ns3AccessKey = \"hush-a\"\n\
            s3SecretKey = \"hush-s\"\ns3BucketName = \"shows\"\ns3RegionName = \"eu-west-1\"\n\
            [application.Ams.ant_media]\n\"settings.s3RecordingEnabled\" = \"true\"\n\
            \"settings.s3AccessKey\" = \"hush-a\"\n\"settings.s3SecretKey\" = \"hush-s\"\n\
            \"settings.s3BucketName\" = \"shows\"\n\"settings.s3Endpoint\" = \"http://127.0.0.1:9000\"\n\
            \"settings.s3StreamsFolderPath\" = \"a/b/\"\n";
        let settings = read(text).unwrap();
        let (one, ams) = (
            &settings.application["One"].s3,
            &settings.application["Ams"].s3,
        );
        assert_eq!(one.server(), "https://s3.eu-west-1.amazonaws.com");
        assert_eq!(one.key("streams/x/s1.mp4"), "streams/x/s1.mp4");
        assert!(one.enabled && ams.enabled && !one.delete_local);
        assert_eq!(ams.server(), "http://127.0.0.1:9000");
        assert_eq!(ams.key("streams/s1.mp4"), "a/b/s1.mp4");
        assert_eq!(ams.secret_key, "hush-s");
        assert_eq!(settings.warnings, Vec::<String>::new());
        for shown in [settings.to_toml(), format!("{settings:?}")] {
            assert!(
                shown.contains("shows") && !shown.contains("hush"),
                "{shown}"
            );
        }
    }

    #[test]
    fn an_upload_without_a_bucket_or_a_key_is_refused_with_its_name() {
        let keys = "s3AccessKey = \"a\"\ns3SecretKey = \"s\"\n";
        for (text, words) in [
            ("s3RecordingEnabled = true", "s3BucketName: is needed"),
            (
                "s3RecordingEnabled = true\ns3BucketName = \"b\"",
                "s3AccessKey: is needed",
            ),
            ("s3BucketName = \"a/b\"", "s3BucketName: must be letters"),
            ("s3Endpoint = \"ftp://h\"", "s3Endpoint: must be an http://"),
            ("s3Endpoint = \"http://u:p@h\"", "without a password"),
            (
                "s3StreamsFolderPath = \"a/../b\"",
                "s3StreamsFolderPath: must be folders",
            ),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.to_string().contains(words), "{text}: {error}");
        }
        let whole = format!("s3RecordingEnabled = true\ns3BucketName = \"b\"\n{keys}");
        assert!(read(&whole).is_ok());
    }
}
