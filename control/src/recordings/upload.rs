//! Uploads finished recordings to S3-compatible storage.
//!
//! Which are to be uploaded stands in their rows, and of a large file which parts are there: what a restart has
//! interrupted goes on behind the last part. A file is removed only when its row says that all of it is in the
//! bucket. While storage refuses or cannot be reached, all recordings of the application wait, longer each time, and
//! files stay.

use std::{
    collections::HashMap,
    io,
    panic::AssertUnwindSafe,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::FutureExt;
use shardcast_log::Limiter;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt},
    task::JoinSet,
    time::sleep,
};
use url::Url;

use super::folder_of;
use crate::{
    clock, limits,
    s3::{Bucket, S3Client, S3Error},
    settings::S3Settings,
    state::Control,
    store::{PlaceRecord, StoreError, UploadRecord, VodRecord},
};

static FAILED: Limiter = Limiter::refusals();

/// An upload failed. It is tried again.
#[derive(Debug, thiserror::Error)]
enum UploadError {
    /// Storage's, or the operator's: others of the application fail as well.
    #[error(transparent)]
    Storage(#[from] S3Error),
    /// Storage has something else than what was sent.
    #[error("{there} of {bytes} bytes are in the bucket")]
    Differs { there: u64, bytes: u64 },
    /// The disk, or somebody who has removed the file.
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    /// The store.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Ours.
    #[error("a defect of this server")]
    Defect,
}

/// An upload that is to be made of a recording of `settings`' application, if it uploads any.
pub(super) fn of(settings: &S3Settings, path: &str) -> Option<UploadRecord> {
    settings.enabled.then(|| UploadRecord {
        place: PlaceRecord {
            endpoint: settings.server(),
            bucket: settings.bucket.clone(),
            region: settings.region().to_owned(),
        },
        key: settings.key(path),
        begun: None,
        tags: Vec::new(),
        uploaded_unix_ms: None,
        moved: false,
    })
}

/// Uploads what is to be uploaded, until the process ends.
pub(super) async fn keep(control: Arc<Control>) {
    let mut pauses = Pauses::default();
    let mut running = JoinSet::new();
    let mut ids: Vec<String> = Vec::new();
    loop {
        let now = Instant::now();
        let due = control
            .catalog
            .vods(|vod| is_due(&control, vod) && !ids.contains(&vod.id) && !pauses.hold(now, vod));
        for vod in due.into_iter().take(limits::UPLOADS_AT_ONCE - ids.len()) {
            ids.push(vod.id.clone());
            let control = Arc::clone(&control);
            running.spawn(async move {
                let result = AssertUnwindSafe(upload(&control, &vod)).catch_unwind();
                let result = result.await.unwrap_or(Err(UploadError::Defect));
                (vod, result)
            });
        }
        tokio::select! {
            Some(Ok((vod, result))) = running.join_next() => {
                ids.retain(|id| *id != vod.id);
                report(&control, &mut pauses, &vod, result);
            }
            () = control.recordings.uploads.wait() => {}
            () = sleep(limits::UPLOADS_LOOK) => {}
        }
    }
}

/// Whether something is to be done for it now.
fn is_due(control: &Control, vod: &VodRecord) -> bool {
    let Some(upload) = vod.upload.as_ref().filter(|_| vod.growing.is_none()) else {
        return false;
    };
    let settings = settings_of(control, vod);
    settings.is_some_and(|settings| match upload.uploaded_unix_ms {
        None => true,
        Some(_) => settings.delete_local && !upload.moved,
    })
}

/// How its application uploads, if it does.
fn settings_of<'a>(control: &'a Control, vod: &VodRecord) -> Option<&'a S3Settings> {
    let application = control.application(vod.broadcast.application())?;
    Some(&application.s3).filter(|s3| s3.enabled)
}

fn report(
    control: &Control,
    pauses: &mut Pauses,
    vod: &VodRecord,
    result: Result<(), UploadError>,
) {
    let now = Instant::now();
    let Err(error) = result else {
        pauses.end(vod);
        control.recordings.uploads.is_well(&vod.id);
        return;
    };
    let pause = pauses.begin(now, vod, matches!(error, UploadError::Storage(_)));
    control
        .recordings
        .uploads
        .has_failed(&vod.id, error.to_string());
    if let Some(left_out) = FAILED.admit(now) {
        let (broadcast, retry_s) = (&vod.broadcast, pause.as_secs());
        tracing::warn!(%broadcast, vod = vod.id, %error, retry_s, left_out, "a recording is not uploaded");
    }
}

