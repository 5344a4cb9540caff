//! Every bound of the shard, with its reason.

use std::time::Duration;

use crate::bucket::Rate;

/// Media kept per broadcast for consumers, in bytes: one GOP of 2 s at 16 Mbit/s.
pub(crate) const RING_BYTES_MAX: usize = 4 << 20;
/// Media kept per broadcast for consumers, in microseconds. No destination reads what is older, since it
/// jumps to the newest keyframe then. Half a second more than the lag, because a destination of a
/// rendition, which is that much younger than its source when codecs are busy, may change to the source.
pub(crate) const RING_US: i64 = DESTINATION_LAG_US_MAX + 500_000;
/// What is older is kept back to the newest keyframe, at most for so long: a publisher that answers
/// keyframe requests has one every 2 s.
pub(crate) const RING_GROUP_US_MAX: i64 = 6_000_000;

/// What one destination has written to its socket and the kernel has not taken, in bytes. Enough
/// for one large IDR, small enough that a slow destination does not hide its lag in our memory.
pub(crate) const DESTINATION_OUTSTANDING_BYTES_MAX: usize = 256 << 10;
/// So much outstanding can only be answers to a server that asks without reading: it is the bound
/// above, one access unit of the largest size, and room for commands.
pub(crate) const DESTINATION_FLOODED_BYTES: usize = DESTINATION_OUTSTANDING_BYTES_MAX + (5 << 20);
/// How far a destination may lag before it jumps to the newest keyframe, in microseconds.
pub(crate) const DESTINATION_LAG_US_MAX: i64 = 3_000_000;
/// A connection that takes or acknowledges nothing for so long while there is media is reset.
pub(crate) const DESTINATION_STALL_MS: u64 = 10_000;
/// A connection that acknowledges nothing for so long is no longer called live.
pub(crate) const DESTINATION_SILENT_MS: u64 = 3_000;
/// How often the kernel is asked what the peer has acknowledged: until the first media is, and then.
pub(crate) const INSPECT_FIRST_MS: u64 = 50;
pub(crate) const INSPECT_MS: u64 = 1_000;
/// Name look-up, TCP connect to one address, the TLS handshake behind it, and the RTMP handshake up
/// to the answer to `publish`.
pub(crate) const RESOLVE_TIMEOUT_MS: u64 = 5_000;
pub(crate) const CONNECT_TIMEOUT_MS: u64 = 5_000;
pub(crate) const TLS_TIMEOUT_MS: u64 = 5_000;
pub(crate) const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// Addresses of one name that are tried in one attempt.
pub(crate) const ADDRESSES_MAX: usize = 8;
/// The next address is tried when the one before has not answered for so long: the value that
/// RFC 8305, 8 recommends.
pub(crate) const CONNECT_STAGGER_MS: u64 = 250;
/// Connections that one destination makes at once: a dead IPv6, a dead IPv4, and one that is well.
/// Each is a descriptor of the shard.
pub(crate) const CONNECTS_AT_ONCE_MAX: usize = 3;
/// Servers that one attempt is sent on to: a load balancer, a region, a machine. More is a loop.
pub(crate) const REDIRECTS_MAX: u32 = 3;
/// A destination that cannot be reached and took media within the first of these is retried each time
/// the second has passed: its server is being restarted, and a refused connection costs it nothing.
pub(crate) const FAST_RETRY_MS: u64 = 60_000;
pub(crate) const FAST_RETRY_DELAY_MS_MAX: u64 = 1_000;
/// For so long after media was taken, a refusal is a problem of the server and not a wrong key.
pub(crate) const KEY_TRUSTED_MS: u64 = 300_000;
/// A failure that the destination's owner has to repair (stream key refused) is retried this often.
pub(crate) const REFUSED_DELAY_MS_MIN: u64 = 30_000;
pub(crate) const REFUSED_DELAY_MS_MAX: u64 = 300_000;
/// After so long on air a destination's next failure starts again from the shortest delay.
pub(crate) const BACKOFF_RESET_MS: u64 = 10_000;
/// Open media waits this long for the first keyframe of a publisher that offered video.
pub(crate) const FIRST_KEYFRAME_MS: u64 = 5_000;
/// Destinations of one broadcast. Not a limit of the design: it bounds what one REST client can
/// make a shard connect to.
pub(crate) const DESTINATIONS_MAX: usize = 1_000;

