//! A bounded number of waits: one more ends another.
//!
//! The one that is ended began first among those of the client that has most of them: a client
//! that begins many ends its own. [`BoundedWaits::try_begin`] refuses a wait instead, unless
//! another client has more.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::shares::Shares;

/// Whose wait it is: the client's [network](crate::proxy::Peer::network). `None` if it is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::proxy) struct ClientNetwork(Option<IpAddr>);

impl ClientNetwork {
    pub(in crate::proxy) fn new(network: Option<IpAddr>) -> Self {
        Self(network)
    }

    /// It, if it is known.
    pub(in crate::proxy) fn known(self) -> Option<IpAddr> {
        self.0
    }
}

/// The waits of one kind. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct BoundedWaits(Arc<Mutex<Waits>>);

#[derive(Debug, Default)]
struct Waits {
    /// All waits, in the order of their beginning.
    all: BTreeMap<u64, (ClientNetwork, CancellationToken)>,
    of_clients: Shares<ClientNetwork>,
    next: u64,
    /// The waits that later ones have ended.
    ended: u64,
}

impl Waits {
    fn remove(&mut self, number: u64) -> Option<CancellationToken> {
        let (client, ended) = self.all.remove(&number)?;
        self.of_clients.remove(Some(client));
        Some(ended)
    }

    /// Whether another client has more waits than this one would with one more.
    fn has_fewer(&self, client: ClientNetwork) -> bool {
        self.of_clients.most() > self.of_clients.held_by(Some(client)) + 1
    }

    /// The wait that one more ends.
    fn to_end(&self) -> Option<u64> {
        let most = self.of_clients.most();
        let mut waits = self.all.iter();
        let first =
            waits.find(|(_, (client, _))| self.of_clients.held_by(Some(*client)) == most)?;
        Some(*first.0)
    }
}

impl BoundedWaits {
    /// Begins a wait, which ends others beyond `max`.
    pub(super) fn begin(&self, max: usize, client: ClientNetwork) -> BoundedWait {
        self.insert(self.lock(), max, client)
    }

    /// Begins a wait if there are fewer than `max`, or if another client has more than this one
    /// then has: one of those ends.
    pub(in crate::proxy) fn try_begin(
        &self,
        max: usize,
        client: ClientNetwork,
    ) -> Option<BoundedWait> {
        let waits = self.lock();
        let is_allowed = waits.all.len() < max || waits.has_fewer(client);
        is_allowed.then(|| self.insert(waits, max, client))
    }

    fn insert(
        &self,
        mut waits: MutexGuard<'_, Waits>,
        max: usize,
        client: ClientNetwork,
    ) -> BoundedWait {
        let ended = CancellationToken::new();
        let number = waits.next;
        waits.next += 1;
        waits.all.insert(number, (client, ended.clone()));
        waits.of_clients.add(Some(client));
        let mut too_many = Vec::new();
        while waits.all.len() > max {
            let Some(number) = waits.to_end() else {
                break;
            };
            too_many.extend(waits.remove(number));
            waits.ended += 1;
        }
        drop(waits);
        // They wake tasks.
        for other in too_many {
            other.cancel();
        }
        BoundedWait {
            waits: self.clone(),
            number,
            ended,
        }
    }

    /// How many waits later ones have ended.
    pub(in crate::proxy) fn ended(&self) -> u64 {
        self.lock().ended
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        // No critical section panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of the waits, until it is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct BoundedWait {
    waits: BoundedWaits,
    number: u64,
    ended: CancellationToken,
}

impl BoundedWait {
    /// Cancelled when later waits have ended this one.
    pub(in crate::proxy) fn ended(&self) -> &CancellationToken {
        &self.ended
    }
}

impl Drop for BoundedWait {
    fn drop(&mut self) {
        let ended = self.waits.lock().remove(self.number);
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> ClientNetwork {
        ClientNetwork::new(Some([192, 0, 2, last].into()))
    }

    #[test]
    fn one_more_ends_the_first_of_the_client_with_most() {
        let waits = BoundedWaits::default();
        let other = waits.begin(4, client(1));
        let many: Vec<_> = (0..8).map(|_| waits.begin(4, client(2))).collect();
        let ended = many.iter().map(|wait| wait.ended().is_cancelled());
        assert_eq!(ended.filter(|is_ended| *is_ended).count(), 5);
        assert!(many[4].ended().is_cancelled() && !many[5].ended().is_cancelled());
        assert!(!other.ended().is_cancelled());
        drop(many);
        // Those that are over count no longer.
        let later: Vec<_> = (0..3).map(|_| waits.begin(4, client(3))).collect();
        assert!(later.iter().all(|wait| !wait.ended().is_cancelled()));
        assert!(!other.ended().is_cancelled());
    }

    #[test]
    fn one_more_is_refused_unless_another_client_has_more() {
        let waits = BoundedWaits::default();
        let begin = |number| waits.try_begin(4, client(number));
        let mut first: Vec<_> = (0..4).map(|_| begin(1).expect("room")).collect();
        assert!(begin(1).is_none());
        let second = [begin(2).expect("a share"), begin(2).expect("a share")];
        let ended = first.iter().map(|wait| wait.ended().is_cancelled());
        assert_eq!(ended.collect::<Vec<_>>(), [true, true, false, false]);
        assert!(begin(2).is_none() && begin(1).is_none());
        let third = begin(3).expect("a share");
        assert!(first[2].ended().is_cancelled());
        assert!(begin(1).is_none() && begin(3).is_none());
        let others = second.iter().chain([&first[3], &third]);
        assert!(others.into_iter().all(|wait| !wait.ended().is_cancelled()));
        first.pop();
        assert!(begin(1).is_some());
        assert!(BoundedWaits::default().try_begin(0, client(1)).is_none());
    }
}
