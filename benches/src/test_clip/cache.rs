//! Encodes the video once for each format and caches it, because it takes seconds.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{LOOP_SECONDS, TestClipFormat, encoder};
use crate::BenchError;

/// Raised when the encoding changes, so that files of older versions are not used.
const VERSION: u32 = 2;

/// All encodings of the loop, one after the other, as the encoder writes them.
pub(super) fn video(format: &TestClipFormat) -> Result<Vec<u8>, BenchError> {
    let TestClipFormat {
        width,
        height,
        fps,
        video_kbps,
        ..
    } = format;
    let directory = directory();
    let kind = encoder::file_format(format.codec);
    let codec = format.codec.name();
    let path = directory.join(format!(
        "v{VERSION}-{codec}-{width}x{height}-{fps}-{video_kbps}.{kind}"
    ));
    if let Ok(bytes) = fs::read(&path) {
        return Ok(bytes);
    }
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error: io::Error| BenchError::File { path, error }
    };
    fs::create_dir_all(&directory).map_err(at(&directory))?;
    let bytes = encode(format, &raw_frames(format)?)?;
    // Another process may make the same clip: each writes its own file and renames it.
    let mut file = tempfile::NamedTempFile::new_in(&directory).map_err(at(&directory))?;
    file.write_all(&bytes).map_err(at(&path))?;
    file.persist(&path).map_err(|e| BenchError::File {
        path,
        error: e.error,
    })?;
    Ok(bytes)
}

fn directory() -> PathBuf {
    std::env::temp_dir().join("shardcast-bench-clips")
}

/// Raw frames of a moving test pattern with grain, so that the encoder needs its whole bit rate; one
/// frame each second is white.
fn raw_frames(format: &TestClipFormat) -> Result<Vec<u8>, BenchError> {
    let TestClipFormat {
        width, height, fps, ..
    } = format;
    let source = format!(
        "testsrc2=size={width}x{height}:rate={fps}:duration={LOOP_SECONDS},\
         noise=alls=12:allf=t:all_seed=1,\
         drawbox=color=white:thickness=fill:enable='eq(mod(n,{fps}),0)',format=yuv420p"
    );
    let args = ["-f", "lavfi", "-i", &source, "-f", "rawvideo", "-"];
    run(
        Command::new("ffmpeg")
            .args(["-v", "error", "-nostdin"])
            .args(args),
        Vec::new(),
    )
}

/// Encodes the loop once for each phase, each time from another place.
fn encode(format: &TestClipFormat, raw: &[u8]) -> Result<Vec<u8>, BenchError> {
    let frame_bytes = (format.width * format.height * 3 / 2) as usize;
    let raw_frames: Vec<&[u8]> = raw.chunks_exact(frame_bytes).collect();
    let frames = format.loop_frames();
    if raw_frames.len() != frames as usize {
        let reason = format!("{} raw frames instead of {frames}", raw_frames.len());
        return Err(BenchError::Program {
            program: "ffmpeg".to_owned(),
            reason,
        });
    }
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error"])
        .args(encoder::arguments(format));
    let phases = (0..frames).step_by(format.phase_frames() as usize);
    let order = phases.flat_map(|phase| (0..frames).map(move |n| ((phase + n) % frames) as usize));
    let feed = order.filter_map(|place| raw_frames.get(place).copied());
    run(&mut command, feed.collect())
}

/// Runs a program with these slices as its input and returns its output.
fn run(command: &mut Command, input: Vec<&[u8]>) -> Result<Vec<u8>, BenchError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |reason: String| BenchError::Program {
        program: program.clone(),
        reason,
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("it cannot be started ({e}); install it")))?;
    let stdin = child.stdin.take();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            let Some(mut stdin) = stdin else { return };
            for slice in input {
                // The program ended early; its error output says why.
                if stdin.write_all(slice).is_err() {
                    return;
                }
            }
        });
        child.wait_with_output()
    });
    let output = output.map_err(|e| failed(e.to_string()))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(failed(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ))
    }
}
