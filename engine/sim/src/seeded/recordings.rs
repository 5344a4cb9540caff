//! The recordings of a seeded run. The shard gives the disk jobs for files that are open, and no more than it may;
//! each file is closed once, can be read, and lacks no picture that was on air; and recording goes on when the disk
//! does.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use shardcast_core::{
    io::{Input, RecordJob, RecordResult, RecordingFileId},
    simulation_hook::{RECORDING_FRAGMENT_BYTES, RECORDING_OUTSTANDING_BYTES_MAX},
};
use shardcast_link::WantedRecording;

use super::{
    cmaf_checker::Terms,
    consumer_plan::RecordingPlan,
    disk::{Disk, DiskFile, DiskMode, Done},
    stream_checker::Rules,
    trace::note,
    world::{SimEvent, Verdict, World, ms},
};

const FOLDER: &str = "/recordings";
/// One access unit and the head of a fragment, above the bound of what is outstanding.
const UNIT_BYTES_MAX: usize = 256 << 10;
/// After a failure a file is begun within the delay that follows one, and a keyframe.
const RESUMES_MAX: Duration = Duration::from_secs(10 + 8);
/// Fragments are a second long, and the filler may come in between.
const WRITES_MAX: Duration = Duration::from_secs(5);

/// All of a run.
#[derive(Debug)]
pub(super) struct Recordings {
    pub(super) disk: Disk,
    /// Recordings that were wanted so far.
    begun: u64,
    /// How each is to be made, by its id.
    plans: BTreeMap<String, RecordingPlan>,
    files: BTreeMap<RecordingFileId, Handed>,
    /// Names that the shard has told control since the last answer of the disk.
    told: Vec<String>,
    /// More was outstanding than may be, so parts may be left out.
    overloaded: bool,
    /// Since when it is wanted, on a disk that is well.
    well_since: Option<Instant>,
    written_at: Option<Instant>,
}

/// A file as the shard has handed it over.
#[derive(Debug)]
struct Handed {
    recording: String,
    /// The shard has closed it.
    is_closed: bool,
    /// It was told that the disk has failed.
    has_failed: bool,
    /// Given to the disk and not answered.
    outstanding_bytes: usize,
    /// The last picture that was on air when the recording was ended.
    ends_with: Option<u64>,
}

impl Recordings {
    pub(super) fn new() -> Self {
        Self {
            disk: Disk::default(),
            begun: 0,
            plans: BTreeMap::new(),
            files: BTreeMap::new(),
            told: Vec::new(),
            overloaded: false,
            well_since: None,
            written_at: None,
        }
    }

    /// Files that the shard has neither closed nor seen fail.
    pub(super) fn open(&self) -> usize {
        let files = self.files.values();
        let open = files.filter(|file| !file.is_closed && !file.has_failed);
        open.count()
    }

    /// The disk has answered all, and every file was closed.
    pub(super) fn are_over(&self) -> bool {
        self.disk.is_at_rest() && self.files.is_empty()
    }

    /// Control was told of a file.
    pub(super) fn told(&mut self, file: &str) {
        self.told.push(file.to_owned());
    }

    /// Takes note of a job.
    fn hand(&mut self, now: Instant, job: &RecordJob) -> Verdict {
        match job {
            RecordJob::Open { file, folder, name } => {
                if self.open() > 0 {
                    return Err("a second file is opened for a recording".to_owned());
                }
                if folder != FOLDER || !self.plans.contains_key(name) {
                    return Err(format!("{folder}/{name} is opened, which is not wanted"));
                }
                let handed = Handed {
                    recording: name.clone(),
                    is_closed: false,
                    has_failed: false,
                    outstanding_bytes: 0,
                    ends_with: None,
                };
                let known = self.files.insert(*file, handed).is_some();
                (!known)
                    .then_some(())
                    .ok_or_else(|| format!("{file} is opened twice"))
            }
            RecordJob::Write { file, slices } => {
                self.open_file(*file)?.outstanding_bytes +=
                    slices.iter().map(Bytes::len).sum::<usize>();
                self.written_at = Some(now);
                self.is_bounded()
            }
            RecordJob::Close { file } => {
                self.open_file(*file)?.is_closed = true;
                Ok(())
            }
        }
    }

