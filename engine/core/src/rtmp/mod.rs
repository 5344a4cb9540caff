//! RTMP of a shard: the protocol is the crate `shardcast-rtmp`, which control speaks too. Here is what
//! comes in by it ([`ingest`]); what goes out is `destination/`.

pub(crate) mod ingest;

pub use shardcast_rtmp::*;
