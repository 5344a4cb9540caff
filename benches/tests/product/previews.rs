//! Previews of the whole product: of a show that a browser publishes there is soon a picture, of the size that is set and
//! with what is seen in it, and after the end the finished one.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use shardcast_bench::{
    harness::{Harness, HarnessOptions, request},
    publisher::{Publisher, PublisherOptions},
    test_clip::{TestClip, TestClipFormat},
};

const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The pixels in grey of the preview called `name`, once it is there: FFmpeg fetches and decodes it.
async fn preview(harness: &Harness, name: &str) -> Vec<u8> {
    let deadline = Instant::now() + TIME_LIMIT;
    let path = format!("/StreamLick/previews/{name}");
    loop {
        let reply = request(harness.http(), "GET", &path, None).await.unwrap();
        if reply.status == 200 {
            break;
        }
        assert!(Instant::now() < deadline, "{name}: {}", harness.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let url = format!("http://{}{path}", harness.http());
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "png_pipe", "-i", &url])
        .args(["-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
    output.stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_show_has_a_picture_while_it_is_live_and_a_finished_one_afterwards() {
    let arguments = "--generate-preview --preview-height 90".split(' ');
    let options = HarnessOptions {
        arguments: arguments.map(str::to_owned).collect(),
        ..HarnessOptions::default()
    };
    let harness = Harness::start(options).await.unwrap();
    harness.create("show").await.unwrap();
    let clip = TestClip::load(TestClipFormat::small()).unwrap();
    let publisher = Publisher::start(clip, PublisherOptions::new(harness.signalling(), "show"));
    let pixels = preview(&harness, "show.png").await;
    assert_eq!(pixels.len(), 160 * 90);
    // The clip begins with a white frame; a picture that could not be decoded would be black.
    let lightest = pixels.iter().max().unwrap();
    assert!(*lightest > 200, "the lightest pixel is {lightest}");
    let stopped = harness.rest("POST", "/broadcasts/show/stop", None);
    stopped.await.unwrap();
    let finished = preview(&harness, "show_finished.png").await;
    assert_eq!(finished.len(), 160 * 90);
    drop(publisher);
}
