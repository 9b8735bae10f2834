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

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::flight::patience_for;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;
use crate::shares::ClientId;

use super::bounded_work::{BoundedWork, WorkPermit};
use super::noted_requests::digest_of;

const SETS: usize = 512;
const WAYS: usize = 4;

/// How many short refreshes of a key there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShortRefreshLimits {
    pub(crate) at_once: usize,
    /// The time after which each of them ends.
    pub(crate) timeout: Duration,
    /// The time after which one begins beside a refresh that takes the time it needs.
    pub(crate) patience: Duration,
    /// The time that a call usually takes.
    pub(crate) cost: Duration,
    /// Whether one has brought a response.
    pub(crate) is_proven: bool,
}

#[derive(Debug)]
struct Entry {
    key: CacheKey,
    kind: RequestKind,
    /// The time that a call usually takes.
    cost: Duration,
    /// The number of short refreshes since a response was stored, and when the first began.
    tries: u32,
    since: Moment,
    /// The number of them that it took, on average, since one has helped.
    usual_tries: u32,
    /// When a short refresh has brought a response last.
    helped: Option<Moment>,
    used: Moment,
}

/// The longest usual time that one response speaks for: its request may have been slow for its
/// fields.
const MAX_FIRST_COST: Duration = Duration::from_secs(5);
/// The number of short refreshes without a response after which there are two at once, some of
/// which have more time. After three times as many there are four.
const ENOUGH_TRIES: u32 = 32;
/// Of so many short refreshes one has twice the time; of so many of these one twice as much again.
const ONE_IN: u32 = 8;
/// A short refresh has four times the usual time, or twice that and this.
const ENOUGH_TIME: Duration = Duration::from_secs(2);
/// The time after which there are four times as many short refreshes at once of a page that is slow,
/// and twice as many each time this has passed again.
const TIME_TO_MORE: Duration = Duration::from_secs(5);
/// The longest pause after the beginning of a short refresh that has ended.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The number of short refreshes at once of all keys for which none has brought a response.
const MAX_UNPROVEN: usize = 8;
/// The number of short refreshes at once of all keys for which one has.
const MAX_PROVEN: usize = 64;
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
            since: now,
            usual_tries: 0,
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
        let least = Duration::from_millis(if is_proven { 500 } else { 1000 });
        let enough = self.cost.saturating_mul(2).saturating_add(ENOUGH_TIME);
        let timeout = self.cost.saturating_mul(4).min(enough).max(least);
        // Where most requests are those that hang, the others are not waited for.
        let tries = self.tries.saturating_add(self.usual_tries);
        let patience = match is_proven && self.usual_tries >= TRIES_TO_DOUBLE {
            true => Duration::ZERO,
            false => patience_for(self.cost),
        };
        ShortRefreshLimits {
            at_once: match is_proven {
                // Twice as many after each few of no use.
                true => 4 << (tries / TRIES_TO_DOUBLE).min(3),
                false => self.unproven_at_once(timeout, now),
            },
            timeout: timeout.saturating_mul(self.times_longer()),
            patience,
            is_proven,
            cost: self.cost,
        }
    }

    /// The number of short refreshes at once that take this time, where none has brought a response:
    /// more in the course of time, so that those of a slow page begin as often as those of others.
    fn unproven_at_once(&self, timeout: Duration, now: Moment) -> usize {
        let per_second = match self.tries / ENOUGH_TRIES {
            0 => 1,
            1 | 2 => 2,
            _ => 4,
        };
        let tried_for = match self.tries {
            0 => Duration::ZERO,
            _ => now.since(self.since),
        };
        let at_most = match tried_for.as_secs() / TIME_TO_MORE.as_secs() {
            0 => per_second,
            doublings => 2 << doublings.min(3),
        };
        let seconds = usize::try_from(timeout.as_secs()).unwrap_or(at_most);
        seconds.saturating_mul(per_second).min(at_most)
    }

    /// How many times longer the next one may take, because many may have ended too soon.
    fn times_longer(&self) -> u32 {
        let tries = self.tries.saturating_sub(ENOUGH_TRIES);
        let divides = |times: &u32| tries > 0 && tries.is_multiple_of(ONE_IN.pow(*times));
        1 << (1..=3).take_while(divides).count()
    }

    /// Notes that a response came, which may be a 304.
    fn note_answered(&mut self, is_short: bool, now: Moment) {
        if self.is_proven(now) {
            self.usual_tries = self.usual_tries.saturating_add(self.tries) / 2;
        }
        if is_short {
            self.helped = Some(now);
        } else if self.tries >= USELESS_TRIES {
            // Many were of no use before a long one brought a response.
            self.helped = None;
            self.usual_tries = 0;
        }
        self.tries = 0;
    }

    fn note_stored(&mut self, is_short: bool, now: Moment, cost: Duration) {
        self.note_answered(is_short, now);
        // One slow response makes no request slow: it may be due to its fields. That of a short
        // refresh was not much slower than expected. Nor does a fast one make all fast: short
        // refreshes have four times the usual time, so that half of it leaves them enough.
        let weight = match is_short || cost < self.cost {
            true => 2,
            false => 8,
        };
        let usual = self.cost.saturating_mul(weight - 1);
        self.cost = usual.saturating_add(cost) / weight;
    }
}

