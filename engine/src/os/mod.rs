//! What the engine asks of the operating system beside its sockets' traffic.

pub(crate) mod clock;
pub(crate) mod doze;
pub(crate) mod host;
pub(crate) mod memory;
pub(crate) mod poll;
pub(crate) mod sched;
pub(crate) mod signals;
pub(crate) mod sockets;
pub(crate) mod watchdog;
