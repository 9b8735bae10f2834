//! Refreshes that end soon, of keys whose refreshes hang.
//!
//! A refresh is made with the fields of the request that was answered. These may be such that it
//! hangs, and a client that sends many requests of that sort would keep content stale. So beside a
//! refresh that takes longer than usual, requests that are answered make short ones, one after the
//! other: with the fields of some client the response comes.
//!
//! A refresh never has other fields than those of its request. A response to fields that were put
//! together, or that another client has sent, is not always one for this client.
//!
//! If the inner service is slow for all, short refreshes are of no use. So there is one at a time of
//! a key, and few of all keys; and more of keys for which one has brought a response: it shows that
//! the others hang for their fields, and the more of these come, the more there are at once. If many
//! bring none, they may have ended too soon: some of the next ones have more time.
//!
//! Knows keys, kinds of requests and times. Start at [`ShortRefreshTable::limits`].

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::flight::ticks;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;

use super::noted_requests::digest_of;

const SETS: usize = 512;
const WAYS: usize = 4;

/// How many short refreshes of a key there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShortRefreshLimits {
    pub(crate) at_once: usize,
    /// The time after which each of them ends.
    pub(crate) timeout: Duration,
    /// The time that a call usually takes.
    pub(crate) cost: Duration,
    /// Whether one has brought a response.
    is_proven: bool,
}

#[derive(Debug)]
struct Entry {
    key: CacheKey,
    kind: RequestKind,
    /// The time that a call usually takes.
    cost: Duration,
    /// The number of short refreshes since a response was stored.
    tries: u32,
    /// When a short refresh has brought a response last.
    helped: Option<Moment>,
    used: Moment,
}

/// The longest usual time that one response speaks for: its request may have been slow for its
/// fields.
const MAX_FIRST_COST: Duration = Duration::from_secs(5);
/// The number of short refreshes without a response after which there are two at once, some of
/// which have more time.
const ENOUGH_TRIES: u32 = 32;
/// Of so many short refreshes one has twice the time; of so many of these one twice as much again.
const ONE_IN: u32 = 8;
/// The number of short refreshes at once of all keys for which none has brought a response.
const MAX_UNPROVEN: usize = 8;
/// The number of short refreshes at once of all keys for which one has.
const MAX_PROVEN: usize = 64;
/// The time for which a response shows that the inner service is well.
const WELL_TTL: Duration = Duration::from_secs(2);
/// The longest time that such a response may have taken.
const WELL_COST: Duration = Duration::from_secs(1);
/// The number of short refreshes without a response after which there are twice as many at once,
/// where one has helped.
const TRIES_TO_DOUBLE: u32 = 8;
/// The next short refresh waits for one of so many parts of the time of one, also if that has ended
/// sooner.
const PAUSES: usize = 4;
/// The number of short refreshes without a response, followed by a long one that brings it, after
/// which they are known to be of no use.
const USELESS_TRIES: u32 = 128;
/// The time for which a short refresh that has brought a response speaks for others.
const HELPED_TTL: Duration = Duration::from_secs(60 * 60);

impl Entry {
    fn new((key, kind): (&CacheKey, RequestKind), cost: Duration, now: Moment) -> Self {
        Self {
            key: *key,
            kind,
            cost: cost.min(MAX_FIRST_COST),
            tries: 0,
            helped: None,
            used: now,
        }
    }

    fn is_of(&self, (key, kind): (&CacheKey, RequestKind)) -> bool {
        self.key == *key && self.kind == kind
    }

    /// Whether a short refresh has brought a response, so that others may.
    fn is_proven(&self, now: Moment) -> bool {
        self.helped.is_some_and(|at| now.since(at) < HELPED_TTL)
    }

    fn limits(&self, now: Moment) -> ShortRefreshLimits {
        let is_proven = self.is_proven(now);
        let (at_once, least) = match is_proven {
            // Twice as many after each few of no use: most requests may be those that hang.
            true => (
                4 << (self.tries / TRIES_TO_DOUBLE).min(3),
                Duration::from_millis(500),
            ),
            false if self.tries >= ENOUGH_TRIES => (2, Duration::from_secs(1)),
            false => (1, Duration::from_secs(1)),
        };
        let timeout = self.cost.saturating_mul(4).max(least);
        ShortRefreshLimits {
            at_once,
            timeout: timeout.saturating_mul(self.times_longer()),
            is_proven,
            cost: self.cost,
        }
    }

    /// How many times longer the next one may take, because many may have ended too soon.
    fn times_longer(&self) -> u32 {
        let tries = self.tries.saturating_sub(ENOUGH_TRIES);
        let divides = |times: &u32| tries > 0 && tries.is_multiple_of(ONE_IN.pow(*times));
        1 << (1..=3).take_while(divides).count()
    }

