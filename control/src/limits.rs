//! Every bound of the control process, each with its reason.

use std::{ops::RangeInclusive, time::Duration};

/// JSON bodies of REST. The largest honest one is a broadcast with its metadata: a few kilobytes.
pub(crate) const BODY_BYTES_MAX: usize = 1 << 20;
/// How long the body of a request may take: a slate of the largest size at 700 kbit/s.
pub(crate) const BODY_READ: Duration = Duration::from_secs(60);
/// How much of a refused body is read and thrown away, so that the client sees the 413 instead of
/// a reset connection.
pub(crate) const BODY_DRAIN_BYTES_MAX: usize = 64 << 20;
/// And for how long.
pub(crate) const BODY_DRAIN: Duration = Duration::from_secs(5);

/// Connections to one port that wait to be accepted: clients come back all at once.
pub(crate) const TCP_BACKLOG: u32 = 1_024;
/// TCP connections to the HTTP and HTTPS ports together: a bound on memory. Three quarters of the
/// file descriptors are another; the rest is for links, webhooks, the store and the engine's start.
pub(crate) const CONNECTIONS_MAX: usize = 20_000;
/// Of them, those of one IPv4 address or IPv6 /64: an office behind one NAT with all its signalling
/// sockets ([`SOCKETS_PER_ADDRESS_MAX`]) and as many requests. Addresses that may use REST (a
/// proxy) may have more.
pub(crate) const CONNECTIONS_PER_ADDRESS_MAX: usize = 512;
/// Of them, those that only this machine can take: its proxy, health checks, an operator.
pub(crate) const CONNECTIONS_LOOPBACK: usize = 64;
/// A request's head, and what a connection buffers. Browsers and proxies send up to 16 KiB.
pub(crate) const HEAD_BYTES_MAX: usize = 32 << 10;
/// A client that does not finish its TLS handshake or request head in this time is let go.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// One signalling message, in bytes: an SDP of the largest size with every line feed escaped. Half
/// of one is kept for each socket that sends it slowly.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 << 10;
/// Buffers of an idle signalling socket, in bytes, each way; they grow with a message and shrink
/// behind it. Most messages are candidates and pings.
pub(crate) const SOCKET_BUFFER_BYTES: usize = 4 << 10;
/// An encoder that has not said `publish` within this time is let go.
pub(crate) const RTMP_GREETING: Duration = Duration::from_secs(10);
/// Encoders that have not yet. Each costs a task and some 10 KB, up to 40 KB for one that wants to be a nuisance.
pub(crate) const RTMP_GREETINGS_MAX: usize = 2_000;
/// An encoder that was refused has this time to read why.
pub(crate) const RTMP_LAST_WORDS: Duration = Duration::from_secs(2);
/// What is read and forgotten of it meanwhile, in bytes.
pub(crate) const RTMP_UNREAD_BYTES_MAX: usize = 1 << 20;
/// Between two attempts to take an RTMP port that another program has.
pub(crate) const RTMP_BIND_RETRY: Duration = Duration::from_secs(2);

