//! What single requests have caused, held against requests with the same fields.
//!
//! A failure or a refusal may be due to any field of its request. So it is noted for requests with
//! the same fields, by a digest of them, and says nothing of others. Once [`MAX_NOTED`] different
//! requests for a key have been noted, with no success between them, it is the key: the notes hold
//! for all of its requests of that kind. Where clients are known, one client has its
//! [share](replaced) of the notes of a key, so that the requests of several have to be noted. That
//! share holds for all of the client's own requests.
//!
//! Knows keys, kinds of requests and digests, not what a note means. [`NotedRequests`] is the
//! table; start at [`NotedRequests::find`]. [`RequestDigester`] makes the digests.

mod digest;
mod working;

pub(crate) use digest::{RequestDigest, RequestDigester};
pub(crate) use working::WorkingRequests;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::flight::ticks;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;
use crate::shares::{may_take, replaced};

/// The number of different requests of a key and kind that are noted. As many of them in a row
/// speak for all.
///
/// It is the number of calls that a failing inner service gets for a key per backoff, and of odd
/// requests in a row that it takes to mislead the cache about a key. A client with a few fields of
/// its own stays below it; a page that fails for all reaches it with the first burst.
pub(crate) const MAX_NOTED: usize = 8;

const SETS: usize = 1024;
const WAYS: usize = 4;

/// The requests that a note is about, or for which one is looked up: those for a key, of one kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotedKey {
    set: usize,
    tag: u64,
}

/// A digest of a key that differs between the kinds of requests.
pub(super) const fn digest_of(key: &CacheKey, kind: RequestKind) -> u64 {
    key.short_digest().rotate_left(kind as u32 * 16)
}

impl NotedKey {
    /// Requests of this kind for this key.
    pub(crate) fn new(key: &CacheKey, kind: RequestKind) -> Self {
        let digest = digest_of(key, kind);
        Self {
            set: digest as usize % SETS,
            // 0 is an empty slot.
            tag: digest.max(1),
        }
    }
}

/// A table of notes, of 4096 keys at most; a fifth key of the same four slots replaces the one with
/// the fewest notes, which takes the fewest requests to have anew. A note is a number other than 0.
///
/// It takes 136 KiB, and up to 512 KiB more for its notes. Users must cope with notes that are
/// missing too early, and with a key or a request that is taken for another (digests are compared).
#[derive(Debug, Default)]
pub(crate) struct NotedRequests(
    /// Made when the first note is taken.
    OnceLock<Box<[NotedSet]>>,
);

#[derive(Debug, Default)]
struct NotedSet {
    /// The tags of the keys. Written under the lock; read without, because few keys have notes.
    tags: [AtomicU64; WAYS],
    notes: Mutex<[Vec<Note>; WAYS]>,
}

/// A note on one request of a key.
#[derive(Clone, Copy, Debug)]
struct Note {
    request: RequestDigest,
    /// In ticks.
    expiry: u32,
    value: u8,
    /// More about it, for people.
    detail: u8,
}

impl Note {
    fn is_current(&self, now: u32) -> bool {
        now < self.expiry
    }
}

/// The notes of a key, as a request sees them. Notes are combined to one number; 0 if there are
/// none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noted {
    /// The number of different requests that are noted; [`MAX_NOTED`] at most, and also where the
    /// client of this request has its share of the notes, which then speak for it.
    pub(crate) count: usize,
    /// The note on requests with the same fields.
    pub(crate) alike: u8,
    /// The notes on all requests.
    pub(crate) any: u8,
    /// What the notes on all requests have in common.
    pub(crate) common: u8,
    /// The detail of the note on requests with the same fields, or else of the last one.
    pub(crate) detail: u8,
    /// Whether all notes are on requests of one client, which is known.
    pub(crate) is_of_one_client: bool,
}

