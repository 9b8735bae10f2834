//! A bounded number of waits: one more ends another.
//!
//! The one that is ended began first among those of the client that has most of them: a client
//! that begins many ends its own. [`BoundedWaits::try_begin`] refuses a wait instead, unless
//! another client has more.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Whose wait it is: the client's IP address, or its IPv6 network of 64 bits. `None` if it is not
/// known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::proxy) struct ClientNetwork(Option<IpAddr>);

impl ClientNetwork {
    pub(in crate::proxy) fn new(address: Option<IpAddr>) -> Self {
        Self(address.map(|address| match address.to_canonical() {
            // A client has 2^64 addresses of IPv6.
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address => address,
        }))
    }
}

/// The waits of one kind. Clones share them.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy) struct BoundedWaits(Arc<Mutex<Waits>>);

#[derive(Debug, Default)]
struct Waits {
    /// All waits, in the order of their beginning.
    all: BTreeMap<u64, (ClientNetwork, CancellationToken)>,
    of_client: HashMap<ClientNetwork, usize>,
    next: u64,
    /// The waits that later ones have ended.
    ended: u64,
}

impl Waits {
    fn remove(&mut self, number: u64) -> Option<CancellationToken> {
        let (client, ended) = self.all.remove(&number)?;
        if let Some(count) = self.of_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.of_client.remove(&client);
            }
        }
        Some(ended)
    }

    /// Whether another client has more waits than this one would with one more.
    fn has_fewer(&self, client: ClientNetwork) -> bool {
        let own = self.of_client.get(&client).copied().unwrap_or(0);
        self.of_client.values().any(|other| *other > own + 1)
    }

    /// The wait that one more ends.
    fn to_end(&self) -> Option<u64> {
        let most = self.of_client.values().max()?;
        let of_most = |client: &ClientNetwork| self.of_client.get(client) == Some(most);
        let mut waits = self.all.iter();
        let first = waits.find(|(_, (client, _))| of_most(client))?;
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
        *waits.of_client.entry(client).or_default() += 1;
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

    #[test]
    fn a_client_has_many_addresses_of_one_ipv6_network() {
        let network = |text: &str| ClientNetwork::new(Some(text.parse().expect("an address")));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
    }
}