/// An SDP; each is kept while it waits for a shard.
pub(crate) const SDP_BYTES_MAX: usize = shardcast_link::OFFER_BYTES_MAX;
/// Signalling sockets at a time.
pub(crate) const SOCKETS_MAX: usize = 10_000;
/// Of them, those of one IPv4 address or IPv6 /64: an office behind one NAT, not an attacker who takes them all.
/// Addresses that may use REST (this machine, a proxy) may have more.
pub(crate) const SOCKETS_PER_ADDRESS_MAX: usize = 256;
/// How long one frame may take to be written; a client that does not read it by then is let go.
pub(crate) const SOCKET_WRITE: Duration = Duration::from_secs(10);
/// Messages waiting for a slow signalling client; past it the socket is closed.
pub(crate) const SOCKET_QUEUE_MAX: usize = 256;
/// Mean rate of a socket's messages; a browser sends some tens of candidates and a ping each 3 s.
pub(crate) const MESSAGES_PER_SECOND: u32 = 50;
/// Burst on top of the mean rate.
pub(crate) const MESSAGES_BURST: u32 = 500;
/// Mean rate of a socket's bytes, whatever they make up: four times what so many candidates have.
pub(crate) const SOCKET_BYTES_PER_SECOND: u32 = 64 << 10;
/// Burst on top of it: four messages of the largest size.
pub(crate) const SOCKET_BYTES_BURST: u32 = 1 << 20;
/// Streams published over one socket at a time. The SDK uses one.
pub(crate) const STREAMS_PER_SOCKET_MAX: usize = 32;
/// Sessions without media of one client: a studio's browsers that come back together.
pub(crate) const STARTING_PER_CLIENT_MAX: usize = 64;
/// Of one that may use REST: a quarter of what a shard takes.
pub(crate) const STARTING_PER_TRUSTED_CLIENT_MAX: usize = 1_024;
/// Of all clients: twice what a shard takes. Each keeps its offer, [`SDP_BYTES_MAX`] at most.
pub(crate) const STARTING_MAX: usize = 8_192;
/// How many offers may go on at a time, and how many a second after that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfferRate {
    pub(crate) burst: u32,
    pub(crate) per_second: u32,
}
/// An offer of so many bytes counts as one, a longer one as several: Chromium's for audio and
/// video. Reading it takes a shard about a millisecond.
pub(crate) const OFFER_UNIT_BYTES: usize = 6 << 10;
/// Of one client. A studio of 30 browsers that come back together waits for less than the 3 s after
/// which the SDK tries again.
pub(crate) const OFFERS_PER_CLIENT: OfferRate = OfferRate {
    burst: 24,
    per_second: 4,
};
/// Of one that may use REST, which may be a proxy that does not say for whom it speaks.
pub(crate) const OFFERS_PER_TRUSTED_CLIENT: OfferRate = OfferRate {
    burst: 200,
    per_second: 30,
};
/// Viewers that one client may begin: a page of a wall of screens, and an office that comes back together.
pub(crate) const VIEWS_PER_CLIENT: OfferRate = OfferRate {
    burst: 64,
    per_second: 8,
};
/// Of one that may use REST, which may be a proxy that does not say for whom it speaks.
pub(crate) const VIEWS_PER_TRUSTED_CLIENT: OfferRate = OfferRate {
    burst: 512,
    per_second: 100,
};
/// A viewer of the SDK that comes before the publisher does is kept so long: a new engine is found by both at once. Shorter than
/// the 3 s after which the SDK looks at its `play`.
pub(crate) const VIEW_WAITS: Duration = Duration::from_millis(2_500);
/// Of all clients together to one shard. One takes a shard about two milliseconds with its DTLS; the
/// SDK tries again 3 s after a refusal.
pub(crate) const VIEWS_PER_SHARD: OfferRate = OfferRate {
    burst: 128,
    per_second: 100,
};
/// Viewers of this process, about 500 bytes each: those of four full shards.
pub(crate) const VIEWERS_MAX: usize = 16_384;
/// The report of a viewer is shown for so long: shards report every three seconds.
pub(crate) const VIEWER_REPORT_KEPT: Duration = Duration::from_secs(15);
/// Viewers in one answer of REST, as in Ant Media Server.
pub(crate) const VIEWER_ROWS_MAX: usize = 50;
/// Of all clients together to one shard: 6 % of its time, and never for longer than a frame.
pub(crate) const OFFERS_PER_SHARD: OfferRate = OfferRate {
    burst: 8,
    per_second: 60,
};
/// Further offers that wait for their turn, all together: 64 MiB of the largest.
pub(crate) const FURTHER_OFFERS_WAITING_MAX: usize = 2_048;
/// Of them, those of one client: a studio of 30 browsers that turn four cameras on.
pub(crate) const FURTHER_OFFERS_WAITING_PER_CLIENT_MAX: usize = 128;
/// How long a further offer waits before it is refused: a page shows nothing while it waits, and the user
/// tries again by then. A stranger's budget reaches some twenty of them in that time.
pub(crate) const FURTHER_OFFER_WAIT: Duration = Duration::from_secs(10);
/// How often it is looked whose turn it is: three offers of a shard.
pub(crate) const OFFER_TURN: Duration = Duration::from_millis(50);
/// ICE candidates of one session; browsers with many interfaces reach about forty.
pub(crate) const CANDIDATES_PER_SESSION_MAX: usize = 200;
/// Length of one candidate line.
pub(crate) const CANDIDATE_BYTES_MAX: usize = 1024;
/// Further offers of one session within [`RENEGOTIATION_WINDOW`]: a page that adds its microphone, camera
/// and screen one by one. Each costs the shard some milliseconds.
pub(crate) const RENEGOTIATIONS_MAX: usize = 5;
pub(crate) const RENEGOTIATION_WINDOW: Duration = Duration::from_secs(10);
/// The server pings each socket so often, so that a dead one is known by silence.
pub(crate) const SOCKET_PING: Duration = Duration::from_secs(4);
/// Without any frame for so long a socket is closed.
pub(crate) const SOCKET_IDLE: Duration = Duration::from_secs(30);

