//! The clients whose flights have held up others.
//!
//! No request of another client waits for the next flights of such a client: it leads one itself.
//! That costs a call for each time a response is needed, seldom two, so little is lost where the
//! service is slow for all.
//!
//! A client is noted for ten minutes. No call of another client excuses it: two clients that are slow
//! would vouch for each other. But one that is noted itself follows those that are [like it](HoldUp::is_like),
//! so that a slow service has few more calls.
//!
//! Data under the lock of the table. Start at [`HoldUps::note_in_vain`].

mod hold_up;
pub(super) mod let_downs;
pub(super) mod many_keys;
pub(super) mod others_wait;
pub(super) mod patience;

use std::sync::Arc;
use std::time::Duration;

use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::shares::{ClientId, replaced};
use hold_up::{HoldUp, MAX, TTL, is_current};
use many_keys::ManyKeys;
use others_wait::Waited;
use patience::is_long;

/// The clients that have held up others, for each key. The first note was made before the others.
#[derive(Default)]
pub(super) struct HoldUps {
    notes: Vec<Note>,
    many_keys: Arc<ManyKeys>,
}

/// A call that has brought an answer late, or to no use for those who have waited.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlowCall {
    pub(super) client: ClientId,
    pub(super) took: Duration,
    /// By the monotonic clock.
    pub(super) until: Duration,
}

#[derive(Clone, Copy)]
struct Note {
    /// Without its variant.
    key: CacheKey,
    client: ClientId,
    /// The shortest of its calls that have brought an answer, if one has.
    usual: Option<Duration>,
    /// The times of its calls that brought an answer while others waited, and their number.
    slow: Duration,
    slow_calls: u32,
    /// The longest of these.
    slowest: Duration,
    /// How long others have waited for its calls in vain, in all and for one of them.
    in_vain: Duration,
    longest_in_vain: Duration,
    /// Whether it counts for all keys: another one of its client has made way.
    is_for_all: bool,
    /// The time of its first wait, by the monotonic clock.
    began: Duration,
    /// The time of its last wait, by the monotonic clock.
    noted: Duration,
}

impl Note {
    fn new(key: CacheKey, client: ClientId, now: Duration) -> Self {
        Self {
            key,
            client,
            usual: None,
            slow: Duration::ZERO,
            slow_calls: 0,
            slowest: Duration::ZERO,
            in_vain: Duration::ZERO,
            longest_in_vain: Duration::ZERO,
            is_for_all: false,
            began: now,
            noted: now,
        }
    }

    fn is_current(&self, now: Duration) -> bool {
        is_current(self.noted, now)
    }

    fn hold_up(&self) -> HoldUp {
        let usual = self.usual.unwrap_or_default();
        let slower = self
            .slow
            .saturating_sub(usual.saturating_mul(self.slow_calls));
        HoldUp {
            usual: self.usual,
            slower,
            slowest: self.slowest,
            in_vain: self.in_vain,
            longest_in_vain: self.longest_in_vain,
        }
    }

    /// Notes how long a call has taken that brought a response.
    fn add_usual(&mut self, took: Duration) {
        self.usual = Some(self.usual.map_or(took, |usual| usual.min(took)));
    }

    /// Makes it count for all keys, in the place of another one of its client.
    fn replace(&mut self, other: &Note) {
        let both = self.hold_up().max(other.hold_up());
        self.usual = both.usual;
        // What is beyond the usual stays that.
        (self.slow, self.slow_calls) = (both.slower, 0);
        self.slowest = both.slowest;
        self.in_vain = both.in_vain;
        self.longest_in_vain = both.longest_in_vain;
        self.is_for_all = true;
        self.began = self.began.max(other.began);
        self.noted = self.noted.max(other.noted);
    }
}

impl HoldUps {
    /// Without notes. `many_keys` is that of all stripes.
    pub(super) fn new(many_keys: Arc<ManyKeys>) -> Self {
        Self {
            notes: Vec::new(),
            many_keys,
        }
    }

