//! The clients whose flights have held up others.
//!
//! No request of another client waits for the next flights of such a client: it leads one itself.
//! That costs a call for each time a response is needed, seldom two, so little is lost where the
//! service is slow for all.
//!
//! A client is noted for ten minutes, with the time for which it has held up others in all: who lets
//! them wait once or twice is soon told apart from one who goes on. No call of another client excuses
//! it: two clients that are slow would vouch for each other. But one that is noted itself follows
//! those whose time is not longer than twice its own, so that of any two clients one follows the
//! other, and a slow service has few more calls.
//!
//! Data under the lock of the table. Start at [`HoldUps::note`].

pub(super) mod others_wait;
pub(super) mod patience;

use std::time::Duration;

use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::shares::{ClientId, replaced};
use patience::patience_for;

/// The time for which a client is noted.
const TTL: Duration = Duration::from_secs(10 * 60);
/// The number of notes in one stripe of the table.
const MAX: usize = 64;

/// The clients that have held up others, for each key. The first note was made before the others.
#[derive(Default)]
pub(super) struct HoldUps(Vec<Note>);

#[derive(Clone, Copy)]
struct Note {
    /// Without its variant.
    key: CacheKey,
    client: ClientId,
    /// For how long it has held up others in all.
    held_up: Duration,
    /// Whether it counts for all keys: another one of its client has made way.
    is_for_all: bool,
    /// The time of its first wait, by the monotonic clock.
    began: Duration,
    /// The time of its last wait, by the monotonic clock.
    noted: Duration,
}

impl Note {
    fn is_current(&self, now: Duration) -> bool {
        now.saturating_sub(self.noted) < TTL
    }

    /// Makes it count for all keys, in the place of another one of its client.
    fn replace(&mut self, other: &Note) {
        self.is_for_all = true;
        self.held_up = self.held_up.max(other.held_up);
        self.began = self.began.max(other.began);
        self.noted = self.noted.max(other.noted);
    }
}

impl HoldUps {
    /// Notes that others have waited so long for a flight of a client: in vain, or longer than usual.
    pub(super) fn note(&mut self, key: &CacheKey, client: ClientId, waited: Duration, now: Moment) {
        let note = self.latest(key, client, now);
        note.held_up = note.held_up.saturating_add(waited);
    }

    /// The note on a client, which is the latest one now.
    fn latest(&mut self, key: &CacheKey, client: ClientId, now: Moment) -> &mut Note {
        let (key, now) = (key.primary(), now.monotonic());
        self.0.retain(|note| note.is_current(now));
        let is_same = |note: &Note| note.key == key && note.client == client;
        let mut note = Note {
            key,
            client,
            held_up: Duration::ZERO,
            is_for_all: false,
            began: now,
            noted: now,
        };
        if let Some(at) = self.0.iter().position(is_same) {
            let earlier = self.0.remove(at);
            let noted = earlier.noted.max(now);
            // The sum is that of about ten minutes, too.
            note = match noted.saturating_sub(earlier.began) < TTL {
                true => Note { noted, ..earlier },
                false => note,
            };
        }
        let clients = self.0.iter().map(|note| Some(note.client));
        if let Some(replaced) = replaced(Some(client), clients, MAX) {
            let may_be = |note: &Note| replaced.may_be_of(Some(note.client));
            let first = self.0.iter().position(may_be);
            let removed = self.0.remove(first.unwrap_or(0));
            let is_of_same = |note: &&mut Note| note.client == removed.client;
            let rest = self.0.iter_mut().chain([&mut note]);
            if let Some(rest) = rest.rev().find(is_of_same) {
                rest.replace(&removed);
            }
        }
        self.0.push(note);
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// For how long a client has held up others; `None` if it has not.
    pub(super) fn by_client(
        &self,
        key: &CacheKey,
        client: Option<ClientId>,
        now: Moment,
    ) -> Option<Duration> {
        let client = client.filter(|_| !self.0.is_empty())?;
        let (key, now) = (key.primary(), now.monotonic());
        let notes = self.0.iter().filter(|note| note.client == client);
        let notes = notes.filter(|note| note.is_for_all || note.key == key);
        let current = notes.filter(|note| note.is_current(now));
        current.map(|note| note.held_up).max()
    }

    /// For how long clients may have held up others whose flights a request follows: for ever, if
    /// its own client is not known.
    pub(super) fn patience_of(
        &self,
        key: &CacheKey,
        client: Option<ClientId>,
        now: Moment,
    ) -> Duration {
        if client.is_none() {
            return Duration::MAX;
        }
        let own = self.by_client(key, client, now);
        own.map_or(Duration::ZERO, patience_for)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const KEY: &str = "/a";

    fn client(number: u64) -> ClientId {
        ClientId::from_digest(number << 32)
    }

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH)
    }