/// The holder of a stream id that was silent for so long may be replaced; the SDK pings each 3 s.
pub(crate) const SOCKET_DEAD: Duration = Duration::from_secs(8);
/// Media of a publisher older than this is stale: its id may be taken over.
pub(crate) const MEDIA_STALE_MS: u64 = 2_000;
/// How long a request to restart the ICE of a WHIP session waits for the shard: as long as a further offer
/// may wait for its turn, and some.
pub(crate) const WHIP_ANSWER_MS: u64 = 10_000;
/// How long a stream outlives the close of its socket: the SDK is back within about a second.
pub(crate) const RETURN_GRACE: Duration = Duration::from_secs(3);
/// Longest `stop_grace_ms`, in milliseconds: `hold_ms` is for longer waits.
pub(crate) const STOP_GRACE_MS_MAX: u64 = 60_000;
/// A broadcast without media is over no sooner than this, if its shard cannot say so or somebody
/// tries to come back: control that was started again needs a moment to find its shards, and a
/// publisher of an engine that died needs one to return.
pub(crate) const AWAY_MS_MIN: u64 = 10_000;
/// Longest hold: a show that pauses over night. A held broadcast costs what a live one does.
pub(crate) const HOLD_MS_MAX: u64 = 86_400_000;
/// Shortest delay between two retries of a destination: anything faster is an attack on it.
pub(crate) const RETRY_DELAY_MS_MIN: u64 = 100;
/// Longest: a destination that waits for more than an hour looks dead to its operator.
pub(crate) const RETRY_DELAY_MS_MAX: u64 = 3_600_000;
/// The longest time that retries go on for in spite of a limit: a week, beyond any broadcast.
pub(crate) const GIVE_UP_MS_MAX: u64 = 7 * 24 * 3_600_000;
/// Heights of renditions, in pixels: below the first nothing can be read, above the last no core
/// keeps up.
pub(crate) const RENDITION_HEIGHT: RangeInclusive<u32> = 90..=2_160;
/// Widths: those of such heights, in either orientation.
pub(crate) const RENDITION_WIDTH: RangeInclusive<u32> = 90..=3_840;
/// Bit rates of their video, in bit/s: no platform takes more, and below it no image is left.
pub(crate) const RENDITION_VIDEO_BPS: RangeInclusive<u32> = 50_000..=50_000_000;
/// Bit rates of their audio, in bit/s: what AAC-LC is defined for at 48 kHz in stereo.
pub(crate) const RENDITION_AUDIO_BPS: RangeInclusive<u32> = 32_000..=320_000;
/// Their frames per second: no platform takes more.
pub(crate) const RENDITION_FRAMES_PER_SECOND: RangeInclusive<u32> = 1..=60;
/// Distances of their keyframes, in milliseconds: shorter ones are mostly keyframes, with longer
/// ones a viewer waits.
pub(crate) const RENDITION_GOP_MS: RangeInclusive<u32> = 500..=10_000;
/// Most rungs of one ladder: twice what viewers can distinguish.
pub(crate) const LADDER_RUNGS_MAX: usize = 8;
/// Text of a ladder, in bytes: eight rungs with all their keys, and white space.
pub(crate) const LADDER_BYTES_MAX: usize = 4 << 10;
/// Distances of the publisher's keyframes that a destination may ask for, in milliseconds.
pub(crate) const PASSTHROUGH_KEYFRAME_INTERVAL_MS: RangeInclusive<u32> = 500..=60_000;
/// Different renditions of one broadcast that are made all the time: a shard takes no more, since
/// each keeps a ring, and more would be a ladder that no platform asks for.
pub(crate) const RENDITIONS_MAX: usize = 16;
/// Renditions that were let in and that no report of their shard shows yet. More than any machine
/// begins between two reports; the oldest gives way, and its shard knows of it by then.
pub(crate) const CODEC_ADMITTED_MAX: usize = 64;
/// Reports after which such a rendition is no longer counted: its shard has heard of it, and makes
/// it or has reported why not.
pub(crate) const CODEC_ADMITTED_REPORTS: u32 = 3;
/// Lengths of a segment of HLS, in seconds: players wait for three of them.
pub(crate) const HLS_TIME_S: RangeInclusive<u32> = 1..=10;
/// Segments of a playlist that may be set: 17 minutes of the longest.
pub(crate) const HLS_LIST_SIZE: RangeInclusive<u32> = 1..=100;
/// Fewer are raised to this, as in Ant Media Server: players that begin three target durations from the end
/// need some behind them.
pub(crate) const HLS_LIST_SIZE_MIN: usize = 5;
/// Segments that are kept when they have left the playlist: who has read it before may still ask (RFC 8216bis,
/// 6.2.2).
pub(crate) const HLS_SEGMENTS_BEYOND: usize = 4;
/// Discontinuities of a broadcast that are kept for playlists that have not come to them: more than segments of a
/// playlist that are kept.
pub(crate) const HLS_BREAKS_MAX: usize = 128;
/// Media of one broadcast, in bytes: 30 s of 60 Mbit/s. The oldest segments go first.
pub(crate) const HLS_STREAM_BYTES_MAX: usize = 256 << 20;
/// Media of all broadcasts: 250 with 30 s of 2.5 Mbit/s. Beyond it no other broadcast is packaged, and each
/// has a [`HLS_SQUEEZE`]th of what one may have at most.
pub(crate) const HLS_BYTES_MAX: usize = 2 << 30;
pub(crate) const HLS_SQUEEZE: usize = 32;
/// A broadcast is packaged for so long after the last request for its playlist; and what is left of one that is over
/// is served for so long.
pub(crate) const HLS_IDLE: Duration = Duration::from_secs(60);
/// Somebody watches who has asked for the playlist within this: three target durations of the usual length.
pub(crate) const HLS_WATCHER_SEEN: Duration = Duration::from_secs(10);
/// Watchers of one broadcast that are counted, about 100 bytes each. Those beyond are served all the same.
pub(crate) const HLS_SESSIONS_MAX: usize = 100_000;
/// The first request for a broadcast waits so long for its first segment: two keyframes of an encoder with a
/// keyframe every five seconds.
pub(crate) const HLS_FIRST_SEGMENT: Duration = Duration::from_secs(12);
/// The request for the multivariant playlist waits so long for each rung, within the same: the transcoder begins with
/// the next keyframe, and a segment is two seconds long.
pub(crate) const HLS_FIRST_RUNG: Duration = Duration::from_secs(8);
/// A request for a playlist that is to come waits for so many target durations (RFC 8216bis, 6.2.5.2).
pub(crate) const HLS_RELOAD_TARGETS: u64 = 3;
/// A request for the part that comes next waits for so long: parts are 0.3 s apart.
pub(crate) const HLS_PART_WAIT: Duration = Duration::from_secs(3);
/// How often idle broadcasts are looked for.
pub(crate) const HLS_SWEEP: Duration = Duration::from_secs(1);

