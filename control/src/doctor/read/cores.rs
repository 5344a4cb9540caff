//! Which cores shards and codecs have, and how these are driven.

use shardcast_link::machine::Probe;

use super::{super::host::Cores, Root};
use crate::settings::EngineSettings;

/// Cores of a machine; a list such as `0-4294967295` is none.
const CORES_MAX: u16 = 4_096;

/// Deals out the cores as the engine does.
pub(super) fn read(root: &Root, engine: &EngineSettings, probe: Option<&Probe>) -> Cores {
    let allowed = match probe {
        Some(probe) if !probe.allowed_cores.is_empty() => probe.allowed_cores.clone(),
        _ => expand(
            &root
                .text("sys/devices/system/cpu/online")
                .unwrap_or_default(),
        ),
    };
    let codecs = engine.codec_cores.clone();
    let cores = if engine.cores.is_empty() {
        let left = allowed.iter().filter(|core| !codecs.contains(core));
        let left: Vec<u16> = left.copied().collect();
        if left.is_empty() { allowed } else { left }
    } else {
        engine.cores.clone()
    };
    let shards = engine.shards.map_or(cores.len(), usize::from);
    let shards: Vec<u16> = cores.iter().copied().cycle().take(shards).collect();
    let governor = |core: &u16| {
        let path = format!("sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor");
        Some((*core, root.text(path)?))
    };
    let governors = shards.iter().chain(&codecs).filter_map(governor).collect();
    Cores {
        shards,
        codecs,
        governors,
    }
}

/// The numbers of a list such as `0,2-4`.
pub(super) fn expand(list: &str) -> Vec<u16> {
    let mut numbers = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            numbers.extend(first..=last.min(CORES_MAX));
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_cores_is_read_and_nonsense_is_no_core() {
        assert_eq!(expand("0,2-4\n"), [0, 2, 3, 4]);
        assert_eq!(expand(""), Vec::<u16>::new());
        assert_eq!(expand("x,7"), [7]);
    }
}
