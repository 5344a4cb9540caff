//! The network interface that carries media: its offloads and the interrupts of its queues.

use std::collections::BTreeMap;

use super::{
    super::host::{Interface, Interrupt},
    Root, cores, program,
};

/// Words of interrupts that belong to a card and to none of its queues.
const NOT_QUEUES: [&str; 5] = ["async", "config", "ctrl", "mgmnt", "misc"];

/// That of the default route (`/proc/net/route`: name, destination, …, mask).
pub(super) fn read(root: &Root) -> Option<Interface> {
    let routes = root.text("proc/net/route")?;
    let name = routes.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [name, "00000000", _, _, _, _, _, "00000000", ..] => Some((*name).to_owned()),
            _ => None,
        }
    })?;
    Some(Interface {
        features: root
            .program("ethtool")
            .map(|ethtool| program::output(&ethtool, ["-k", &name]).map(|text| features(&text))),
        interrupts: interrupts(root, &name),
        name,
    })
}

/// Lines such as `generic-receive-offload: off [fixed]`.
fn features(text: &str) -> BTreeMap<String, String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.trim().to_owned(), value.replace(' ', "")))
        .collect()
}

/// Names end in the queue's number (eth0-TxRx-3, virtio1-input.3), or have it before an @
/// (mlx5_comp3@pci:0000:01:00.0).
fn interrupts(root: &Root, interface: &str) -> Vec<Interrupt> {
    let device = format!("sys/class/net/{interface}/device");
    let mut own = root.names(format!("{device}/msi_irqs"));
    own.extend(root.names(format!("{device}/../msi_irqs")));
    let table = root.text("proc/interrupts").unwrap_or_default();
    let lines = table.lines().filter_map(|line| {
        let (number, rest) = line.trim().split_once(':')?;
        let name = rest.split_whitespace().next_back()?;
        let is_own = own.iter().any(|irq| irq == number);
        if !is_own && !name.starts_with(&format!("{interface}-")) {
            return None;
        }
        let name = name.split('@').next().unwrap_or_default();
        if name == interface || NOT_QUEUES.iter().any(|word| name.contains(word)) {
            return None;
        }
        let digits = name.rsplit(|c: char| !c.is_ascii_digit()).next()?;
        let number: u32 = number.parse().ok()?;
        let affinity = root.text(format!("proc/irq/{number}/smp_affinity_list"))?;
        Some(Interrupt {
            number,
            queue: digits.parse().ok()?,
            cores: cores::expand(&affinity),
        })
    });
    let mut found: Vec<Interrupt> = lines.collect();
    // virtio has interrupts for sending under the same numbers; those of receiving come first.
    let receiving = |line: &str| line.contains("-input.");
    if table.lines().any(receiving) {
        let sending: Vec<u32> = table
            .lines()
            .filter(|line| line.contains("-output."))
            .filter_map(|line| line.trim().split_once(':')?.0.parse().ok())
            .collect();
        found.retain(|one| !sending.contains(&one.number));
    }
    found
}
