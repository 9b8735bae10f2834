//! Who has places before upstreams, and who waits for one.
//!
//! Of these places a client has its [share](crate::shares): requests of one that takes all it gets
//! wait for each other, not those of others. A place that is free goes to the client that has the
//! fewest; of equal ones to the request that has waited the longest.
//!
//! Start at [`PlaceQueue::try_take`], then [`PlaceQueue::wait`].

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::shares::Shares;

use crate::proxy::body::bounded_waits::ClientNetwork;

/// A bounded number of places, and the requests that wait for one.
#[derive(Debug)]
pub(super) struct PlaceQueue {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: Shares<IpAddr>,
    /// The requests of each client, in the order in which they came.
    waiting: HashMap<ClientNetwork, BTreeMap<u64, oneshot::Sender<()>>>,
    next_number: u64,
}

/// A request that waits for a place. Dropped, it leaves the queue.
#[derive(Debug)]
pub(super) struct Waiting<'q> {
    queue: &'q PlaceQueue,
    client: ClientNetwork,
    number: u64,
    /// Not yet.
    granted: Option<oneshot::Receiver<()>>,
}

impl State {
    fn try_take(&mut self, client: ClientNetwork, max: usize) -> bool {
        let has_room = self.taken.has_room(client.known(), max);
        if has_room {
            self.taken.add(client.known());
        }
        has_room
    }

    /// Grants a place to the next request that may have one.
    fn grant_next(&mut self, max: usize) -> Option<oneshot::Sender<()>> {
        let State { taken, waiting, .. } = self;
        let may_have = |client: &&ClientNetwork| taken.has_room(client.known(), max);
        let first = |client: &ClientNetwork| waiting[client].keys().next().copied();
        let clients = waiting.keys().filter(may_have);
        let next = clients.min_by_key(|client| (taken.held_by(client.known()), first(client)));
        let next = *next?;
        let of_client = waiting.get_mut(&next)?;
        let (_, granted) = of_client.pop_first()?;
        if of_client.is_empty() {
            waiting.remove(&next);
        }
        taken.add(next.known());
        Some(granted)
    }
}

