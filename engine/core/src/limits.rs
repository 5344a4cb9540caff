//! Every bound of the shard, with its reason.

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
/// A paced packet waits for the next of these.
pub(crate) const VIEWER_PACE_STEP_MS: u64 = 2;
/// Video packets that a viewer may still ask for: two thirds of a second at 2.5 Mbit/s. The payloads are
/// shared; what str0m keeps beside each is half a kilobyte.
pub(crate) const VIEWER_VIDEO_PACKETS_KEPT: usize = 256;
/// Audio is not sent again; it has its own redundancy.
pub(crate) const VIEWER_AUDIO_PACKETS_KEPT: usize = 1;
/// Viewers' requests for keyframes reach the publisher this far apart, all of a broadcast together.
pub(crate) const VIEWERS_KEYFRAME_MS: u64 = 1_000;
/// Remote addresses that one peer may be known by. ICE tests several, one is used.
pub(crate) const SESSION_ADDRESSES_MAX: usize = 16;
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