impl Noted {
    fn new(notes: &[Note], request: RequestDigest) -> Self {
        // A request is noted once.
        let alike = notes.iter().find(|note| note.request == request);
        let telling = alike.or(notes.last());
        let client = notes.last().and_then(|note| note.request.client());
        let is_of_client = |note: &Note| note.request.client() == client;
        let is_own = |note: &&Note| note.request.client() == request.client();
        let own = match request.client() {
            Some(_) => notes.iter().filter(is_own).count(),
            None => 0,
        };
        // However many of them there are: it gets no further one.
        let speaks_for_own = own > 0 && !may_take(own, notes.len(), MAX_NOTED);
        Self {
            is_of_one_client: client.is_some() && notes.iter().all(is_of_client),
            detail: telling.map_or(0, |note| note.detail),
            count: match speaks_for_own {
                true => MAX_NOTED,
                false => notes.len(),
            },
            alike: alike.map_or(0, |note| note.value),
            any: notes.iter().fold(0, |any, note| any | note.value),
            common: notes.iter().fold(u8::MAX, |all, note| all & note.value),
        }
    }

    /// What holds for the request: the note on requests with its fields, or all notes where there
    /// are [`MAX_NOTED`].
    pub(crate) fn holding(self) -> u8 {
        match self.count >= MAX_NOTED {
            true => self.any,
            false => self.alike,
        }
    }
}

impl NotedSet {
    fn notes(&self) -> MutexGuard<'_, [Vec<Note>; WAYS]> {
        // No critical section panics between two steps that belong together.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn way_of(&self, tag: u64) -> Option<usize> {
        let mut tags = self.tags.iter();
        tags.position(|other| other.load(Ordering::Relaxed) == tag)
    }

    /// The slot of a key: its own, or the one with the fewest notes, which are removed. Of these
    /// the one whose notes end first.
    fn way_for(&self, notes: &mut [Vec<Note>; WAYS], tag: u64, now: u32) -> usize {
        self.way_of(tag).unwrap_or_else(|| {
            let worth = |way: &usize| {
                let current = notes[*way].iter().filter(|note| note.is_current(now));
                let count = current.clone().count();
                (count, current.map(|note| note.expiry).max())
            };
            let way = (0..WAYS).min_by_key(worth).unwrap_or(0);
            notes[way].clear();
            self.tags[way].store(tag, Ordering::Relaxed);
            way
        })
    }
}

impl NotedRequests {
    /// The set of a key, if it may have notes.
    fn set_of(&self, key: NotedKey) -> Option<&NotedSet> {
        let set = &self.0.get()?[key.set];
        set.way_of(key.tag).map(|_| set)
    }

    /// Changes the notes of a key, if it may have some. They lie under its tag.
    fn change<R>(
        &self,
        key: NotedKey,
        change: impl FnOnce(&AtomicU64, &mut Vec<Note>) -> R,
    ) -> Option<R> {
        let set = self.set_of(key)?;
        let mut all = set.notes();
        let way = set.way_of(key.tag)?;
        Some(change(&set.tags[way], &mut all[way]))
    }

    /// The current notes of a key, as a request sees them.
    ///
    /// `request` is called only if there are some.
    pub(crate) fn find(
        &self,
        key: NotedKey,
        now: Moment,
        request: impl FnOnce() -> RequestDigest,
    ) -> Noted {
        let now = ticks(now.monotonic());
        let find = |_: &_, notes: &mut Vec<Note>| {
            notes.retain(|note| note.is_current(now));
            match notes.is_empty() {
                true => Noted::default(),
                false => Noted::new(notes, request()),
            }
        };
        self.change(key, find).unwrap_or_default()
    }

    /// Notes something of requests with these fields for the time `ttl`, in place of an earlier
    /// note. A `ttl` of zero removes it.
    pub(crate) fn note(
        &self,
        key: NotedKey,
        request: RequestDigest,
        value: u8,
        now: Moment,
        ttl: Duration,
    ) {
        self.note_with_detail((key, request), (value, 0), now, ttl);
    }

