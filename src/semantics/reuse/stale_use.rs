//! Whether a stale response may be served (RFC 9111 §4.2.4, RFC 5861).

use std::time::Duration;

use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::freshness::Freshness;
use crate::semantics::moment::Moment;
use crate::semantics::reason::StaleUse;

/// Returns whether a stored response may be served stale now, for this use.
///
/// The request's own `stale-if-error` widens the window of the response (RFC 5861 §4), but opens
/// none that the response forbids.
#[must_use]
pub fn may_use_stale(
    request: &RequestDirectives,
    stored: &Freshness,
    now: Moment,
    usage: StaleUse,
) -> bool {
    let Some(lifetime) = stored.lifetime else {
        return true;
    };
    if usage == StaleUse::MaxStale {
        return is_within_max_stale(request, stored, stored.age(now), lifetime);
    }
    if !request.accept_stale() {
        return false;
    }
    let mut window = stored.stale.window(usage);
    if usage != StaleUse::WhileRevalidate && !stored.stale.is_forbidden {
        window = window.max(request.stale_if_error.unwrap_or_default());
    }
    // Strictly within, so that a window of zero allows nothing.
    stored.age(now).saturating_sub(lifetime) < window
}

/// Returns whether the request's `max-stale` accepts the response (RFC 9111 §5.2.1.2).
///
/// It opens nothing that the response forbids (§4.2.4). `max-age` counts beside it (§5.2.1.1);
/// `min-fresh` and `no-cache` contradict it.
fn is_within_max_stale(
    request: &RequestDirectives,
    stored: &Freshness,
    age: Duration,
    lifetime: Duration,
) -> bool {
    let is_refused = stored.stale.is_forbidden || request.no_cache || request.min_fresh.is_some();
    let is_young = request
        .max_age
        .is_none_or(|most| age <= most && !most.is_zero());
    // In whole seconds, as `Age` and `max-stale` are.
    let staleness = age.saturating_sub(lifetime).as_secs();
    let is_taken = |most: Duration| staleness <= most.as_secs();
    !is_refused && is_young && request.max_stale.is_some_and(is_taken)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::HeaderMap;
    use http::header::CACHE_CONTROL;

    use super::*;
    use crate::semantics::cache_control::{IgnoredDirectives, ResponseDirectives, TargetedFields};
    use crate::semantics::freshness::{StaleRules, Staleness};

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn headers(line: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CACHE_CONTROL, line.parse().expect("a field value"));
        headers
    }

    fn windows(line: &'static str, rules: StaleRules) -> [u64; 3] {
        let stale = Staleness::new(
            &ResponseDirectives::from_headers(&headers(line), &TargetedFields::default()),
            rules,
        );
        [stale.while_revalidate, stale.if_error, stale.if_unreachable].map(|d| d.as_secs())
    }

    const NOTHING_GIVEN: StaleRules = StaleRules {
        while_revalidate: Duration::ZERO,
        if_error: Duration::ZERO,
        if_unreachable: s(60),
        validation: Duration::ZERO,
        despite_s_maxage: false,
    };
    const GIVEN: StaleRules = StaleRules {
        while_revalidate: s(5),
        if_error: s(6),
        ..NOTHING_GIVEN
    };

    /// RFC 9111 §4.2.4.
    #[test]
    fn section_4_2_4_directives_that_forbid_stale_use_win() {
        #[rustfmt::skip]
        let rows: &[(&str, StaleRules, [u64; 3])] = &[
            ("max-age=1", NOTHING_GIVEN, [0, 0, 60]),
            ("max-age=1", GIVEN, [5, 6, 60]),
            ("max-age=1, stale-while-revalidate=30", NOTHING_GIVEN, [30, 0, 60]),
            ("max-age=1, stale-while-revalidate=30, stale-if-error=90", GIVEN, [30, 90, 90]),
            ("max-age=1, stale-if-error=0", GIVEN, [5, 0, 0]),
            ("max-age=1, Stale-While-Revalidate=\"30\"", GIVEN, [30, 6, 60]),
            ("max-age=1, stale-while-revalidate=0", GIVEN, [0, 6, 60]),
            ("max-age=1, stale-while-revalidate=x", GIVEN, [0, 6, 60]),
            ("max-age=1, stale-while-revalidate=9, stale-while-revalidate=3", GIVEN, [3, 6, 60]),
            ("max-age=1, stale-if-error=9, must-revalidate", GIVEN, [0, 0, 0]),
            ("max-age=1, stale-if-error=9, proxy-revalidate", GIVEN, [0, 0, 0]),
            ("max-age=1, stale-if-error=9, no-cache", GIVEN, [0, 0, 0]),
            ("s-maxage=1", GIVEN, [0, 0, 0]),
            ("s-maxage=1, stale-while-revalidate=30", GIVEN, [0, 0, 0]),
            ("s-maxage=1, stale-while-revalidate=30", StaleRules { despite_s_maxage: true, ..GIVEN }, [30, 0, 0]),
            ("s-maxage=1, stale-if-error=30, must-revalidate", StaleRules { despite_s_maxage: true, ..GIVEN }, [0, 0, 0]),
        ];
        for (line, rules, expected) in rows {
            assert_eq!(windows(line, *rules), *expected, "{line}");
        }
    }

    #[test]
    fn rfc_5861_each_use_has_its_own_window() {
        use StaleUse::{IfError, IfUnreachable, MaxStale, WhileRevalidate};
        let at = |seconds: u64| Moment::new(s(seconds), UNIX_EPOCH + s(seconds));
        let stored = |stale: Staleness| Freshness {
            received: at(0),
            initial_age: Duration::ZERO,
            lifetime: Some(s(10)),
            stale,
            immutable: false,
        };
        let all = stored(Staleness {
            while_revalidate: s(5),
            if_error: s(20),
            if_unreachable: s(15),
            ..Staleness::default()
        });
        let forbidden = stored(Staleness {
            is_forbidden: true,
            ..Staleness::default()
        });
        let beside_s_maxage = stored(Staleness::new(
            &ResponseDirectives::from_headers(
                &headers("s-maxage=10, stale-while-revalidate=5, stale-if-error=10"),
                &TargetedFields::default(),
            ),
            StaleRules {
                despite_s_maxage: true,
                ..GIVEN
            },
        ));
        #[rustfmt::skip]
        let rows: &[(&str, &Freshness, &'static str, u64, StaleUse, bool)] = &[
            ("within", &all, "", 14, WhileRevalidate, true),
            ("at its end", &all, "", 15, WhileRevalidate, false),
            ("error, within", &all, "", 29, IfError, true),
            ("error, at its end", &all, "", 30, IfError, false),
            ("unreachable", &all, "", 24, IfUnreachable, true),
            ("unreachable, over", &all, "", 25, IfUnreachable, false),
            ("forbidden", &forbidden, "", 10, WhileRevalidate, false),
            ("forbidden, error", &forbidden, "", 10, IfError, false),
            ("client no-cache", &all, "no-cache", 12, IfError, false),
            ("client max-age", &all, "max-age=99", 12, WhileRevalidate, false),
            ("client min-fresh", &all, "min-fresh=0", 12, WhileRevalidate, false),
            ("client stale-if-error widens", &all, "stale-if-error=50", 55, IfError, true),
            ("not for revalidation", &all, "stale-if-error=50", 55, WhileRevalidate, false),
            ("max-stale, within", &all, "max-stale=5", 15, MaxStale, true),
            ("max-stale, over", &all, "max-stale=5", 16, MaxStale, false),
            ("max-stale, any", &all, "max-stale", 999_999, MaxStale, true),
            ("max-stale opens nothing that is forbidden", &forbidden, "max-stale", 12, MaxStale, false),
            ("max-stale and no-cache", &all, "max-stale, no-cache", 12, MaxStale, false),
            ("max-stale and min-fresh", &all, "max-stale, min-fresh=1", 12, MaxStale, false),
            ("max-stale, older than max-age", &all, "max-stale, max-age=11", 12, MaxStale, false),
            ("max-stale, no older than max-age", &all, "max-stale, max-age=12", 12, MaxStale, true),
            ("without max-stale", &all, "", 12, MaxStale, false),
            ("its own window beside s-maxage", &beside_s_maxage, "", 14, WhileRevalidate, true),
            ("max-stale opens nothing beside s-maxage", &beside_s_maxage, "max-stale", 12, MaxStale, false),
            ("stale-if-error widens nothing beside s-maxage", &beside_s_maxage, "stale-if-error=50", 21, IfError, false),
            ("stale-if-error opens nothing that is forbidden", &forbidden, "stale-if-error=50", 12, IfError, false),
        ];
        for (case, stored, line, now, of, expected) in rows {
            let request =
                RequestDirectives::from_headers(&headers(line), IgnoredDirectives::default());
            let got = may_use_stale(&request, stored, at(*now), *of);
            assert_eq!(got, *expected, "{case}");
        }
    }
}
