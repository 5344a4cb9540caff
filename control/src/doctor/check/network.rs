//! The network card.

use super::{
    super::{
        host::{Host, Interrupt},
        report::{Finding, Topic},
    },
    list, tune,
};

const OFFLOADS: Topic = Topic("offloads", "GSO and GRO");
const INTERRUPTS: Topic = Topic("interrupts", "Interrupts");

/// Features that handle many packets as one (ethtool(8)), and their short names.
const FEATURES: [(&str, &str); 4] = [
    ("generic-receive-offload", "GRO"),
    ("generic-segmentation-offload", "GSO"),
    ("tcp-segmentation-offload", "TSO"),
    ("tx-udp-segmentation", "UDP segmentation"),
];

/// Whether packets of one sender go through the kernel together.
pub(super) fn offloads(host: &Host) -> Finding {
    let Some(interface) = &host.interface else {
        return OFFLOADS.unknown("there is no default route, so the interface is not known");
    };
    let name = &interface.name;
    let features = match &interface.features {
        None => {
            return OFFLOADS
                .unknown(format!("{name}: ethtool is not installed"))
                .mend("apt install ethtool");
        }
        Some(Err(problem)) => return OFFLOADS.unknown(format!("{name}: {problem}")),
        Some(Ok(features)) => features,
    };
    // "off[fixed]" is a feature that the driver does not have.
    let that_are = |word: &str| {
        let wanted = FEATURES
            .iter()
            .filter(|(name, _)| features.get(*name).is_some_and(|value| value == word));
        list(wanted.map(|(_, short)| *short))
    };
    let off = that_are("off");
    if !off.is_empty() {
        return OFFLOADS
            .warning(format!("{name}: off are {off}"))
            .costs("each packet goes through the kernel by itself instead of with others of its sender")
            .mend(tune("nic"));
    }
    let fixed = that_are("off[fixed]");
    if fixed.is_empty() {
        OFFLOADS.ok(format!("{name}: all are on"))
    } else {
        OFFLOADS.ok(format!(
            "{name}: on, but for what its driver does not have: {fixed}"
        ))
    }
}

/// Whether the card interrupts the core whose shard reads the packet.
pub(super) fn interrupts(host: &Host) -> Finding {
    let Some(interface) = &host.interface else {
        return INTERRUPTS.unknown("there is no default route, so the interface is not known");
    };
    let (name, shards) = (&interface.name, &host.cores.shards);
    let mut queues: Vec<u32> = interface.interrupts.iter().map(|one| one.queue).collect();
    queues.sort_unstable();
    queues.dedup();
    if queues.is_empty() || shards.is_empty() {
        return INTERRUPTS.ok(format!(
            "{name}: its queues have none here, as in a container or with a virtual card"
        ));
    }
    if queues.len() == 1 && shards.len() > 1 {
        return INTERRUPTS.ok(format!(
            "{name}: its only queue has the packets of all {} shards",
            shards.len()
        ));
    }
    let misplaced: Vec<String> = interface
        .interrupts
        .iter()
        .filter_map(|one| misplaced(one, shards))
        .collect();
    match misplaced.first() {
        None => INTERRUPTS.ok(format!(
            "{name}: each queue interrupts the core of its shard"
        )),
        Some(first) => INTERRUPTS
            .warning(format!(
                "{name}: queues whose interrupt is not on their shard's core: {}; {first}",
                misplaced.len()
            ))
            .costs("a packet passes from one core to another before its shard reads it")
            .mend(tune("nic")),
    }
}

/// Queue n belongs to shard n, and beyond the shards from the first again.
fn misplaced(interrupt: &Interrupt, shards: &[u16]) -> Option<String> {
    let shard = usize::try_from(interrupt.queue).ok()? % shards.len().max(1);
    let core = shards.get(shard)?;
    (interrupt.cores != [*core]).then(|| {
        format!(
            "queue {} (interrupt {}) is on core {}, its shard on core {core}",
            interrupt.queue,
            interrupt.number,
            list(&interrupt.cores)
        )
    })
}
