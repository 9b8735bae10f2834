//! Background refreshes under way: how many of one key there may be at once, and with which fields.
//!
//! No request waits for a refresh, and each may hang, with or without a response head, because of
//! the fields of its request. So another one begins beside one that has not ended for a while.
//! Calls that requests wait for have no part in this: a client can force them.
//!
//! | under way | the next one begins | with the fields of |
//! |---|---|---|
//! | none | at once | the request that was answered |
//! | none, after calls that have failed | at once | the proven request, if it has not failed, too |
//! | others than the proven request | after its patience | the proven request |
//! | the proven request, too | after the takeover timeout | the request that was answered |
//! | some, and no request is proven | after the patience, which doubles with each | the same |
//! | some, and the inner service is well | after a part of the usual time | the same, and ends soon |
//!
//! Patience is twice the time that a call takes, a second at least.
//!
//! A *proven* request is one with whose fields the key was stored before, or one with none but
//! those that select the stored response. No client chooses these now, so they bring a response
//! whatever others send. If they bring none in time either, it is not the fields that make a call
//! slow, and more calls would not help.
//!
//! It may also be answered at once, with a response of no use: the page wants a cookie, which only
//! its clients have. Then the inner service is well, and a call that hangs does so for its fields.
//! So many requests are tried, one after the other, each for a short time.
//!
//! There are at most five refreshes of a key at once with the fields of requests that were
//! answered, three with those of the proven request, and four short ones.
//!
//! Knows keys, times and digests of requests. Start at [`RefreshesUnderWay::choose_request`].

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

/// The number of refreshes of a key that are under way at once with the fields of requests that were
/// answered, apart from short ones.
const MAX_OWN: usize = 5;

/// The number of those with the fields of the proven request, in its different forms.
const MAX_PROVEN: usize = 3;

/// The shortest time after which a refresh is not the only one.
const MIN_PATIENCE: Duration = Duration::from_secs(1);

/// The time after which a call that usually takes `cost` takes longer than usual.
pub(crate) fn patience_for(cost: Duration) -> Duration {
    cost.saturating_mul(2).max(MIN_PATIENCE)
}

/// The fields that a refresh is made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshFields {
    /// Those of the request that was answered.
    Own,
    /// Those of the request that was answered, in a refresh that ends soon.
    OwnShort,
    /// Those of the proven request.
    Proven,
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

/// The refreshes of a key with other fields, or for a short time, as far as there may be any. Each
/// function is called at most once, where it counts.
pub(crate) struct OtherRefreshes<P, S> {
    /// The proven request.
    pub(crate) proven: P,
    /// The request that was answered, in a refresh that ends soon.
    pub(crate) short: S,
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
    /// The request that was answered; `None` if it may not make the call.
    pub(crate) own: Option<Refreshing>,
    /// Whether the last call for the key has brought nothing.
    pub(crate) has_failed: bool,
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
    fields: RefreshFields,
    began: Moment,
}

impl RefreshesUnderWay {
    /// The request with whose fields one more may begin, if so.
    pub(in crate::flight) fn choose_request(
        &self,
        key: &CacheKey,
        rules: RefreshRules,
        others: OtherRefreshes<
            impl FnOnce() -> Option<Refreshing>,
            impl FnOnce() -> Option<ShortRefresh>,
        >,
    ) -> Option<(Refreshing, RefreshFields)> {
        let all = self.0.get(key).map_or(&[][..], Vec::as_slice);
        let age = |other: &UnderWay| rules.join_rules.now.since(other.began);
        let long = || all.iter().filter(|other| !other.is_short());
        let Some(waited) = long().map(age).min() else {
            let own = rules.own.map(|own| (own, RefreshFields::Own));
            let proven = || (others.proven)().map(|proven| (proven, RefreshFields::Proven));
            return match rules.has_failed {
                true => proven().or(own),
                false => own.or_else(proven),
            };
        };
        let longest = long().map(age).max()?;
        if longest < MIN_PATIENCE {
            return None;
        }
        let next = match waited < MIN_PATIENCE {
            true => None,
            false => next_long(all, rules, waited, others.proven),
        };
        next.or_else(|| {
            let short = (others.short)()?;
            let is_due = is_short_due(all, short, longest, age);
            is_due.then_some((short.refreshing, RefreshFields::OwnShort))
        })
    }

