//! Background refreshes under way: how many of one key there may be at once, and for how long.
//!
//! No request waits for a refresh, and each may hang, with or without a response head, because of
//! the fields of its request. So another one begins beside one that has not ended for a while.
//! Calls that requests wait for have no part in this: a client can force them.
//!
//! | under way | the next one begins |
//! |---|---|
//! | none | at once |
//! | one | after its patience, and ends soon: a *short* one |
//! | some | after four times the patience, which doubles with each; or sooner, if it is short |
//!
//! Patience is twice the time that a call takes, a second at least. Each is made by another request,
//! with its own fields.
//!
//! There are at most five refreshes of a key at once that take the time they need, four short ones,
//! and 32 short ones whose bodies have not come in time.
//!
//! Knows keys, times and digests of requests. Start at [`RefreshesUnderWay::choose_length`].

use std::collections::HashMap;
use std::time::Duration;

use crate::flight::join_rules::JoinRules;
use crate::key::{CacheKey, DigestHash};
use crate::semantics::moment::Moment;

/// The number of refreshes of a key that begin within one takeover timeout, unless they end before.
///
/// With more of them a service that hangs has more calls; with fewer, it takes fewer requests that
/// hang to keep content stale.
const MAX_REFRESHES: usize = 4;

/// The number of refreshes of a key that are under way at once, apart from short ones.
const MAX_LONG: usize = 5;

/// The number of short refreshes of a key at once whose bodies have not come in time.
const MAX_OVERDUE: usize = 32;

/// The shortest time after which a refresh is not the only one.
const MIN_PATIENCE: Duration = Duration::from_secs(1);

/// The time after which a call that usually takes `cost` takes longer than usual.
pub(crate) fn patience_for(cost: Duration) -> Duration {
    cost.saturating_mul(2).max(MIN_PATIENCE)
}

/// The time that a refresh takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshLength {
    /// The time it needs.
    Long,
    /// It ends soon.
    Short,
}

/// A request with which a refresh may be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refreshing {
    /// The digest of its fields.
    pub(crate) request: u32,
    /// The time that its response usually takes.
    pub(crate) cost: Duration,
}

impl Refreshing {
    fn is_among(&self, all: &[UnderWay]) -> bool {
        all.iter().any(|other| other.request == self.request)
    }
}

/// A refresh that ends soon.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShortRefresh {
    pub(crate) refreshing: Refreshing,
    /// The time after which it ends.
    pub(crate) timeout: Duration,
    /// The number of them that there may be of a key at once.
    pub(crate) limit: usize,
}

/// The rules for one more refresh of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefreshRules {
    pub(crate) join_rules: JoinRules,
    /// The request that was answered, if it may make a call that takes the time it needs.
    pub(crate) own: Option<Refreshing>,
}

impl RefreshRules {
    /// The time after which a request may begin a refresh of its own beside others.
    fn patience(&self, cost: Duration) -> Duration {
        let timeout = self.join_rules.takeover_timeout;
        patience_for(cost).min(timeout.max(MIN_PATIENCE))
    }
}

/// All refreshes that have not ended.
#[derive(Debug, Default)]
pub(in crate::flight) struct RefreshesUnderWay(HashMap<CacheKey, Vec<UnderWay>, DigestHash>);

#[derive(Debug)]
struct UnderWay {
    flight_id: u64,
    request: u32,
    length: RefreshLength,
    began: Moment,
}

impl RefreshesUnderWay {
    /// Whether one more may begin, and which time it takes then. `short` is called at most once,
    /// where it counts.
    pub(in crate::flight) fn choose_length(
        &self,
        key: &CacheKey,
        rules: RefreshRules,
        short: impl FnOnce() -> Option<ShortRefresh>,
    ) -> Option<(Refreshing, RefreshLength)> {
        let all = self.0.get(key).map_or(&[][..], Vec::as_slice);
        let age = |other: &UnderWay| rules.join_rules.now.since(other.began);
        let long = || all.iter().filter(|other| !other.is_short()).map(age);
        if let Some(own) = rules.own {
            let is_due = match long().min() {
                None => true,
                Some(waited) => is_long_due(all, own, rules, waited),
            };
            if is_due {
                return Some((own, RefreshLength::Long));
            }
        }
        // None that takes its time may be begun now: such calls have all hung.
        let longest = long().max().unwrap_or(Duration::MAX);
        if longest < MIN_PATIENCE {
            return None;
        }
        let short = short()?;
        let is_due = is_short_due(all, short, longest, age);
        is_due.then_some((short.refreshing, RefreshLength::Short))
    }