    /// Notes that others have waited for a flight of a client in vain.
    pub(super) fn note_in_vain(&mut self, key: &CacheKey, waited: Waited) {
        let note = self.latest(key, waited.client, waited.until);
        note.in_vain = note.in_vain.saturating_add(waited.time);
        note.longest_in_vain = note.longest_in_vain.max(waited.in_all);
        if is_long(waited.in_all) {
            self.many_keys.note_in_vain(key, waited);
        }
    }

    /// Notes that others have waited for an answer that came: for long, or to no use, as it is not for
    /// them. Of the time that its call took, so much had been `noted` as in vain.
    pub(super) fn note_slow(&mut self, key: &CacheKey, call: SlowCall, noted: Duration) {
        let SlowCall {
            client,
            took,
            until,
        } = call;
        let note = self.latest(key, client, until);
        note.in_vain = note.in_vain.saturating_sub(noted);
        note.longest_in_vain = note.longest_in_vain.min(note.in_vain);
        note.slow = note.slow.saturating_add(took);
        note.slow_calls += 1;
        note.slowest = note.slowest.max(took);
        note.add_usual(took);
        self.many_keys.take_back(key, client, noted);
    }

    /// Notes how long a call has taken for whose response nobody has waited for long, if its client is
    /// noted.
    pub(super) fn note_usual(&mut self, key: &CacheKey, client: ClientId, took: Duration) {
        let key = key.primary();
        let mut notes = self.notes.iter_mut();
        if let Some(note) = notes.find(|note| note.key == key && note.client == client) {
            note.add_usual(took);
        }
    }

    /// The note on a client, which is the latest one now.
    fn latest(&mut self, key: &CacheKey, client: ClientId, now: Duration) -> &mut Note {
        let key = key.primary();
        self.notes.retain(|note| note.is_current(now));
        let is_same = |note: &Note| note.key == key && note.client == client;
        let mut note = Note::new(key, client, now);
        if let Some(at) = self.notes.iter().position(is_same) {
            let earlier = self.notes.remove(at);
            let noted = earlier.noted.max(now);
            // The sums are those of about ten minutes, too.
            if noted.saturating_sub(earlier.began) < TTL {
                note = Note { noted, ..earlier };
            }
        }
        let clients = self.notes.iter().map(|note| Some(note.client));
        if let Some(replaced) = replaced(Some(client), clients, MAX) {
            let may_be = |note: &Note| replaced.may_be_of(Some(note.client));
            let first = self.notes.iter().position(may_be);
            let removed = self.notes.remove(first.unwrap_or(0));
            let is_of_same = |note: &&mut Note| note.client == removed.client;
            let rest = self.notes.iter_mut().chain([&mut note]);
            if let Some(rest) = rest.rev().find(is_of_same) {
                rest.replace(&removed);
            }
        }
        self.notes.push(note);
        let last = self.notes.len() - 1;
        &mut self.notes[last]
    }

    /// For how long a client has held up others; `None` if it has not.
    fn by_client(&self, key: &CacheKey, client: ClientId, now: Duration) -> Option<HoldUp> {
        let key = key.primary();
        let notes = self.notes.iter().filter(|note| note.client == client);
        let notes = notes.filter(|note| note.is_for_all || note.key == key);
        let current = notes.filter(|note| note.is_current(now));
        let at_all = self.many_keys.hold_up(client, now);
        current.map(Note::hold_up).chain(at_all).reduce(HoldUp::max)
    }