/// A fragment of a recording, in microseconds of media: what a crash may cost. Each has a head of some 1.2 KB.
pub(crate) const RECORDING_FRAGMENT_US: i64 = 1_000_000;
/// And at most in payload: a second of 16 Mbit/s. It is in memory until it is on the disk.
pub(crate) const RECORDING_FRAGMENT_BYTES: usize = 2 << 20;
/// What the recordings of one broadcast have given to the driver and is not on the disk yet, in bytes: 25 s of
/// 2.5 Mbit/s, for disks that stand still for some seconds. Beyond, fragments are left out.
pub(crate) const RECORDING_OUTSTANDING_BYTES_MAX: usize = 8 << 20;
/// A recording whose file has failed is begun again after so long: a full disk is seen to by people.
pub(crate) const RECORDING_RETRY_MS: u64 = 10_000;

/// A slate, in bytes: a photograph of 1080p as a PNG.
pub(crate) const SLATE_BYTES_MAX: usize = 4 << 20;

/// Broadcasts of one shard.
pub(crate) const BROADCASTS_MAX: usize = 10_000;
/// Publishing sessions of one shard, those that have no media yet included.
pub(crate) const SESSIONS_MAX: usize = 4_096;
/// Viewers of one shard, those whose DTLS does not stand yet included: more than a core can send
/// 2.5 Mbit/s to. Each has a session of about 0.2 MB.
pub(crate) const VIEWERS_MAX: usize = 4_096;
/// Viewers of one broadcast: the show that everybody watches leaves a quarter to the others.
pub(crate) const VIEWERS_PER_BROADCAST_MAX: usize = 3_072;
/// Of those of a shard, the ones whose DTLS does not stand yet: strangers who never finish it hold
/// no more, and for no longer than the start time-out.
pub(crate) const VIEWERS_STARTING_MAX: usize = 1_024;
/// Viewers whose media is due are sent this much at once, in bytes: a picture between keyframes of
/// 16 Mbit/s. The rest is paced.
pub(crate) const VIEWER_BURST_BYTES: u32 = 64 << 10;
/// What a viewer is sent of the past at the most after that, in bits a second, or 2.5 times the bit rate
/// of the video where that is more (the pacing of browsers): a group is caught up with in a second, and
/// no queue on the way overflows.
pub(crate) const VIEWER_CATCH_UP_BPS_MIN: u64 = 10_000_000;
/// The same of what has just come: a keyframe of 100 KB is out within 6 ms, and hundreds of viewers do
/// not make one burst of it.
pub(crate) const VIEWER_LIVE_BPS: u64 = 50_000_000;
/// Wishes of viewers begin and end renditions this far apart, all of a broadcast together: each opens a
/// codec, and costs the publisher a keyframe.
pub(crate) const VIEWERS_SELECT_MS: u64 = 1_000;
/// The same where the network of a viewer has become slow: its picture stands still meanwhile. A viewer falls once in
/// seconds.
pub(crate) const VIEWERS_FALL_SELECT_MS: u64 = 150;
/// What the network of a viewer carries in so long goes out at once, where that is known. The rest is paced.
pub(crate) const VIEWER_BURST_MS: u64 = 50;
/// A viewer whose pace leaves it so far behind, in microseconds, goes on at the newest keyframe.
pub(crate) const VIEWER_BEHIND_US_MAX: i64 = 1_000_000;
/// A viewer goes over to another rendition at a keyframe that is no older, in microseconds: what lies
/// behind it is sent at once, to a link that may be short of bandwidth.
pub(crate) const VIEWER_SWITCH_US_MAX: i64 = 500_000;
/// Outputs after which timers that are due wait for the next turn: a frame for some six viewers. What was encrypted for them is
/// still in the cache when the kernel copies it, the first of hundreds is not sent to as late as the last, and what has come
/// meanwhile is passed on to destinations.
pub(crate) const TURN_OUTPUTS_MAX: usize = 64;
/// A paced packet waits for the next of these.
pub(crate) const VIEWER_PACE_STEP_MS: u64 = 2;
/// Video packets that a viewer may still ask for: two thirds of a second at 2.5 Mbit/s. The payloads are
/// shared; what str0m keeps beside each is half a kilobyte.
pub(crate) const VIEWER_VIDEO_PACKETS_KEPT: usize = 256;
/// The same in milliseconds: a client gives up what it has asked for ten times, at a round trip of 0.3 s.
pub(crate) const VIEWER_VIDEO_KEPT_MS: u64 = 3_000;
/// Share of what a viewer is sent again, of all that it is sent in a second: where that is more, what it asks for is left out.
/// Bursts of loss with a mean of 5 % are above 15 % in some second of each minute, and what is lost then would not be
/// mended for a second. A flood of NACKs makes a viewer as expensive as two.
pub(crate) const VIEWER_REPEATED_MAX: f32 = 0.5;
/// And in bytes: at once all that is kept for a viewer, then what video of 16 Mbit/s is. Beyond, what was kept is forgotten.
/// The share is looked at every 50 ms only, and within that one datagram may ask for a packet thousands of times.
pub(crate) const VIEWER_REPEATED: Rate = Rate {
    burst: 300 << 10,
    per_second: 2 << 20,
};
/// Audio is not sent again; it has its own redundancy.
pub(crate) const VIEWER_AUDIO_PACKETS_KEPT: usize = 1;
/// Control is told how each viewer's media arrives this often: a report is 400 bytes of JSON, and clients
/// send their receiver reports about once a second.
pub(crate) const VIEWER_REPORT_MS: u64 = 3_000;
/// How the path to a viewer is, is looked at this often where there is a ladder: clients report their packets about ten
/// times a second, and a look costs some microseconds.
pub(crate) const VIEWER_PATH_MS: u64 = 100;
/// The same where there is none yet: as often as receiver reports come. It is looked at since a ladder may be set later.
pub(crate) const VIEWER_PATH_WITHOUT_LADDER_MS: u64 = 1_000;
/// Padding behind one picture, in packets, while it is tried what the path carries: 8 Mbit/s at 30 pictures a second.
pub(crate) const VIEWER_PADDING_PACKETS_MAX: usize = 32;
/// Viewers' requests for keyframes reach the publisher this far apart, all of a broadcast together.
pub(crate) const VIEWERS_KEYFRAME_MS: u64 = 1_000;
/// Messages over data channels that are kept for their readers, of one broadcast: chat and controls of the last seconds,
/// or a photograph of the SDK that is under way.
pub(crate) const DATA_LOG_BYTES_MAX: usize = 1 << 20;
pub(crate) const DATA_LOG_MESSAGES_MAX: usize = 1_024;
/// A client has so long to read one: after it, control by message is of no use.
pub(crate) const DATA_KEPT: Duration = Duration::from_secs(10);
/// A client is written nothing more while its SCTP holds so much, in bytes: two chunks of the SDK. One that reads
/// nothing costs this and one message.
pub(crate) const DATA_BUFFERED_BYTES_MAX: usize = 32 << 10;
/// Large messages (of the SDK's format), in bytes: a photograph.
pub(crate) const DATA_LARGE_BYTES_MAX: usize = 4 << 20;
/// Large messages of one client at a time; the SDK sends one after the other.
pub(crate) const DATA_LARGE_AT_ONCE_MAX: usize = 4;
/// Bytes of one message times its readers: four seconds of [`DATA_FAN_OUT`].
pub(crate) const DATA_FAN_OUT_BYTES_MAX: usize = 64 << 20;
/// Bytes times readers that the messages of a publisher, and those of all viewers of a broadcast together, may be: a
/// tenth of what a core sends, so that media is not held up.
pub(crate) const DATA_FAN_OUT: Rate = Rate {
    burst: 16 << 20,
    per_second: 16 << 20,
};
/// Messages of one client, without the chunks of large ones. A publisher may control its viewers' pages ten times
/// a second with room to spare; a viewer chats and votes.
pub(crate) const DATA_OF_PUBLISHER: Rate = Rate {
    burst: 200,
    per_second: 50,
};
pub(crate) const DATA_OF_VIEWER: Rate = Rate {
    burst: 50,
    per_second: 10,
};
/// Bytes of messages that control is told, for each broadcast: the largest message at once, and afterwards what a chat of a
/// thousand people is. They cross the link as JSON, where commands and reports wait behind them.
pub(crate) const DATA_REPORTED: Rate = Rate {
    burst: 4 << 20,
    per_second: 256 << 10,
};
/// The same of a whole shard: with the burst in base64, a sixth of what waits for a control process that reads slowly.
pub(crate) const DATA_REPORTED_OF_SHARD: Rate = Rate {
    burst: 8 << 20,
    per_second: 4 << 20,
};
/// Datagrams with data that a client may send, acknowledgements included: 280 KB a second. SCTP finds that rate by itself.
pub(crate) const DATA_DATAGRAMS: Rate = Rate {
    burst: 256,
    per_second: 256,
};
/// SCTP streams that a peer may use: those below this number. Clients count channels from 0 or 1 in steps of two
/// (RFC 8832, 6), and one is used. All are looked at with each packet of media.
pub(crate) const DATA_STREAMS_MAX: u16 = 32;
/// SCTP associations that a peer may begin in one session: one is used, and an INIT whose answer is lost is sent
/// again. Of each the stack below keeps some hundred bytes.
pub(crate) const DATA_ASSOCIATIONS_MAX: u32 = 64;
/// A client is told what was refused or lost at most so often.
pub(crate) const DATA_NOTICE_MS: u64 = 1_000;
/// Messages are delivered in turns of so many bytes so far apart, all readers of a broadcast together: 16 MB/s, and
/// media waits for one turn at most.
pub(crate) const DATA_TURN_BYTES: usize = 32 << 10;
pub(crate) const DATA_TURN_MS: u64 = 2;
/// Remote addresses that one peer may be known by. ICE tests several, one is used.
pub(crate) const SESSION_ADDRESSES_MAX: usize = 16;
/// TCP connections of WebRTC peers to one shard: as many as it may have sessions. A browser that offers
/// TCP beside UDP connects too, and lets go when UDP is better.
pub(crate) const PEER_CONNECTIONS_MAX: usize = SESSIONS_MAX + VIEWERS_MAX;
/// Of those, the ones that have not proved yet whose they are. The oldest gives way to a new one.
pub(crate) const PEER_UNPROVEN_CONNECTIONS_MAX: usize = 512;
/// A connection has to prove by its first frame whose it is within so long: a few round trips, and the
/// time that signalling takes behind them.
pub(crate) const PEER_PROOF_MS: u64 = 5_000;
/// Longest datagram on such a connection, in bytes: more than crosses an Ethernet.
pub(crate) const PEER_FRAME_BYTES_MAX: usize = 2_048;
/// What one of them has written and the kernel has not taken, in bytes: a keyframe of 4 Mbit/s video. What
/// comes beyond is dropped, until half of it is gone.
pub(crate) const PEER_OUTSTANDING_BYTES_MAX: usize = 256 << 10;
/// A connection that takes nothing for so long while it is sent to is reset.
pub(crate) const PEER_STALL_MS: u64 = 10_000;
/// Candidates that a client may trickle for one generation of ICE credentials; browsers with many
/// interfaces reach about forty. Each makes pairs in str0m.
pub(crate) const REMOTE_CANDIDATES_MAX: usize = 200;
/// Audio behind a packet that is missing waits so long for it. Networks reorder within this; a
/// packet that was lost never comes, since audio has no retransmission.
pub(crate) const AUDIO_REORDER_MS: u64 = 100;
/// And at most so many packets wait: 100 ms of the shortest Opus packets, of 2.5 ms.
pub(crate) const AUDIO_REORDER_PACKETS_MAX: usize = 40;
/// Keyframe requests to a publisher are at least this far apart.
pub(crate) const KEYFRAME_REQUEST_MS_MIN: u64 = 300;
/// RTP streams of one kind that a publisher may have: three layers of simulcast, and tracks that
/// follow one another. What is beyond is left out.
pub(crate) const RTP_SOURCES_MAX: usize = 16;
/// A layer of simulcast that sends nothing for so long, while each other layer sends so many
/// frames, has been stopped by its sender. The filler begins after 1.5 s without a frame.
pub(crate) const LAYER_GONE_MS: u64 = 800;
pub(crate) const LAYER_GONE_PICTURES: u32 = 3;
/// A layer that came back is used once it has stayed for so long: near its limit an uplink lets the
/// largest layer come and go, and each change is one of size to every destination.
pub(crate) const LAYER_STEADY_MS: u64 = 3_000;
/// Keyframe requests to a layer that is not used yet are so far apart.
pub(crate) const LAYER_KEYFRAME_MS: u64 = 1_000;
/// A publisher without media for so long is gone, even if its ICE is still well.
pub(crate) const MEDIA_LOST_MS: u64 = 15_000;
/// A publisher whose ICE is disconnected for so long is gone. The SDK starts a new session after
/// 3 s in that state.
pub(crate) const ICE_LOST_MS: u64 = 8_000;
/// RTMP connections that come to one shard.
pub(crate) const INGEST_CONNECTIONS_MAX: usize = 64;

