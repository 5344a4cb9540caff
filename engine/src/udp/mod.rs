//! The UDP datapath: one socket per shard, received in batches, sent in segments.

pub(crate) mod control;
mod linger;
pub(crate) mod receive;
pub(crate) mod send;
pub(crate) mod socket;
