//! Where nothing is re-encoded, each rendition is refused in words.

use shardcast_core::io::{Output, RenditionId, VideoJob, VideoLaneId, VideoResult};
use shardcast_link::RenditionSpec;

use crate::rig::{Rig, Seen};

#[test]
fn each_rendition_is_refused_in_words() {
    let rig = Rig::new();
    let (closed, lane) = (VideoLaneId(1), VideoLaneId(2));
    let open = |lane| Output::Video(VideoJob::Open { lane });
    let renditions = |lane, ids: [u64; 2]| {
        let spec = RenditionSpec::of_height(360);
        let renditions = ids.map(|id| (RenditionId(id), spec)).to_vec();
        Output::Video(VideoJob::Renditions { lane, renditions })
    };
    rig.ask([
        open(closed),
        renditions(closed, [1, 2]),
        Output::Video(VideoJob::Close { lane: closed }),
        open(lane),
        renditions(lane, [4, 5]),
    ]);
    // What was said of a lane that is closed is not told.
    for id in [4, 5] {
        match rig.next() {
            Seen::Video(of, VideoResult::Failed { rendition, reason }) => {
                assert_eq!((of, rendition), (lane, RenditionId(id)));
                assert!(reason.contains("re-encoding is switched off"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}