    fn note_stored(&mut self, is_short: bool, now: Moment, cost: Duration) {
        if is_short {
            self.helped = Some(now);
        } else if self.tries >= USELESS_TRIES {
            // Many were of no use before a long one brought a response.
            self.helped = None;
        }
        self.tries = 0;
        // One slow response makes no request slow: it may be due to its fields. That of a short
        // refresh was not much slower than expected.
        let weight = if is_short { 2 } else { 8 };
        let usual = &mut self.cost;
        *usual = cost.min(usual.saturating_mul(weight - 1).saturating_add(cost) / weight);
    }
}

type Set = Mutex<[Option<Entry>; WAYS]>;

/// A table of the keys that had short refreshes last, of 2,048 at most. It takes 256 KiB at most,
/// and nothing before the first one. Users must cope with an entry that is missing.
#[derive(Debug, Default)]
pub(crate) struct ShortRefreshTable {
    sets: OnceLock<Box<[Set]>>,
    /// When a response was stored last that had come fast, in [`ticks`].
    stored: AtomicU32,
    /// The number of short refreshes under way: of all keys for which none has brought a response,
    /// and of the others.
    under_way: [AtomicUsize; 2],
}

impl ShortRefreshTable {
    fn with_entry<R>(
        &self,
        key: (&CacheKey, RequestKind),
        use_entry: impl FnOnce(&mut Entry) -> R,
    ) -> Option<R> {
        let mut ways = lock(set_of(self.sets.get()?, key));
        let mut entries = ways.iter_mut().flatten();
        Some(use_entry(entries.find(|entry| entry.is_of(key))?))
    }

    /// Whether a short refresh of a key has begun since a response was stored.
    pub(crate) fn is_tried(&self, key: (&CacheKey, RequestKind)) -> bool {
        (self.with_entry(key, |entry| entry.tries > 0)).unwrap_or(true)
    }

    /// Whether a response shows that the inner service is well.
    pub(crate) fn is_well(&self, now: Moment) -> bool {
        let stored = self.stored.load(Ordering::Relaxed);
        stored > 0 && ticks(now.monotonic()).saturating_sub(stored) <= ticks(WELL_TTL)
    }

    /// The short refreshes that there may be of a key, whose stored response took `cost`; `None` if
    /// there are enough of all keys.
    pub(crate) fn limits(
        &self,
        key: (&CacheKey, RequestKind),
        cost: Duration,
        now: Moment,
    ) -> Option<ShortRefreshLimits> {
        let has_room = |limits: ShortRefreshLimits| self.has_room(limits.is_proven);
        let limits = self.with_entry(key, |entry| {
            let limits = entry.limits(now);
            // Also after one that has ended sooner.
            let pause = limits.timeout / limits.at_once.max(PAUSES) as u32;
            let rests = entry.tries > 0 && now.since(entry.used) < pause;
            (!rests).then_some(limits)
        });
        let limits = limits.unwrap_or_else(|| Some(Entry::new(key, cost, now).limits(now)));
        limits.filter(|limits| has_room(*limits))
    }

    /// Whether there may be one more of all keys like this one.
    fn has_room(&self, is_proven: bool) -> bool {
        let under_way = &self.under_way[usize::from(is_proven)];
        let max = if is_proven { MAX_PROVEN } else { MAX_UNPROVEN };
        under_way.load(Ordering::Relaxed) < max
    }

    /// Notes that a short refresh has ended, as which it was begun.
    pub(crate) fn note_ended(&self, is_proven: bool) {
        self.under_way[usize::from(is_proven)].fetch_sub(1, Ordering::Relaxed);
    }

    /// Notes that a short refresh of a key begins, whose stored response took `cost`. It is under
    /// way until [`note_ended`](Self::note_ended). Returns whether one has brought a response.
    pub(crate) fn note_begun(
        &self,
        key: (&CacheKey, RequestKind),
        cost: Duration,
        now: Moment,
    ) -> bool {
        let sets = || (0..SETS).map(|_| Set::default()).collect();
        let mut ways = lock(set_of(self.sets.get_or_init(sets), key));
        let way = way_for(&ways, key);
        let entry = match &mut ways[way] {
            Some(entry) if entry.is_of(key) => entry,
            other => other.insert(Entry::new(key, cost, now)),
        };
        entry.tries = entry.tries.saturating_add(1);
        entry.used = now;
        let is_proven = entry.is_proven(now);
        self.under_way[usize::from(is_proven)].fetch_add(1, Ordering::Relaxed);
        is_proven
    }

    /// Notes that a 304 has confirmed the stored response. It tells nothing of the time that a new
    /// body takes.
    pub(crate) fn note_confirmed(&self, key: (&CacheKey, RequestKind)) {
        self.with_entry(key, |entry| entry.tries = 0);
    }

