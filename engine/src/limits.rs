//! Every bound of the engine around its shards, with its reason.

use std::time::Duration;

use shardcast_link::machine;

/// Datagrams that one `recvmmsg` may bring. Past 32 the call costs no less per datagram, and each
/// slot owns a receive buffer.
pub(crate) const UDP_RECEIVE_SLOTS: usize = 32;

/// Bytes of a receive buffer: the largest UDP payload, since with GRO the kernel joins datagrams
/// up to that size.
pub(crate) const UDP_RECEIVE_BUFFER_BYTES: usize = 65_536;

/// Bytes from one receive buffer to the next: the size of one, and 24 cache lines more. At distances of
/// a power of two the first lines of all buffers, which most datagrams do not go beyond, would share
/// the same few sets of each cache, and push one another out while a batch is read.
pub(crate) const UDP_RECEIVE_STRIDE_BYTES: usize = UDP_RECEIVE_BUFFER_BYTES + 24 * 64;

/// Receive queue of the socket in the kernel.
pub(crate) const UDP_KERNEL_RECEIVE_BYTES: usize = machine::UDP_RECEIVE_BYTES as usize;

/// Send queue of the socket in the kernel: a burst of keyframes to many peers.
pub(crate) const UDP_KERNEL_SEND_BYTES: usize = machine::UDP_SEND_BYTES as usize;

/// Datagrams that wait for a send before one is forced, so that a busy round does not hold memory.
pub(crate) const UDP_SEND_BATCH: usize = 1_024;

/// Segments of one `UDP_SEGMENT` send (the kernel's `UDP_MAX_SEGMENTS`).
pub(crate) const UDP_SEGMENTS_MAX: usize = 64;

/// Payload of one `UDP_SEGMENT` send: what fits in an IPv4 packet of 65,535 bytes beside its
/// headers.
pub(crate) const UDP_SEGMENTED_BYTES_MAX: usize = 65_535 - 20 - 8;

/// Rounds of `recvmmsg` before other tasks get their turn.
pub(crate) const UDP_ROUNDS_PER_TURN: usize = 4;

/// How long datagrams gather in the kernel while they come that often. A wake costs more than ten
/// datagrams; half of this, which is what a datagram waits on average, is far below a frame.
pub(crate) const LINGER: Duration = Duration::from_millis(1);

/// How long after the last datagram the shard waits for the next one outside of its executor: longer than
/// the distance of the packets of a publisher, and a rounding error beside the life of a session.
pub(crate) const MEDIA_FLOWS: Duration = Duration::from_millis(100);

/// How often the executor looks at its rings while the shard waits outside of it, if nothing tells
/// that there is something. A look costs as much as a wake.
pub(crate) const EXECUTOR_TURN: Duration = Duration::from_millis(20);

/// The same while tasks are at work, each of which may ask the kernel for the next thing.
pub(crate) const EXECUTOR_TURN_SOON: Duration = Duration::from_millis(1);

/// How long the shard waits for something else to wake it before it wakes for the executor alone: what
/// other threads have done for it (names looked up, still frames made) comes late by so much at most.
pub(crate) const EXECUTOR_TURN_MAX: Duration = Duration::from_millis(50);

/// How long the receiver leaves a socket alone whose waiting has failed.
pub(crate) const RECEIVE_RETRY: Duration = Duration::from_millis(10);

/// Shortest distance of two timer wakes of a shard: a wake costs nine system calls, and no timer
/// of a media server needs to be finer.
pub(crate) const TIMER_DISTANCE_MIN: Duration = Duration::from_millis(1);

/// How long the loop of a shard may wait without a timeout. The watchdog knows of nothing else that a
/// sleeping executor has to do, such as events that wait to be written to control.
pub(crate) const LOOP_IDLE_MAX: Duration = Duration::from_secs(1);

/// How often a shard without media gives back memory that was freed: what a show has left behind goes with
/// the next turn after it, within the minute in which operators look.
pub(crate) const COLLECT_INTERVAL: Duration = Duration::from_secs(10);

/// How long behind the time at which the loop of a shard is to run the executor wakes up for it
/// if it has not run. It sleeps in spite of runnable tasks only when it lost its core at one certain
/// point, so it would take four such losses in a row to need the watchdog.
pub(crate) const GUARD_DISTANCES: [Duration; 3] = [
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(20),
];

/// How late a shard may be before the watchdog wakes it: later than the last timer of
/// [`GUARD_DISTANCES`].
pub(crate) const WATCHDOG_LATE: Duration = Duration::from_millis(25);

