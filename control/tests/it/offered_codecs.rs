//! What a publisher may send is its application's to say, H.264 first, and so are the channels of its
//! sound; the shard is told with each offer.

use crate::server::{Server, offer, publish, shard::Shard};
use shardcast_link::{Command, VideoCodec};

/// What the shard is told of an offer under `settings`: codecs, and whether stereo is asked for.
async fn codecs_of(settings: &str) -> (Vec<VideoCodec>, bool) {
    let server = Server::start_with_file(settings).await;
    let mut shard = Shard::join(&server).await;
    let mut client = server.connect().await;
    client.ask(publish("s1")).await;
    client.send(offer("s1")).await;
    assert!(matches!(shard.next().await, Command::Want { .. }));
    match shard.next().await {
        Command::Publish { codecs, stereo, .. } => (codecs, stereo),
        other => panic!("not a publish: {other:?}"),
    }
}

async fn offered(settings: &str) -> Vec<VideoCodec> {
    codecs_of(settings).await.0
}

#[tokio::test]
async fn all_codecs_are_offered_and_h264_is_preferred() {
    assert_eq!(offered("").await, VideoCodec::ALL);
}

#[tokio::test]
async fn h264_alone_is_offered_where_nothing_is_re_encoded() {
    assert_eq!(
        offered("reencode_enabled = false").await,
        [VideoCodec::H264]
    );
}

#[tokio::test]
async fn an_application_may_offer_fewer_in_the_words_of_ant_media_server() {
    let settings = "av1Enabled = false\n[application.StreamLick.ant_media]\nvp8Enabled = true\n\
        \"settings.h264Enabled\" = \"false\"\n";
    assert_eq!(offered(settings).await, [VideoCodec::Vp8, VideoCodec::Vp9]);
}

#[tokio::test]
async fn sound_is_asked_for_in_mono_unless_the_application_wants_stereo() {
    for (settings, stereo) in [
        ("", false),
        ("opus_channels = \"mono\"", false),
        ("opus_channels = \"stereo\"", true),
        ("[application.StreamLick]\nopus_channels = \"stereo\"", true),
        ("[application.LiveApp]\nopus_channels = \"stereo\"", false),
    ] {
        assert_eq!(codecs_of(settings).await.1, stereo, "{settings}");
    }
}