    /// Notes that a new response is stored, which took `cost`, by a short refresh or another call.
    pub(crate) fn note_stored(
        &self,
        key: (&CacheKey, RequestKind),
        is_short: bool,
        (now, cost): (Moment, Duration),
    ) {
        if cost < WELL_COST {
            let now = ticks(now.monotonic()).max(1);
            self.stored.store(now, Ordering::Relaxed);
        }
        self.with_entry(key, |entry| entry.note_stored(is_short, now, cost));
    }
}

fn set_of<'s>(sets: &'s [Set], (key, kind): (&CacheKey, RequestKind)) -> &'s Set {
    &sets[digest_of(key, kind) as usize % SETS]
}

fn lock(set: &Set) -> MutexGuard<'_, [Option<Entry>; WAYS]> {
    // No critical section panics between two steps that belong together.
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The slot for the entry of a key: its own, an empty one, or that which was used before all others.
fn way_for(ways: &[Option<Entry>; WAYS], key: (&CacheKey, RequestKind)) -> usize {
    let rank = |way: &Option<Entry>| match way {
        Some(entry) if entry.is_of(key) => (0, Duration::ZERO),
        None => (1, Duration::ZERO),
        Some(entry) => (2, entry.used.monotonic()),
    };
    (0..WAYS).min_by_key(|way| rank(&ways[*way])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::semantics::request_kind::RequestKind::{Plain, WithCookies};

    const COST: Duration = Duration::from_millis(100);

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH)
    }

    /// How many there may be at once, and for how many milliseconds each.
    fn limits(table: &ShortRefreshTable, second: u64) -> Option<(usize, u128)> {
        let key = CacheKey::for_path("/a");
        let limits = table.limits((&key, Plain), COST, at(second))?;
        Some((limits.at_once, limits.timeout.as_millis()))
    }

    /// So many begin, and end.
    fn try_in_vain(table: &ShortRefreshTable, count: usize) {
        let key = CacheKey::for_path("/a");
        for _ in 0..count {
            let is_proven = table.note_begun((&key, Plain), COST, at(0));
            table.note_ended(is_proven);
        }
    }

    #[test]
    fn there_are_more_at_once_only_where_one_has_helped_or_many_have_not() {
        let (table, path) = (ShortRefreshTable::default(), CacheKey::for_path("/a"));
        let stored = |is_short, second| {
            table.note_stored((&path, Plain), is_short, (at(second), COST));
        };
        stored(true, 0);
        assert_eq!(limits(&table, 1), Some((1, 1000)), "none has begun");
        try_in_vain(&table, 31);
        assert_eq!(limits(&table, 1), Some((1, 1000)));
        try_in_vain(&table, 1);
        assert_eq!(limits(&table, 1), Some((2, 1000)));
        stored(false, 0);
        assert_eq!(
            limits(&table, 0),
            Some((1, 1000)),
            "another call's response"
        );
        try_in_vain(&table, 1);
        stored(true, 2);
        assert_eq!(limits(&table, 3601), Some((4, 500)));
        assert_eq!(limits(&table, 3602), Some((1, 1000)), "for an hour");
        stored(true, 4000);
        stored(false, 4000);
        assert_eq!(limits(&table, 4000), Some((4, 500)));
        for (tries, at_once) in [(7, 4), (1, 8), (8, 16), (8, 32), (100, 32)] {
            try_in_vain(&table, tries);
            let found = limits(&table, 4000).map(|(at_once, _)| at_once);
            assert_eq!(found, Some(at_once));
        }
        stored(false, 4000);
        assert_eq!(limits(&table, 4000), Some((4, 500)));
        try_in_vain(&table, 128);
        stored(false, 4000);
        assert_eq!(limits(&table, 4000), Some((1, 1000)), "of no use any more");
        let of_others = table.limits((&path, WithCookies), COST, at(1));
        assert_eq!(of_others.map(|limits| limits.at_once), Some(1));
    }

    #[test]
    fn one_that_ends_at_once_is_not_followed_at_once() {
        let (table, path) = (ShortRefreshTable::default(), CacheKey::for_path("/a"));
        let key = (&path, Plain);
        assert!(table.is_tried(key), "nothing is known");
        try_in_vain(&table, 1);
        assert_eq!(limits(&table, 0), None);
        assert!(limits(&table, 1).is_some() && table.is_tried(key));
        table.note_stored(key, true, (at(0), COST));
        assert!(limits(&table, 0).is_some() && !table.is_tried(key));
    }

    #[test]
    fn there_are_few_of_all_keys_and_more_of_those_for_which_one_has_helped() {
        let (table, proven) = (ShortRefreshTable::default(), CacheKey::for_path("/proven"));
        let begin_others = |name: &str, count: usize, has_helped: bool| {
            for number in 0..count {
                let other = CacheKey::for_path(&format!("/{name}{number}"));
                let key = (&other, Plain);
                let is_proven = table.note_begun(key, COST, at(0));
                if has_helped {
                    table.note_ended(is_proven);
                    table.note_stored(key, true, (at(0), COST));
                    assert!(table.note_begun(key, COST, at(0)), "{number}");
                }
            }
        };
        let is_room = |key: &CacheKey| table.limits((key, Plain), COST, at(1)).is_some();
        table.note_ended(table.note_begun((&proven, Plain), COST, at(0)));
        table.note_stored((&proven, Plain), true, (at(0), COST));
        let unproven = CacheKey::for_path("/a");
        begin_others("unproven", 7, false);
        assert!(is_room(&unproven) && is_room(&proven));
        begin_others("unproven8", 1, false);
        assert!(!is_room(&unproven) && is_room(&proven));
        table.note_ended(false);
        begin_others("proven", 63, true);
        assert!(is_room(&unproven) && is_room(&proven));
        begin_others("proven64", 1, true);
        assert!(is_room(&unproven) && !is_room(&proven));
        table.note_ended(true);
        assert!(is_room(&proven));
    }

    #[test]
    fn where_many_bring_no_response_some_have_more_time() {
        let table = ShortRefreshTable::default();
        let mut times = Vec::new();
        for _ in 0..ENOUGH_TRIES + 64 {
            let (_, millis) = limits(&table, 100).expect("there is room");
            times.push(millis / 1000);
            try_in_vain(&table, 1);
        }
        let (first, later) = times.split_at(ENOUGH_TRIES as usize + 1);
        assert!(first.iter().all(|time| *time == 1), "{first:?}");
        let count = |time| later.iter().filter(|other| **other == time).count();
        assert_eq!([1, 2, 4, 8].map(count), [56, 7, 0, 0]);
        try_in_vain(&table, 1);
        let key = CacheKey::for_path("/a");
        table.note_confirmed((&key, Plain));
        assert_eq!(limits(&table, 100), Some((1, 1000)));
    }

    #[test]
    fn a_fast_response_shows_that_the_service_is_well_for_a_moment() {
        let (table, path) = (ShortRefreshTable::default(), CacheKey::for_path("/a"));
        assert!(!table.is_well(at(10)));
        table.note_stored((&path, Plain), false, (at(10), COST * 10));
        assert!(!table.is_well(at(10)), "a slow one");
        table.note_stored((&path, Plain), false, (at(10), COST));
        assert!(table.is_well(at(12)) && !table.is_well(at(13)));
    }

    /// Their times are limited, so that they say more than those of calls that take any time.
    #[test]
    fn the_time_of_a_short_refresh_says_more_than_that_of_another_call() {
        let (table, path) = (ShortRefreshTable::default(), CacheKey::for_path("/a"));
        let key = (&path, Plain);
        table.note_ended(table.note_begun(key, COST, at(0)));
        table.note_stored(key, true, (at(0), COST * 9));
        let limits = table.limits(key, COST, at(1)).expect("there is room");
        assert_eq!(limits.cost, COST * 5);
    }

    #[test]
    fn one_slow_response_does_not_make_a_key_slow_but_many_do() {
        let (table, path) = (ShortRefreshTable::default(), CacheKey::for_path("/a"));
        let (key, slow) = ((&path, Plain), Duration::from_secs(9));
        let cost = || {
            let limits = table.limits(key, slow, at(1));
            limits.expect("few have begun").cost
        };
        assert_eq!(cost(), Duration::from_secs(5));
        table.note_begun(key, COST, at(0));
        assert_eq!(cost(), COST);
        table.note_stored(key, false, (at(0), slow));
        assert!(cost() < Duration::from_secs(2), "{:?}", cost());
        for _ in 0..30 {
            table.note_stored(key, false, (at(0), slow));
        }
        assert!(cost() > Duration::from_secs(8), "{:?}", cost());
        table.note_stored(key, false, (at(0), COST));
        assert_eq!(cost(), COST);
    }

    #[test]
    fn the_keys_that_were_used_last_are_known() {
        let table = ShortRefreshTable::default();
        let paths: Vec<_> = (0..3 * SETS * WAYS).map(|n| format!("/{n}")).collect();
        for (path, second) in paths.iter().zip(0..) {
            table.note_begun((&CacheKey::for_path(path), Plain), COST, at(second));
        }
        let is_known = |path: &&String| {
            let key = CacheKey::for_path(path);
            table.with_entry((&key, Plain), |_| ()).is_some()
        };
        let known = paths.iter().filter(is_known).count();
        assert!((SETS * WAYS / 2..=SETS * WAYS).contains(&known), "{known}");
        assert!(is_known(&&paths[paths.len() - 1]));
        let first = paths[..SETS].iter().filter(is_known).count();
        assert!(first < SETS / 10, "{first}");
    }
}
