//! The clients whose calls one request has followed in vain.
//!
//! A call that fails or is refused after milliseconds holds up nobody for long, and is not noted.
//! But one of them after the other, each begun before the last has ended, would use up all tries of
//! each request, so that it calls alone. So a request follows one of a client.
//!
//! Knows no flights. Start at [`LetDowns::add`].

use crate::shares::ClientId;

/// More than a request follows flights that are refused or fail. Those of other kinds of requests,
/// or exempted ones, may be more.
const MAX: usize = 4;

/// The clients that have let down a request: it waits for no more calls of theirs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LetDowns([Option<ClientId>; MAX]);

impl LetDowns {
    /// Adds a client, in the place of the first one if there are too many.
    pub(crate) fn add(&mut self, client: ClientId) {
        if !self.contains(client) {
            self.0.rotate_right(1);
            self.0[0] = Some(client);
        }
    }

    pub(crate) fn contains(&self, client: ClientId) -> bool {
        self.0.contains(&Some(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_clients_are_known() {
        let client = |number: u64| ClientId::from_digest(number << 32);
        let mut let_downs = LetDowns::default();
        for number in [1, 2, 1, 1, 3, 4, 5] {
            assert!(!let_downs.contains(client(5)));
            let_downs.add(client(number));
        }
        let known = (1..7).filter(|number| let_downs.contains(client(*number)));
        assert_eq!(known.collect::<Vec<_>>(), [2, 3, 4, 5]);
    }
}