type Set = Mutex<[Option<Entry>; WAYS]>;

/// A table of the keys that had short refreshes last, of 2,048 at most. It takes 256 KiB at most,
/// and nothing before the first one. Users must cope with an entry that is missing.
#[derive(Debug, Default)]
pub(crate) struct ShortRefreshTable {
    sets: OnceLock<Box<[Set]>>,
    /// The number of short refreshes under way: of all keys for which none has brought a response,
    /// and of the others.
    under_way: [BoundedWork; 2],
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

    /// The short refreshes that there may be of a key, whose stored response took `cost`; `None` if
    /// there are enough of all keys, or enough of the client.
    pub(crate) fn limits(
        &self,
        key: (&CacheKey, RequestKind),
        client: Option<ClientId>,
        (cost, now): (Duration, Moment),
    ) -> Option<ShortRefreshLimits> {
        let has_room = |limits: ShortRefreshLimits| {
            let (under_way, max) = self.under_way(limits.is_proven);
            under_way.has_room(client, max)
        };
        let limits = self.with_entry(key, |entry| {
            let limits = entry.limits(now);
            // Also after one that has ended sooner.
            let pause = limits.timeout / limits.at_once.max(PAUSES) as u32;
            let rests = entry.tries > 0 && now.since(entry.used) < pause.min(MAX_PAUSE);
            (!rests).then_some(limits)
        });
        let limits = limits.unwrap_or_else(|| Some(Entry::new(key, cost, now).limits(now)));
        limits.filter(|limits| has_room(*limits))
    }

    /// Those of all keys like this one, and how many there may be.
    fn under_way(&self, is_proven: bool) -> (&BoundedWork, usize) {
        let max = if is_proven { MAX_PROVEN } else { MAX_UNPROVEN };
        (&self.under_way[usize::from(is_proven)], max)
    }

    /// Notes that a short refresh of a key begins, whose stored response took `cost`. It is under
    /// way until the permit is dropped.
    pub(crate) fn note_begun(
        &self,
        key: (&CacheKey, RequestKind),
        client: Option<ClientId>,
        (cost, now): (Duration, Moment),
    ) -> WorkPermit {
        let sets = || (0..SETS).map(|_| Set::default()).collect();
        let mut ways = lock(set_of(self.sets.get_or_init(sets), key));
        let way = way_for(&ways, key);
        let entry = match &mut ways[way] {
            Some(entry) if entry.is_of(key) => entry,
            other => other.insert(Entry::new(key, cost, now)),
        };
        if entry.tries == 0 {
            entry.since = now;
        }
        entry.tries = entry.tries.saturating_add(1);
        entry.used = now;
        // As many as begin at one moment may be more than there should be.
        self.under_way(entry.is_proven(now)).0.count(client)
    }

    /// Notes that a 304 has confirmed the stored response, to a short refresh or another call. It
    /// tells nothing of the time that a new body takes.
    pub(crate) fn note_confirmed(
        &self,
        key: (&CacheKey, RequestKind),
        is_short: bool,
        now: Moment,
    ) {
        self.with_entry(key, |entry| entry.note_answered(is_short, now));
    }

