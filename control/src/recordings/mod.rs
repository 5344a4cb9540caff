//! Recordings: what is wanted of a shard, and what becomes of its files.
//!
//! ```text
//!  shard     {recordings_dir}/growing/{vod id}_{n}.mp4              fragments; locked while they come
//!  control   scan ─► finish where it lies ─► row ─► move ─► webhook, program
//!  clients   {recordings_dir}/{application}/streams/{name}.mp4     GET /{application}/streams/{name}.mp4
//!  storage   {bucket}/{s3StreamsFolderPath}/{name}.mp4             where an application uploads ([`upload`])
//! ```
//!
//! Whatever is in the folder of growing files and not locked is finished, by one task: whether its shard has closed
//! it, was killed, or was killed together with this process. All that has to be known of a file is in its label.
//! The row is stored before the file is moved, with the name that it had, so a crash at any step is made good by
//! the next look.

mod finish;
mod label;
mod names;
mod script;
mod upload;

use std::{
    collections::HashSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rand::{Rng, distr::Alphanumeric};
use shardcast_link::{WantedRecording, id::is_name};
use shardcast_log::Limiter;

pub(crate) use self::{
    finish::FinishError,
    names::is_file_path,
    upload::{UploadView, link, view as upload_view, waiting as uploads_waiting},
};
use self::{finish::Finished, label::Label};
use crate::{
    backend::StreamEvent,
    clock, limits,
    s3::S3Error,
    settings::{ApplicationSettings, Settings},
    state::Control,
    store::{BroadcastRecord, RecordingRecord, StoreError, VodRecord},
    webhooks,
};

/// A disk that cannot be read fails at each look.
static FAILED: Limiter = Limiter::refusals();

/// The folder where files grow.
fn growing_folder(settings: &Settings) -> PathBuf {
    absolute(&settings.recordings_dir).join("growing")
}

/// Where the files of an application are: paths of rows are below it.
pub(crate) fn folder_of(settings: &Settings, application: &str) -> PathBuf {
    settings.recordings_dir.join(application)
}

/// The engine may run in another folder.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Whether `record` is to be recorded when it goes live: by its own switch, or its application's.
pub(crate) fn is_enabled(application: &ApplicationSettings, record: &BroadcastRecord) -> bool {
    match record.profile.mp4_enabled {
        0 => application.recording.enabled,
        own => own > 0,
    }
}

/// A recording that begins now.
pub(crate) fn begin(now_unix_ms: u64, file_name: Option<String>) -> RecordingRecord {
    let random = rand::rng().sample_iter(Alphanumeric);
    RecordingRecord {
        vod_id: random.take(24).map(char::from).collect(),
        since_unix_ms: now_unix_ms,
        file_name,
    }
}

/// What is wanted of the shard of `record`; nothing while it is not recorded.
pub(crate) fn wanted(
    settings: &Settings,
    application: &ApplicationSettings,
    record: &BroadcastRecord,
) -> Option<WantedRecording> {
    let recording = record.recording.as_ref().filter(|_| record.is_live())?;
    Some(WantedRecording {
        id: recording.vod_id.clone(),
        folder: growing_folder(settings).display().to_string(),
        label: Label::new(application, record, recording).to_text(),
        file_ms_max: application.recording.minutes_max.saturating_mul(60_000),
        filler: application.recording.filler,
    })
}

/// Finishes recordings that have ended, and uploads them, until the process ends.
pub(crate) async fn keep(control: Arc<Control>) {
    tokio::join!(keep_finishing(Arc::clone(&control)), upload::keep(control));
}

async fn keep_finishing(control: Arc<Control>) {
    loop {
        // At once when a shard says so; now and then for those of which nobody says anything.
        let ended = control.recordings.ended.notified();
        look(&control).await;
        let _ = tokio::time::timeout(limits::RECORDINGS_LOOK, ended).await;
    }
}

async fn look(control: &Arc<Control>) {
    for vod in control.catalog.vods(|vod| vod.growing.is_some()) {
        report(move_into_place(control, &vod).await);
    }
    let folder = growing_folder(&control.settings);
    let files = tokio::task::spawn_blocking(move || files_in(&folder)).await;
    for file in files.unwrap_or_default() {
        report(take(control, file).await);
    }
}

fn report(result: Result<(), FinishError>) {
    if let Err(error) = result
        && let Some(left_out) = FAILED.admit(Instant::now())
    {
        tracing::error!(%error, left_out, "a recording cannot be finished; it is tried again");
    }
}

/// Files of recordings, by age.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        // There is none before the first recording.
        return Vec::new();
    };
    let files = entries.flatten().map(|entry| entry.path());
    let mut files: Vec<(SystemTime, PathBuf)> = files
        .filter(|path| path.extension().is_some_and(|it| it == "mp4"))
        .filter_map(|path| Some((path.metadata().ok()?.modified().ok()?, path)))
        .collect();
    files.sort();
    files.into_iter().map(|(_, path)| path).collect()
}

