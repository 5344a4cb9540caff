//! Failures as the two processes report them to each other.

use serde::{Deserialize, Serialize};

/// Whose fault a problem is: who can mend it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The client that publishes, or the page that it runs.
    Publisher,
    /// The server that a broadcast is sent to, or its address.
    Destination,
    /// Settings, or the machine.
    Operator,
    /// A defect of ours.
    Internal,
}

/// A failure, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Who can mend it.
    pub fault: Fault,
    /// For people. May repeat what a peer has sent, so control redacts it before it is shown.
    pub message: String,
}
