//! What an engine needs of its machine, and what it finds when it tries ([`Probe`]).
//!
//! `shardcast-engine --probe offline` tries what can only be known by trying, prints a [`Probe`] as
//! JSON and ends. Control asks it, because only the engine makes system calls and has the limits that
//! count. Fields that one side does not know are ignored; those that are missing were not tried.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Receive queue of a shard's UDP socket in the kernel, in bytes. 1,000 publishers of 4.5 Mbit/s bring
/// 0.56 MB a millisecond, and the shard may be away for some milliseconds.
pub const UDP_RECEIVE_BYTES: u64 = 8 << 20;

/// Send queue of a shard's UDP socket in the kernel, in bytes: a burst of keyframes to many peers.
pub const UDP_SEND_BYTES: u64 = 4 << 20;

/// Smallest RLIMIT_MEMLOCK, in bytes, with which an executor starts (glommio checks it).
pub const MEMLOCK_BYTES_MIN: u64 = 512 << 10;

/// What an engine found on its machine. The default is one that tried nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Probe {
    /// `io_uring_setup`.
    pub io_uring: Option<Attempt>,
    /// Whether the kernel has short scheduler slices (`sched_setattr` with a slice, Linux 6.12).
    pub short_slices: Option<bool>,
    /// Receive queue that the kernel gives a UDP socket that asks for [`UDP_RECEIVE_BYTES`], in bytes.
    pub udp_receive_bytes: Option<u64>,
    /// Send queue that the kernel gives a UDP socket that asks for [`UDP_SEND_BYTES`], in bytes.
    pub udp_send_bytes: Option<u64>,
    /// Addresses of this machine's interfaces that are up, loopback among them.
    pub addresses: Vec<IpAddr>,
    /// Cores that the engine may run on, ascending.
    pub allowed_cores: Vec<u16>,
    /// Authorities whose certificates `rtmps://` destinations may have, or why they cannot be read.
    pub authorities: Option<Authorities>,
    /// Platforms that were called over RTMPS; empty when none was to be.
    pub platforms: Vec<Reached>,
}

impl Probe {
    /// As one line of JSON.
    pub fn to_json(&self) -> String {
        // Texts, numbers and lists of them: serialising cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`Self::to_json`] has written.
    ///
    /// # Errors
    /// When it is something else.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

/// How a system call went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Attempt {
    /// It works.
    Works,
    /// It does not.
    Fails {
        /// The number of the error (`errno(3)`), if there is one.
        errno: Option<i32>,
        /// The error for people.
        problem: String,
    },
}

/// The authorities that an engine trusts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Authorities {
    /// They were read.
    Read {
        /// How many: the system's and those of `rtmps_ca_file`.
        count: usize,
    },
    /// `rtmps_ca_file` cannot be used, so the engine does not start.
    Fails {
        /// Why, for people.
        problem: String,
    },
}

/// How a call to a platform went: name, TCP, and TLS with the platform's certificate checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reached {
    /// Who that is, for people.
    pub platform: String,
    /// Its host and port.
    pub address: String,
    /// Why it cannot be reached, for people; none when it can.
    pub problem: Option<String>,
}
