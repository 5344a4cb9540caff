//! The checks: each looks at one thing of a [`Host`].

mod buffers;
mod certificate;
mod cpu;
mod disk;
mod firewall;
mod kernel;
mod network;
mod outside;
mod ports;
mod settings;

use super::{host::Host, report::Finding};

/// A check.
pub(super) type Check = fn(&Host) -> Finding;

/// All of them, in the order in which they are shown.
pub(super) const CHECKS: [Check; 27] = [
    settings::settings,
    kernel::kernel,
    kernel::io_uring,
    kernel::locked_memory,
    kernel::open_files,
    kernel::short_slices,
    cpu::governor,
    cpu::clock_source,
    cpu::steal,
    buffers::udp_receive,
    buffers::udp_send,
    buffers::tcp_send,
    buffers::backlogs,
    network::offloads,
    network::interrupts,
    ports::http,
    ports::https,
    ports::rtmp,
    ports::rtmps,
    ports::udp,
    ports::reserved,
    firewall::firewall,
    outside::public_address,
    certificate::certificate,
    outside::authorities,
    outside::platforms,
    disk::disk,
];

/// What applies the settings of an area, and can be undone.
fn tune(area: &str) -> String {
    format!("shardcast-tune apply {area}")
}

/// A number with a comma before each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes in the largest unit of which there is one.
fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) => {
            let tenths = u128::from(count) * 10 / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10).replace(".0 ", " ")
        }
        None => format!("{count} bytes"),
    }
}

/// Numbers as a list for people.
fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(212_992), "212,992");
        assert_eq!(grouped(1_000_000), "1,000,000");
        assert_eq!(bytes(64 << 10), "64 KiB");
        assert_eq!(bytes(3 << 29), "1.5 GiB");
        assert_eq!(bytes(12), "12 bytes");
    }
}
