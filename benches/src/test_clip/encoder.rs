//! Arguments of ffmpeg for a test clip: real-time encoding like that of a browser, without frame
//! reordering and without hidden frames.

use shardcast_link::VideoCodec;

use super::TestClipFormat;

/// Container of the encoder's output: the value of `-f`, and the extension of the file.
pub(super) fn file_format(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "h264",
        VideoCodec::Vp8 | VideoCodec::Vp9 | VideoCodec::Av1 => "ivf",
    }
}

/// Arguments of ffmpeg from raw frames on its input to the stream on its output.
pub(super) fn arguments(format: &TestClipFormat) -> Vec<String> {
    let size = format!("{}x{}", format.width, format.height);
    let fps = format.fps.to_string();
    let input = [
        "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size, "-r", &fps, "-i", "-",
    ];
    let rate = format!("{}k", format.video_kbps);
    let limits = ["-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate];
    let mut arguments: Vec<String> = input.map(str::to_owned).to_vec();
    arguments.extend(codec_arguments(format));
    arguments.extend(limits.map(str::to_owned));
    arguments.extend(["-f", file_format(format.codec), "-"].map(str::to_owned));
    arguments
}

fn codec_arguments(format: &TestClipFormat) -> Vec<String> {
    let frames = format.loop_frames();
    let encoder = match format.codec {
        VideoCodec::H264 => {
            let x264 = format!(
                "keyint={frames}:min-keyint={frames}:scenecut=0:bframes=0:ref=1:slices=1:\
                 sliced-threads=0:threads=2:aud=0:repeat-headers=1:rc-lookahead=0:force-cfr=1"
            );
            let fixed = "-c:v libx264 -preset ultrafast -tune zerolatency -profile:v baseline";
            return arguments_of(fixed)
                .chain(["-x264-params".to_owned(), x264])
                .collect();
        }
        VideoCodec::Vp8 => {
            "-c:v libvpx -deadline realtime -cpu-used 8 -auto-alt-ref 0 -lag-in-frames 0"
        }
        VideoCodec::Vp9 => {
            "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -auto-alt-ref 0 -lag-in-frames 0 \
             -row-mt 1"
        }
        VideoCodec::Av1 => "-c:v libaom-av1 -usage realtime -cpu-used 8 -lag-in-frames 0 -row-mt 1",
    };
    let keyframes = format!("expr:eq(mod(n,{frames}),0)");
    let distance = frames.to_string();
    let group = [
        "-threads",
        "2",
        "-g",
        &distance,
        "-keyint_min",
        &distance,
        "-force_key_frames",
        &keyframes,
    ];
    arguments_of(encoder)
        .chain(group.map(str::to_owned))
        .collect()
}

fn arguments_of(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split_whitespace().map(str::to_owned)
}
