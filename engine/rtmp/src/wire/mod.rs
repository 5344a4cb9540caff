//! Bytes of RTMP, AMF0 and FLV, in and out, for both ends of a connection.

pub(super) mod aggregate;
pub mod amf;
pub mod body;
pub mod chunk;
pub mod command;
pub(super) mod connection;
mod cursor;
pub mod enhanced;
pub mod flv;
pub mod limits;
pub mod message;
pub mod tag;