/// Who waits after a failure, and until when: an application, or a file alone.
#[derive(Debug, Default)]
struct Pauses(HashMap<String, Pause>);

#[derive(Debug)]
struct Pause {
    length: Duration,
    until: Instant,
}

impl Pauses {
    /// No stream has a name with a slash, so an application's is no one's id.
    fn keys(vod: &VodRecord) -> [String; 2] {
        [format!("{}/", vod.broadcast.application()), vod.id.clone()]
    }

    fn hold(&self, now: Instant, vod: &VodRecord) -> bool {
        let pauses = Self::keys(vod);
        let mut pauses = pauses.iter().filter_map(|key| self.0.get(key));
        pauses.any(|pause| now < pause.until)
    }

    fn begin(&mut self, now: Instant, vod: &VodRecord, of_application: bool) -> Duration {
        let [application, file] = Self::keys(vod);
        let key = if of_application { application } else { file };
        let before = self.0.get(&key).map(|pause| pause.length);
        let length = before.map_or(limits::UPLOAD_PAUSE, |it| {
            (2 * it).min(limits::UPLOAD_PAUSE_MAX)
        });
        let until = now + length;
        self.0.insert(key, Pause { length, until });
        length
    }

    fn end(&mut self, vod: &VodRecord) {
        for key in Self::keys(vod) {
            self.0.remove(&key);
        }
    }
}

/// Uploads a recording, and removes its file where that is wanted. One that is deleted meanwhile is no failure.
async fn upload(control: &Control, vod: &VodRecord) -> Result<(), UploadError> {
    let (Some(settings), Some(upload)) = (settings_of(control, vod), &vod.upload) else {
        return Ok(());
    };
    let path = folder_of(&control.settings, vod.broadcast.application()).join(&vod.path);
    if upload.uploaded_unix_ms.is_none() {
        let job = Job {
            control,
            vod,
            bucket: Bucket::at(&upload.place, settings)?,
            path: path.clone(),
        };
        if !job.run(upload.clone()).await? {
            return Ok(());
        }
        tracing::info!(broadcast = %vod.broadcast, vod = vod.id, url = %job.bucket.url(&upload.key), "uploaded");
    }
    if settings.delete_local {
        match tokio::fs::remove_file(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at(&path)(error));
            }
            _ => change(control, &vod.id, |upload| upload.moved = true).await?,
        };
    }
    Ok(())
}

fn at(path: &Path) -> impl Fn(io::Error) -> UploadError + '_ {
    |source| UploadError::File {
        path: path.display().to_string(),
        source,
    }
}

/// Changes what a row says of its upload. `false`: the recording was deleted.
async fn change(
    control: &Control,
    id: &str,
    change: impl FnOnce(&mut UploadRecord),
) -> Result<bool, StoreError> {
    control
        .catalog
        .change(|t| {
            let Some(mut vod) = t.vod(id).map(|vod| vod.as_ref().clone()) else {
                return false;
            };
            if let Some(upload) = &mut vod.upload {
                change(upload);
            }
            t.put_vod(vod);
            true
        })
        .await
}

/// Removes what there is of a recording in its bucket, with the key of today.
///
/// # Errors
/// When its object cannot be removed. What there is of one that is not whole is left to the bucket's own rules then.
pub(super) async fn remove(control: &Control, vod: &VodRecord) -> Result<(), S3Error> {
    control.recordings.uploads.is_well(&vod.id);
    let application = control.application(vod.broadcast.application());
    let (Some(upload), Some(application)) = (&vod.upload, application) else {
        return Ok(());
    };
    let bucket = Bucket::at(&upload.place, &application.s3)?;
    if upload.uploaded_unix_ms.is_some() {
        return control.s3.delete(&bucket, &upload.key).await;
    }
    if let Some(id) = &upload.begun
        && let Err(error) = control.s3.abort(&bucket, &upload.key, id).await
    {
        tracing::warn!(vod = vod.id, %error, "parts of a deleted recording may be left in the bucket");
    }
    Ok(())
}