/// A shard that has not run for so long, though it was woken each time, hangs. The longest honest
/// turns are some hundred milliseconds, on a machine that swaps a few seconds.
pub(crate) const SHARD_STALL: Duration = Duration::from_secs(10);

/// How often the watchdog looks.
pub(crate) const WATCHDOG_LOOK: Duration = Duration::from_millis(250);

/// How long glommio lets tasks run before it looks at its rings. The driver's loop sees to that itself
/// ([`TURNS_WITHOUT_EXECUTOR`]), and a timer that fires while the shard waits would wake it.
pub(crate) const PREEMPT_TIMER: Duration = Duration::from_millis(100);

/// How long the driver's loop goes on without waiting before the executor looks at its rings.
pub(crate) const TURNS_WITHOUT_EXECUTOR: Duration = Duration::from_millis(2);

/// Slice of the kernel scheduler that a shard asks for, so that it preempts a codec worker soon.
pub(crate) const SCHEDULER_SLICE: Duration = Duration::from_micros(100);

/// How many nice values behind their shard threads decode and encode: with the slice above, a shard on the same core is
/// late by 0.07 ms at the 99th percentile, and the codec still has a tenth of a full core.
pub(crate) const CODEC_NICE: i32 = 10;

/// Memory that each executor registers with io_uring. A shard does no direct disk I/O.
pub(crate) const IO_MEMORY_BYTES: usize = 64 << 10;

/// Files of one recording in the folder where they grow. They leave it when they are finished, so as many are there
/// only when nobody finishes them.
pub(crate) const RECORDING_FILES_OF_NAME_MAX: u32 = 10_000;

/// Submission slots of each ring.
pub(crate) const RING_DEPTH: usize = 256;

/// Smallest RLIMIT_MEMLOCK that glommio accepts.
pub(crate) const MEMLOCK_BYTES_MIN: u64 = machine::MEMLOCK_BYTES_MIN;

/// Bytes read from a TCP connection at a time; shared by all connections of a shard.
pub(crate) const TCP_READ_BYTES: usize = 64 << 10;

/// Slices in one gathering write. A video message is two or three.
pub(crate) const TCP_SLICES_PER_WRITE: usize = 64;

/// Bytes the kernel may hold unsent for one connection (`TCP_NOTSENT_LOWAT`). Past it the shard
/// sees that a destination is slow, while it can still choose what to leave out; half a second at
/// 2.5 Mbit/s.
pub(crate) const TCP_UNSENT_BYTES: u32 = 160 << 10;

/// Bytes a connection may have waiting in the driver. The shard keeps below it; more is a defect of
/// ours, and the connection is given up before memory is.
pub(crate) const TCP_QUEUE_BYTES_MAX: usize = 64 << 20;

/// Slices a connection may have waiting: a hostile server can make us queue answers of a few bytes
/// each, and every one costs far more than its length.
pub(crate) const TCP_QUEUE_SLICES_MAX: usize = 4_096;

/// Plain bytes that are sealed at a time: four TLS records, about what the kernel takes in one call
/// beside [`TCP_UNSENT_BYTES`].
pub(crate) const TLS_SEALED_BYTES_MAX: usize = 64 << 10;

/// Records that a connection of TLS 1.2 seals. TLS 1.3 changes its key by itself; here rustls would
/// close at 2^24 and drop what follows without an error, which is two days of a usual stream.
pub(crate) const TLS12_RECORDS_MAX: u64 = 1 << 23;

/// Connections of one shard, those that are being closed included: three destinations for each of
/// 10,000 broadcasts, and a third more for reconnects.
pub(crate) const TCP_CONNECTIONS_MAX: usize = 40_000;

/// How long a connection that is closed properly may take to write what it has and to see the
/// peer's end.
pub(crate) const TCP_FLUSH: Duration = Duration::from_secs(2);

/// Name look-ups at a time, each on a thread that only waits: a server of names that does not
/// answer holds one for ten seconds, and others must get by.
pub(crate) const LOOKUPS_RUNNING_MAX: usize = 32;

/// Questions that are open, all askers counted.
pub(crate) const LOOKUPS_ASKED_MAX: usize = 4_096;

/// A question that waited longer for a thread is not looked up any more: the shard has given it up.
pub(crate) const LOOKUP_AGE_MAX: Duration = Duration::from_secs(5);

/// Addresses handed on for one name. More are never tried.
pub(crate) const LOOKUP_ADDRESSES_MAX: usize = 16;