/// How long control waits for the shard to confirm what it must confirm anyway.
pub(crate) const SHARD_CONFIRM: Duration = Duration::from_secs(2);

/// Stored broadcasts. All are kept in memory, about 2 KB each.
pub(crate) const BROADCASTS_MAX: usize = 100_000;
/// Stored tokens, about 200 bytes each; expired ones are removed after [`TOKEN_KEPT_S`].
pub(crate) const TOKENS_MAX: usize = 1_000_000;
/// Length of one text field of a broadcast, such as its metadata.
pub(crate) const TEXT_BYTES_MAX: usize = 64 << 10;
/// Length of a token, of a subscriber's id or code and of a stream's name in signalling: a JSON Web Token
/// has less than one kilobyte. Each is kept while an attempt to publish waits for the backend.
pub(crate) const CREDENTIAL_BYTES_MAX: usize = 4 << 10;
/// One slate: a photograph of 1920×1080 as a PNG is about 3 MB.
pub(crate) const SLATE_BYTES_MAX: usize = 4 << 20;
/// All slates together. They are kept in memory, so that a shard that lost its state has them at
/// once.
pub(crate) const SLATES_BYTES_MAX: usize = 256 << 20;
/// Sides of a slate, in pixels: what can be scaled to a picture at all, and what an encoder takes.
pub(crate) const SLATE_SIDE_MIN: u32 = 16;
pub(crate) const SLATE_SIDE_MAX: u32 = 4_096;
/// Memory for a slate while it is tried whether it decodes: the largest size at 16 bits of each
/// colour and alpha, as the engine allows. One at a time.
pub(crate) const SLATE_DECODED_BYTES_MAX: u64 = 128 << 20;
/// Slates sent to a shard between two of its reports; the others follow after the next. Bounds
/// what waits for its socket after a restart, and while clients set slates faster than it reads.
pub(crate) const SLATE_BYTES_PER_REPORT: usize = 16 << 20;
/// Reports without a slate that was sent before it is sent again, twice as many each time: the
/// report may have crossed it, and an image that the engine cannot use shall not fill the link.
pub(crate) const SLATE_REPORTS_MIN: u32 = 4;

