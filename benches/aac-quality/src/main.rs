//! Compares Shardcast's AAC encoder with others by two perceptual measures, and by cost.

mod align;
mod clip;
mod decoders;
mod encoders;
mod nmr;
mod options;
mod score;
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use clip::Clip;
use encoders::Kind;
use nmr::Nmr;
use options::Options;
use score::{Score, Tools};

/// A score, or the reason why there is none.
pub type Cell = Result<Score, String>;

fn main() -> ExitCode {
    match run() {
        Ok(0) => return ExitCode::SUCCESS,
        Ok(failures) => eprintln!("{failures} streams have no score"),
        Err(reason) => eprintln!("{reason}"),
    }
    ExitCode::FAILURE
}

/// Returns the number of streams that have no score.
fn run() -> Result<usize, String> {
    let options = Options::read(std::env::args().skip(1))?;
    decoders::lavc::watch_log();
    let clips = read_clips(&options.folder, &options.clips)?;
    let delays = delays(&options.encoders)?;
    let tools = Tools {
        nmr: Nmr::new(),
        dump: options.dump.clone(),
    };
    let mut failures = 0;
    for &rate in &options.rates {
        let cells = score_all(&options, &clips, &delays, rate * 1000, &tools);
        for (clip, row) in clips.iter().zip(&cells) {
            for (kind, cell) in options.encoders.iter().zip(row) {
                if let Err(reason) = cell {
                    eprintln!("{} {} {rate} kbit/s: {reason}", kind.name(), clip.name);
                    failures += 1;
                }
            }
        }
        let costs = encoders::costs(&options.encoders, &clips, rate * 1000, options.runs)?;
        table::print(rate, &options.encoders, &clips, &cells, &costs);
    }
    Ok(failures)
}

fn read_clips(folder: &Path, wanted: &[String]) -> Result<Vec<Clip>, String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "wav"));
    paths.sort();
    let mut clips = paths
        .iter()
        .map(|path| Clip::read(path))
        .collect::<Result<Vec<_>, _>>()?;
    clips.retain(|clip| wanted.is_empty() || wanted.contains(&clip.name));
    if clips.is_empty() {
        Err(format!("{}: no clips", folder.display()))
    } else {
        Ok(clips)
    }
}

/// Delay of each encoder in mono and in stereo.
fn delays(kinds: &[Kind]) -> Result<Vec<[usize; 2]>, String> {
    let of = |kind: Kind, channels| {
        align::delay(kind, channels).map_err(|e| format!("{}: {e}", kind.name()))
    };
    kinds
        .iter()
        .map(|&kind| Ok([of(kind, 1)?, of(kind, 2)?]))
        .collect()
}

/// One row for each clip, one cell for each encoder.
fn score_all(
    options: &Options,
    clips: &[Clip],
    delays: &[[usize; 2]],
    bps: u32,
    tools: &Tools,
) -> Vec<Vec<Cell>> {
    let row = |clip: &Clip| -> Vec<Cell> {
        let encoders = options.encoders.iter().zip(delays);
        let score = |(&kind, delay): (&Kind, &[usize; 2])| {
            score::score(kind, clip, bps, delay[clip.channels.len() - 1], tools)
        };
        encoders.map(score).collect()
    };
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(Vec::new());
    let work = || {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            let Some(clip) = clips.get(i) else { return };
            let row = row(clip);
            rows.lock().expect("no panic while locked").push((i, row));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut rows = rows.into_inner().expect("no panic while locked");
    rows.sort_by_key(|&(i, _)| i);
    rows.into_iter().map(|(_, row)| row).collect()
}