    /// Like [`note`](Self::note), with a detail that explanations have.
    pub(crate) fn note_with_detail(
        &self,
        (key, request): (NotedKey, RequestDigest),
        (value, detail): (u8, u8),
        now: Moment,
        ttl: Duration,
    ) {
        let expiry = ticks(now.monotonic().saturating_add(ttl));
        let now = ticks(now.monotonic());
        let sets = || (0..SETS).map(|_| NotedSet::default()).collect();
        let set = &self.0.get_or_init(sets)[key.set];
        let mut all = set.notes();
        let way = set.way_for(&mut all, key.tag, now);
        let notes = &mut all[way];
        notes.retain(|note| note.is_current(now) && note.request != request);
        if ttl.is_zero() {
            return;
        }
        let clients = notes.iter().map(|note| note.request.client());
        if let Some(replaced) = replaced(request.client(), clients, MAX_NOTED) {
            let may_be = |index: &usize| replaced.may_be_of(notes[*index].request.client());
            let candidates = (0..notes.len()).filter(may_be);
            let first = candidates.min_by_key(|index| notes[*index].expiry);
            notes.swap_remove(first.unwrap_or(0));
        }
        notes.push(Note {
            request,
            expiry,
            value,
            detail,
        });
    }

    /// Removes the note on requests with these fields.
    fn remove(&self, key: NotedKey, request: RequestDigest) {
        self.change(key, |_, notes| notes.retain(|note| note.request != request));
    }

    /// Lets a note on requests with these fields end at most `ttl` from now, if there is one with
    /// the value `before`. It has the value `after` from then on.
    pub(crate) fn shorten(
        &self,
        key: NotedKey,
        request: RequestDigest,
        (before, after): (u8, u8),
        now: Moment,
        ttl: Duration,
    ) {
        let expiry = ticks(now.monotonic().saturating_add(ttl));
        self.change(key, |_, notes| {
            for note in notes {
                if note.request == request && note.value == before {
                    note.value = after;
                    note.expiry = note.expiry.min(expiry);
                }
            }
        });
    }

