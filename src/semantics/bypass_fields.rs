//! Fields by which a request asks for something else than its method and its target say.
//!
//! A service that obeys such a field answers a GET of one resource as another request, which is in
//! no cache key. Start with [`BypassFields`].

use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::semantics::fields::name_filter::NameFilter;
use crate::semantics::fields::spelling::is_spelling_of;

/// The request fields that make a GET or HEAD bypass the cache by default, in lower case.
///
/// [`CacheLayer::bypass_fields`](crate::CacheLayer::bypass_fields) sets others. The first three
/// name another method, the last two another target.
pub const DEFAULT_BYPASS_FIELDS: [&str; 5] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];

/// The fields that make a request bypass the cache, in whatever [spelling](is_spelling_of).
#[derive(Clone, Debug)]
pub struct BypassFields {
    /// Names with the prefix `x-`, which the pass over the fields of a request looks for.
    extensions: Arc<[HeaderName]>,
    filter: NameFilter,
    /// The other names, each looked for by itself.
    others: Arc<[HeaderName]>,
}

impl BypassFields {
    /// Creates the set of these fields.
    #[must_use]
    pub fn new(names: Vec<HeaderName>) -> Self {
        let (extensions, others): (Vec<_>, Vec<_>) = names
            .into_iter()
            .partition(|name| name.as_str().starts_with("x-"));
        Self {
            filter: NameFilter::new(&extensions),
            extensions: extensions.into(),
            others: others.into(),
        }
    }

    /// Returns whether a field with the prefix `x-` is one of these. Every hit asks it.
    #[inline]
    #[must_use]
    pub fn has_extension(&self, name: &HeaderName) -> bool {
        // The filter has one bit for all spellings.
        self.filter.may_contain(name) && is_any_of(name, &self.extensions)
    }

    /// Returns whether a request has one of these fields that has no prefix `x-`.
    #[inline]
    #[must_use]
    pub fn has_other_in(&self, headers: &HeaderMap) -> bool {
        !self.others.is_empty() && headers.keys().any(|name| is_any_of(name, &self.others))
    }

    /// Returns whether a request has one of these fields.
    #[must_use]
    pub fn has_any_in(&self, headers: &HeaderMap) -> bool {
        self.has_other_in(headers) || headers.keys().any(|name| self.has_extension(name))
    }
}

/// Returns whether a name is a spelling of one of these.
fn is_any_of(name: &HeaderName, listed: &[HeaderName]) -> bool {
    let name = name.as_str().as_bytes();
    let mut listed = listed.iter();
    listed.any(|listed| is_spelling_of(name, listed.as_str().as_bytes()))
}

impl Default for BypassFields {
    fn default() -> Self {
        Self::new(DEFAULT_BYPASS_FIELDS.map(HeaderName::from_static).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn request(name: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(""))])
    }

    #[test]
    fn each_listed_name_is_found_and_no_other_one() {
        let own = ["x-own", "accept", "own"].map(HeaderName::from_static);
        let own = BypassFields::new(own.into());
        for name in DEFAULT_BYPASS_FIELDS {
            assert!(BypassFields::default().has_any_in(&request(name)), "{name}");
            assert!(!own.has_any_in(&request(name)), "{name}");
        }
        for name in ["x-own", "accept", "own"] {
            assert!(own.has_any_in(&request(name)), "{name}");
            assert!(
                !BypassFields::default().has_any_in(&request(name)),
                "{name}"
            );
        }
        assert!(!BypassFields::new(Vec::new()).has_any_in(&request("x-own")));
    }

    /// Services that make variables of names, as CGI does, know no difference.
    #[test]
    fn names_are_found_in_every_spelling() {
        let own = ["x-own-name", "own-name"].map(HeaderName::from_static);
        let own = BypassFields::new(own.into());
        for name in ["x_own_name", "x-own.name", "own_name", "own.name"] {
            assert!(own.has_any_in(&request(name)), "{name}");
        }
        for name in ["x_http_method_override", "x.http-method", "x_original_url"] {
            assert!(BypassFields::default().has_any_in(&request(name)), "{name}");
        }
    }

    /// Names that browsers and proxies send are not compared with each name of the list.
    #[test]
    fn common_names_do_not_pass_the_filter() {
        let fields = BypassFields::default();
        for name in [
            "sec-ch-ua",
            "sec-ch-ua-mobile",
            "sec-ch-ua-platform",
            "sec-fetch-dest",
            "sec-fetch-mode",
            "sec-fetch-site",
            "sec-fetch-user",
            "priority",
            "dnt",
            "x-forwarded-for",
            "x-forwarded-host",
            "x-forwarded-proto",
            "x-real-ip",
            "x-request-id",
            "traceparent",
        ] {
            let name = HeaderName::from_static(name);
            assert!(!fields.filter.may_contain(&name), "{name}");
        }
    }
}