/// Length of an `endpointServiceId` that a client chooses, in characters: three UUIDs.
pub(crate) const SERVICE_ID_CHARS_MAX: usize = 128;

/// Broadcasts in one answer of `/api/v1/status`, about 1 KB each with its destinations.
pub(crate) const STATUS_ROWS_MAX: usize = 1_000;
/// Rows in one page of a list, as Ant Media Server has it.
pub(crate) const LIST_ROWS_MAX: usize = 250;
/// After a failed commit the store is tried again so often, though nothing changes: a machine that
/// is not ready is sent nothing that would change it.
pub(crate) const STORE_RETRY: Duration = Duration::from_secs(1);
/// Rows that wait for a store that fails: more than all that can exist, so that only removed ones
/// (about 100 bytes each) can reach it.
pub(crate) const STORE_UNWRITTEN_MAX: usize = 2 * (BROADCASTS_MAX + TOKENS_MAX);

/// Webhooks that wait for their receiver, all together. They are in memory too: half a
/// kilobyte each, and the metadata of its broadcast.
pub(crate) const HOOKS_MAX: usize = 10_000;
/// Of them, those of one stream. A broadcast makes a handful; more are statuses that pile up in
/// front of a receiver that is away.
pub(crate) const HOOKS_PER_STREAM_MAX: usize = 64;
/// Messages of data channels that wait for `dataChannelWebHookURL`, of one stream: as many as a shard keeps for clients.
pub(crate) const DATA_MESSAGES_PER_STREAM_MAX: usize = 1_024;
/// The same in bytes: the largest message, a photograph in chunks, and a chat beside it.
pub(crate) const DATA_BYTES_PER_STREAM_MAX: usize = 8 << 20;
/// And of all streams: a receiver that is away costs this much memory at the most.
pub(crate) const DATA_BYTES_MAX: usize = 64 << 20;
/// Webhook calls at a time: connections and descriptors.
pub(crate) const HOOKS_IN_FLIGHT_MAX: usize = 64;
/// Of them, those to one receiver, once it has answered.
pub(crate) const HOOKS_PER_RECEIVER_MAX: usize = 16;
/// And until then: it takes sixteen unknown receivers that hang to hold up the others, and for one
/// call only.
pub(crate) const HOOKS_PER_NEW_RECEIVER_MAX: usize = 4;
/// Calls at a time to receivers that did not answer the last one, all together.
pub(crate) const HOOKS_OF_SILENT_MAX: usize = 16;
/// That one did not answer is remembered for so long after its last call.
pub(crate) const HOOK_SILENT_REMEMBERED: Duration = Duration::from_secs(600);
/// Receivers that are remembered, about 200 bytes each.
pub(crate) const HOOK_RECEIVERS_MAX: usize = 1_024;
/// Attempts to publish of one application that are asked of its backend at a time. Others wait for
/// [`HOOK_CALL`] and are refused then.
pub(crate) const PUBLISH_CHECKS_MAX: usize = 32;
/// Of them, those about ids that are live, and those about others: neither can take all places.
pub(crate) const PUBLISH_CHECKS_OF_A_KIND_MAX: usize = 24;
/// Of them, those of one client. A studio of 30 browsers is through within four seconds where the
/// backend takes one. A client that may use REST may be a proxy and is not bounded.
pub(crate) const PUBLISH_CHECKS_PER_CLIENT_MAX: usize = 8;
/// Attempts of one application that wait for that, about 500 bytes each and their metadata.
pub(crate) const PUBLISH_CHECKS_WAITING_MAX: usize = 4_096;
/// Of them, those of one client: as many as it may have sessions without media.
pub(crate) const PUBLISH_CHECKS_WAITING_PER_CLIENT_MAX: usize = STARTING_PER_CLIENT_MAX;
/// Of one that may use REST.
pub(crate) const PUBLISH_CHECKS_WAITING_PER_TRUSTED_CLIENT_MAX: usize =
    STARTING_PER_TRUSTED_CLIENT_MAX;
