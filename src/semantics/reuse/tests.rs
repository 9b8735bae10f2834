//! Tables of the decision to reuse a stored response (RFC 9111 §4).

use std::time::{Duration, UNIX_EPOCH};

use super::*;
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::freshness::{Freshness, Staleness};
use crate::semantics::moment::Moment;
use crate::semantics::reason::FetchReason;

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
            ReuseDecision::Fresh {
                age: Duration::from_secs(3),
                left: s(7),
            },
        ),
        (
            "at its last second",
            s(10),
            0,
            9,
            ReuseDecision::Fresh {
                age: Duration::from_secs(9),
                left: s(1),
            },
        ),
        (
            "lifetime reached",
            s(10),
            0,
            10,
            ReuseDecision::Fetch(FetchReason::Stale),
        ),
        (
            "arrived old",
            s(10),
            8,
            2,
            ReuseDecision::Fetch(FetchReason::Stale),
        ),
        (
            "until invalidated",
            None,
            0,
            1 << 33,
            ReuseDecision::Fresh {
                age: Duration::from_secs(1 << 33),
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
        let got = decide_reuse(&NOTHING, Candidate::Response(&stored), at(now));
        assert_eq!(got, expected, "{case}");
    }
}

/// RFC 9111 §5.2.1, RFC 8246 §2.
#[test]
fn section_5_2_1_request_directives_limit_reuse() {
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
    let fresh = ReuseDecision::Fresh {
        age: Duration::from_secs(4),
        left: s(6),
    };
    for (case, request, expected) in [
        (
            "no-cache",
            no_cache,
            ReuseDecision::Fetch(FetchReason::RequestNoCache),
        ),
        (
            "max-age=0",
            RequestDirectives {
                max_age: s(0),
                ..NOTHING
            },
            ReuseDecision::Fetch(FetchReason::RequestMaxAge),
        ),
        (
            "max-age=3",
            RequestDirectives {
                max_age: s(3),
                ..NOTHING
            },
            ReuseDecision::Fetch(FetchReason::RequestMaxAge),
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
            ReuseDecision::Fetch(FetchReason::RequestMinFresh),
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
            ReuseDecision::GatewayTimeout(FetchReason::RequestNoCache),
        ),
    ] {
        assert_eq!(
            decide_reuse(&request, Candidate::Response(&stored), at(4)),
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
    let of = |request| decide_reuse(request, Candidate::Response(&immutable), at(4));
    assert_eq!(of(&reload), fresh, "RFC 8246 section 2");
    assert_eq!(
        of(&no_cache),
        ReuseDecision::Fetch(FetchReason::RequestNoCache)
    );
    assert_eq!(
        decide_reuse(&only, Candidate::<Freshness>::Absent, at(4)),
        ReuseDecision::GatewayTimeout(FetchReason::UriMiss)
    );
}

#[test]
fn rfc_5861_section_3_stale_while_revalidate() {
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
    let stale = ReuseDecision::StaleWhileRevalidate;
    for (case, request, now, expected) in [
        ("at expiry", NOTHING, 10, stale),
        ("at its last second", NOTHING, 14, stale),
        (
            "over",
            NOTHING,
            15,
            ReuseDecision::Fetch(FetchReason::Stale),
        ),
        (
            "no-cache",
            no_cache,
            12,
            ReuseDecision::Fetch(FetchReason::Stale),
        ),
        ("max-stale", max_stale, 16, ReuseDecision::MaxStale),
        ("max-stale, within both", max_stale, 12, stale),
        (
            "max-stale, over",
            max_stale,
            21,
            ReuseDecision::Fetch(FetchReason::Stale),
        ),
        ("only-if-cached", only, 12, stale),
        (
            "only-if-cached, over",
            only,
            15,
            ReuseDecision::GatewayTimeout(FetchReason::Stale),
        ),
    ] {
        let got = decide_reuse(&request, Candidate::Response(&stored), at(now));
        assert_eq!(got, expected, "{case}");
    }
}

#[test]
fn section_4_a_response_to_another_request_is_not_a_stale_one() {
    for (found, reason) in [
        (Candidate::<Freshness>::Absent, FetchReason::UriMiss),
        (Candidate::<Freshness>::OtherKey, FetchReason::OtherKey),
        (Candidate::<Freshness>::OtherVariant, FetchReason::VaryMiss),
        (
            Candidate::<Freshness>::BeyondLimit,
            FetchReason::LongSelectingFields,
        ),
    ] {
        assert_eq!(
            decide_reuse(&NOTHING, found, at(0)),
            ReuseDecision::Fetch(reason)
        );
    }
}