    /// Whether a request of `own` client waits for no calls of another one, because that has held up
    /// others, and its own client has not done so like it. One that is not known waits for all.
    pub(super) fn avoids(
        &self,
        key: &CacheKey,
        (own, other): (Option<ClientId>, ClientId),
        now: Moment,
    ) -> bool {
        if self.notes.is_empty() && !self.many_keys.has_notes(now.monotonic()) {
            return false;
        }
        let by_client = |client| self.by_client(key, client, now.monotonic());
        let (Some(own), Some(other)) = (own, by_client(other)) else {
            return false;
        };
        !by_client(own).is_some_and(|own| own.is_like(other))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const KEY: &str = "/a";

    pub(super) fn client(number: u64) -> ClientId {
        ClientId::from_digest(number << 32)
    }

    pub(super) fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH)
    }

    /// What a call has come to that others have waited for, or nobody has.
    #[derive(Clone, Copy, Debug)]
    enum End {
        Slow,
        InVain,
        Alone,
    }
    use End::{Alone, InVain, Slow};

    pub(super) fn waited(number: u64, milliseconds: u64, until: u64) -> Waited {
        let time = Duration::from_millis(milliseconds);
        Waited {
            client: client(number),
            time,
            in_all: time,
            until: Duration::from_secs(until),
        }
    }

    fn slow(number: u64, milliseconds: u64) -> SlowCall {
        SlowCall {
            client: client(number),
            took: Duration::from_millis(milliseconds),
            until: Duration::ZERO,
        }
    }

    /// The notes after calls of clients that took so many milliseconds.
    fn after(calls: &[(u64, End, u64)]) -> HoldUps {
        let (key, mut notes) = (CacheKey::for_path(KEY), HoldUps::default());
        for (number, end, took) in calls.iter().copied() {
            match end {
                Slow => notes.note_slow(&key, slow(number, took), Duration::ZERO),
                InVain => notes.note_in_vain(&key, waited(number, took, 0)),
                Alone => {
                    let took = Duration::from_millis(took);
                    notes.note_usual(&key, client(number), took);
                }
            }
        }
        notes
    }

    /// Whether the first client follows the second one.
    fn follows(notes: &HoldUps, own: u64, other: u64, seconds: u64) -> bool {
        let key = CacheKey::for_path(KEY);
        !notes.avoids(&key, (Some(client(own)), client(other)), at(seconds))
    }

    /// Whether the first two clients follow each other.
    #[test]
    fn a_client_follows_those_that_have_held_up_others_like_it() {
        for (calls, first_follows_second, second_follows_first) in [
            (&[][..], true, true),
            (&[(1, Alone, 9000)], true, true),
            (&[(1, Slow, 9000)], true, false),
            (&[(1, Slow, 9000), (2, Slow, 9000)], true, true),
            (&[(1, Slow, 9000), (2, Slow, 4500)], true, true),
            (&[(1, Slow, 9000), (2, Slow, 4000)], true, false),
            // What is usual adds up to nothing.
            (
                &[
                    (1, Slow, 1500),
                    (2, Slow, 1500),
                    (2, Slow, 1500),
                    (2, Slow, 1500),
                ],
                true,
                true,
            ),
            // It was slow for a reason that it does not have any more.
            (
                &[
                    (1, Slow, 9000),
                    (1, Alone, 50),
                    (2, Slow, 5000),
                    (2, Alone, 50),
                ],
                true,
                true,
            ),
            (
                &[(1, Slow, 9000), (1, Alone, 50), (2, Slow, 9000)],
                false,
                false,
            ),
            // What is usual for the one is no credit for the other.
            (
                &[
                    (1, Slow, 1500),
                    (1, Slow, 1500),
                    (1, Slow, 1500),
                    (2, InVain, 2000),
                ],
                false,
                false,
            ),
            // One that goes on is told apart from those whose call has failed.
            (&[(1, InVain, 200), (2, InVain, 10_000)], false, true),
            (
                &[
                    (1, InVain, 9000),
                    (2, InVain, 9000),
                    (2, InVain, 9000),
                    (2, InVain, 9000),
                ],
                false,
                true,
            ),
            // Refusals that take a second, of one who holds up others by them.
            (
                &[(1, InVain, 200), (1, Alone, 50), (2, Slow, 950)],
                false,
                true,
            ),
            // Many ordinary waits are no credit for one that has no end.
            (
                &[
                    (1, InVain, 2000),
                    (1, InVain, 2000),
                    (1, InVain, 2000),
                    (2, InVain, 6000),
                ],
                false,
                true,
            ),
            // An answer is better than none.
            (
                &[(1, Slow, 5000), (1, Alone, 50), (2, InVain, 5000)],
                false,
                true,
            ),
            // However little it is.
            (&[(1, InVain, 1), (2, InVain, 1000)], true, true),
            (&[(1, InVain, 1), (2, InVain, 1001)], false, true),
        ] {
            let notes = after(calls);
            assert_eq!(follows(&notes, 1, 2, 1), first_follows_second, "{calls:?}");
            assert_eq!(follows(&notes, 2, 1, 1), second_follows_first, "{calls:?}");
            // One that has held up nobody.
            for number in [1, 2] {
                let has_held_up =
                    |call: &&(u64, End, u64)| call.0 == number && !matches!(call.1, Alone);
                let expected = calls.iter().find(has_held_up).is_none();
                assert_eq!(follows(&notes, 3, number, 1), expected, "{calls:?}");
            }
            let key = CacheKey::for_path(KEY);
            assert!(
                !notes.avoids(&key, (None, client(1)), at(1)),
                "it is not known"
            );
        }
    }

    /// Those who had given up were held up, but not in vain.
    #[test]
    fn a_wait_that_was_noted_counts_once_if_a_response_comes() {
        let mut notes = after(&[(1, InVain, 10_000)]);
        let key = CacheKey::for_path(KEY);
        notes.note_slow(&key, slow(1, 12_000), Duration::from_secs(10));
        let expected = HoldUp {
            usual: Some(Duration::from_secs(12)),
            slowest: Duration::from_secs(12),
            ..HoldUp::default()
        };
        let held_up = notes.by_client(&key, client(1), Duration::ZERO);
        assert_eq!(held_up, Some(expected));
    }

    #[test]
    fn a_note_is_kept_for_ten_minutes() {
        for end in [Slow, InVain] {
            let notes = after(&[(1, end, 9000)]);
            assert!(!follows(&notes, 2, 1, 599));
            assert!(follows(&notes, 2, 1, 600));
        }
    }

    #[test]
    fn a_sum_is_that_of_ten_minutes() {
        let (key, mut notes) = (CacheKey::for_path(KEY), HoldUps::default());
        for (seconds, expected) in [(0, 1), (300, 2), (599, 3), (900, 1)] {
            notes.note_in_vain(&key, waited(1, 1000, seconds));
            let held_up = notes.by_client(&key, client(1), Duration::from_secs(seconds));
            assert_eq!(
                held_up.map(|held_up| held_up.in_vain.as_secs()),
                Some(expected)
            );
        }
        let other = Note {
            began: Duration::from_secs(800),
            noted: Duration::from_secs(2000),
            ..notes.notes[0]
        };
        notes.notes[0].replace(&other);
        assert!(notes.notes[0].is_current(Duration::from_secs(2500)));
    }

    #[test]
    fn many_notes_of_a_client_do_not_hide_one() {
        let key = |number: u64| CacheKey::for_path(&format!("/{number}"));
        let mut notes = after(&[(1, Slow, 9000)]);
        for number in 0..100 {
            notes.note_in_vain(&key(number), waited(1, 1000, 0));
        }
        assert!(notes.notes.len() < MAX);
        let is_noted = |path: &str, number| {
            let key = CacheKey::for_path(path);
            let held_up = notes.by_client(&key, client(number), Duration::from_secs(1));
            held_up.is_some()
        };
        assert!(is_noted(KEY, 1) && is_noted("/other", 1));
        assert!(!is_noted("/other", 2));
        for number in 0..1000 {
            notes.note_in_vain(&key(number), waited(number + 10, 1000, 0));
        }
        assert_eq!(notes.notes.len(), MAX);
        let held_up = notes.by_client(&key(1001), client(1009), Duration::from_secs(1));
        assert_eq!(held_up, None, "it has one");
        // One that displaces its own is not forgotten, nor excused by a short one.
        notes.note_in_vain(&key(0), waited(1009, 10_000, 1));
        notes.note_in_vain(&key(1), waited(1009, 1, 1));
        let held_up = notes.by_client(&key(0), client(1009), Duration::from_secs(1));
        let more = held_up.map(|held_up| held_up.in_vain);
        assert!(more >= Some(Duration::from_secs(10)), "{more:?}");
    }
}