    /// Notes that a refresh begins.
    pub(in crate::flight) fn begin(
        &mut self,
        key: CacheKey,
        flight_id: u64,
        (request, fields): (Refreshing, RefreshFields),
        began: Moment,
    ) {
        self.0.entry(key).or_default().push(UnderWay {
            flight_id,
            request: request.request,
            fields,
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
        self.fields == RefreshFields::OwnShort
    }

    fn is_own(&self) -> bool {
        self.fields == RefreshFields::Own
    }

    fn is_proven(&self) -> bool {
        self.fields == RefreshFields::Proven
    }
}

/// The request of one more refresh that takes the time it needs, beside `all` that are under way,
/// the latest for the time `waited`.
fn next_long(
    all: &[UnderWay],
    rules: RefreshRules,
    waited: Duration,
    proven: impl FnOnce() -> Option<Refreshing>,
) -> Option<(Refreshing, RefreshFields)> {
    if let Some(proven) = proven().filter(|proven| !proven.is_among(all)) {
        let count = all.iter().filter(|other| other.is_proven()).count();
        let is_due = waited >= patience_for(proven.cost) && count < MAX_PROVEN;
        return is_due.then_some((proven, RefreshFields::Proven));
    }
    let own = rules.own?;
    let count = all.iter().filter(|other| other.is_own()).count();
    let is_due = waited >= wait_for_own(all, own, rules) && count < MAX_OWN;
    is_due.then_some((own, RefreshFields::Own))
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
    let begun = || all.iter().filter(|other| other.is_short());
    let pause = timeout / u32::try_from(limit).unwrap_or(1).max(1);
    longest >= patience_for(refreshing.cost)
        && begun().count() < limit
        && begun().all(|other| age(other) >= pause)
        && !refreshing.is_among(all)
}

/// The time after the latest refresh at which a request may begin another one with its own fields,
/// beside `all` that are under way.
fn wait_for_own(all: &[UnderWay], own: Refreshing, rules: RefreshRules) -> Duration {
    let timeout = rules.join_rules.takeover_timeout;
    let patience = rules.patience(own.cost);
    let now = rules.join_rules.now;
    let counted = || {
        let long = all.iter().filter(|other| !other.is_short());
        long.filter(|other| now.since(other.began) < timeout)
    };
    match counted().count() {
        _ if counted().any(UnderWay::is_proven) => timeout.max(patience),
        0 => patience,
        count if count >= MAX_REFRESHES => Duration::MAX,
        _ if counted().any(|other| other.request == own.request) => Duration::MAX,
        count => patience.saturating_mul(1 << (count - 1)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::RefreshFields::{Own, OwnShort, Proven};
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
            has_failed: false,
        }
    }

    /// The fields with which a refresh begins; it does then, as the flight with the number of the
    /// second.
    fn begin(
        refreshes: &mut RefreshesUnderWay,
        second: u64,
        own: Option<Refreshing>,
        proven: Option<Refreshing>,
    ) -> Option<RefreshFields> {
        let key = CacheKey::for_path("/a");
        let rules = rules(second, own);
        let others = || OtherRefreshes {
            proven: || proven,
            short: || None,
        };
        let other = refreshes.choose_request(&CacheKey::for_path("/b"), rules, others());
        assert_eq!(other.is_some(), own.or(proven).is_some());
        let (request, fields) = refreshes.choose_request(&key, rules, others())?;
        refreshes.begin(key, second, (request, fields), rules.join_rules.now);
        Some(fields)
    }

    #[test]
    fn patience_doubles_with_each_refresh_where_no_request_is_proven() {
        let mut refreshes = RefreshesUnderWay::default();
        // The second, the request, and whether its refresh may begin. A call takes 1 s.
        for (second, request, may_begin) in [
            (0, 1, true),
            (1, 2, false),
            (2, 1, false),
            (2, 2, true),
            (4, 3, false),
            (5, 3, false),
            (6, 2, false),
            (6, 3, true),
            (9, 4, false),
            // Those that began before 4 do not count any more.
            (14, 1, true),
            (17, 3, true),
        ] {
            let own = Some(refreshing(request, 1));
            let begun = begin(&mut refreshes, second, own, None);
            assert_eq!(begun.is_some(), may_begin, "{second}, {request}");
        }
        for flight in 0..20 {
            refreshes.end(&CacheKey::for_path("/a"), flight);
        }
        assert!(refreshes.0.is_empty(), "no entry is leaked");
    }

    #[test]
    fn the_proven_request_comes_first_and_nothing_follows_one_that_hangs() {
        let mut refreshes = RefreshesUnderWay::default();
        let proven = |cost| Some(refreshing(100, cost));
        for (second, own, proven, expected) in [
            (0, Some(1), proven(1), Some(Own)),
            (1, Some(2), proven(1), None),
            (2, Some(2), proven(2), None),
            // However slow a stored response was.
            (2, Some(2), proven(1), Some(Proven)),
            (4, Some(3), proven(1), None),
            (4, Some(3), None, None),
            (11, Some(3), proven(1), None),
            (12, None, proven(1), None),
            (12, Some(3), proven(1), Some(Own)),
            (14, None, Some(refreshing(101, 1)), Some(Proven)),
            (24, None, None, None),
        ] {
            // That at 2 is a request for a response that has come slowly.
            let own = own.map(|request| refreshing(request, if second == 2 { 9 } else { 1 }));
            let begun = begin(&mut refreshes, second, own, proven);
            assert_eq!(begun, expected, "{second}");
        }
    }

    #[test]
    fn a_request_that_may_not_call_leaves_it_to_the_proven_one() {
        let mut refreshes = RefreshesUnderWay::default();
        let proven = Some(refreshing(100, 1));
        assert_eq!(begin(&mut refreshes, 0, None, None), None);
        assert_eq!(begin(&mut refreshes, 0, None, proven), Some(Proven));
    }

    #[test]
    fn the_proven_request_follows_one_that_has_failed() {
        let refreshes = RefreshesUnderWay::default();
        let (own, proven) = (Some(refreshing(1, 1)), Some(refreshing(100, 1)));
        for (has_failed, proven, expected) in [
            (false, proven, Own),
            (true, proven, Proven),
            (true, None, Own),
        ] {
            let rules = RefreshRules {
                has_failed,
                ..rules(0, own)
            };
            let others = OtherRefreshes {
                proven: || proven,
                short: || None,
            };
            let chosen = refreshes.choose_request(&CacheKey::for_path("/a"), rules, others);
            assert_eq!(chosen.map(|(_, fields)| fields), Some(expected));
        }
    }

    #[test]
    fn short_refreshes_begin_beside_one_that_hangs() {
        let mut refreshes = RefreshesUnderWay::default();
        let key = CacheKey::for_path("/a");
        let short = |request, limit| ShortRefresh {
            refreshing: refreshing(request, 1),
            timeout: Duration::from_secs(4),
            limit,
        };
        // The second, the request, how many short ones there may be, and what begins.
        for (second, request, limit, expected) in [
            (0, 1, 2, Some(Own)),
            (1, 2, 2, None),
            (2, 1, 2, None),
            (2, 2, 0, None),
            (2, 2, 2, Some(OwnShort)),
            (3, 3, 2, None),
            (4, 2, 2, None),
            (4, 3, 1, None),
            (4, 3, 2, Some(OwnShort)),
            (9, 4, 2, None),
            (9, 4, 3, Some(OwnShort)),
        ] {
            // Only the first may make a call that takes the time it needs.
            let own = (second == 0).then(|| refreshing(request, 1));
            let rules = rules(second, own);
            let others = OtherRefreshes {
                proven: || None,
                short: || (limit > 0).then(|| short(request, limit)),
            };
            let chosen = refreshes.choose_request(&key, rules, others);
            assert_eq!(chosen.map(|(_, fields)| fields), expected, "{second}");
            if let Some(chosen) = chosen {
                refreshes.begin(key, second, chosen, rules.join_rules.now);
            }
        }
        // Once the long one has ended, the next one is one again.
        refreshes.end(&key, 0);
        let own = Some(refreshing(5, 1));
        assert_eq!(begin(&mut refreshes, 9, own, None), Some(Own));
    }

    #[test]
    fn few_refreshes_are_under_way_at_once() {
        let mut refreshes = RefreshesUnderWay::default();
        for second in 0..1000 {
            let own = Some(refreshing(second, 1));
            let proven = (second % 3 == 0).then(|| refreshing(second + 1000, 1));
            begin(&mut refreshes, second.into(), own, proven);
        }
        let all = &refreshes.0[&CacheKey::for_path("/a")];
        let count = |fields| all.iter().filter(|other| other.fields == fields).count();
        assert_eq!(
            (count(Own), count(Proven), all.len()),
            (MAX_OWN, MAX_PROVEN, 8)
        );
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
