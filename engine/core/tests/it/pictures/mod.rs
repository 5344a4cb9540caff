//! Streams of real encoders, cut into access units, and FFmpeg's word on what became of them.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::thread;

use bytes::Bytes;
use shardcast_core::h264::{NalType, ParameterSets, VideoUnit, annex_b, nal_type};

/// Twelve pictures of 320×180 by the encoder of Chromium 156 (OpenH264, WebCodecs with
/// `avc1.42e01f` and `latencyMode: "realtime"`).
const CHROMIUM: &[u8] = include_bytes!("chromium.h264");

/// A stream as a publisher sends it.
pub(crate) struct Stream {
    pub(crate) name: String,
    pub(crate) sets: ParameterSets,
    /// Bodies of FLV tags, from an IDR on.
    pub(crate) bodies: Vec<Bytes>,
}

impl Stream {
    pub(crate) fn of_chromium() -> Self {
        Self::cut("Chromium", CHROMIUM)
    }

    /// So many pictures of a moving test image by x264 with these options.
    pub(crate) fn by_x264(size: &str, pictures: u32, options: &str) -> Self {
        let source = format!("testsrc2=size={size}:rate=30");
        let frames = pictures.to_string();
        let mut arguments = vec![
            "-v",
            "error",
            "-f",
            "lavfi",
            "-i",
            &source,
            "-frames:v",
            &frames,
        ];
        arguments.extend(["-pix_fmt", "yuv420p", "-c:v", "libx264", "-threads", "1"]);
        arguments.extend(options.split_whitespace());
        arguments.extend(["-bsf:v", "h264_metadata=aud=insert", "-f", "h264", "-"]);
        let output = ffmpeg(&arguments, &[]);
        assert!(output.status.success(), "{}", words(&output));
        Self::cut(&format!("x264 {size} {options}"), &output.stdout)
    }

    /// Cuts before each picture: what is not a slice belongs to the slices behind it.
    pub(crate) fn cut(name: &str, stream: &[u8]) -> Self {
        let (mut units, mut unit, mut has_slice) = (Vec::new(), Vec::new(), false);
        for nal in annex_b(stream) {
            let slice = matches!(nal_type(nal), Some(NalType::Slice | NalType::Idr));
            // first_mb_in_slice is 0, a single bit, in the first slice of a picture.
            let begins = !slice || nal[1] & 0x80 != 0;
            if has_slice && begins {
                units.push(std::mem::take(&mut unit));
                has_slice = false;
            }
            has_slice |= slice;
            unit.push(nal);
        }
        units.push(unit);
        let units: Vec<VideoUnit> = units
            .into_iter()
            .map(|nals| VideoUnit::from_nals(nals, stream.len()).unwrap())
            .collect();
        let sps = units[0]
            .sps
            .clone()
            .expect("an SPS before the first picture");
        Self {
            name: name.to_owned(),
            sets: ParameterSets::new(&sps, &units[0].pps).unwrap(),
            bodies: units.into_iter().map(|unit| unit.avcc).collect(),
        }
    }
}

/// The NAL units of an access unit in AVCC form.
pub(crate) fn nals(body: &[u8]) -> Vec<&[u8]> {
    let (mut rest, mut nals) = (body, Vec::new());
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (nal, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        nals.push(nal);
        rest = behind;
    }
    nals
}

/// Decodes bodies under one SPS and PPS, and gives the I420 pictures. Fails when FFmpeg has
/// anything to say.
pub(crate) fn decode(stream: &Stream, bodies: &[Bytes]) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    for nal in [stream.sets.sps_nal()]
        .into_iter()
        .chain(stream.sets.pps_nals())
    {
        put_annex_b(nal, &mut bytes);
    }
    for body in bodies {
        nals(body)
            .into_iter()
            .for_each(|nal| put_annex_b(nal, &mut bytes));
    }
    let arguments = [
        "-v",
        "warning",
        "-err_detect",
        "explode",
        "-xerror",
        "-threads",
        "1",
        "-f",
        "h264",
        "-i",
        "-",
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-",
    ];
    let output = ffmpeg(&arguments, &bytes);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}: {}",
        stream.name,
        words(&output)
    );
    let picture_bytes = (stream.sets.width() * stream.sets.height() * 3 / 2) as usize;
    let pictures: Vec<Vec<u8>> = output
        .stdout
        .chunks(picture_bytes)
        .map(<[u8]>::to_vec)
        .collect();
    assert_eq!(pictures.len(), bodies.len(), "{}", stream.name);
    pictures
}

fn put_annex_b(nal: &[u8], out: &mut Vec<u8>) {
    out.extend([0, 0, 0, 1]);
    out.extend(nal);
}

/// Runs FFmpeg with this on its standard input.
pub(crate) fn ffmpeg(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new("ffmpeg")
        .args(["-hide_banner", "-nostats"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ffmpeg is installed");
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // It writes before it has read all; whether it read all shows in what it says.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}
