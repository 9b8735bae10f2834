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
//! | some, all of other clients one of whose takes long | at once; the more clients, the later |
//! | some, all of clients that have held up others | at once |
//! | none of a *working* request | after its patience, or at once where refreshes have hung lately |
//!
//! Patience is twice the time that a call takes, a second at least. Each is made by another request,
//! with its own fields. A request works if one with the same fields has brought a response.
//!
//! There are at most five refreshes of a key at once that take the time they need, and two of
//! working requests; up to eight, where clients are known; as many short ones as their caller
//! allows, and 32 short ones whose bodies have not come in time.
//!
//! Knows keys, times and digests of requests. Start at [`RefreshesUnderWay::choose_length`].

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::flight::hold_ups::patience::{MIN_PATIENCE, patience_for};
use crate::flight::join_rules::JoinRules;
use crate::key::{CacheKey, DigestHash};
use crate::semantics::moment::Moment;
use crate::shares::{ClientId, may_take};

/// The number of refreshes of a key that begin within one takeover timeout, unless they end before.
///
/// With more of them a service that hangs has more calls; with fewer, it takes fewer requests that
/// hang to keep content stale.
const MAX_REFRESHES: usize = 4;

/// The number of refreshes of a key that are under way at once, apart from short ones.
const MAX_LONG: usize = 5;

/// The number of refreshes of a key that take the time they need and are under way at once, where
/// those of some clients hang, and others are known.
const MAX_OF_CLIENTS: usize = 8;

/// The number of refreshes of working requests for a key that are under way at once.
const MAX_WORKING: usize = 2;

/// The number of short refreshes of a key at once whose bodies have not come in time.
const MAX_OVERDUE: usize = 32;

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
    /// Whether one with these fields has brought a response.
    pub(crate) is_working: bool,
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
    /// The time after which one begins beside a refresh that takes the time it needs.
    pub(crate) patience: Duration,
    /// The number of them that there may be of a key at once.
    pub(crate) limit: usize,
}

/// The rules for one more refresh of a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RefreshRules {
    pub(crate) join_rules: JoinRules,
    /// The request that was answered, if it may make a call that takes the time it needs.
    pub(crate) own: Option<Refreshing>,
    /// Whether refreshes of the key have hung lately, so that a working request waits for none.
    pub(crate) have_hung: bool,
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
    /// The client of the request, if it is known.
    client: Option<ClientId>,
    length: RefreshLength,
    is_working: bool,
    began: Moment,
}

