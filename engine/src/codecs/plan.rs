//! Where the codec workers of a shard run, and how much of these cores is theirs.

use crate::limits::{CODEC_SHARE_APART_PERMILLE, CODEC_SHARE_BESIDE_PERMILLE};

/// The codec workers of one shard.
#[derive(Clone, Debug)]
pub struct CodecPlan {
    /// One thread each; `None` is not pinned.
    cores: Vec<Option<usize>>,
    /// On a core that a shard runs on too.
    beside: bool,
    /// On the shard's own thread.
    inline: bool,
    capacity_permille: u32,
    /// Why there are none.
    refusal: Option<&'static str>,
}

impl CodecPlan {
    /// No codec workers, for this reason: the end of a sentence that begins with "re-encoding is".
    pub fn off(reason: &'static str) -> Self {
        Self {
            cores: Vec::new(),
            beside: true,
            inline: false,
            capacity_permille: 0,
            refusal: Some(reason),
        }
    }

    /// One thread on the shard's own core, which `sharers` shards share.
    pub fn beside(core: Option<usize>, sharers: usize) -> Self {
        Self {
            cores: vec![core],
            beside: true,
            inline: false,
            capacity_permille: share(CODEC_SHARE_BESIDE_PERMILLE, 1, sharers),
            refusal: None,
        }
    }

    /// Threads on these cores, which are dealt out among the shards: one thread on each core that falls
    /// to `shard`. Where there are fewer cores than shards, some share one. A core that is one of
    /// `of_shards` too is not set apart: a thread there gives way as one beside its own shard does, and
    /// all of this shard's threads do.
    pub fn on(cores: &[usize], of_shards: &[usize], shard: u16, shards: u16) -> Self {
        let (shard, shards) = (usize::from(shard), usize::from(shards).max(1));
        let count = cores.len().max(1);
        let dealt = cores.iter().enumerate();
        let own: Vec<usize> = dealt
            .filter(|(index, _)| index % shards == shard % count.min(shards))
            .map(|(_, core)| *core)
            .collect();
        let sharers = (0..shards).filter(|other| other % count == shard % count);
        let sharers = if count < shards { sharers.count() } else { 1 };
        let (besides, aparts): (Vec<usize>, Vec<usize>) =
            own.iter().partition(|core| of_shards.contains(core));
        let capacity_permille = share(CODEC_SHARE_BESIDE_PERMILLE, besides.len(), sharers)
            + share(CODEC_SHARE_APART_PERMILLE, aparts.len(), sharers);
        Self {
            cores: own.into_iter().map(Some).collect(),
            beside: !besides.is_empty(),
            inline: false,
            capacity_permille,
            refusal: None,
        }
    }

    /// The same plan without threads: the executor encodes, and is late for everything else
    /// meanwhile. It is there to be measured against.
    #[must_use]
    pub fn inline(self) -> Self {
        Self {
            inline: true,
            ..self
        }
    }

    /// What may be spent on codecs, in thousandths of a core.
    pub fn capacity_permille(&self) -> u32 {
        self.capacity_permille
    }

    /// Why nothing is re-encoded: the end of a sentence that begins with "re-encoding is".
    pub(crate) fn refusal(&self) -> Option<&'static str> {
        self.refusal
    }

    pub(crate) fn cores(&self) -> &[Option<usize>] {
        &self.cores
    }

    pub(crate) fn is_inline(&self) -> bool {
        self.inline
    }

    /// Whether they run on a core that a shard runs on too.
    pub(crate) fn is_beside(&self) -> bool {
        self.beside
    }
}

fn share(of_core_permille: u32, cores: usize, sharers: usize) -> u32 {
    let cores = u32::try_from(cores).unwrap_or(u32::MAX);
    let sharers = u32::try_from(sharers.max(1)).unwrap_or(u32::MAX);
    of_core_permille.saturating_mul(cores) / sharers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apart(cores: &[usize], shards: u16) -> Vec<(Vec<usize>, u32)> {
        (0..shards)
            .map(|shard| CodecPlan::on(cores, &[0, 1], shard, shards))
            .map(|plan| {
                let cores = plan.cores().iter().flatten().copied().collect();
                (cores, plan.capacity_permille())
            })
            .collect()
    }

    #[test]
    fn cores_set_apart_are_dealt_out_and_none_is_promised_twice() {
        assert_eq!(apart(&[4, 5], 2), [(vec![4], 850), (vec![5], 850)]);
        assert_eq!(apart(&[4, 5, 6], 2), [(vec![4, 6], 1_700), (vec![5], 850)]);
        let shared = [(vec![7], 425), (vec![8], 850), (vec![7], 425)];
        assert_eq!(apart(&[7, 8], 3), shared);
    }

    #[test]
    fn a_core_that_shards_run_on_too_is_none_that_is_set_apart() {
        let on = |cores, shard| {
            let plan = CodecPlan::on(cores, &[0, 1], shard, 2);
            (plan.capacity_permille(), plan.is_beside())
        };
        assert_eq!(on(&[0, 1], 0), (800, true));
        assert_eq!(on(&[1, 4], 1), (850, false));
        assert_eq!(on(&[4, 5, 0], 0), (1_650, true));
        assert_eq!(on(&[1], 0), (400, true));
    }

    #[test]
    fn a_core_that_shards_share_is_planned_once() {
        assert_eq!(CodecPlan::beside(Some(3), 1).capacity_permille(), 800);
        assert_eq!(CodecPlan::beside(Some(3), 2).capacity_permille(), 400);
        assert_eq!(CodecPlan::off("switched off").capacity_permille(), 0);
        assert!(CodecPlan::off("switched off").cores().is_empty());
    }
}