/// How long a webhook's TCP connect may take, as in Ant Media Server.
pub(crate) const HOOK_CONNECT: Duration = Duration::from_secs(2);
/// And the whole call, with TLS and the answer.
pub(crate) const HOOK_CALL: Duration = Duration::from_secs(5);
/// The longest pause between two attempts; the pause doubles up to it.
pub(crate) const HOOK_RETRY_MAX: Duration = Duration::from_secs(60);
/// An unused connection to a receiver is kept for so long.
pub(crate) const HOOK_IDLE: Duration = Duration::from_secs(30);
/// Of an answer's body so much is read, to use the connection again; a longer one closes it.
pub(crate) const HOOK_ANSWER_BYTES_MAX: usize = 64 << 10;
/// How long a process that stops goes on delivering. What is left then, the next one delivers.
pub(crate) const HOOKS_STOP: Duration = Duration::from_secs(3);
/// The shortest period of `liveStreamStatus`: shards report once a second.
pub(crate) const HOOK_STATUS_PERIOD_MIN_MS: u64 = 1_000;
/// Retries of one webhook: two days at the longest pause, far beyond an outage that a backend is expected to have.
pub(crate) const HOOK_RETRIES_MAX: u32 = 3_000;
/// Length of the address of a webhook; as of a destination.
pub(crate) const HOOK_URL_BYTES_MAX: usize = 2_048;

/// Commands waiting for a shard's socket. A healthy shard reads within a millisecond; past this
/// the link counts as broken.
pub(crate) const LINK_QUEUE_MAX: usize = 16_384;
/// Shards of one engine.
pub(crate) const SHARDS_MAX: u16 = 256;
/// Between two attempts to reach a shard's socket.
pub(crate) const LINK_RETRY: Duration = Duration::from_millis(100);
/// A shard that says nothing for so long is not there: it sends a status each second.
pub(crate) const LINK_SILENCE: Duration = Duration::from_secs(10);

/// The watchdog looks so often whether control's own loops go round.
pub(crate) const TASK_POLL: Duration = Duration::from_secs(1);
/// A loop that has stood still for so long never goes on: each round takes milliseconds, and the
/// slowest disk that is waited for beside it does not hold it.
pub(crate) const TASK_STALL: Duration = Duration::from_secs(30);
/// How long the rest of the process may take to end itself after such a report.
pub(crate) const TASK_REPORT: Duration = Duration::from_secs(5);

/// Lines about sessions that begin or end which are logged at once: as many as come back together
/// after an outage of a large server.
pub(crate) const SESSION_LINES: u32 = 1_000;
/// Afterwards one in so long: at 250 bytes a line, 22 MB a day.
pub(crate) const SESSION_LINES_EVERY: Duration = Duration::from_secs(1);