    /// Removes all notes of a key: one of its requests had success.
    pub(crate) fn forget(&self, key: NotedKey) {
        self.change(key, |tag, notes| {
            notes.clear();
            tag.store(0, Ordering::Relaxed);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::semantics::request_kind::RequestKind::{Plain, WithCookies};
    use crate::shares::ClientId;

    const TEN: Duration = Duration::from_secs(10);

    fn key(path: &str) -> NotedKey {
        NotedKey::new(&CacheKey::for_path(path), Plain)
    }

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH)
    }

    fn requests(count: usize) -> Vec<RequestDigest> {
        let digester = RequestDigester::default();
        let digest = |number| {
            let fields = [(
                "x-number".parse().expect("a name"),
                HeaderValue::from(number),
            )];
            digester.digest(b"", &HeaderMap::from_iter(fields))
        };
        (0..count).map(digest).collect()
    }

    #[test]
    fn a_note_holds_for_its_time_and_for_requests_with_the_same_fields() {
        let notes = NotedRequests::default();
        let requests = requests(2);
        let find =
            |key, second, index: usize| notes.find(key, at(second), || requests[index]).holding();
        let other_kind = NotedKey::new(&CacheKey::for_path("/a"), WithCookies);
        assert_eq!(find(key("/a"), 0, 0), 0);
        notes.note(key("/a"), requests[0], 2, at(0), TEN);
        assert_eq!(find(key("/a"), 9, 0), 2);
        assert_eq!(find(key("/a"), 9, 1), 0);
        assert_eq!(find(key("/b"), 9, 0), 0);
        assert_eq!(find(other_kind, 9, 0), 0);
        assert_eq!(notes.find(key("/a"), at(9), || requests[1]).any, 2);
        assert_eq!(find(key("/a"), 10, 0), 0);

        notes.note(key("/a"), requests[0], 1, at(10), TEN);
        notes.note(key("/a"), requests[0], 2, at(11), TEN);
        notes.note(key("/a"), requests[1], 4, at(11), TEN);
        assert_eq!((find(key("/a"), 20, 0), find(key("/a"), 20, 1)), (2, 4));
        assert_eq!(notes.find(key("/a"), at(20), || requests[1]).any, 6);
        notes.note(key("/a"), requests[0], 2, at(12), Duration::ZERO);
        assert_eq!(find(key("/a"), 12, 0), 0);
        notes.forget(other_kind);
        assert_eq!(find(key("/a"), 12, 1), 4);
        notes.forget(key("/a"));
        assert_eq!(find(key("/a"), 12, 1), 0);
    }

    #[test]
    fn as_many_different_requests_as_are_noted_speak_for_all() {
        let notes = NotedRequests::default();
        let requests = requests(2 * MAX_NOTED);
        let other = requests[MAX_NOTED + 1];
        let find = |second| notes.find(key("/a"), at(second), || other).holding();
        for (second, request) in (0..).zip(&requests[..MAX_NOTED]) {
            assert_eq!(find(second), 0);
            // One request is one, however often it is noted.
            for _ in 0..3 {
                notes.note(key("/a"), *request, 1, at(second), TEN);
            }
        }
        assert_eq!((find(8), find(9)), (1, 1));
        let alike = |request| notes.find(key("/a"), at(9), || request).alike;
        assert_eq!((alike(requests[0]), alike(other)), (1, 0));
        assert_eq!(find(10), 0, "one of the notes has ended");
        notes.note(key("/a"), requests[MAX_NOTED], 2, at(10), TEN);
        assert_eq!(find(10), 3);
        // The note that ends first makes way.
        notes.note(key("/a"), other, 4, at(10), TEN);
        assert_eq!(find(11), 7);
        notes.forget(key("/a"));
        assert_eq!(find(11), 0);
    }

    /// The requests of one client, whose notes are renewed again and again, do not speak for all.
    #[test]
    fn a_client_has_its_share_of_the_notes_of_a_key() {
        let requests = requests(100);
        let client = |number: u64| Some(ClientId::from_digest(number << 32));
        let count_for = |notes: &NotedRequests, client| {
            let noted = notes.find(key("/a"), at(9), || requests[99].with_client(client));
            (noted.count, noted.is_of_one_client)
        };
        let count = |notes: &NotedRequests| count_for(notes, None);
        let notes = NotedRequests::default();
        let note = |number: usize, client| {
            let request = requests[number].with_client(client);
            notes.note(key("/a"), request, 1, at(0), TEN);
        };
        (0..3).for_each(|number| note(number, client(1)));
        assert_eq!(count_for(&notes, client(1)), (3, true));
        (0..50).for_each(|number| note(number, client(1)));
        assert_eq!(count(&notes), (4, true));
        assert_eq!(count_for(&notes, client(1)), (MAX_NOTED, true));
        assert_eq!(count_for(&notes, client(2)), (4, true));
        (50..60).for_each(|number| note(number, client(2)));
        assert_eq!(count(&notes), (6, false));
        (60..62).for_each(|number| note(number, client(3)));
        note(62, client(4));
        assert_eq!(count(&notes), (MAX_NOTED, false));
        // One more is noted in place of one of the client that has most.
        note(63, client(5));
        let alike = |number: usize| notes.find(key("/a"), at(9), || requests[number]).alike;
        let of_first = (0..50).filter(|number| alike(*number) != 0).count();
        assert_eq!((of_first, alike(63)), (3, 1));

        // Three clients in turn have two each, and get no more.
        let notes = NotedRequests::default();
        for (number, request) in requests[..30].iter().enumerate() {
            let request = request.with_client(client(number as u64 % 3));
            notes.note(key("/a"), request, 1, at(0), TEN);
        }
        let counts = [0, 1, 2, 3].map(|number| count_for(&notes, client(number)).0);
        assert_eq!(counts, [MAX_NOTED, MAX_NOTED, MAX_NOTED, 6]);
        // Unknown clients have any place.
        let unknown = NotedRequests::default();
        for request in &requests[..50] {
            unknown.note(key("/a"), *request, 1, at(0), TEN);
        }
        assert_eq!(count(&unknown), (MAX_NOTED, false));
    }

    #[test]
    fn a_note_can_be_shortened() {
        let notes = NotedRequests::default();
        let request = requests(1)[0];
        let find = |second| notes.find(key("/a"), at(second), || request).holding();
        notes.shorten(key("/a"), request, (1, 1), at(0), TEN);
        assert_eq!(find(0), 0);
        notes.note(key("/a"), request, 1, at(0), 2 * TEN);
        notes.shorten(key("/a"), request, (2, 2), at(0), TEN);
        assert_eq!(find(19), 1);
        notes.shorten(key("/a"), request, (1, 1), at(0), TEN);
        notes.shorten(key("/a"), request, (1, 1), at(5), TEN);
        assert_eq!((find(9), find(10)), (1, 0));
        notes.note(key("/a"), request, 1, at(10), TEN);
        notes.shorten(key("/a"), request, (1, 4), at(10), TEN);
        assert_eq!((find(19), find(20)), (4, 0));
    }

    /// Also those of one resource, and of all kinds.
    #[test]
    fn keys_are_spread_over_the_whole_table() {
        let notes = NotedRequests::default();
        let request = requests(1)[0];
        let key = CacheKey::for_path("/a");
        let digester = std::hash::RandomState::new();
        let digest = |number| u128::from(std::hash::BuildHasher::hash_one(&digester, number));
        // As those of queries are, all bits of a digest are in one half.
        let keys: Vec<_> = (0..256)
            .flat_map(|number: u32| [digest(number), digest(number) << 64])
            .map(|digest| key.with_variant(digest))
            .flat_map(|key| [Plain, WithCookies].map(|kind| NotedKey::new(&key, kind)))
            .collect();
        keys.iter()
            .for_each(|key| notes.note(*key, request, 1, at(0), TEN));
        let found = keys
            .iter()
            .filter(|key| notes.find(**key, at(1), || request).any != 0);
        assert!(found.count() > 1000, "a quarter of the places is taken");
    }

    /// A flood of single notes on other keys pushes out no key with several.
    #[test]
    fn a_key_with_many_notes_outlives_those_with_one() {
        let notes = NotedRequests::default();
        let requests = requests(MAX_NOTED);
        for request in &requests {
            notes.note(key("/a"), *request, 1, at(0), TEN);
        }
        notes.note(key("/b"), requests[0], 1, at(0), TEN);
        for number in 0..20_000 {
            notes.note(key(&format!("/{number}")), requests[0], 1, at(1), TEN);
        }
        let find = |path, second| notes.find(key(path), at(second), || requests[0]).count;
        assert_eq!((find("/a", 2), find("/b", 2)), (MAX_NOTED, 0));
        // Notes that have ended do not count.
        for number in 0..20_000 {
            notes.note(key(&format!("/{number}")), requests[0], 1, at(11), TEN);
        }
        assert_ne!(find("/19999", 12), 0);
    }

    /// Promise: every table is bounded, whatever keys clients send.
    #[test]
    fn many_keys_have_notes_in_bounded_memory_and_the_latest_stay() {
        let notes = NotedRequests::default();
        let requests = requests(2 * MAX_NOTED);
        for number in 0..10_000 {
            for request in &requests {
                notes.note(key(&format!("/{number}")), *request, 1, at(number), TEN);
            }
        }
        assert_ne!(notes.find(key("/9999"), at(9999), || requests[0]).any, 0);
        let sets = notes.0.get().expect("some");
        let all = sets.iter().flat_map(|set| set.notes().clone());
        let longest = all.map(|notes| notes.capacity()).max();
        assert_eq!((sets.len() * WAYS, longest), (4096, Some(MAX_NOTED)));
        assert!(size_of::<NotedSet>() <= 136 && size_of::<Note>() <= 16);
    }
}