/// Audio codecs of one shard: as many as it may have publishers.
pub(crate) const AUDIO_TRANSCODERS_MAX: usize = 4_096;

/// Silence that one job pays back, at 48 kHz, for the time in which a transcoder had no codec.
pub(crate) const AUDIO_OWED_SAMPLES_PER_JOB: u32 = 48_000;
/// The same in frames of AAC for a transcoder that makes Opus: a second of them.
pub(crate) const AUDIO_OWED_FRAMES_PER_JOB: u64 = 48;

/// Still frames that one shard makes at a time. More would only take turns on its core.
pub(crate) const STILL_FRAMES_RUNNING_MAX: usize = 1;

/// Still frames that wait for their turn. Each may hold on to the 4 MB that a broadcast keeps; at
/// some 100 ms for each, those behind would come after their publishers are back.
pub(crate) const STILL_FRAMES_WAITING_MAX: usize = 256;

/// A picture that waited longer for its turn is not made any more: most publishers are back by
/// then, and for the others their last keyframe stands in.
pub(crate) const STILL_FRAME_AGE_MAX: Duration = Duration::from_secs(20);

/// Previews that one shard makes at a time. More would only take turns on its core.
pub(crate) const PREVIEWS_RUNNING_MAX: usize = 1;

/// Previews that wait for their turn: more than are made within [`PREVIEW_AGE_MAX`]. Each holds on to one keyframe.
pub(crate) const PREVIEWS_WAITING_MAX: usize = 128;

/// A preview that waited longer for its turn is left out.
pub(crate) const PREVIEW_AGE_MAX: Duration = Duration::from_secs(2);

/// Longest file of a preview, in bytes.
pub(crate) const PREVIEW_BYTES_MAX: usize = shardcast_link::fragment::PREVIEW_BYTES_MAX;

/// Bytes of events that wait for control to read. Two frames of the largest size; a report is
/// encoded part by part as control reads.
pub(crate) const LINK_QUEUE_BYTES_MAX: usize = 64 << 20;

/// Bytes read from the link at a time.
pub(crate) const LINK_READ_BYTES: usize = 64 << 10;

/// How long a graceful stop waits for the destinations to take their end.
pub(crate) const STOP_FLUSH: Duration = Duration::from_secs(2);

/// How often a shard that stops looks whether all has been written.
pub(crate) const STOP_LOOK: Duration = Duration::from_millis(5);

/// How long the process waits for its shards after they were asked to stop; past it they are hung.
pub(crate) const STOP_SHARDS: Duration = Duration::from_millis(3_500);

/// Panics of a shard that are survived. A shard that keeps failing is better started anew.
pub(crate) const PANICS_MAX: u32 = 16;

/// Connections to a TCP port that wait to be accepted: browsers of an audience come at once, and each may
/// try TCP beside UDP.
pub(crate) const TCP_BACKLOG: i32 = 1_024;

/// Attempts to find a free number for media that is free over UDP and over TCP.
pub(crate) const FREE_PORT_ATTEMPTS: usize = 16;

/// Local addresses that are offered to clients when none are configured.
pub(crate) const ADVERTISED_MAX: usize = 8;

/// Broadcasts that one codec worker takes: a core holds about four of 720p, and each has buffers of
/// some tens of megabytes.
pub(crate) const CODEC_SOURCES_MAX: usize = 16;

/// Access units of one broadcast that wait for its codec worker: two seconds at 120 pictures a
/// second, which is what a broadcast may have to catch up with when it begins.
pub(crate) const CODEC_UNITS_WAITING_MAX: usize = 256;

/// Bytes of these: two units of the largest size that is taken from a publisher.
pub(crate) const CODEC_BYTES_WAITING_MAX: usize = 8 << 20;

/// Other jobs of one broadcast that wait: another source, other renditions, a slate. A publisher may
/// change its parameter sets with each keyframe, so more are possible; then the last of each kind
/// waits outside.
pub(crate) const CODEC_CONTROLS_WAITING_MAX: usize = 16;

/// Places in the queue before a codec worker: everything that its broadcasts may have waiting, and
/// their beginning and end.
pub(crate) const CODEC_INBOX_PLACES: usize =
    CODEC_SOURCES_MAX * (CODEC_UNITS_WAITING_MAX + CODEC_CONTROLS_WAITING_MAX + 2);

/// Results that wait for the shard. It takes all of them each time it runs, so more than some
/// thirty mean that it hangs; then codec workers wait.
pub(crate) const CODEC_RESULTS_WAITING_MAX: usize = 256;