/// An address of the recording at `path` of an application, if it is in a bucket.
pub(crate) fn link(control: &Control, application: &str, path: &str, is_head: bool) -> Option<Url> {
    let settings = &control.application(application)?.s3;
    let mut vods = control
        .catalog
        .vods(|vod| vod.path == path && vod.broadcast.application() == application);
    let vod = vods.pop()?;
    let upload = vod.upload.as_ref();
    let upload = upload.filter(|upload| upload.uploaded_unix_ms.is_some())?;
    let bucket = Bucket::at(&upload.place, settings).ok()?;
    Some(bucket.link(&upload.key, is_head))
}

/// How many recordings are not uploaded yet that are to be.
pub(crate) fn waiting(control: &Control) -> usize {
    let is_waiting = |upload: &UploadRecord| upload.uploaded_unix_ms.is_none();
    let waiting = |vod: &VodRecord| vod.upload.as_ref().is_some_and(is_waiting);
    control.catalog.vods(waiting).len()
}

/// What is said of the upload of a recording.
#[derive(Debug)]
pub(crate) struct UploadView {
    /// All of it is in the bucket.
    pub(crate) is_there: bool,
    /// Where it is, or will be.
    pub(crate) url: Option<String>,
    /// Why the last attempt failed.
    pub(crate) problem: Option<String>,
}

/// The state of the upload of `vod`, if it is uploaded.
pub(crate) fn view(control: &Control, vod: &VodRecord) -> Option<UploadView> {
    let upload = vod.upload.as_ref()?;
    let application = control.application(vod.broadcast.application())?;
    let bucket = Bucket::at(&upload.place, &application.s3).ok();
    let off = "it waits: s3RecordingEnabled is off".to_owned();
    let is_there = upload.uploaded_unix_ms.is_some();
    let is_off = !is_there && !application.s3.enabled;
    Some(UploadView {
        is_there,
        url: bucket.map(|bucket| bucket.url(&upload.key).into()),
        problem: control
            .recordings
            .uploads
            .problem(&vod.id)
            .or(is_off.then_some(off)),
    })
}

/// One upload.
struct Job<'a> {
    control: &'a Control,
    vod: &'a VodRecord,
    bucket: Bucket,
    path: PathBuf,
}