/// A shard that was not heard for so long (it reports each second) may hang: nothing that it would
/// know about is decided without it, and the server is not ready.
pub(crate) const SHARD_SILENCE_MAX: Duration = Duration::from_secs(3);
/// An engine of which a shard was not heard for so long hangs: it is killed and started again.
/// Below the default hold time, and above the 10 s after which it ends itself when it can.
pub(crate) const ENGINE_HUNG: Duration = Duration::from_secs(30);
/// How often that is looked at.
pub(crate) const ENGINE_POLL: Duration = Duration::from_secs(1);

/// How long a token is kept after it has expired, in seconds: a week, in which somebody notices
/// that a clock is wrong.
pub(crate) const TOKEN_KEPT_S: u64 = 7 * 86_400;
/// The wall clock must have gone without a step for so long before a token is removed by it.
pub(crate) const CLOCK_STEADY: Duration = Duration::from_secs(6 * 3_600);
/// A minute in which the wall clock went this much faster or slower than the monotone one had a
/// step in it, in seconds. Slewing is 30 ms a minute at most; a look may be late by more.
pub(crate) const CLOCK_STEP_S: u64 = 5;

/// First pause before the engine is started again; doubles up to [`ENGINE_BACKOFF_MAX`].
pub(crate) const ENGINE_BACKOFF_MIN: Duration = Duration::from_millis(100);
pub(crate) const ENGINE_BACKOFF_MAX: Duration = Duration::from_secs(5);
/// An engine that ran for so long was healthy: the next pause is short again.
pub(crate) const ENGINE_HEALTHY: Duration = Duration::from_secs(10);
/// How long a stopping engine may take to end its destinations properly.
pub(crate) const ENGINE_STOP: Duration = Duration::from_secs(5);

/// Reservations of placement: twice the broadcasts that a machine of 64 cores carries.
pub(crate) const RESERVATIONS_MAX: usize = 20_000;
/// How long a reservation holds unless its client says otherwise: a studio opens in less.
pub(crate) const RESERVATION_HOLD_S: u64 = 60;
/// The longest that a client may ask for: what is reserved and not used is lost for others.
pub(crate) const RESERVATION_HOLD_S_MAX: u64 = 600;
/// Bit rate of a publisher of whom nothing else is said, in bit/s: 720p of a browser.
pub(crate) const EXPECTED_BITRATE_BPS: u64 = 2_500_000;
/// Most that a client may expect of one broadcast: above it the number is a mistake.
pub(crate) const EXPECTED_BITRATE_BPS_MAX: u64 = 100_000_000;
/// Likewise, of its destinations.
pub(crate) const EXPECTED_DESTINATIONS_MAX: u64 = 10_000;
/// Heights of renditions, in pixels: as REST takes them.
pub(crate) const EXPECTED_HEIGHT_MAX: u32 = 2_160;
/// Weight of a shard; a whole core is 100.
pub(crate) const SHARD_WEIGHT_MAX: u32 = 10_000;
/// Share of a shard's CPU that is promised; the rest is for peaks.
pub(crate) const PLACEMENT_CPU_PERCENT_MAX: u64 = 80;
/// Share of the machine's memory that is promised; the rest is for the kernel and control.
pub(crate) const PLACEMENT_MEMORY_PERCENT_MAX: u64 = 75;

/// How long after the start the machine is first looked at: by then shards are there, or something
/// hinders them.
pub(crate) const MACHINE_FIRST_LOOK: Duration = Duration::from_secs(5);
/// How often it is looked at: certificates and disks change by the hour, and a look starts three programs.
pub(crate) const MACHINE_LOOK: Duration = Duration::from_secs(300);
/// A look that is younger is not repeated for somebody who asks: a page that is open asks every ten seconds.
pub(crate) const MACHINE_FRESH: Duration = Duration::from_secs(5);

