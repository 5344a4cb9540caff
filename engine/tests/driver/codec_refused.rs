//! Where nothing is re-encoded, each rendition is refused with a reason.

use shardcast_core::io::{Output, RenditionId, VideoJob, VideoResult, VideoTranscoderId};
use shardcast_link::RenditionSpec;

use crate::rig::{Rig, Seen};

#[test]
fn each_rendition_is_refused_with_a_reason() {
    let rig = Rig::new();
    let (closed, transcoder) = (
        VideoTranscoderId::numbered(1),
        VideoTranscoderId::numbered(2),
    );
    let open = |transcoder| Output::Video(VideoJob::Open { transcoder });
    let renditions = |transcoder, ids: [u64; 2]| {
        let spec = RenditionSpec::of_height(360);
        let renditions = ids.map(|id| (RenditionId(id), spec)).to_vec();
        Output::Video(VideoJob::Renditions {
            transcoder,
            renditions,
        })
    };
    rig.ask([
        open(closed),
        renditions(closed, [1, 2]),
        Output::Video(VideoJob::Close { transcoder: closed }),
        open(transcoder),
        renditions(transcoder, [4, 5]),
    ]);
    // Results of a transcoder that is closed are dropped.
    for id in [4, 5] {
        match rig.next() {
            Seen::Video(of, VideoResult::Failed { rendition, reason }) => {
                assert_eq!((of, rendition), (transcoder, RenditionId(id)));
                assert!(reason.contains("re-encoding is switched off"), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}
