//! Which shard a broadcast goes to: weighted rendezvous hashing with bounded load. Pure.
//!
//! Each member draws a score from the hash of (member, broadcast) and its weight; the highest
//! score wins. A member that joins or leaves moves only the broadcasts that it wins or loses
//! (and what is live is never moved: the caller keeps assignments). A member whose load has
//! passed its share by [`LOAD_BOUND_PERCENT`], or that has no room, is skipped in favour of the next
//! in hash order.
//!
//! Members are named, not numbered: where several machines share one choice, a member is a shard of a
//! machine, and its name says both.

use std::hash::Hasher;

use shardcast_link::BroadcastId;
use siphasher::sip::SipHasher13;

/// How far a member's load may be above its fair share when it takes another broadcast. At 5 % the
/// hash order still decides for most broadcasts of a large server, and its shards differ by no more.
pub(crate) const LOAD_BOUND_PERCENT: u64 = 5;

/// A shard that can take broadcasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Unique and stable: the shard's number here, machine and shard in a cluster.
    pub(crate) name: String,
    /// Relative capacity; 0 takes nothing.
    pub(crate) weight: u32,
    /// What it spends now or has promised, in millionths of a core.
    pub(crate) load: u64,
    /// Whether the new broadcast fits in what it has left.
    pub(crate) has_room: bool,
}

/// Indices of `members` in the hash order of `broadcast`, best first; members of weight 0 are left
/// out.
pub(crate) fn order(broadcast: &BroadcastId, members: &[Member]) -> Vec<usize> {
    let mut scored: Vec<(f64, usize)> = members
        .iter()
        .enumerate()
        .filter(|(_, member)| member.weight > 0)
        .map(|(index, member)| (score(broadcast, member), index))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().map(|(_, index)| index).collect()
}

/// The member that shall take `broadcast`, which costs `cost` millionths of a core; `None` when all
/// weights are 0. One without room is chosen only when none has it.
pub(crate) fn choose(broadcast: &BroadcastId, cost: u64, members: &[Member]) -> Option<usize> {
    let weights: u128 = members.iter().map(|m| u128::from(m.weight)).sum();
    let loads: u128 = members.iter().map(|m| u128::from(m.load)).sum();
    let wanted = loads + u128::from(cost.max(1));
    let percent = 100 + u128::from(LOAD_BOUND_PERCENT);
    // Below its share of all load including the new one, plus the bound.
    let is_within =
        |m: &Member| u128::from(m.load) * 100 * weights < wanted * u128::from(m.weight) * percent;
    let order = order(broadcast, members);
    let of = |index: &usize| members.get(*index);
    let first = |fits: &dyn Fn(&Member) -> bool| {
        let mut order = order.iter().copied();
        order.find(|index| of(index).is_some_and(fits))
    };
    first(&|m| m.has_room && is_within(m))
        .or_else(|| first(&|m| m.has_room))
        .or_else(|| first(&is_within))
        .or_else(|| order.first().copied())
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
            has_room: true,
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
            let chosen = choose(&id(n), 1, &members).unwrap();
            members[chosen].load += 1;
            let most = members.iter().map(|m| m.load).max().unwrap();
            let bound = ((n as u64 + 1) * 105).div_ceil(400);
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
        assert_eq!(choose(&id(7), 1, &members), Some(order[1]));
    }

    #[test]
    fn a_member_without_weight_takes_nothing_and_nobody_is_nobody() {
        assert_eq!(choose(&id(1), 1, &[]), None);
        assert_eq!(choose(&id(1), 1, &members(&[0])), None);
        assert_eq!(choose(&id(1), 1, &members(&[0, 5])), Some(1));
    }

    #[test]
    fn the_choice_is_the_same_in_every_process_and_version() {
        let members = members(&[100; 8]);
        let chosen: Vec<_> = (0..8)
            .map(|n| choose(&id(n), 1, &members).unwrap())
            .collect();
        // Written down once: another result would move broadcasts between versions.
        assert_eq!(chosen, PINNED);
    }

    const PINNED: [usize; 8] = [6, 2, 2, 0, 3, 0, 0, 2];

    /// Ten thousand broadcasts of four costs over eight shards of unequal weight.
    #[test]
    fn ten_thousand_differ_by_at_most_five_percent_of_a_share() {
        let weights = [100, 100, 100, 50, 200, 100, 25, 75];
        let mut members = members(&weights);
        let mut total = 0;
        for n in 0..10_000 {
            let cost = [12_000, 6_500, 48_000, 12_340][n % 4];
            let chosen = choose(&id(n), cost, &members).unwrap();
            members[chosen].load += cost;
            total += cost;
        }
        for member in &members {
            let share = total as f64 * f64::from(member.weight) / 750.0;
            let off = (member.load as f64 - share).abs() / share;
            assert!(off <= 0.05, "{} is off by {off}", member.name);
        }
    }

    #[test]
    fn when_a_shard_leaves_only_its_sessions_are_placed_again() {
        let mut eight = members(&[100, 100, 100, 50, 200, 100, 25, 75]);
        let mut before = Vec::new();
        for n in 0..10_000 {
            let chosen = choose(&id(n), 12_000, &eight).unwrap();
            eight[chosen].load += 12_000;
            before.push(chosen);
        }
        // The caller keeps assignments; of a shard that is gone there are none. In hash order, which
        // decides where a broadcast comes back, nothing else changes either.
        let gone = 4;
        let mut seven = eight.clone();
        seven.remove(gone);
        let mut moved = 0;
        for (n, chosen) in before.iter().enumerate() {
            let (old, new) = (order(&id(n), &eight), order(&id(n), &seven));
            let names = |order: &[usize], of: &[Member]| -> Vec<String> {
                order.iter().map(|i| of[*i].name.clone()).collect()
            };
            let mut old = names(&old, &eight);
            old.retain(|name| *name != gone.to_string());
            assert_eq!(old, names(&new, &seven));
            if *chosen == gone {
                let chosen = choose(&id(n), 12_000, &seven).unwrap();
                seven[chosen].load += 12_000;
                moved += 1;
            }
        }
        let total: u64 = seven.iter().map(|m| m.load).sum();
        assert_eq!(total, 10_000 * 12_000);
        assert!(moved > 2_000, "{moved}");
        for member in &seven {
            let share = total as f64 * f64::from(member.weight) / 550.0;
            assert!((member.load as f64) <= share * 1.05 + 12_000.0);
        }
    }

    #[test]
    fn a_member_without_room_is_the_last_resort() {
        let mut members = members(&[100; 3]);
        let order = order(&id(7), &members);
        members[order[0]].has_room = false;
        assert_eq!(choose(&id(7), 1, &members), Some(order[1]));
        members[order[1]].load = 1_000;
        members[order[2]].has_room = false;
        assert_eq!(choose(&id(7), 1, &members), Some(order[1]));
        members[order[1]].has_room = false;
        assert_eq!(choose(&id(7), 1, &members), Some(order[0]));
    }
}