/// The same where the executor encodes itself, and takes results only after all jobs of a round: two
/// seconds of repetitions at 120 a second of the 16 renditions that a broadcast may have, or twenty
/// pictures of each of 16 broadcasts with as many. More are lost; this is there to be measured
/// against only.
pub(crate) const CODEC_RESULTS_INLINE_MAX: usize = 4_096;

/// A picture whose unit has waited longer is decoded, since others refer to it, but not encoded: a
/// live stream that falls behind never catches up by doing all of it.
pub(crate) const CODEC_ENCODE_WAITED_MAX: Duration = Duration::from_millis(100);

/// A unit that has waited longer is not even decoded: what follows is left out up to a keyframe.
/// Decoding alone takes a third of the time, so this is reached only when it takes too long too.
pub(crate) const CODEC_DECODE_WAITED_MAX: Duration = Duration::from_millis(500);

/// Shortest distance of two requests for a keyframe of one broadcast: about what it takes for one
/// to be answered over a bad network.
pub(crate) const CODEC_KEYFRAME_REQUEST_DISTANCE: Duration = Duration::from_millis(300);
/// Longest one, while requests do not help: a keyframe is many times the size of another picture, and a
/// stream that this server cannot decode would be made of them.
pub(crate) const CODEC_KEYFRAME_REQUEST_DISTANCE_MAX: Duration = Duration::from_secs(4);

/// How often a codec worker reports on each broadcast.
pub(crate) const CODEC_REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// What a broadcast is taken to cost before anything is known of it, in thousandths of a core:
/// 1080p30 to 720p30 at the default preset.
pub(crate) const CODEC_COST_GUESS_PERMILLE: u32 = 400;

/// What of a core may be planned for codecs, in thousandths, when the shard itself runs there. The
/// rest is for keyframes, which cost three times as much as other pictures, and for the kernel's
/// share of the network.
pub(crate) const CODEC_SHARE_BESIDE_PERMILLE: u32 = 800;

/// The same on a core that the operator has set apart for codecs.
pub(crate) const CODEC_SHARE_APART_PERMILLE: u32 = 850;

/// How long the end of a shard waits for its codec workers, each of which ends after the unit it is
/// at. One that takes longer ends with the process.
pub(crate) const CODEC_STOP: Duration = Duration::from_millis(500);

/// Time over which a codec worker judges whether it keeps up, and so the least time between two
/// steps of the governor.
pub(crate) const GOVERNOR_WINDOW: Duration = Duration::from_secs(1);

/// Waiting at the ninth decile that is too much, whatever the distance of pictures: two thirds of
/// what leaves them out (see [`CODEC_ENCODE_WAITED_MAX`]).
pub(crate) const GOVERNOR_LATE: Duration = Duration::from_millis(66);

/// Waiting at the ninth decile with which a step may be taken back: half of what leaves pictures
/// out, so that a neighbour's keyframe in front is no reason against it.
pub(crate) const GOVERNOR_PUNCTUAL: Duration = Duration::from_millis(50);

/// Pictures left out within a window that are too many by themselves. Fewer happen when an encoder
/// is opened.
pub(crate) const GOVERNOR_MISSED_MAX: u32 = 3;

/// Frames of a broadcast within a window that are needed to judge it.
pub(crate) const GOVERNOR_SAMPLES_MIN: usize = 8;

/// The last frames of a broadcast within a window, which decide whether it is still late.
pub(crate) const GOVERNOR_LAST_SAMPLES: usize = 4;

/// Turns of a window that are looked at: more pictures than a core can encode.
pub(crate) const GOVERNOR_SAMPLES_MAX: usize = 1_024;

/// How long all has to be well before a step is taken back, at first and after many attempts that
/// failed.
pub(crate) const GOVERNOR_CALM_MIN: Duration = Duration::from_secs(10);
/// See [`GOVERNOR_CALM_MIN`].
pub(crate) const GOVERNOR_CALM_MAX: Duration = Duration::from_secs(160);

/// A step taken back and again within this time was a failed attempt.
pub(crate) const GOVERNOR_UNDONE_WITHIN: Duration = Duration::from_secs(60);

/// How busy a codec worker may be expected to be after a step back, in thousandths: bursts of
/// keyframes need the rest.
pub(crate) const GOVERNOR_BUSY_PERMILLE_MAX: u64 = 850;

/// How long a probe waits for one platform: name, TCP and TLS. A far one takes a second.
pub(crate) const PROBE_CALL: Duration = Duration::from_secs(5);
