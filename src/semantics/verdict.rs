//! What to do with a request, given what was found in the store (RFC 9111 §4).

use std::time::Duration;

use super::cache_control::RequestDirectives;
use super::moment::Moment;
use super::reason::{FetchReason, StaleUse};
use super::staleness;
use super::storing::Freshness;

/// What a lookup found. "Not the one asked for" and "too old" are different things.
#[derive(Clone, Copy, Debug)]
pub enum Found<'a> {
    /// Nothing.
    Nothing,
    /// A response of another key with the same digest.
    OtherKey,
    /// A response that other request fields selected.
    OtherVariant,
    /// A response to this very request.
    Response(&'a Freshness),
}

/// The answer's way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// From the store.
    Fresh {
        /// Its current age (§4.2.3).
        age: Duration,
        /// What is left of its lifetime; `None` is "until invalidated".
        left: Option<Duration>,
    },
    /// From the store, beyond its lifetime, while it is fetched anew (RFC 5861 §3).
    StaleWhileRevalidate,
    /// From the store, beyond its lifetime, because the request takes it (§5.2.1.2).
    MaxStale,
    /// From the inner service.
    Fetch(FetchReason),
    /// 504: the request said `only-if-cached` (§5.2.1.7) and nothing stored will do.
    GatewayTimeout,
}

/// Decides.
#[must_use]
pub fn verdict(asked: &RequestDirectives, found: Found<'_>, now: Moment) -> Verdict {
    let reason = match found {
        Found::Nothing => FetchReason::UriMiss,
        Found::OtherKey => FetchReason::OtherKey,
        Found::OtherVariant => FetchReason::VaryMiss,
        Found::Response(freshness) => {
            let age = freshness.age(now);
            let left = freshness.lifetime.map(|life| life.saturating_sub(age));
            let Some(reason) = why_not(asked, freshness, age, left) else {
                return Verdict::Fresh { age, left };
            };
            let may = |of| staleness::may_be_used(asked, freshness, now, of);
            match reason {
                FetchReason::Stale if may(StaleUse::WhileRevalidate) => {
                    return Verdict::StaleWhileRevalidate;
                }
                FetchReason::Stale if may(StaleUse::MaxStale) => return Verdict::MaxStale,
                _ => reason,
            }
        }
    };
    if asked.only_if_cached {
        Verdict::GatewayTimeout
    } else {
        Verdict::Fetch(reason)
    }
}

