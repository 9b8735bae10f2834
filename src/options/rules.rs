//! `Rules`: what counts for the requests of one route.

use std::time::Duration;

use crate::key::QueryRules;
use crate::semantics::freshness::Ttl;

/// What counts for the requests whose path matches a route:
/// [`CacheLayer::route`](crate::CacheLayer::route). A rule that is not set falls to the layer.
///
/// With the feature `serde` rules are read from configuration. Names are those of the methods,
/// durations are text such as `"60s"` or `"1h 30m"`, `ttl` may be `"until-invalidated"`, and
/// unknown names are an error:
///
/// ```toml
/// [[route]]
/// path = "/api/{*rest}"
/// ttl = "60s"
/// stale_while_revalidate = "10s"
/// query = { ignoring = ["utm_*"], sorted = true }
/// ignore_request_cookies = ["_ga"]
/// groups = ["api"]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default, deny_unknown_fields))]
#[must_use = "rules count once a layer has them"]
pub struct Rules {
    pub(crate) ttl: Option<Ttl>,
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "super::deserialize::duration")
    )]
    pub(crate) max_ttl: Option<Duration>,
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "super::deserialize::duration")
    )]
    pub(crate) stale_while_revalidate: Option<Duration>,
    #[cfg_attr(
        feature = "serde",
        serde(deserialize_with = "super::deserialize::duration")
    )]
    pub(crate) stale_if_error: Option<Duration>,
    pub(crate) query: Option<QueryRules>,
    pub(crate) ignore_request_cookies: Option<Vec<String>>,
    pub(crate) groups: Vec<String>,
    pub(crate) bypass: bool,
}

impl Rules {
    /// Creates rules that say nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the lifetime of responses that state none: [`ttl`](crate::CacheLayer::ttl) for this
    /// route. It comes before the layer's `ttl` and [`ttl_by`](crate::CacheLayer::ttl_by).
    pub fn ttl(mut self, ttl: impl Into<Ttl>) -> Self {
        self.ttl = Some(ttl.into());
        self
    }

    /// Sets the longest time for which a stored response is fresh:
    /// [`max_ttl`](crate::CacheLayer::max_ttl) for this route.
    pub fn max_ttl(mut self, ttl: Duration) -> Self {
        self.max_ttl = Some(ttl);
        self
    }

    /// Sets how long a stale response may be served while it is refreshed:
    /// [`stale_while_revalidate`](crate::CacheLayer::stale_while_revalidate) for this route.
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = Some(window);
        self
    }

    /// Sets how long a stale response may be served in place of an error:
    /// [`stale_if_error`](crate::CacheLayer::stale_if_error) for this route.
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = Some(window);
        self
    }

    /// Sets the query parameters that distinguish responses: [`query`](crate::CacheLayer::query)
    /// for this route.
    pub fn query(mut self, rules: QueryRules) -> Self {
        self.query = Some(rules);
        self
    }

    /// Sets the cookies that are in no key and do not reach the inner service:
    /// [`ignore_request_cookies`](crate::CacheLayer::ignore_request_cookies) for this route.
    pub fn ignore_request_cookies<N: Into<String>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        self.ignore_request_cookies = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// Adds the responses of this route to a [group](crate::CacheLayer#groups), beside those that
    /// they are in otherwise.
    pub fn group(mut self, name: impl Into<String>) -> Self {
        self.groups.push(name.into());
        self
    }

    /// Sends GET and HEAD past the cache: nothing of this route is looked up or stored, as with
    /// [`skip`](crate::CacheLayer::skip). Writes still invalidate.
    pub fn bypass(mut self) -> Self {
        self.bypass = true;
        self
    }
}