    /// The notes after calls of clients for which others have waited so many milliseconds.
    fn after(calls: &[(u64, u64)]) -> HoldUps {
        let (key, mut notes) = (CacheKey::for_path(KEY), HoldUps::default());
        for (number, waited) in calls.iter().copied() {
            notes.note(&key, client(number), Duration::from_millis(waited), at(0));
        }
        notes
    }

    /// Whom each of three clients follows, the third of which has not held up others.
    #[test]
    fn a_client_follows_those_that_have_held_up_others_no_longer_than_twice_as_long() {
        for (calls, first_follows_second, second_follows_first, third_follows) in [
            (&[][..], true, true, &[1, 2][..]),
            (&[(1, 9000)], true, false, &[2]),
            (&[(1, 9000), (2, 9000)], true, true, &[]),
            (&[(1, 9000), (2, 4500)], true, true, &[]),
            (&[(1, 9000), (2, 4000)], true, false, &[]),
            // One that goes on is told apart from those whose call has failed.
            (&[(1, 200), (2, 10_000)], false, true, &[]),
            (
                &[(1, 9000), (2, 9000), (2, 9000), (2, 9000)],
                false,
                true,
                &[],
            ),
            // However little it is.
            (&[(1, 1), (2, 1000)], true, true, &[]),
            (&[(1, 1), (2, 1001)], false, true, &[]),
        ] {
            let (notes, key) = (after(calls), CacheKey::for_path(KEY));
            let follows = |own, other| {
                let patience = notes.patience_of(&key, Some(client(own)), at(1));
                let other = notes.by_client(&key, Some(client(other)), at(1));
                other.is_none_or(|held_up| held_up <= patience)
            };
            assert_eq!(follows(1, 2), first_follows_second, "{calls:?}");
            assert_eq!(follows(2, 1), second_follows_first, "{calls:?}");
            let found: Vec<_> = [1, 2].into_iter().filter(|of| follows(3, *of)).collect();
            assert_eq!(found, third_follows, "{calls:?}");
            let patience = notes.patience_of(&key, None, at(1));
            assert_eq!(patience, Duration::MAX, "its client is not known");
        }
    }

    #[test]
    fn a_note_is_kept_for_ten_minutes() {
        for (seconds, expected) in [(599, true), (600, false)] {
            let (notes, key) = (after(&[(1, 9000)]), CacheKey::for_path(KEY));
            let held_up = notes.by_client(&key, Some(client(1)), at(seconds));
            assert_eq!(held_up.is_some(), expected);
        }
    }

    /// One that counts for all keys keeps its time where another one is added.
    #[test]
    fn a_sum_is_that_of_ten_minutes() {
        let (key, mut notes) = (CacheKey::for_path(KEY), HoldUps::default());
        for (seconds, expected) in [(0, 1), (300, 2), (599, 3), (900, 1)] {
            notes.note(&key, client(1), Duration::from_secs(1), at(seconds));
            let held_up = notes.by_client(&key, Some(client(1)), at(seconds));
            assert_eq!(held_up, Some(Duration::from_secs(expected)), "{seconds}");
        }
        let other = Note {
            began: Duration::from_secs(800),
            noted: Duration::from_secs(2000),
            ..notes.0[0]
        };
        notes.0[0].replace(&other);
        assert!(notes.0[0].is_current(Duration::from_secs(2500)));
    }

    #[test]
    fn many_notes_of_a_client_do_not_hide_one() {
        let key = |number: u64| CacheKey::for_path(&format!("/{number}"));
        let mut notes = after(&[(1, 9000)]);
        for number in 0..100 {
            notes.note(&key(number), client(1), Duration::from_secs(1), at(0));
        }
        assert!(notes.0.len() < MAX);
        let is_noted = |path: &str, number| {
            let key = CacheKey::for_path(path);
            notes.by_client(&key, Some(client(number)), at(1)).is_some()
        };
        assert!(is_noted(KEY, 1) && is_noted("/other", 1));
        assert!(!is_noted("/other", 2));
        for number in 0..1000 {
            let other = client(number + 10);
            notes.note(&key(number), other, Duration::from_secs(1), at(0));
        }
        assert_eq!(notes.0.len(), MAX);
        let held_up = notes.by_client(&key(1001), Some(client(1009)), at(1));
        assert_eq!(held_up, None, "it has one");
        // One that displaces its own is not forgotten, nor excused by a short one.
        notes.note(&key(0), client(1009), Duration::from_secs(10), at(1));
        notes.note(&key(1), client(1009), Duration::from_millis(1), at(1));
        let held_up = notes.by_client(&key(0), Some(client(1009)), at(1));
        assert!(held_up >= Some(Duration::from_secs(10)), "{held_up:?}");
    }
}