/// Passthrough constraints may be violated for so long before a destination falls back to a rendition: a
/// browser that finds its bandwidth goes through several sizes in the first seconds.
pub(crate) const CONSTRAINTS_GRACE_MS: u64 = 5_000;
/// The constraints have to be met for so long before the publisher's video is passed through again: each
/// change disturbs viewers for a moment at platforms that analyse the stream anew.
pub(crate) const CONSTRAINTS_KEPT_MS: u64 = 30_000;
/// A rendition for which there was no capacity is tried again this often: looking costs nothing, and
/// capacity may have been short for a second only, as while many publishers connect.
pub(crate) const RENDITION_REFUSED_MS: u64 = 2_000;
/// A rendition that failed is tried again this often: each attempt opens codecs.
pub(crate) const RENDITION_FAILED_MS: u64 = 10_000;
/// Different renditions of one broadcast: more would be a ladder that no platform asks for, and each
/// keeps a ring.
pub(crate) const RENDITIONS_MAX: usize = 16;
/// The same with those that are being left for another one.
pub(crate) const RENDITIONS_WITH_LEFT_MAX: usize = 2 * RENDITIONS_MAX;
/// The size of the publisher's video may grow for so long without a violation: a browser begins small and
/// finds its bandwidth.
pub(crate) const SIZE_SETTLES_MS: u64 = 60_000;