/// Recordings that are known: each row is half a kilobyte in memory.
pub(crate) const VODS_MAX: usize = 50_000;
/// How often the folder where recordings grow is looked at, for those that a crash has left and for those of which
/// nobody was told that they have ended.
pub(crate) const RECORDINGS_LOOK: Duration = Duration::from_secs(5);
/// A file that was written to this recently is left alone unless its writer has said that it is closed: it may have
/// been made a moment ago, and not be locked yet.
pub(crate) const RECORDING_YOUNG: Duration = Duration::from_secs(3);
/// The same where the file system has no locks: fragments come every second, and a disk may stand still for a while.
pub(crate) const RECORDING_YOUNG_UNLOCKED: Duration = Duration::from_secs(60);
/// Length of one file, in minutes: a week.
pub(crate) const RECORDING_MINUTES_MAX: u64 = 7 * 24 * 60;
/// A name that a client gives to a recording, in bytes: with a date and a number it is still the name of a file.
pub(crate) const RECORDING_NAME_BYTES_MAX: usize = 200;
/// Files of one name that are tried: a stream that is recorded as often has dated names.
pub(crate) const RECORDING_NAMES_TRIED: u32 = 100_000;
/// How long `muxerFinishScript` may run: it may upload a show of hours.
pub(crate) const FINISH_SCRIPT_TIME: Duration = Duration::from_secs(3_600);
/// How many of them run at a time; others wait.
pub(crate) const FINISH_SCRIPTS_AT_ONCE: usize = 2;
/// Bytes of a recording that are read from the disk at a time, for each client.
pub(crate) const FILE_CHUNK_BYTES: usize = 256 << 10;

/// Bytes of a part of an upload, and of the longest file that is uploaded as a whole: each upload holds one in memory.
/// S3 takes none below 5 MiB but the last.
pub(crate) const S3_PART_BYTES: u64 = 8 << 20;
/// Parts of one upload; of a longer file they are larger. S3 takes 10,000.
pub(crate) const S3_PARTS_MAX: u64 = 9_000;
/// Uploads at a time: one that is slow does not hold up all others, and a show keeps its share of the network.
pub(crate) const UPLOADS_AT_ONCE: usize = 2;
/// Pause behind the first failure of an upload; it doubles up to [`UPLOAD_PAUSE_MAX`].
pub(crate) const UPLOAD_PAUSE: Duration = Duration::from_secs(1);
pub(crate) const UPLOAD_PAUSE_MAX: Duration = Duration::from_secs(300);
/// How often is looked for uploads whose pause is over.
pub(crate) const UPLOADS_LOOK: Duration = Duration::from_secs(1);
/// Time for a connection to storage.
pub(crate) const S3_CONNECT: Duration = Duration::from_secs(10);
/// Time for a request that carries next to nothing. Joining the parts of a large object takes minutes.
pub(crate) const S3_SMALL_TIME: Duration = Duration::from_secs(120);
/// A body below this is next to nothing, in bytes.
pub(crate) const S3_SMALL_BYTES: usize = 64 << 10;
/// Time for a part: 8 MiB at 110 kbit/s.
pub(crate) const S3_PART_TIME: Duration = Duration::from_secs(600);
/// Bytes of an answer that are read.
pub(crate) const S3_ANSWER_BYTES_MAX: usize = 64 << 10;
/// Longest id of an upload or tag of a part, in bytes: they are stored.
pub(crate) const S3_ID_BYTES_MAX: usize = 1_024;
/// How long an address of a recording in storage can be used: as long as somebody watches.
pub(crate) const S3_LINK_VALID: Duration = Duration::from_secs(6 * 3_600);

/// Time between two previews of a broadcast, in milliseconds. The shortest is the default of Ant Media Server: nobody looks
/// at a page more closely.
pub(crate) const PREVIEW_PERIOD_MS_MIN: u64 = 5_000;
/// See [`PREVIEW_PERIOD_MS_MIN`]: an hour.
pub(crate) const PREVIEW_PERIOD_MS_MAX: u64 = 3_600_000;
/// Lines of a preview: none is larger than the video, and beyond 1080 the file may be longer than one may be.
pub(crate) const PREVIEW_HEIGHT: RangeInclusive<u32> = 72..=1_080;
/// Bytes of all previews: of 32 broadcasts at the largest that one may have. Beyond, the oldest goes.
pub(crate) const PREVIEWS_BYTES_MAX: usize = 128 << 20;
