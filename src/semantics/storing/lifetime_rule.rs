//! The rule that gave a stored response its lifetime, found again from the response.

use std::time::Duration;

use super::decision::{capped, lifetime_of};
use super::input::{ResponseHead, StoringRules};
use crate::semantics::cache_control::ResponseDirectives;
use crate::semantics::freshness::{Freshness, Lifetime, Ttl};

/// The rule that gave a stored response its freshness lifetime (RFC 9111 §4.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LifetimeRule {
    /// A targeted field such as `CDN-Cache-Control` states it (RFC 9213).
    TargetedField,
    /// `s-maxage` of `Cache-Control`.
    SMaxage,
    /// `max-age` of `Cache-Control`.
    MaxAge,
    /// `Expires`.
    Expires,
    /// `no-cache`: the response is validated for each request.
    NoCache,
    /// The layer's [`ttl`](crate::CacheLayer::ttl) or
    /// [`negative_ttl`](crate::CacheLayer::negative_ttl): the response states none.
    LayerTtl,
    /// A tenth of the time since `Last-Modified` (RFC 9111 §4.2.2).
    Heuristic,
    /// The layer's [`max_ttl`](crate::CacheLayer::max_ttl), which is shorter than what the response
    /// states.
    MaxTtl,
    /// Something else than the response and the options of this layer: a handler, a
    /// [`ttl_by`](crate::CacheLayer::ttl_by) function, an invalidation that made the response
    /// stale, or an instance with other options.
    Other,
}

impl LifetimeRule {
    /// Returns the stable name of the rule, a token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TargetedField => "targeted-field",
            Self::SMaxage => "s-maxage",
            Self::MaxAge => "max-age",
            Self::Expires => "expires",
            Self::NoCache => "no-cache",
            Self::LayerTtl => "layer-ttl",
            Self::Heuristic => "heuristic",
            Self::MaxTtl => "max-ttl",
            Self::Other => "other",
        }
    }
}

/// Returns the rule by which a stored response has its lifetime, under the rules of today.
///
/// A lifetime may be shorter than its rule says by the fraction that `rules` cut off at most.
#[must_use]
pub fn lifetime_rule(
    response: ResponseHead<'_>,
    stored: &Freshness,
    rules: &StoringRules,
) -> LifetimeRule {
    let directives = ResponseDirectives::from_headers(response.headers, &rules.targets);
    let (stated, rule) = match lifetime_of(response, &directives, rules) {
        Lifetime::Explicit(time) => (Some(time), explicit_rule(&directives)),
        Lifetime::Assigned(Ttl::For(time)) => (Some(time), LifetimeRule::LayerTtl),
        Lifetime::Assigned(Ttl::UntilInvalidated) => (None, LifetimeRule::LayerTtl),
        Lifetime::Heuristic(time) => (Some(time), LifetimeRule::Heuristic),
        Lifetime::Stated(_) | Lifetime::Absent => return LifetimeRule::Other,
    };
    let age = stored.initial_age;
    let expected = capped(stated, age, rules.max_fresh);
    let rule = match expected == stated {
        true => rule,
        false => LifetimeRule::MaxTtl,
    };
    match (expected, stored.lifetime) {
        (None, None) => rule,
        (Some(expected), Some(lifetime)) => {
            let cut = expected.saturating_sub(age).as_secs_f64() * rules.shortened_by;
            let is_shorter = expected.saturating_sub(lifetime).as_secs_f64() <= cut + ROUNDING;
            let is_longer = lifetime > expected.saturating_add(Duration::from_secs(1));
            match is_shorter && !is_longer {
                true => rule,
                false => LifetimeRule::Other,
            }
        }
        _ => LifetimeRule::Other,
    }
}

/// How much of a lifetime may be lost on its way into a store and out of it, in seconds.
const ROUNDING: f64 = 1.0;

/// The field that states an explicit lifetime.
fn explicit_rule(directives: &ResponseDirectives) -> LifetimeRule {
    if directives.no_cache {
        LifetimeRule::NoCache
    } else if directives.is_targeted {
        LifetimeRule::TargetedField
    } else if directives.s_maxage.is_some() {
        LifetimeRule::SMaxage
    } else if directives.max_age.is_some() {
        LifetimeRule::MaxAge
    } else {
        LifetimeRule::Expires
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use http::{HeaderMap, HeaderName, StatusCode};

    use super::*;
    use crate::semantics::freshness::Staleness;
    use crate::semantics::moment::Moment;

    const S: fn(u64) -> Duration = Duration::from_secs;
    const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");

    fn rule(
        lines: &[(&'static str, &'static str)],
        lifetime: Option<u64>,
        rules: &StoringRules,
    ) -> LifetimeRule {
        let lines = lines.iter().chain([&DATE]);
        let headers: HeaderMap = lines
            .map(|(name, value)| {
                let value = value.parse().expect("a field value");
                (HeaderName::from_static(name), value)
            })
            .collect();
        let at = Moment::new(S(784_111_777), UNIX_EPOCH + S(784_111_777));
        let stored = Freshness {
            received: at,
            initial_age: S(0),
            lifetime: lifetime.map(S),
            stale: Staleness::default(),
            immutable: false,
        };
        let status = StatusCode::OK;
        let head = ResponseHead {
            status,
            headers: &headers,
            at,
        };
        lifetime_rule(head, &stored, rules)
    }

    #[test]
    fn each_rule_is_found_again() {
        let plain = StoringRules::default();
        let minute = StoringRules {
            assigned: Some(Ttl::For(S(60))),
            ..plain.clone()
        };
        let until_invalidated = StoringRules {
            assigned: Some(Ttl::UntilInvalidated),
            ..plain.clone()
        };
        let capped = StoringRules {
            max_fresh: Some(S(10)),
            ..until_invalidated.clone()
        };
        let jitter = StoringRules {
            shortened_by: 0.1,
            ..plain.clone()
        };
        let cache = |value| [("cache-control", value)];
        let rows: [(&[_], _, &StoringRules, &str); 16] = [
            (&cache("max-age=60"), Some(60), &plain, "max-age"),
            (
                &cache("max-age=60, s-maxage=7"),
                Some(7),
                &plain,
                "s-maxage",
            ),
            (&cache("no-cache"), Some(0), &plain, "no-cache"),
            (
                &[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")],
                Some(60),
                &plain,
                "expires",
            ),
            (
                &[("last-modified", "Sun, 06 Nov 1994 08:48:37 GMT")],
                Some(6),
                &plain,
                "heuristic",
            ),
            (&[], Some(60), &minute, "layer-ttl"),
            (&[], None, &until_invalidated, "layer-ttl"),
            (&[], Some(10), &capped, "max-ttl"),
            (&cache("max-age=60"), Some(10), &capped, "max-ttl"),
            (&cache("max-age=9"), Some(9), &capped, "max-age"),
            (&cache("max-age=100"), Some(90), &jitter, "max-age"),
            (&cache("max-age=100"), Some(88), &jitter, "other"),
            (&cache("max-age=60"), Some(70), &plain, "other"),
            (&cache("max-age=60"), None, &plain, "other"),
            (&[], Some(60), &plain, "other"),
            (
                &[("cdn-cache-control", "max-age=5")],
                Some(5),
                &plain,
                "targeted-field",
            ),
        ];
        for (lines, lifetime, rules, expected) in rows {
            let found = rule(lines, lifetime, rules).as_str();
            assert_eq!(found, expected, "{lines:?} {lifetime:?}");
        }
    }
}