    /// Notes that a refresh begins.
    pub(in crate::flight) fn begin(
        &mut self,
        key: CacheKey,
        flight_id: u64,
        (request, length): (Refreshing, RefreshLength),
        began: Moment,
    ) {
        self.0.entry(key).or_default().push(UnderWay {
            flight_id,
            request: request.request,
            length,
            began,
        });
    }

    /// Notes that a flight has ended, if it is that of a refresh.
    pub(in crate::flight) fn end(&mut self, key: &CacheKey, flight_id: u64) {
        let Some(all) = self.0.get_mut(key) else {
            return;
        };
        all.retain(|other| other.flight_id != flight_id);
        if all.is_empty() {
            self.0.remove(key);
        }
    }
}

impl UnderWay {
    fn is_short(&self) -> bool {
        self.length == RefreshLength::Short
    }
}

/// Whether a request may begin one more refresh that takes the time it needs, beside `all` that are
/// under way, the latest of that sort for the time `waited`.
fn is_long_due(all: &[UnderWay], own: Refreshing, rules: RefreshRules, waited: Duration) -> bool {
    let timeout = rules.join_rules.takeover_timeout;
    let now = rules.join_rules.now;
    let long = || all.iter().filter(|other| !other.is_short());
    let counted = || long().filter(|other| now.since(other.began) < timeout);
    let patience = match counted().count() {
        count if count >= MAX_REFRESHES => return false,
        _ if counted().any(|other| other.request == own.request) => return false,
        count => rules.patience(own.cost).saturating_mul(2 << count),
    };
    waited >= patience && long().count() < MAX_LONG
}

