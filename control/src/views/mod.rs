//! What is shown of broadcasts and destinations, to clients of REST and of the signalling socket.

mod broadcast;
mod endpoint;
mod renditions;

pub(crate) use broadcast::{BROADCAST_FIELDS, broadcast, public_broadcast, stream_info};
