//! Makes the same renditions with ffmpeg on one thread, as a reference that is available everywhere.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use shardcast_link::{Preset, Profile, RenditionSpec};

use crate::BenchError;
use crate::harness::children_cpu;
use crate::test_clip::TestClip;

/// CPU time for each frame in microseconds, user and system, with the start of ffmpeg and the reading
/// of the file.
pub(super) fn measure(
    clip: &TestClip,
    specs: &[RenditionSpec],
    frames: usize,
) -> Result<f64, BenchError> {
    let (kind, bytes) = clip.file(frames);
    let mut file = tempfile::Builder::new().suffix(kind).tempfile()?;
    file.write_all(&bytes)?;
    let failed = |reason: String| BenchError::Program {
        program: "ffmpeg".to_owned(),
        reason,
    };
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "error", "-nostdin", "-filter_complex_threads", "1"])
        .args(["-threads", "1", "-f", kind])
        .args(["-framerate", &clip.format.fps.to_string(), "-i"])
        .arg(file.path())
        .args(["-filter_complex", &filters(specs)]);
    for (n, spec) in specs.iter().enumerate() {
        command.args(outputs(n, spec));
    }
    let before = children_cpu()?;
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|e| failed(format!("it cannot be started ({e}); install it")))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    let spent = children_cpu()?.saturating_sub(before);
    Ok(spent.as_secs_f64() * 1e6 / frames.max(1) as f64)
}

/// A filter graph that scales each rendition from the next larger one.
fn filters(specs: &[RenditionSpec]) -> String {
    let mut chains = Vec::new();
    let mut from = "0:v".to_owned();
    for (n, spec) in specs.iter().enumerate() {
        let width = spec.width.unwrap_or(spec.height * 16 / 9 / 2 * 2);
        let scale = format!("[{from}]scale={width}:{}:flags=bilinear", spec.height);
        if n + 1 == specs.len() {
            chains.push(format!("{scale}[o{n}]"));
        } else {
            chains.push(format!("{scale},split=2[o{n}][s{n}]"));
        }
        from = format!("s{n}");
    }
    chains.join(";")
}

fn outputs(n: usize, spec: &RenditionSpec) -> Vec<String> {
    let rate = spec.video_bps.to_string();
    let group = spec.gop_ms * spec.frames_per_second / 1_000;
    let preset = match spec.preset {
        Preset::Ultrafast => "ultrafast",
        Preset::Superfast => "superfast",
        Preset::Veryfast => "veryfast",
        Preset::Faster => "faster",
    };
    let profile = match spec.profile {
        Profile::Baseline => "baseline",
        Profile::Main => "main",
        Profile::High => "high",
    };
    let map = format!("[o{n}]");
    let x264 = format!("keyint={group}:min-keyint={group}:scenecut=0:sliced-threads=0:threads=1");
    let arguments = [
        "-map",
        &map,
        "-c:v",
        "libx264",
        "-threads",
        "1",
        "-preset",
        preset,
        "-tune",
        "zerolatency",
        "-profile:v",
        profile,
        "-b:v",
        &rate,
        "-maxrate",
        &rate,
        "-bufsize",
        &rate,
        "-x264-params",
        &x264,
        "-f",
        "null",
        "-",
    ];
    arguments.map(str::to_owned).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ladder_is_drawn_from_rung_to_rung() {
        let specs = [720, 360].map(RenditionSpec::of_height);
        assert_eq!(
            filters(&specs),
            "[0:v]scale=1280:720:flags=bilinear,split=2[o0][s0];\
             [s0]scale=640:360:flags=bilinear[o1]"
        );
    }
}