/// Finishes a file, if nobody writes it.
async fn take(control: &Arc<Control>, file: PathBuf) -> Result<(), FinishError> {
    let name = file.file_name().and_then(|name| name.to_str());
    let Some(name) = name.map(str::to_owned) else {
        return Ok(());
    };
    let has_row = |vod: &VodRecord| vod.growing.as_deref() == Some(name.as_str());
    if !control.catalog.vods(has_row).is_empty() {
        // It could not be moved, and is tried again with the next look.
        return Ok(());
    }
    let is_closed = control.recordings.is_closed(&file);
    let path = file.clone();
    let work = move || finish::finish(&path, is_closed);
    let finished = match tokio::task::spawn_blocking(work).await {
        Ok(finished) => finished?,
        Err(_) => return Err(FinishError::Defect),
    };
    let Some(finished) = finished else {
        return Ok(());
    };
    let vod = row(control, &name, &finished)?;
    control
        .catalog
        .change(|t| {
            if t.vod_count() >= limits::VODS_MAX {
                return Err(FinishError::TooMany);
            }
            t.put_vod(vod.clone());
            Ok(())
        })
        .await??;
    move_into_place(control, &vod).await
}

/// The row of a finished file that is still where it grew.
fn row(control: &Control, growing: &str, finished: &Finished) -> Result<VodRecord, FinishError> {
    let label = Label::read(&finished.label).ok_or(FinishError::Label)?;
    let id = free_id(control, growing);
    let application = label.broadcast.application();
    let others = |vod: &VodRecord| vod.broadcast.application() == application;
    let others = control.catalog.vods(others);
    let taken: HashSet<&str> = others.iter().map(|vod| vod.path.as_str()).collect();
    let folder = folder_of(&control.settings, application);
    let is_free = |path: &str| !taken.contains(path) && is_absent(&folder.join(path));
    let path = names::free(&label, is_free).ok_or(FinishError::Names)?;
    let duration_ms = finished.duration_us / 1_000;
    Ok(VodRecord {
        id,
        path,
        created_unix_ms: clock::unix_ms(),
        started_unix_ms: finished.ended_unix_ms.saturating_sub(duration_ms),
        duration_ms,
        bytes: finished.bytes,
        growing: Some(growing.to_owned()),
        upload: None,
        stream_name: label.name,
        broadcast: label.broadcast,
    })
}

/// The first file of a recording has the id that its client was told, those that follow have a number behind it: not
/// that of the growing file, since an engine counts what is in the folder.
fn free_id(control: &Control, growing: &str) -> String {
    let stem = growing.strip_suffix(".mp4").unwrap_or(growing);
    let first = stem.rsplit_once('_').map_or(stem, |(first, _)| first);
    let mut id = first.to_owned();
    for n in 1.. {
        if control.catalog.vod(&id).is_none() {
            break;
        }
        id = format!("{first}_{n}");
    }
    id
}

/// Whether no file of somebody is there.
fn is_absent(path: &Path) -> bool {
    match path.metadata() {
        Ok(_) => false,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Moves the file of a row to where clients find it, and tells who wants to know.
async fn move_into_place(control: &Arc<Control>, vod: &VodRecord) -> Result<(), FinishError> {
    let Some(growing) = &vod.growing else {
        return Ok(());
    };
    let from = growing_folder(&control.settings).join(growing);
    let to = folder_of(&control.settings, vod.broadcast.application()).join(&vod.path);
    let (source, target) = (from.clone(), to.clone());
    let moved = tokio::task::spawn_blocking(move || finish::move_file(&source, &target)).await;
    let is_there = moved.map_err(|_| FinishError::Defect)??;
    control.recordings.forget(&from);
    let application = control.application(vod.broadcast.application());
    let ready = VodRecord {
        growing: None,
        upload: application.and_then(|it| upload::of(&it.s3, &vod.path)),
        ..vod.clone()
    };
    let stored = control.catalog.change(|t| {
        if !is_there {
            // Somebody has removed it.
            t.remove_vod(&ready.id);
            return;
        }
        t.put_vod(ready.clone());
        let record = t.broadcast(&ready.broadcast);
        let record = record.map_or_else(
            || {
                let mut record = BroadcastRecord::new(ready.broadcast.clone(), 0);
                record.profile.name.clone_from(&ready.stream_name);
                record
            },
            |record| record.as_ref().clone(),
        );
        let name = ready.file_name();
        let event = StreamEvent::VodReady {
            name: name.strip_suffix(".mp4").unwrap_or(name),
            id: &ready.id,
            duration_ms: ready.duration_ms,
        };
        webhooks::owe(control, t, &record, &event);
    });
    stored.await?;
    if is_there {
        tracing::info!(
            broadcast = %ready.broadcast,
            vod = ready.id,
            path = %to.display(),
            duration_ms = ready.duration_ms,
            "recorded"
        );
        script::run(control, ready.broadcast.application(), to);
        control.recordings.uploads.wake();
    }
    Ok(())
}

/// What is of a recording cannot be removed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoveError {
    /// The disk, or rights.
    #[error("its file cannot be deleted: {0}")]
    File(#[from] io::Error),
    /// Storage.
    #[error("its object cannot be deleted: {0}")]
    Object(#[from] S3Error),
}

/// Removes object and file of a row that is removed. Those that are missing are no failure.
pub(crate) async fn remove(control: &Control, vod: &VodRecord) -> Result<(), RemoveError> {
    upload::remove(control, vod).await?;
    let path = match &vod.growing {
        Some(growing) => growing_folder(&control.settings).join(growing),
        None => folder_of(&control.settings, vod.broadcast.application()).join(&vod.path),
    };
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// Whether a client may give a recording this name.
pub(crate) fn is_recording_name(name: &str) -> bool {
    is_name(name) && !name.starts_with('.') && name.len() <= limits::RECORDING_NAME_BYTES_MAX
}

/// How long ago a file was written to.
fn age(modified: SystemTime) -> Duration {
    modified.elapsed().unwrap_or_default()
}

impl From<StoreError> for FinishError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}
