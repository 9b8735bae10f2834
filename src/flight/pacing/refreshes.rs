//! Background refreshes under way: how many of one key there may be at once.
//!
//! No request waits for a refresh, and each may hang because of the fields of its request. So
//! another one begins beside one that has had no response for a while, for a request with other
//! fields. Calls that requests wait for have no part in this: a client can force them.
//!
//! Knows keys, times and digests of requests. Start at [`RefreshesUnderWay::may_begin`].

use std::collections::HashMap;
use std::time::Duration;

use crate::flight::join_rules::JoinRules;
use crate::key::{CacheKey, DigestHash};
use crate::semantics::moment::Moment;

/// The number of refreshes of a key that begin within one takeover timeout, unless they end before.
///
/// With more of them a service that hangs has more calls; with fewer, it takes fewer requests that
/// hang to keep content stale.
pub(super) const MAX_REFRESHES: usize = 4;

/// The rules for one more refresh of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefreshRules {
    pub(crate) join_rules: JoinRules,
    /// The time for which the latest refresh has had no response, at least.
    pub(crate) patience: Duration,
    /// The digest of the request, which must be another one than those of the others.
    pub(crate) request: u32,
}

/// All refreshes that have not ended.
#[derive(Debug, Default)]
pub(in crate::flight) struct RefreshesUnderWay(HashMap<CacheKey, Vec<UnderWay>, DigestHash>);

#[derive(Debug)]
struct UnderWay {
    flight_id: u64,
    request: u32,
    began: Moment,
}

impl RefreshesUnderWay {
    /// Whether one more may begin.
    pub(in crate::flight) fn may_begin(&self, key: &CacheKey, rules: RefreshRules) -> bool {
        let Some(all) = self.0.get(key) else {
            return true;
        };
        let age = |other: &UnderWay| rules.join_rules.now.since(other.began);
        let is_latest_young = all
            .last()
            .is_some_and(|latest| age(latest) < rules.patience);
        let timeout = rules.join_rules.takeover_timeout;
        let mut counted = all.iter().filter(|other| age(other) < timeout);
        !is_latest_young
            && counted.clone().count() < MAX_REFRESHES
            && counted.all(|other| other.request != rules.request)
    }

    /// Notes that a refresh begins.
    pub(in crate::flight) fn begin(&mut self, key: CacheKey, flight_id: u64, rules: RefreshRules) {
        self.0.entry(key).or_default().push(UnderWay {
            flight_id,
            request: rules.request,
            began: rules.join_rules.now,
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn rules(second: u64, request: u32) -> RefreshRules {
        RefreshRules {
            join_rules: JoinRules {
                now: Moment::new(Duration::from_secs(second), SystemTime::UNIX_EPOCH),
                not_before: None,
                completed_fills: None,
                takeover_timeout: Duration::from_secs(10),
                fill_timeout: Duration::from_secs(30),
                only_answered: false,
            },
            patience: Duration::from_secs(2),
            request,
        }
    }

    #[test]
    fn a_few_refreshes_of_different_requests_begin_beside_slow_ones() {
        let key = CacheKey::for_path("/a");
        let mut refreshes = RefreshesUnderWay::default();
        // The second, the request, and whether its refresh may begin.
        for (second, request, may_begin) in [
            (0, 1, true),
            (1, 2, false),
            (2, 1, false),
            (2, 2, true),
            (3, 3, false),
            (4, 3, true),
            (6, 4, true),
            (9, 5, false),
            (10, 5, true),
            (12, 2, true),
        ] {
            let rules = rules(second, request);
            let expected = (second, request, may_begin);
            let actual = refreshes.may_begin(&key, rules);
            assert_eq!((second, request, actual), expected);
            assert!(refreshes.may_begin(&CacheKey::for_path("/b"), rules));
            if may_begin {
                refreshes.begin(key, second, rules);
            }
        }
        refreshes.end(&key, 12);
        assert!(refreshes.may_begin(&key, rules(12, 2)));
        for flight in 0..12 {
            refreshes.end(&key, flight);
        }
        assert!(refreshes.0.is_empty(), "no entry is leaked");
    }
}