fn why_not(
    asked: &RequestDirectives,
    freshness: &Freshness,
    age: Duration,
    left: Option<Duration>,
) -> Option<FetchReason> {
    if left.is_some_and(|left| left.is_zero()) {
        return Some(FetchReason::Stale);
    }
    if asked.no_cache {
        return Some(FetchReason::RequestNoCache);
    }
    // `max-age=0` asks for nothing that has been stored at all, however young; but what is immutable has not changed
    // since (RFC 8246 §2).
    let is_too_old = |most: Duration| most.is_zero() || age > most;
    if !freshness.immutable && asked.max_age.is_some_and(is_too_old) {
        return Some(FetchReason::RequestMaxAge);
    }
    let too_soon = |least: Duration| left.is_some_and(|left| left < least);
    if asked.min_fresh.is_some_and(too_soon) {
        return Some(FetchReason::RequestMinFresh);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::staleness::Staleness;
    use super::*;
    use std::time::UNIX_EPOCH;

    fn at(seconds: u64) -> Moment {
        let passed = Duration::from_secs(seconds);
        Moment::new(passed, UNIX_EPOCH + passed)
    }

    fn s(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    const NOTHING: RequestDirectives = RequestDirectives {
        max_age: None,
        max_stale: None,
        min_fresh: None,
        no_cache: false,
        no_store: false,
        only_if_cached: false,
        stale_if_error: None,
    };

    #[test]
    fn section_4_2_fresh_until_the_lifetime_is_reached() {
        for (case, lifetime, initial_age, now, expected) in [
            (
                "young",
                s(10),
                0,
                3,
                Verdict::Fresh {
                    age: Duration::from_secs(3),
                    left: s(7),
                },
            ),
            (
                "at its last second",
                s(10),
                0,
                9,
                Verdict::Fresh {
                    age: Duration::from_secs(9),
                    left: s(1),
                },
            ),
            (
                "lifetime reached",
                s(10),
                0,
                10,
                Verdict::Fetch(FetchReason::Stale),
            ),
            (
                "arrived old",
                s(10),
                8,
                2,
                Verdict::Fetch(FetchReason::Stale),
            ),
            (
                "until invalidated",
                None,
                0,
                1 << 40,
                Verdict::Fresh {
                    age: Duration::from_secs(1 << 40),
                    left: None,
                },
            ),
        ] {
            let stored = Freshness {
                received: at(0),
                initial_age: Duration::from_secs(initial_age),
                lifetime,
                stale: Staleness::default(),
                immutable: false,
            };
            let got = verdict(&NOTHING, Found::Response(&stored), at(now));
            assert_eq!(got, expected, "{case}");
        }
    }

    /// H21
    #[test]
    fn section_5_2_1_what_the_client_asks() {
        let stored = Freshness {
            received: at(0),
            initial_age: Duration::ZERO,
            lifetime: s(10),
            stale: Staleness::default(),
            immutable: false,
        };
        let no_cache = RequestDirectives {
            no_cache: true,
            ..NOTHING
        };
        let only = RequestDirectives {
            only_if_cached: true,
            ..NOTHING
        };
        let fresh = Verdict::Fresh {
            age: Duration::from_secs(4),
            left: s(6),
        };
        for (case, asked, expected) in [
            (
                "no-cache",
                no_cache,
                Verdict::Fetch(FetchReason::RequestNoCache),
            ),
            (
                "max-age=0",
                RequestDirectives {
                    max_age: s(0),
                    ..NOTHING
                },
                Verdict::Fetch(FetchReason::RequestMaxAge),
            ),
            (
                "max-age=3",
                RequestDirectives {
                    max_age: s(3),
                    ..NOTHING
                },
                Verdict::Fetch(FetchReason::RequestMaxAge),
            ),
            (
                "max-age=4",
                RequestDirectives {
                    max_age: s(4),
                    ..NOTHING
                },
                fresh,
            ),
            (
                "min-fresh=7",
                RequestDirectives {
                    min_fresh: s(7),
                    ..NOTHING
                },
                Verdict::Fetch(FetchReason::RequestMinFresh),
            ),
            (
                "min-fresh=6",
                RequestDirectives {
                    min_fresh: s(6),
                    ..NOTHING
                },
                fresh,
            ),
            ("only-if-cached", only, fresh),
            (
                "no-cache, only-if-cached",
                RequestDirectives {
                    only_if_cached: true,
                    ..no_cache
                },
                Verdict::GatewayTimeout,
            ),
        ] {
            assert_eq!(
                verdict(&asked, Found::Response(&stored), at(4)),
                expected,
                "{case}"
            );
        }
        let immutable = Freshness {
            immutable: true,
            ..stored
        };
        let reload = RequestDirectives {
            max_age: s(0),
            ..NOTHING
        };
        let of = |asked| verdict(asked, Found::Response(&immutable), at(4));
        assert_eq!(of(&reload), fresh, "RFC 8246 section 2");
        assert_eq!(of(&no_cache), Verdict::Fetch(FetchReason::RequestNoCache));
        assert_eq!(
            verdict(&only, Found::Nothing, at(4)),
            Verdict::GatewayTimeout
        );
    }

    #[test]
    fn rfc_5861_section_3_stale_while_it_is_fetched_anew() {
        let stored = Freshness {
            received: at(0),
            initial_age: Duration::ZERO,
            lifetime: s(10),
            stale: Staleness {
                while_revalidate: Duration::from_secs(5),
                ..Staleness::default()
            },
            immutable: false,
        };
        let only = RequestDirectives {
            only_if_cached: true,
            ..NOTHING
        };
        let no_cache = RequestDirectives {
            no_cache: true,
            ..NOTHING
        };
        let max_stale = RequestDirectives {
            max_stale: s(10),
            ..NOTHING
        };
        let stale = Verdict::StaleWhileRevalidate;
        for (case, asked, now, expected) in [
            ("at expiry", NOTHING, 10, stale),
            ("at its last second", NOTHING, 14, stale),
            ("over", NOTHING, 15, Verdict::Fetch(FetchReason::Stale)),
            ("no-cache", no_cache, 12, Verdict::Fetch(FetchReason::Stale)),
            ("max-stale", max_stale, 16, Verdict::MaxStale),
            ("max-stale, within both", max_stale, 12, stale),
            (
                "max-stale, over",
                max_stale,
                21,
                Verdict::Fetch(FetchReason::Stale),
            ),
            ("only-if-cached", only, 12, stale),
            ("only-if-cached, over", only, 15, Verdict::GatewayTimeout),
        ] {
            let got = verdict(&asked, Found::Response(&stored), at(now));
            assert_eq!(got, expected, "{case}");
        }
    }

    #[test]
    fn section_4_not_the_one_asked_for_is_not_too_old() {
        for (found, reason) in [
            (Found::Nothing, FetchReason::UriMiss),
            (Found::OtherKey, FetchReason::OtherKey),
            (Found::OtherVariant, FetchReason::VaryMiss),
        ] {
            assert_eq!(verdict(&NOTHING, found, at(0)), Verdict::Fetch(reason));
        }
    }
}