    fn open_file(&mut self, id: RecordingFileId) -> Result<&mut Handed, String> {
        let file = self.files.get_mut(&id);
        let open = file.filter(|file| !file.is_closed && !file.has_failed);
        open.ok_or_else(|| format!("a job for {id}, which is not open"))
    }

    fn is_bounded(&mut self) -> Verdict {
        let outstanding = self.files.values().map(|file| file.outstanding_bytes);
        let bytes: usize = outstanding.sum();
        self.overloaded |= bytes > RECORDING_OUTSTANDING_BYTES_MAX;
        let most = RECORDING_OUTSTANDING_BYTES_MAX + RECORDING_FRAGMENT_BYTES + UNIT_BYTES_MAX;
        let error = || format!("{bytes} bytes of recordings are outstanding");
        (bytes <= most).then_some(()).ok_or_else(error)
    }
}

impl World {
    /// The operator begins another recording, or ends the one that there is.
    pub(super) fn set_recording(&mut self, plan: Option<RecordingPlan>) -> Verdict {
        let was = self.wanted.recording.take();
        if let Some(plan) = plan {
            let id = format!("r{}", self.recordings.begun);
            self.recordings.begun += 1;
            self.recordings.plans.insert(id.clone(), plan);
            self.wanted.recording = Some(WantedRecording {
                label: label_of(&id),
                id,
                folder: FOLDER.to_owned(),
                file_ms_max: plan.file_ms_max,
                filler: plan.filler,
            });
        }
        self.disk_is_well();
        self.expect_last_picture();
        if was.is_some() && self.recordings.open() > 0 {
            self.tally.count("recording ended by the operator");
        }
        self.want()
    }

    /// The recording ends with what is on air now.
    fn expect_last_picture(&mut self) {
        let last = self.publisher.admitted.last().copied();
        for file in self.recordings.files.values_mut() {
            if !file.is_closed && !file.has_failed {
                file.ends_with = last;
            }
        }
    }

    pub(super) fn set_disk(&mut self, mode: DiskMode) -> Verdict {
        self.tally.count(match mode {
            DiskMode::Well => "disk well again",
            DiskMode::Slow(_) => "disk slow",
            DiskMode::StandsStill => "disk stands still",
            DiskMode::Full => "disk full",
        });
        self.recordings.disk.mode = mode;
        self.disk_is_well();
        self.begin_disk_job();
        Ok(())
    }

    /// From now on a recording has to be made, if one is wanted and the disk allows it.
    fn disk_is_well(&mut self) {
        let is_well = self.recordings.disk.mode == DiskMode::Well;
        let is_wanted = self.wanted.recording.is_some();
        self.recordings.well_since = (is_well && is_wanted).then_some(self.now);
    }

    /// The shard gives the disk something to do.
    pub(super) fn record(&mut self, job: RecordJob) -> Verdict {
        if let RecordJob::Open { file, name, .. } = &job {
            note!(self, "{file} of {name} is opened");
            self.tally.count("recording's file opened");
        }
        let was_overloaded = self.recordings.overloaded;
        self.recordings.hand(self.now, &job)?;
        if self.recordings.overloaded && !was_overloaded {
            self.tally.count("disk too slow for a recording");
        }
        if let RecordJob::Close { file } = &job {
            note!(self, "{file} is closed");
        }
        self.recordings.disk.queue(job);
        self.begin_disk_job();
        Ok(())
    }

    fn begin_disk_job(&mut self) {
        if let Some(job_ms) = self.recordings.disk.job_ms() {
            self.recordings.disk.is_busy = true;
            self.after(ms(job_ms), SimEvent::Disk);
        }
    }

    /// The disk has done a job, unless it stands still meanwhile.
    pub(super) fn disk_job(&mut self) -> Verdict {
        let mut disk = std::mem::take(&mut self.recordings.disk);
        disk.is_busy = false;
        let done = match disk.next_file() {
            Some(file) => disk.run(self.terms_of_file(file)),
            None => Ok(None),
        };
        self.recordings.disk = disk;
        if let Some(done) = done? {
            self.disk_done(done)?;
        }
        self.begin_disk_job();
        Ok(())
    }

