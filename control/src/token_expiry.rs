//! When tokens that have expired are forgotten.

use std::time::Duration;

use crate::{limits, store::Catalog};

/// Removes tokens that expired long ago by a reliable clock, which has gone without a step for
/// `steady_for`. Until then they are refused, and good again should the clock have been
/// wrong.
pub(crate) fn sweep(catalog: &Catalog, unix_s: u64, steady_for: Duration) {
    if steady_for >= limits::CLOCK_STEADY {
        let kept_from = unix_s.saturating_sub(limits::TOKEN_KEPT_S);
        catalog.change_soon(|t| t.remove_tokens(|token| token.expire_unix_s <= kept_from));
    }
}

#[cfg(test)]
mod tests {
    use shardcast_link::BroadcastId;

    use super::*;
    use crate::store::{RedbStore, TokenRecord};

    #[test]
    fn a_token_is_removed_a_week_after_it_expired_and_never_by_a_clock_that_was_just_set() {
        let folder = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&folder.path().join("store.redb")).unwrap();
        let catalog = Catalog::open(store).unwrap();
        let expired = 1_000_000;
        catalog.change_soon(|t| {
            t.put_token(TokenRecord {
                token: "t".into(),
                broadcast: BroadcastId::new("app", "s1").unwrap(),
                kind: "publish".into(),
                expire_unix_s: expired,
                room: None,
            });
        });
        let (week, second) = (limits::TOKEN_KEPT_S, Duration::from_secs(1));
        for (unix_s, steady_for, is_kept) in [
            (expired + 1, limits::CLOCK_STEADY * 100, true),
            (expired + week - 1, limits::CLOCK_STEADY * 100, true),
            (expired + 1_000 * week, limits::CLOCK_STEADY - second, true),
            (expired + week, limits::CLOCK_STEADY, false),
        ] {
            sweep(&catalog, unix_s, steady_for);
            let is_there = catalog.token("t").is_some();
            assert_eq!(is_there, is_kept, "{unix_s}, {steady_for:?}");
        }
    }
}
