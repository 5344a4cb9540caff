//! Which shard a broadcast goes to: weighted rendezvous hashing with bounded load. Pure.
//!
//! Each member draws a score from the hash of (member, broadcast) and its weight; the highest
//! score wins. A member that joins or leaves moves only the broadcasts that it wins or loses
//! (and what is live is never moved: the caller keeps assignments). A member whose load has
//! passed its share by [`LOAD_BOUND_PERCENT`] is skipped in favour of the next in hash order.

use std::hash::Hasher;

use shardcast_link::BroadcastId;
use siphasher::sip::SipHasher13;

/// How far a member's load may be above its fair share. A quarter keeps the hash order for nearly
/// all broadcasts and bounds the worst member.
pub const LOAD_BOUND_PERCENT: u64 = 25;

/// Somebody who can take broadcasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Unique and stable: the shard's number here, machine and shard in a cluster.
    pub name: String,
    /// Relative capacity; 0 takes nothing.
    pub weight: u32,
    /// Broadcasts that it has now.
    pub load: u64,
}

/// Indices of `members` in the hash order of `broadcast`, best first; members of weight 0 are left
/// out.
pub fn order(broadcast: &BroadcastId, members: &[Member]) -> Vec<usize> {
    let mut scored: Vec<(f64, usize)> = members
        .iter()
        .enumerate()
        .filter(|(_, member)| member.weight > 0)
        .map(|(index, member)| (score(broadcast, member), index))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().map(|(_, index)| index).collect()
}

/// The member that shall take `broadcast`; `None` when there is nobody.
pub fn choose(broadcast: &BroadcastId, members: &[Member]) -> Option<usize> {
    let order = order(broadcast, members);
    let within = |index: &&usize| {
        members
            .get(**index)
            .is_some_and(|m| m.load < bound(m, members))
    };
    order.iter().find(within).or(order.first()).copied()
}

/// The load from which `member` takes no more: its share of all broadcasts including the new one,
/// plus the bound, rounded up.
fn bound(member: &Member, members: &[Member]) -> u64 {
    let weights: u64 = members.iter().map(|m| u64::from(m.weight)).sum();
    let loads: u64 = members.iter().map(|m| m.load).sum::<u64>() + 1;
    let share = loads * u64::from(member.weight) * (100 + LOAD_BOUND_PERCENT);
    share.div_ceil(100 * weights.max(1))
}

/// `-weight / ln(u)` with u uniform in (0, 1): the highest of several is each one's with
/// probability proportional to its weight (Schindelhauer and Schomaker, 2005).
fn score(broadcast: &BroadcastId, member: &Member) -> f64 {
    // Fixed keys: all control processes must agree.
    let mut hasher = SipHasher13::new_with_keys(0x5368_6172_6463_6173, 0x7420_706c_6163_6521);
    hasher.write(member.name.as_bytes());
    hasher.write_u8(0xff);
    hasher.write(broadcast.as_str().as_bytes());
    // 53 bits, shifted by a half so that neither 0 nor 1 can come.
    let uniform = ((hasher.finish() >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    -f64::from(member.weight) / uniform.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(weights: &[u32]) -> Vec<Member> {
        let member = |(n, weight): (usize, &u32)| Member {
            name: n.to_string(),
            weight: *weight,
            load: 0,
        };
        weights.iter().enumerate().map(member).collect()
    }

    fn id(n: usize) -> BroadcastId {
        BroadcastId::new("app", &format!("stream-{n}")).unwrap()
    }

    #[test]
    fn shares_follow_the_weights() {
        let members = members(&[100, 100, 200]);
        let mut counts = [0usize; 3];
        for n in 0..20_000 {
            counts[order(&id(n), &members)[0]] += 1;
        }
        for (count, wanted) in counts.iter().zip([5_000, 5_000, 10_000]) {
            assert!(count.abs_diff(wanted) < wanted / 20, "{counts:?}");
        }
    }

    #[test]
    fn a_member_that_leaves_moves_only_its_own_broadcasts() {
        let four = members(&[100; 4]);
        let three = &four[..3];
        for n in 0..2_000 {
            let before = order(&id(n), &four)[0];
            if before != 3 {
                assert_eq!(order(&id(n), three)[0], before);
            }
        }
    }

    #[test]
    fn no_member_passes_its_bound() {
        let mut members = members(&[100; 4]);
        for n in 0..1_000 {
            let chosen = choose(&id(n), &members).unwrap();
            members[chosen].load += 1;
            let most = members.iter().map(|m| m.load).max().unwrap();
            let bound = ((n as u64 + 1) * 125).div_ceil(400);
            assert!(
                most <= bound,
                "after {} broadcasts a member has {most}",
                n + 1
            );
        }
    }

    #[test]
    fn a_full_member_hands_over_to_the_next_in_hash_order() {
        let mut members = members(&[100; 3]);
        let order = order(&id(7), &members);
        members[order[0]].load = 10;
        assert_eq!(choose(&id(7), &members), Some(order[1]));
    }

    #[test]
    fn a_member_without_weight_takes_nothing_and_nobody_is_nobody() {
        assert_eq!(choose(&id(1), &[]), None);
        assert_eq!(choose(&id(1), &members(&[0])), None);
        assert_eq!(choose(&id(1), &members(&[0, 5])), Some(1));
    }

    #[test]
    fn the_choice_is_the_same_in_every_process_and_version() {
        let members = members(&[100; 8]);
        let chosen: Vec<_> = (0..8).map(|n| choose(&id(n), &members).unwrap()).collect();
        // Written down once: another result would move broadcasts between versions.
        assert_eq!(chosen, PINNED);
    }

    const PINNED: [usize; 8] = [6, 2, 2, 0, 3, 0, 0, 2];
}
