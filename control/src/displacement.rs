//! Which entry of a full queue gives way: clients with few entries keep them.

use std::collections::HashMap;

use crate::publishing::ClientKey;

/// Shares are compared in millionths.
const WHOLE: usize = 1_000_000;

/// Of the client that uses the largest share of the places that it may have, the newest entry.
/// `entries` are indexes with their clients, the oldest first; `most` is how many a client may have. Of
/// clients with the same share it is the one with the newest entry, so that an entry appended to a
/// queue in which every client has as many gives way itself. `None` without entries.
pub(crate) fn displaced(
    entries: impl Iterator<Item = (usize, ClientKey)>,
    most: impl Fn(ClientKey) -> usize,
) -> Option<usize> {
    let mut clients: HashMap<ClientKey, (usize, usize)> = HashMap::new();
    for (index, client) in entries {
        let (count, newest) = clients.entry(client).or_default();
        *count += 1;
        *newest = index;
    }
    let share = |(client, (count, newest)): &(ClientKey, (usize, usize))| {
        (count.saturating_mul(WHOLE) / most(*client).max(1), *newest)
    };
    let (_, (_, newest)) = clients.into_iter().max_by_key(share)?;
    Some(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection_limits::Network;

    fn of(clients: &[(u8, bool)]) -> Option<usize> {
        let entries = clients.iter().map(|(client, is_trusted)| {
            let network = Network::of([192, 0, 2, *client].into());
            (network, *is_trusted)
        });
        displaced(
            entries.enumerate(),
            |(_, is_trusted)| {
                if is_trusted { 16 } else { 1 }
            },
        )
    }

    #[test]
    fn the_newest_of_the_client_with_the_most_gives_way() {
        let [one, two, proxy] = [(1, false), (2, false), (3, true)];
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[one, two, one, two, one, two, two]), Some(6));
        assert_eq!(of(&[one, one, two]), Some(1));
        assert_eq!(of(&[one, two]), Some(1), "the one that came last");
        assert_eq!(
            of(&[one, proxy, proxy, proxy]),
            Some(0),
            "by what it may have"
        );
    }
}