impl PlaceQueue {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            state: Mutex::default(),
        }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// The number of places that are taken.
    pub(super) fn taken(&self) -> usize {
        self.lock().taken.len()
    }

    /// Takes a place, if there is one for the client. It is to be [given back](Self::give_back).
    pub(super) fn try_take(&self, client: ClientNetwork) -> bool {
        self.lock().try_take(client, self.max)
    }

    /// Takes a place, or begins to wait for one.
    pub(super) fn wait(&self, client: ClientNetwork) -> Option<Waiting<'_>> {
        let mut state = self.lock();
        if state.try_take(client, self.max) {
            return None;
        }
        let (sender, granted) = oneshot::channel();
        let number = state.next_number;
        state.next_number += 1;
        let of_client = state.waiting.entry(client).or_default();
        of_client.insert(number, sender);
        Some(Waiting {
            queue: self,
            client,
            number,
            granted: Some(granted),
        })
    }

    /// Gives a place of a client back. Others that wait have it.
    ///
    /// It may wake others: hold no lock that they take.
    pub(super) fn give_back(&self, client: ClientNetwork) {
        let mut state = self.lock();
        state.taken.remove(client.known());
        // More than one, if more may be had by a client now that has fewer itself.
        let granted: Vec<_> = std::iter::from_fn(|| state.grant_next(self.max)).collect();
        drop(state);
        for granted in granted {
            // One that is not received is given back by the request that leaves.
            let _ = granted.send(());
        }
    }

    /// Removes a request that waits. Returns whether it did.
    fn forget(&self, client: ClientNetwork, number: u64) -> bool {
        let mut state = self.lock();
        let Some(of_client) = state.waiting.get_mut(&client) else {
            return false;
        };
        let removed = of_client.remove(&number);
        if of_client.is_empty() {
            state.waiting.remove(&client);
        }
        removed.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No critical section panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting<'_> {
    /// Waits until the request has a place, which is to be [given back](PlaceQueue::give_back).
    pub(super) async fn granted(mut self) {
        if let Some(granted) = &mut self.granted {
            // Its sender is in the queue until then.
            let _ = granted.await;
            self.granted = None;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.granted.take().is_some() && !self.queue.forget(self.client, self.number) {
            // It has got a place meanwhile.
            self.queue.give_back(self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(last: u8) -> ClientNetwork {
        ClientNetwork::new(Some([192, 0, 2, last].into()))
    }

    /// Whether a request has a place by now.
    fn has_place(waiting: &mut Option<Waiting<'_>>) -> bool {
        let granted = waiting
            .as_mut()
            .and_then(|waiting| waiting.granted.as_mut());
        granted.is_none_or(|granted| granted.try_recv().is_ok())
    }

    #[test]
    fn a_client_has_its_share_of_the_places() {
        for (max, clients, expected) in [
            (0, &[1, 1][..], &[0][..]),
            (1, &[1, 1, 2], &[1, 0]),
            (2, &[1, 1, 2, 2], &[1, 1]),
            (8, &[1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3], &[4, 2, 1]),
        ] {
            let queue = PlaceQueue::new(max);
            let mut got = [0; 4];
            for number in clients {
                got[usize::from(*number)] += usize::from(queue.try_take(client(*number)));
            }
            assert_eq!(got[1..=expected.len()], *expected, "{max}");
        }
        // Those that are not known take what is free.
        let queue = PlaceQueue::new(4);
        let unknown = (0..9).filter(|_| queue.try_take(ClientNetwork::default()));
        assert_eq!((unknown.count(), queue.taken()), (4, 4));
    }

    #[test]
    fn a_free_place_goes_to_the_client_with_the_fewest() {
        let queue = PlaceQueue::new(2);
        assert!(queue.wait(client(1)).is_none() && queue.wait(client(2)).is_none());
        let mut of_first: Vec<_> = (0..5).map(|_| queue.wait(client(1))).collect();
        let (mut of_third, mut of_fourth) = (queue.wait(client(3)), queue.wait(client(4)));
        queue.give_back(client(2));
        assert!(has_place(&mut of_third) && !has_place(&mut of_fourth));
        assert!(!of_first.iter_mut().any(has_place));
        queue.give_back(client(3));
        assert!(has_place(&mut of_fourth));
        assert!(!of_first.iter_mut().any(has_place));
        queue.give_back(client(1));
        let got = of_first.iter_mut().map(has_place);
        assert_eq!(got.collect::<Vec<_>>(), [true, false, false, false, false]);
    }

    /// Also where both may have it, and the other one came first.
    #[test]
    fn a_place_that_a_client_gives_back_is_its_own_if_others_have_more() {
        let queue = PlaceQueue::new(4);
        for number in [1, 2, 3] {
            assert!(queue.try_take(client(number)));
        }
        let (mut of_second, mut of_first) = (queue.wait(client(2)), queue.wait(client(1)));
        assert!(of_second.is_some() && of_first.is_some(), "both wait");
        queue.give_back(client(1));
        assert!(has_place(&mut of_first) && !has_place(&mut of_second));
    }

    #[test]
    fn a_request_that_leaves_keeps_no_place() {
        let queue = PlaceQueue::new(1);
        assert!(queue.try_take(client(1)));
        let (leaves, left) = (queue.wait(client(2)), queue.wait(client(3)));
        drop(leaves);
        queue.give_back(client(1));
        // It was granted, and leaves before it knows.
        let mut stays = queue.wait(client(1));
        drop(left);
        assert!(has_place(&mut stays));
        queue.give_back(client(1));
        let state = queue.lock();
        assert!(
            state.waiting.is_empty() && state.taken.len() == 0,
            "no entry is leaked"
        );
    }
}
