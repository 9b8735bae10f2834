//! The share that one client has of a bounded number of places.
//!
//! A client may take another place only while it has fewer than are free. So it has about half of
//! the places at most, another client always finds one, and many clients together use nearly all.
//! A request whose client is not known takes any free place.
//!
//! Knows numbers, not what a place is. Start at [`may_take`].

use std::collections::HashMap;
use std::hash::Hash;
use std::num::NonZeroU32;

/// A client: a digest of what the application knows it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientId(NonZeroU32);

impl ClientId {
    /// The client with this digest, which is keyed with a secret.
    pub(crate) fn from_digest(digest: u64) -> Self {
        let half = NonZeroU32::new((digest >> 32) as u32);
        Self(half.unwrap_or(NonZeroU32::MIN))
    }
}

/// Whether a client that has `own` of `limit` places may take another one, of which all have `all`.
pub(crate) fn may_take(own: usize, all: usize, limit: usize) -> bool {
    own < limit.saturating_sub(all)
}

/// The entry of a full table that a new one replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Displaced {
    /// One of this client, which has its share.
    OfClient(ClientId),
    /// Any.
    OfAny,
}

impl Displaced {
    /// Whether an entry of this client may be the one.
    pub(crate) fn may_be_of(self, client: Option<ClientId>) -> bool {
        match self {
            Self::OfClient(replaced) => client == Some(replaced),
            Self::OfAny => true,
        }
    }
}

/// The entry that one of `client` replaces in a small table of `limit` entries, of which `all` are
/// taken by these clients; `None` if there is room.
pub(crate) fn replaced(
    client: Option<ClientId>,
    all: impl ExactSizeIterator<Item = Option<ClientId>> + Clone,
    limit: usize,
) -> Option<Displaced> {
    let count = |of: ClientId| all.clone().filter(|other| *other == Some(of)).count();
    let own = client.map_or(0, count);
    if may_take(own, all.len(), limit) {
        return None;
    }
    // Of equal ones the first: the latest entry stays.
    let of_most = || {
        let clients = all.clone().flatten();
        clients.reduce(|most, other| {
            if count(other) > count(most) {
                other
            } else {
                most
            }
        })
    };
    Some(match client {
        None => Displaced::OfAny,
        Some(client) if own > 0 => Displaced::OfClient(client),
        Some(_) => of_most().map_or(Displaced::OfAny, Displaced::OfClient),
    })
}

/// The numbers of places that clients have, which are known as `C`.
#[derive(Debug)]
pub(crate) struct Shares<C = ClientId> {
    all: usize,
    of_clients: HashMap<C, usize>,
}

impl<C> Default for Shares<C> {
    fn default() -> Self {
        Self {
            all: 0,
            of_clients: HashMap::new(),
        }
    }
}

impl<C: Copy + Eq + Hash> Shares<C> {
    /// The number of places that are taken.
    pub(crate) fn len(&self) -> usize {
        self.all
    }

    /// The number of places that a client has; 0 if it is not known.
    pub(crate) fn held_by(&self, client: Option<C>) -> usize {
        client.map_or(0, |client| {
            self.of_clients.get(&client).copied().unwrap_or(0)
        })
    }

    /// The number of places that a client has, of those that are known, which has the most.
    #[cfg_attr(
        not(feature = "proxy"),
        allow(dead_code, reason = "the proxy asks for it")
    )]
    pub(crate) fn most(&self) -> usize {
        self.of_clients.values().copied().max().unwrap_or(0)
    }

    /// Whether a client may take one of `limit` places.
    pub(crate) fn has_room(&self, client: Option<C>, limit: usize) -> bool {
        may_take(self.held_by(client), self.all, limit)
    }

    /// Counts a place that a client takes.
    pub(crate) fn add(&mut self, client: Option<C>) {
        self.all += 1;
        if let Some(client) = client {
            *self.of_clients.entry(client).or_default() += 1;
        }
    }

    /// Counts a place that a client gives back.
    pub(crate) fn remove(&mut self, client: Option<C>) {
        self.all = self.all.saturating_sub(1);
        if let Some(client) = client
            && let Some(held) = self.of_clients.get_mut(&client)
        {
            *held -= 1;
            if *held == 0 {
                self.of_clients.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u64) -> Option<ClientId> {
        Some(ClientId::from_digest(number << 32))
    }

    #[test]
    fn a_client_takes_places_while_more_are_free_than_it_has() {
        for (limit, of_first, of_second) in [(0, 0, 0), (1, 1, 0), (2, 1, 1), (5, 3, 1), (8, 4, 2)]
        {
            let mut shares = Shares::default();
            let mut take = |number| {
                let has_room = shares.has_room(client(number), limit);
                if has_room {
                    shares.add(client(number));
                }
                has_room
            };
            let mut count = |number| (0..10).filter(|_| take(number)).count();
            assert_eq!((count(1), count(2)), (of_first, of_second), "{limit}");
            let free = limit - of_first - of_second;
            let unknown = (0..10).filter(|_| {
                let has_room = shares.has_room(None, limit);
                has_room.then(|| shares.add(None));
                has_room
            });
            assert_eq!(
                unknown.count(),
                free,
                "{limit}: those not known take the rest"
            );
            for number in [1, 2] {
                (0..shares.held_by(client(number))).for_each(|_| shares.remove(client(number)));
            }
            (0..free).for_each(|_| shares.remove(None));
            assert_eq!(shares.len(), 0);
            assert!(shares.of_clients.is_empty(), "no entry is leaked");
        }
    }

    #[test]
    fn an_entry_replaces_one_of_its_client_or_else_of_the_client_with_most() {
        let of = |replaced: u64| client(replaced).map(Displaced::OfClient);
        for (own, all, expected) in [
            (1, &[1, 1][..], None),
            (1, &[1, 1, 1], of(1)),
            (2, &[1, 1, 1], None),
            (2, &[1, 1, 2, 2], of(2)),
            (3, &[1, 1, 2, 3, 2, 2], of(3)),
            (4, &[1, 1, 2, 3, 2, 2], of(2)),
            (7, &[1, 2, 3, 4, 5, 6], of(1)),
            (0, &[1, 1, 2, 3, 2], None),
            (0, &[1, 1, 2, 3, 2, 2], Some(Displaced::OfAny)),
            (1, &[0, 0, 0, 0, 0, 0], Some(Displaced::OfAny)),
        ] {
            // 0 is a client that is not known.
            let known = |number: u64| client(number).filter(|_| number > 0);
            let all = all.iter().map(|number| known(*number));
            assert_eq!(replaced(known(own), all, 6), expected, "{own}");
        }
    }
}