    /// Notes that a new response is stored, which took `cost`, by a short refresh or another call.
    pub(crate) fn note_stored(
        &self,
        key: (&CacheKey, RequestKind),
        is_short: bool,
        (now, cost): (Moment, Duration),
    ) {
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
        let limits = table.limits((&key, Plain), None, (COST, at(second)))?;
        Some((limits.at_once, limits.timeout.as_millis()))
    }

    /// So many begin, and end.
    fn try_in_vain(table: &ShortRefreshTable, count: usize) {
        let key = CacheKey::for_path("/a");
        for _ in 0..count {
            drop(table.note_begun((&key, Plain), None, (COST, at(0))));
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
        assert_eq!(limits(&table, 4000), Some((32, 500)), "as were needed");
        try_in_vain(&table, 128);
        stored(false, 4000);
        assert_eq!(limits(&table, 4000), Some((1, 1000)), "of no use any more");
        let of_others = table.limits((&path, WithCookies), None, (COST, at(1)));
        assert_eq!(of_others.map(|limits| limits.at_once), Some(1));
    }

    /// So that they begin as often as those of a fast page: one a second.
    #[test]
    fn there_are_more_at_once_of_a_slow_page_in_the_course_of_time() {
        let (table, path) = (ShortRefreshTable::default(), CacheKey::for_path("/a"));
        let key = (&path, Plain);
        let at_once = |cost, second| {
            let limits = table
                .limits(key, None, (cost, at(second)))
                .expect("there is room");
            (limits.at_once, limits.timeout)
        };
        let slow = COST * 40;
        assert_eq!(at_once(slow, 0), (1, COST * 100));
        drop(table.note_begun(key, None, (slow, at(0))));
        for (second, expected) in [(4, 1), (5, 4), (10, 8), (15, 10), (3600, 10)] {
            assert_eq!(at_once(slow, second).0, expected, "{second}");
        }
        table.note_stored(key, false, (at(20), slow));
        assert_eq!(at_once(slow, 40).0, 1, "it is over");
        for _ in 0..40 {
            table.note_stored(key, false, (at(20), COST));
        }
        drop(table.note_begun(key, None, (COST, at(20))));
        assert_eq!(at_once(COST, 3600), (1, COST * 10), "a fast page");
    }

    #[test]
    fn as_many_are_begun_at_once_as_were_needed_before() {
        let (table, path) = (ShortRefreshTable::default(), CacheKey::for_path("/a"));
        let limits = |second| {
            let limits = table.limits((&path, Plain), None, (COST, at(second)));
            limits.map(|limits| (limits.at_once, limits.patience.is_zero()))
        };
        let stored = |second| table.note_stored((&path, Plain), true, (at(second), COST));
        try_in_vain(&table, 1);
        stored(1);
        assert_eq!(limits(1), Some((4, false)));
        for (tries, expected) in [
            (40, (16, true)),
            (20, (16, true)),
            (1, (8, true)),
            (0, (4, false)),
        ] {
            try_in_vain(&table, tries);
            stored(1);
            assert_eq!(limits(1), Some(expected), "{tries}");
        }
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
            let begin = |number| {
                let other = CacheKey::for_path(&format!("/{name}{number}"));
                let begin = || table.note_begun((&other, Plain), None, (COST, at(0)));
                let permit = begin();
                if !has_helped {
                    return permit;
                }
                drop(permit);
                table.note_stored((&other, Plain), true, (at(0), COST));
                begin()
            };
            (0..count).map(begin).collect::<Vec<_>>()
        };
        let has_room = |key: &CacheKey, client| {
            let limits = table.limits((key, Plain), client, (COST, at(1)));
            limits.is_some()
        };
        let is_room = |key: &CacheKey| has_room(key, None);
        drop(table.note_begun((&proven, Plain), None, (COST, at(0))));
        table.note_stored((&proven, Plain), true, (at(0), COST));
        let unproven = CacheKey::for_path("/a");
        let mut running = begin_others("unproven", 7, false);
        assert!(is_room(&unproven) && is_room(&proven));
        running.extend(begin_others("unproven8", 1, false));
        assert!(!is_room(&unproven) && is_room(&proven));
        running.pop();
        let mut helped = begin_others("proven", 63, true);
        assert!(is_room(&unproven) && is_room(&proven));
        helped.extend(begin_others("proven64", 1, true));
        assert!(is_room(&unproven) && !is_room(&proven));
        helped.pop();
        assert!(is_room(&proven));
        // One client has its share of them.
        running.clear();
        let [own, other] = [1_u64, 2].map(|number| Some(ClientId::from_digest(number << 32)));
        for number in 0..4 {
            assert!(has_room(&unproven, own), "{number}");
            let path = CacheKey::for_path(&format!("/own{number}"));
            running.push(table.note_begun((&path, Plain), own, (COST, at(0))));
        }
        assert!(!has_room(&unproven, own) && has_room(&unproven, other));
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
        table.note_confirmed((&key, Plain), false, at(100));
        assert_eq!(limits(&table, 100), Some((1, 1000)));
    }