    /// What a file is held against.
    fn terms_of_file(&self, file: RecordingFileId) -> Terms<'_> {
        let recordings = &self.recordings;
        let recording = recordings.files.get(&file).map(|file| &file.recording);
        let plan = recording.and_then(|id| recordings.plans.get(id));
        let has_filler = plan.is_some_and(|plan| plan.filler);
        Terms {
            rules: Rules {
                may_be_made: false,
                whole: has_filler && !recordings.overloaded && !self.publisher.bunched,
                ..self.rules_of_consumer()
            },
            start: self.start,
            complete: !recordings.overloaded,
        }
    }

    /// The shard is told what came of a job.
    fn disk_done(&mut self, done: Done) -> Verdict {
        let Done { file, result, over } = done;
        let mut name = None;
        if let Some(handed) = self.recordings.files.get_mut(&file) {
            match &result {
                RecordResult::Opened { .. } => {}
                RecordResult::Written { bytes } => handed.outstanding_bytes -= bytes,
                RecordResult::Closed { name: of } => name.clone_from(of),
                RecordResult::Failed { name: of, reason } => {
                    name.clone_from(of);
                    handed.has_failed = true;
                    handed.outstanding_bytes = 0;
                    note!(self, "{file} fails: {reason}");
                    self.tally.count("recording failed");
                    self.disk_is_well();
                }
            }
        }
        let is_over = matches!(
            result,
            RecordResult::Closed { .. } | RecordResult::Failed { .. }
        );
        self.handle(Input::Recorded { file, result })?;
        let told = std::mem::take(&mut self.recordings.told);
        if told != Vec::from_iter(name) {
            return Err(format!("control is told of {told:?}"));
        }
        if let Some(over) = over {
            self.file_is_over(file, &over)?;
        }
        if is_over {
            self.recordings.files.remove(&file);
        }
        Ok(())
    }

    /// Nothing more is written into a file.
    fn file_is_over(&mut self, id: RecordingFileId, file: &DiskFile) -> Verdict {
        let Some(handed) = self.recordings.files.get(&id) else {
            return Err(format!("{id} was never opened"));
        };
        let cut = usize::try_from(self.consumer_random.next() >> 32).unwrap();
        file.is_readable(&label_of(&handed.recording), cut)
            .map_err(|broken| format!("{id}: {broken}"))?;
        let Some(checker) = &file.checker else {
            return Ok(());
        };
        self.tally.count("recording that can be read");
        self.tally.add("pictures recorded", checker.stream.pictures);
        self.tally.add("audio recorded", checker.frames);
        let of_encoders = &checker.stream.encoder;
        self.tally
            .add("pictures of encoders recorded", of_encoders.pictures);
        self.tally
            .add("audio of encoders recorded", of_encoders.frames);
        let expected = handed.ends_with.filter(|_| !handed.has_failed);
        let lacks = expected.filter(|_| !self.recordings.overloaded);
        match (checker.sent, lacks) {
            (Some(last), Some(expected)) if last < expected => Err(format!(
                "{id} ends with picture {last}, and {expected} was on air"
            )),
            _ => Ok(()),
        }
    }

    /// Checks what has to come by itself: a recording that is wanted is made, and none else.
    pub(super) fn check_recordings(&self) -> Verdict {
        let recordings = &self.recordings;
        let (now, is_wanted) = (self.now, self.wanted.recording.is_some());
        if recordings.open() > 0 && !(is_wanted && self.view().is_on_air()) {
            return Err("a file is open, and nothing is to be recorded".to_owned());
        }
        let flows = self.publisher.flows_since().filter(|_| is_wanted);
        let flows = flows.filter(|_| !self.publisher.is_foreign() && self.publisher.hears());
        let (Some(flows), Some(well)) = (flows, recordings.well_since) else {
            return Ok(());
        };
        if now.saturating_duration_since(flows.max(well)) < RESUMES_MAX {
            return Ok(());
        }
        let silent = recordings.written_at.map(|at| now - at);
        match silent.filter(|silent| *silent <= WRITES_MAX) {
            Some(_) => Ok(()),
            None => Err(format!("nothing is recorded; the last was {silent:?} ago")),
        }
    }
}

/// What control keeps in a file.
fn label_of(recording: &str) -> String {
    format!("label of {recording}")
}