impl Job<'_> {
    /// `false`: the recording was deleted meanwhile.
    async fn run(&self, mut upload: UploadRecord) -> Result<bool, UploadError> {
        let mut file = File::open(&self.path).await.map_err(at(&self.path))?;
        let bytes = file.metadata().await.map_err(at(&self.path))?.len();
        if bytes <= limits::S3_PART_BYTES {
            let body = self.read(&mut file, 0, bytes).await?;
            self.client().put(&self.bucket, &upload.key, body).await?;
        } else {
            let sent = self.send_parts(&mut file, bytes, &mut upload).await;
            if matches!(&sent, Err(UploadError::Storage(error)) if error.is_absent()) {
                // Thrown away there, as buckets do after some days, or with the recording.
                let is_wanted = self.keep(begin_anew).await?;
                if !is_wanted {
                    return Ok(false);
                }
            }
            if !sent? {
                return Ok(false);
            }
        }
        let there = self.client().length(&self.bucket, &upload.key).await?;
        if there != bytes {
            return Err(UploadError::Differs { there, bytes });
        }
        let now = clock::unix_ms();
        let is_there = self
            .keep(|upload| {
                begin_anew(upload);
                upload.uploaded_unix_ms = Some(now);
            })
            .await?;
        if is_there {
            self.control.recordings.uploads.is_done(bytes);
        } else {
            self.client().delete(&self.bucket, &upload.key).await?;
        }
        Ok(is_there)
    }

    async fn send_parts(
        &self,
        file: &mut File,
        bytes: u64,
        upload: &mut UploadRecord,
    ) -> Result<bool, UploadError> {
        let key = upload.key.clone();
        let id = match upload.begun.clone() {
            Some(id) => id,
            None => {
                let id = self.client().begin(&self.bucket, &key).await?;
                upload.tags.clear();
                let begun = Some(id.clone());
                if !self.keep(|upload| upload.begun = begun).await? {
                    self.client().abort(&self.bucket, &key, &id).await?;
                    return Ok(false);
                }
                id
            }
        };
        let part_bytes = part_bytes(bytes);
        let first = upload.tags.len() as u64;
        for part in first..bytes.div_ceil(part_bytes) {
            let start = part * part_bytes;
            let length = part_bytes.min(bytes - start);
            let body = self.read(file, start, length).await?;
            // There are 9,000 at most.
            let number = u16::try_from(part + 1).unwrap_or(u16::MAX);
            let sent = self.client().part(&self.bucket, &key, &id, number, body);
            let tag = sent.await?;
            upload.tags.push(tag.clone());
            if !self.keep(|upload| upload.tags.push(tag)).await? {
                self.client().abort(&self.bucket, &key, &id).await?;
                return Ok(false);
            }
        }
        let completed = self
            .client()
            .complete(&self.bucket, &key, &id, &upload.tags);
        completed.await?;
        Ok(true)
    }

    async fn read(&self, file: &mut File, start: u64, length: u64) -> Result<Bytes, UploadError> {
        let failed = at(&self.path);
        file.seek(io::SeekFrom::Start(start))
            .await
            .map_err(&failed)?;
        // A part is some megabytes.
        let mut body = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact(&mut body).await.map_err(&failed)?;
        Ok(body.into())
    }

    async fn keep(&self, of_row: impl FnOnce(&mut UploadRecord)) -> Result<bool, StoreError> {
        change(self.control, &self.vod.id, of_row).await
    }

    fn client(&self) -> &S3Client {
        &self.control.s3
    }
}

fn begin_anew(upload: &mut UploadRecord) {
    upload.begun = None;
    upload.tags.clear();
}

/// Whole megabytes, so that a file of any length has no more parts than it may.
fn part_bytes(bytes: u64) -> u64 {
    let least = bytes.div_ceil(limits::S3_PARTS_MAX);
    least.next_multiple_of(1 << 20).max(limits::S3_PART_BYTES)
}

#[cfg(test)]
mod tests {
    use shardcast_link::BroadcastId;

    use super::*;

    fn vod(id: &str, application: &str) -> VodRecord {
        VodRecord {
            id: id.to_owned(),
            broadcast: BroadcastId::new(application, "s1").unwrap(),
            stream_name: None,
            path: "streams/s1.mp4".to_owned(),
            created_unix_ms: 0,
            started_unix_ms: 0,
            duration_ms: 0,
            bytes: 0,
            growing: None,
            upload: None,
        }
    }

    #[test]
    fn a_file_of_any_length_has_no_more_parts_than_it_may() {
        for (bytes, part) in [
            (9 << 20, 8 << 20),
            (80 << 30, 10 << 20),
            (5 << 40, 583 << 20),
        ] {
            assert_eq!(part_bytes(bytes), part);
            assert!(bytes.div_ceil(part) <= limits::S3_PARTS_MAX);
        }
    }

    #[test]
    fn storage_that_fails_is_left_alone_longer_each_time_and_nobody_else_waits() {
        let mut pauses = Pauses::default();
        let now = Instant::now();
        let (one, two, other) = (vod("1", "A"), vod("2", "A"), vod("3", "B"));
        assert_eq!(pauses.begin(now, &one, true), limits::UPLOAD_PAUSE);
        assert!(pauses.hold(now, &two) && !pauses.hold(now, &other));
        assert!(!pauses.hold(now + limits::UPLOAD_PAUSE, &two));
        for _ in 0..12 {
            pauses.begin(now, &two, true);
        }
        assert!(pauses.hold(now + limits::UPLOAD_PAUSE_MAX / 2, &one));
        assert!(!pauses.hold(now + limits::UPLOAD_PAUSE_MAX, &one));
        pauses.end(&two);
        // A file that cannot be read holds up no other.
        pauses.begin(now, &one, false);
        assert!(pauses.hold(now, &one) && !pauses.hold(now, &two));
    }
}
