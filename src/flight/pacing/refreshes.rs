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
//! | some, and no request is proven any more | after the patience, which doubles with each | the same |
//!
//! Patience is twice the time that a call takes, a second at least.
//!
//! A *proven* request is one with whose fields the key was stored before. No client chooses these
//! now, so they bring a response whatever others send. If they bring none in time either, it is not
//! the fields that make a call slow, and more calls would not help.
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
    /// The request with whose fields one more may begin, if so. `proven` is called where the proven
    /// request counts.
    pub(in crate::flight) fn choose_request(
        &self,
        key: &CacheKey,
        rules: RefreshRules,
        proven: impl FnOnce() -> Option<Refreshing>,
    ) -> Option<(Refreshing, RefreshFields)> {
        let all = self.0.get(key).map_or(&[][..], Vec::as_slice);
        let age = |other: &UnderWay| rules.join_rules.now.since(other.began);
        let Some(waited) = all.iter().map(age).min() else {
            let own = rules.own.map(|own| (own, RefreshFields::Own));
            let proven = || proven().map(|proven| (proven, RefreshFields::Proven));
            return match rules.has_failed {
                true => proven().or(own),
                false => own.or_else(proven),
            };
        };
        if waited < MIN_PATIENCE {
            return None;
        }
        let is_other = |this: &Refreshing| all.iter().all(|other| other.request != this.request);
        if let Some(proven) = proven().filter(is_other) {
            let is_due = waited >= patience_for(proven.cost);
            return is_due.then_some((proven, RefreshFields::Proven));
        }
        let own = rules.own?;
        let is_due = waited >= wait_for_own(all, own, rules);
        is_due.then_some((own, RefreshFields::Own))
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

/// The time after the latest refresh at which a request may begin another one with its own fields,
/// beside `all` that are under way.
fn wait_for_own(all: &[UnderWay], own: Refreshing, rules: RefreshRules) -> Duration {
    let timeout = rules.join_rules.takeover_timeout;
    let patience = rules.patience(own.cost);
    let now = rules.join_rules.now;
    let counted = || all.iter().filter(|other| now.since(other.began) < timeout);
    match counted().count() {
        _ if counted().any(|other| other.fields == RefreshFields::Proven) => timeout.max(patience),
        0 => patience,
        count if count >= MAX_REFRESHES => Duration::MAX,
        _ if counted().any(|other| other.request == own.request) => Duration::MAX,
        count => patience.saturating_mul(1 << (count - 1)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::RefreshFields::{Own, Proven};
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
        let other = refreshes.choose_request(&CacheKey::for_path("/b"), rules, || proven);
        assert_eq!(other.is_some(), own.or(proven).is_some());
        let (request, fields) = refreshes.choose_request(&key, rules, || proven)?;
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
            let chosen = refreshes.choose_request(&CacheKey::for_path("/a"), rules, || proven);
            assert_eq!(chosen.map(|(_, fields)| fields), Some(expected));
        }
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