/// A destination that lags by so much takes data more slowly than it comes. One that keeps up is behind
/// by one write at most.
pub(crate) const DESTINATION_SLOW_US: i64 = 500_000;
/// A destination that was slow has recovered when it has kept up for so long: one that takes nine
/// tenths of what comes is behind again after half of it.
pub(crate) const SLOW_WELL_MS: u64 = 10_000;
/// Keyframes are near enough again when none was too late for so long: some publishers send them
/// ten seconds apart.
pub(crate) const KEYFRAMES_WELL_MS: u64 = 30_000;

/// A segment of HLS ends here though no keyframe has come, in microseconds: encoders with keyframes further
/// apart than this exist, and control keeps whole segments.
pub(crate) const HLS_SEGMENT_US_MAX: i64 = 10_000_000;
/// A keyframe ends a segment that is shorter than wanted by no more than a quarter of its length, and this, in
/// microseconds: keyframes that are requested in time come a little early.
pub(crate) const HLS_SEGMENT_EARLY_US_MAX: i64 = 500_000;
/// A step of the media clock that is longer does not go on, in microseconds: filler begins after 1.5 s at the
/// latest.
pub(crate) const HLS_STEP_US_MAX: i64 = 3_000_000;
/// So much audio waits for the pictures of its time, in microseconds: a line that stalled brings seconds at once,
/// and a rung's pictures come through their transcoder. What comes beyond is left out.
pub(crate) const HLS_AUDIO_AHEAD_US: i64 = 6_000_000;
/// A part is cut at this size whatever its length, in bytes: 0.3 s of 200 Mbit/s.
pub(crate) const HLS_PART_BYTES_MAX: usize = 8 << 20;
/// Audio that lags behind the keyframe to begin with by so much may be on its way through its codec, in
/// microseconds.
pub(crate) const HLS_AUDIO_LATE_US: i64 = 300_000;

/// A shard whose thread takes more of its core, in thousandths, makes no previews: keyframes of its shows need what is
/// left.
pub(crate) const PREVIEW_SHARD_PERMILLE_MAX: u32 = 800;