impl RefreshesUnderWay {
    /// Whether one more may begin, and which time it takes then. `short` is called at most once,
    /// where it counts; `avoids` tells whether the request waits for no refresh of a client.
    pub(in crate::flight) fn choose_length(
        &self,
        key: &CacheKey,
        rules: RefreshRules,
        avoids: impl Fn(ClientId) -> bool,
        short: impl FnOnce() -> Option<ShortRefresh>,
    ) -> Option<(Refreshing, RefreshLength)> {
        let all = self.0.get(key).map_or(&[][..], Vec::as_slice);
        let age = |other: &UnderWay| rules.join_rules.now.since(other.began);
        let long = || all.iter().filter(|other| !other.is_short()).map(age);
        if let Some(own) = rules.own {
            let is_due = match long().min() {
                None => true,
                Some(waited) => {
                    is_long_due(all, own, rules, waited)
                        || is_working_due(all, own, rules, age)
                        || is_client_due(all, own, rules, (age, avoids))
                }
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
        let is_due = is_short_due(all, (short, rules.join_rules.client), longest, age);
        is_due.then_some((short.refreshing, RefreshLength::Short))
    }

    /// Notes that a refresh begins.
    pub(in crate::flight) fn begin(
        &mut self,
        key: CacheKey,
        flight_id: u64,
        (request, length): (Refreshing, RefreshLength),
        rules: JoinRules,
    ) {
        self.0.entry(key).or_default().push(UnderWay {
            flight_id,
            request: request.request,
            client: rules.client,
            length,
            is_working: request.is_working,
            began: rules.now,
        });
    }

    /// Whether a flight is that of a refresh.
    pub(in crate::flight) fn has(&self, key: &CacheKey, flight_id: u64) -> bool {
        let all = self.0.get(key);
        all.is_some_and(|all| all.iter().any(|other| other.flight_id == flight_id))
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

/// Whether a working request may begin a refresh beside `all` that are under way.
fn is_working_due(
    all: &[UnderWay],
    own: Refreshing,
    rules: RefreshRules,
    age: impl Fn(&UnderWay) -> Duration,
) -> bool {
    let patience = rules.patience(own.cost);
    let working = || all.iter().filter(|other| other.is_working);
    let has_waited = || rules.have_hung || all.iter().any(|other| age(other) >= patience);
    own.is_working
        && !own.is_among(all)
        && working().count() < MAX_WORKING
        && working().all(|other| age(other) >= patience)
        && has_waited()
}

/// Whether the request of a client may begin a refresh beside `all` that are under way. It waits
/// for one of another client for its patience alone, and for none of a client that has one which
/// takes longer than that, or that it avoids. The more clients there are whose refreshes do,
/// the longer it waits after the first one of the last of them: the service may be slow for all.
fn is_client_due(
    all: &[UnderWay],
    own: Refreshing,
    rules: RefreshRules,
    (age, avoids): (impl Fn(&UnderWay) -> Duration, impl Fn(ClientId) -> bool),
) -> bool {
    let Some(client) = rules.join_rules.client else {
        return false;
    };
    let patience = rules.patience(own.cost);
    let of_client = |client| all.iter().filter(move |other| other.client == Some(client));
    let first_age = |client| of_client(client).map(&age).max().unwrap_or_default();
    let hangs = |client: &ClientId| first_age(*client) >= patience;
    let is_awaited = |other: &UnderWay| {
        let is_slow = |client| hangs(&client) || avoids(client);
        let is_of_slow = other.client.is_some_and(is_slow);
        age(other) < patience && (!is_of_slow || other.client == Some(client))
    };
    let clients = all.iter().filter_map(|other| other.client);
    let hanging: BTreeSet<_> = clients.filter(hangs).collect();
    let count = u32::try_from(hanging.len()).unwrap_or(u32::MAX);
    let last_began = hanging.into_iter().map(first_age).min();
    let long = || all.iter().filter(|other| !other.is_short());
    let own_long = of_client(client).filter(|other| !other.is_short());
    may_take(own_long.count(), long().count(), MAX_OF_CLIENTS)
        && !all.iter().any(is_awaited)
        && last_began.is_none_or(|age| age >= patience.saturating_mul(count))
}

/// Whether a short refresh of a client, if that is known, may begin beside `all` that are under way,
/// of which the first has taken the time `longest`.
fn is_short_due(
    all: &[UnderWay],
    (short, client): (ShortRefresh, Option<ClientId>),
    longest: Duration,
    age: impl Fn(&UnderWay) -> Duration,
) -> bool {
    let ShortRefresh {
        refreshing,
        timeout,
        patience,
        limit,
    } = short;
    // One that will bring the response, as far as is known.
    let awaits_working = |other: &UnderWay| other.is_working && age(other) < patience;
    let all_short = || all.iter().filter(|other| other.is_short());
    // One whose head came in time, and whose body does not, takes no place from others.
    let begun = || all_short().filter(|other| age(other) < timeout);
    let is_own = |other: &&UnderWay| client.is_some() && other.client == client;
    let own = || all_short().filter(is_own).count();
    let own_begun = begun().filter(is_own).count();
    let pause = timeout / u32::try_from(limit).unwrap_or(1).max(1);
    longest >= patience
        && !all.iter().any(awaits_working)
        && may_take(own_begun, begun().count(), limit)
        && may_take(own(), all_short().count(), limit + MAX_OVERDUE)
        && begun().all(|other| age(other) >= pause)
        && !refreshing.is_among(all)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::RefreshLength::{Long, Short};
    use super::*;
    use crate::flight::LetDowns;

    const TIMEOUT: u64 = 10;

    fn refreshing(request: u32, cost: u64) -> Refreshing {
        Refreshing {
            request,
            cost: Duration::from_secs(cost),
            is_working: false,
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
                client: None,
                let_downs: LetDowns::default(),
            },
            own,
            have_hung: false,
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
            patience: Duration::from_secs(2),
            limit,
        };
        let short = || (limit > 0).then_some(short);
        let other = refreshes.choose_length(&CacheKey::for_path("/b"), rules, |_| false, short);
        assert_eq!(other.is_some(), may_be_long || limit > 0);
        let begun = refreshes.choose_length(&key, rules, |_| false, short)?;
        refreshes.begin(key, second, begun, rules.join_rules);
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

    /// Whatever number of others are under way.
    #[test]
    fn a_working_request_waits_for_its_patience_alone() {
        let key = CacheKey::for_path("/a");
        for (others, have_hung, due) in [(1, false, 2), (5, false, 2), (1, true, 0), (5, true, 0)] {
            let mut refreshes = RefreshesUnderWay::default();
            for other in 0..others {
                let hanging = (refreshing(100 + other, 1), Long);
                refreshes.begin(key, other.into(), hanging, rules(0, None).join_rules);
            }
            let mut begin = |second, request| {
                let own = Refreshing {
                    is_working: true,
                    ..refreshing(request, 1)
                };
                let rules = RefreshRules {
                    have_hung,
                    ..rules(second, Some(own))
                };
                let begun = refreshes.choose_length(&key, rules, |_| false, || None)?;
                refreshes.begin(key, request.into(), begun, rules.join_rules);
                Some(begun.1)
            };
            let mut begun = |second, request| begin(second, request) == Some(Long);
            let case = format!("{others} others, {have_hung}");
            let first = (0..9).find(|second| begun(*second, 1));
            assert_eq!(first, Some(due), "{case}");
            assert!(!begun(due + 1, 2), "{case}: it may bring the response");
            assert!(!begun(due + 2, 1), "{case}: its own is under way");
            assert!(
                begun(due + 2, 2) && !begun(due + 9, 3),
                "{case}: two at most"
            );
        }
    }

    /// However many of one client hang.
    #[test]
    fn a_client_does_not_wait_for_refreshes_of_another_that_hang() {
        let key = CacheKey::for_path("/a");
        let mut refreshes = RefreshesUnderWay::default();
        let mut begin = |second, request, client: u64| {
            let client = Some(ClientId::from_digest(client << 32)).filter(|_| client > 0);
            let mut rules = rules(second, Some(refreshing(request, 1)));
            rules.join_rules.client = client;
            let begun = refreshes.choose_length(&key, rules, |_| false, || None);
            if let Some(begun) = begun {
                refreshes.begin(key, request.into(), begun, rules.join_rules);
            }
            begun.is_some()
        };
        assert!(begin(0, 1, 1));
        assert!(!begin(1, 2, 2), "it may bring the response");
        assert!(begin(2, 2, 2));
        assert!(
            !begin(3, 3, 3) && !begin(5, 3, 3),
            "those of two clients hang"
        );
        assert!(
            !begin(5, 3, 0),
            "a client that is not known waits for longer"
        );
        assert!(begin(6, 3, 3));
        // Of each client a part of them.
        let mut count = |client| (7..200).filter(|second| begin(*second, 7, client)).count();
        assert_eq!((count(1), count(2), count(3)), (2, 1, 1));
    }

    /// It will bring the response, as far as is known.
    #[test]
    fn no_short_refresh_begins_beside_a_working_request_until_that_takes_long() {
        let (mut refreshes, key) = (RefreshesUnderWay::default(), CacheKey::for_path("/a"));
        assert_eq!(begin(&mut refreshes, (0, 1, true), 0), Some(Long));
        let working = Refreshing {
            is_working: true,
            ..refreshing(2, 1)
        };
        let begun = (working, Long);
        refreshes.begin(key, 90, begun, rules(2, None).join_rules);
        assert_eq!(begin(&mut refreshes, (3, 3, false), 1), None);
        assert_eq!(begin(&mut refreshes, (4, 3, false), 1), Some(Short));
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