    #[test]
    fn a_304_to_a_short_refresh_shows_that_they_help_as_a_new_response_does() {
        let (table, path) = (ShortRefreshTable::default(), CacheKey::for_path("/a"));
        let confirm = |is_short| table.note_confirmed((&path, Plain), is_short, at(1));
        try_in_vain(&table, 1);
        confirm(false);
        assert_eq!(limits(&table, 1), Some((1, 1000)), "another call's");
        confirm(true);
        assert_eq!(limits(&table, 1), Some((4, 500)));
        try_in_vain(&table, USELESS_TRIES as usize);
        confirm(false);
        assert_eq!(limits(&table, 1), Some((1, 1000)), "of no use any more");
    }

    /// A short refresh has to end after a response of the usual time, not before.
    #[test]
    fn one_fast_response_does_not_make_a_slow_key_fast_but_many_do() {
        let (table, path) = (ShortRefreshTable::default(), CacheKey::for_path("/a"));
        let (key, slow) = ((&path, Plain), COST * 15);
        let timeout = || {
            let limits = table.limits(key, None, (slow, at(100)));
            limits.expect("none is under way").timeout
        };
        for is_short in [false, true] {
            drop(table.note_begun(key, None, (slow, at(0))));
            for _ in 0..30 {
                table.note_stored(key, is_short, (at(0), slow));
            }
            table.note_stored(key, is_short, (at(0), COST));
            assert!(timeout() > slow * 2, "{:?}", timeout());
            for _ in 0..40 {
                table.note_stored(key, is_short, (at(0), COST));
            }
            assert!(timeout() < slow, "{:?}", timeout());
        }
    }

    /// Their times are limited, so that they say more than those of calls that take any time.
    #[test]
    fn the_time_of_a_short_refresh_says_more_than_that_of_another_call() {
        let (table, path) = (ShortRefreshTable::default(), CacheKey::for_path("/a"));
        let key = (&path, Plain);
        drop(table.note_begun(key, None, (COST, at(0))));
        table.note_stored(key, true, (at(0), COST * 9));
        let limits = table
            .limits(key, None, (COST, at(1)))
            .expect("there is room");
        assert_eq!(limits.cost, COST * 5);
    }

    #[test]
    fn one_slow_response_does_not_make_a_key_slow_but_many_do() {
        let (table, path) = (ShortRefreshTable::default(), CacheKey::for_path("/a"));
        let (key, slow) = ((&path, Plain), Duration::from_secs(9));
        let cost = || {
            let limits = table.limits(key, None, (slow, at(1)));
            limits.expect("few have begun").cost
        };
        assert_eq!(cost(), Duration::from_secs(5));
        table.note_begun(key, None, (COST, at(0)));
        assert_eq!(cost(), COST);
        table.note_stored(key, false, (at(0), slow));
        assert!(cost() < Duration::from_secs(2), "{:?}", cost());
        for _ in 0..30 {
            table.note_stored(key, false, (at(0), slow));
        }
        assert!(cost() > Duration::from_secs(8), "{:?}", cost());
        for _ in 0..40 {
            table.note_stored(key, false, (at(0), COST));
        }
        assert_eq!(cost(), COST);
    }

    #[test]
    fn the_keys_that_were_used_last_are_known() {
        let table = ShortRefreshTable::default();
        let paths: Vec<_> = (0..3 * SETS * WAYS).map(|n| format!("/{n}")).collect();
        for (path, second) in paths.iter().zip(0..) {
            table.note_begun((&CacheKey::for_path(path), Plain), None, (COST, at(second)));
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