/// Whether a short refresh may begin beside `all` that are under way, of which the first has taken
/// the time `longest`.
fn is_short_due(
    all: &[UnderWay],
    short: ShortRefresh,
    longest: Duration,
    age: impl Fn(&UnderWay) -> Duration,
) -> bool {
    let ShortRefresh {
        refreshing,
        timeout,
        limit,
    } = short;
    let all_short = || all.iter().filter(|other| other.is_short());
    // One whose head came in time, and whose body does not, takes no place from others.
    let begun = || all_short().filter(|other| age(other) < timeout);
    let pause = timeout / u32::try_from(limit).unwrap_or(1).max(1);
    longest >= patience_for(refreshing.cost)
        && begun().count() < limit
        && all_short().count() < limit + MAX_OVERDUE
        && begun().all(|other| age(other) >= pause)
        && !refreshing.is_among(all)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::RefreshLength::{Long, Short};
    use super::*;

    const TIMEOUT: u64 = 10;

    fn refreshing(request: u32, cost: u64) -> Refreshing {
        Refreshing {
            request,
            cost: Duration::from_secs(cost),
        }
    }

    fn rules(second: u64, own: Option<Refreshing>) -> RefreshRules {
        RefreshRules {
            join_rules: JoinRules {
                now: Moment::new(Duration::from_secs(second), SystemTime::UNIX_EPOCH),
                not_before: None,
                completed_fills: None,
                takeover_timeout: Duration::from_secs(TIMEOUT),
                fill_timeout: Duration::from_secs(30),
                only_answered: false,
            },
            own,
        }
    }

    /// The length of a refresh that begins; it does then, as the flight with the number of the
    /// second. There may be so many short ones, of 4 s each.
    fn begin(
        refreshes: &mut RefreshesUnderWay,
        (second, request, may_be_long): (u64, u32, bool),
        limit: usize,
    ) -> Option<RefreshLength> {
        let key = CacheKey::for_path("/a");
        let own = refreshing(request, 1);
        let rules = rules(second, may_be_long.then_some(own));
        let short = ShortRefresh {
            refreshing: own,
            timeout: Duration::from_secs(4),
            limit,
        };
        let short = || (limit > 0).then_some(short);
        let other = refreshes.choose_length(&CacheKey::for_path("/b"), rules, short);
        assert_eq!(other.is_some(), may_be_long || limit > 0);
        let begun = refreshes.choose_length(&key, rules, short)?;
        refreshes.begin(key, second, begun, rules.join_rules.now);
        Some(begun.1)
    }

    #[test]
    fn patience_doubles_with_each_refresh() {
        let mut refreshes = RefreshesUnderWay::default();
        // The second, the request, and whether its refresh may begin. A call takes 1 s.
        for (second, request, may_begin) in [
            (0, 1, true),
            (7, 2, false),
            (8, 1, false),
            (8, 2, true),
            // The first does not count any more, and has not ended.
            (15, 1, false),
            (16, 2, false),
            (16, 1, true),
            (17, 3, false),
            (24, 3, true),
        ] {
            let begun = begin(&mut refreshes, (second, request, true), 0);
            assert_eq!(begun.is_some(), may_begin, "{second}, {request}");
        }
        for flight in 0..30 {
            refreshes.end(&CacheKey::for_path("/a"), flight);
        }
        assert!(refreshes.0.is_empty(), "no entry is leaked");
    }

    #[test]
    fn short_refreshes_begin_beside_one_that_hangs() {
        let mut refreshes = RefreshesUnderWay::default();
        // The second, the request, how many short ones there may be, and what begins.
        for (second, request, limit, expected) in [
            (0, 1, 2, Some(Long)),
            (1, 2, 2, None),
            (2, 1, 2, None),
            (2, 2, 0, None),
            (2, 2, 2, Some(Short)),
            (3, 3, 2, None),
            (4, 2, 2, None),
            (4, 3, 1, None),
            (4, 3, 2, Some(Short)),
            (5, 4, 2, None),
            // The first has not ended in time.
            (6, 4, 2, Some(Short)),
            (7, 5, 2, None),
        ] {
            // Only the first may make a call that takes the time it needs.
            let begun = begin(&mut refreshes, (second, request, second == 0), limit);
            assert_eq!(begun, expected, "{second}");
        }
        // Once the long one has ended, the next one is one again.
        refreshes.end(&CacheKey::for_path("/a"), 0);
        assert_eq!(begin(&mut refreshes, (9, 5, true), 2), Some(Long));
    }

    #[test]
    fn a_request_that_may_make_no_long_call_makes_a_short_one() {
        let mut refreshes = RefreshesUnderWay::default();
        assert_eq!(begin(&mut refreshes, (0, 1, false), 0), None);
        assert_eq!(begin(&mut refreshes, (0, 1, false), 1), Some(Short));
        assert_eq!(begin(&mut refreshes, (0, 2, false), 1), None);
    }

    #[test]
    fn few_refreshes_are_under_way_at_once() {
        let mut refreshes = RefreshesUnderWay::default();
        for (second, request) in (0..1000).zip(0..) {
            begin(&mut refreshes, (second, request, true), 4);
        }
        let all = &refreshes.0[&CacheKey::for_path("/a")];
        let short = all.iter().filter(|other| other.is_short()).count();
        assert_eq!((all.len() - short, short), (MAX_LONG, 4 + MAX_OVERDUE));
    }

    /// Also with a takeover timeout of zero.
    #[test]
    fn patience_is_never_shorter_than_a_second() {
        let mut rules = rules(0, None);
        for (timeout, cost, expected) in [(10, 0, 1), (10, 2, 4), (10, 9, 10), (0, 9, 1)] {
            rules.join_rules.takeover_timeout = Duration::from_secs(timeout);
            let patience = rules.patience(Duration::from_secs(cost));
            assert_eq!(patience, Duration::from_secs(expected));
        }
    }
}
