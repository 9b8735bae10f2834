//! The part of the query that belongs to the key.

use std::borrow::Cow;
use std::fmt;

use http::Uri;

use super::name_pattern::NamePattern;

/// The largest number of parameters that rules are applied to. Each is compared with each pattern,
/// and every hit pays for it.
const MAX_PARAMETERS: usize = 1000;

/// The query parameters that distinguish responses. Default: all, as received.
///
/// A parameter that does not count is no part of the key and does not reach the inner service
/// either, so it cannot influence a response stored for others; on axum that needs
/// [`on_rewritten_target`](crate::CacheLayer::on_rewritten_target). Parameters are separated by `&`
/// alone. Their names are compared as received, before any decoding: a parameter that is spelled
/// differently is another one. A query of more than 1,000 parameters is kept as received, in the
/// key and in the request.
///
/// ```
/// use tower_response_cache::key::QueryRules;
///
/// let rules = QueryRules::all().ignoring(["utm_*", "fbclid"]).sorted();
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryRules {
    only: Option<Box<[NamePattern]>>,
    ignored: Box<[NamePattern]>,
    sorted: bool,
}

impl QueryRules {
    /// Keeps all parameters, as received. This is the default.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Keeps these parameters only. A `*` at the end matches any rest.
    #[must_use]
    pub fn only<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self {
            only: Some(names.into_iter().map(NamePattern::new).collect()),
            ..Self::default()
        }
    }

    /// Removes these parameters. A `*` at the end matches any rest. Replaces the names of an
    /// earlier call.
    #[must_use]
    pub fn ignoring<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        Self {
            ignored: names.into_iter().map(NamePattern::new).collect(),
            ..self
        }
    }

    /// Sorts the parameters by name. Those of one name keep their order: `a=1&a=2` is not
    /// `a=2&a=1`.
    #[must_use]
    pub fn sorted(self) -> Self {
        Self {
            sorted: true,
            ..self
        }
    }

    /// Returns whether the rules leave every query as it is.
    pub(crate) fn is_all(&self) -> bool {
        self.only.is_none() && self.ignored.is_empty() && !self.sorted
    }

    /// Returns the part of a query that counts; `None` if nothing is left.
    pub(crate) fn apply<'q>(&self, query: &'q str) -> Option<Cow<'q, str>> {
        if query.split('&').nth(MAX_PARAMETERS).is_some() {
            return Some(Cow::Borrowed(query));
        }
        let counts = |parameter: &&str| self.counts(name_of(parameter));
        let mut kept: Vec<&str> = query.split('&').filter(counts).collect();
        if kept.is_empty() {
            return None;
        }
        if self.sorted {
            kept.sort_by_key(|parameter| name_of(parameter));
        }
        let is_unchanged = kept.iter().copied().eq(query.split('&'));
        Some(if is_unchanged {
            Cow::Borrowed(query)
        } else {
            Cow::Owned(kept.join("&"))
        })
    }

    /// Returns a URI without the ignored parts of its query; `None` if it has none.
    #[inline]
    pub(crate) fn trimmed(&self, uri: &Uri) -> Option<Box<Uri>> {
        match self.is_all() {
            true => None,
            false => self.trimmed_by_rules(uri).map(Box::new),
        }
    }

    #[inline(never)]
    fn trimmed_by_rules(&self, uri: &Uri) -> Option<Uri> {
        let path_and_query = match self.apply(uri.query()?) {
            Some(Cow::Borrowed(_)) => return None,
            Some(Cow::Owned(kept)) => format!("{}?{kept}", uri.path()),
            None => uri.path().to_owned(),
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = path_and_query.parse().ok();
        Uri::from_parts(parts).ok()
    }

    /// Returns whether a parameter of this name counts.
    fn counts(&self, name: &str) -> bool {
        let any = |patterns: &[NamePattern]| {
            patterns
                .iter()
                .any(|pattern| pattern.matches(name.as_bytes()))
        };
        self.only.as_deref().is_none_or(any) && !any(&self.ignored)
    }
}

/// Writes what the rules do, such as `ignoring utm_*, sorted`, whatever the order of the names.
impl fmt::Display for QueryRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |patterns: &[NamePattern]| {
            let mut names: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            names.sort_unstable();
            names.join(" ")
        };
        let only = self.only.as_deref();
        let only = only.map(|only| format!("only {}", names(only)));
        let ignored =
            (!self.ignored.is_empty()).then(|| format!("ignoring {}", names(&self.ignored)));
        let sorted = self.sorted.then(|| "sorted".to_owned());
        let rules: Vec<String> = [only, ignored, sorted].into_iter().flatten().collect();
        match rules.is_empty() {
            true => f.write_str("all"),
            false => f.write_str(&rules.join(", ")),
        }
    }
}

/// Returns the name of a parameter.
fn name_of(parameter: &str) -> &str {
    parameter
        .split_once('=')
        .map_or(parameter, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A parameter that does not count is no part of the key.
    #[test]
    fn only_counted_parameters_are_kept() {
        let ignoring = QueryRules::all().ignoring(["utm_*", "x"]);
        let only = QueryRules::only(["a", "page*"]);
        let sorted = QueryRules::all().sorted();
        for (rules, query, expected) in [
            (&QueryRules::all(), "b=1&a=2", Some("b=1&a=2")),
            (&ignoring, "a=1", Some("a=1")),
            (&ignoring, "utm_source=y&a=1&x&utm_=1", Some("a=1")),
            (&ignoring, "utm_a=1&x=2", None),
            (&ignoring, "xx=1&X=1", Some("xx=1&X=1")),
            (&ignoring, "%78=1", Some("%78=1")),
            (&ignoring, "a=1;utm_a=2", Some("a=1;utm_a=2")),
            (&ignoring, "", Some("")),
            (&ignoring, "a", Some("a")),
            (&ignoring, "a=", Some("a=")),
            (&ignoring, "a=1&&b", Some("a=1&&b")),
            (
                &only,
                "b=1&a=2&page=3&pages=4&a=5",
                Some("a=2&page=3&pages=4&a=5"),
            ),
            (&only, "b=1", None),
            (&only, "", None),
            (&sorted, "b=1&a=2", Some("a=2&b=1")),
            (&sorted, "a=2&b=1", Some("a=2&b=1")),
            (&sorted, "a=2&a=1", Some("a=2&a=1")),
            (&sorted, "b&a=2&a=1", Some("a=2&a=1&b")),
            (&sorted, "a=1;b=2&a", Some("a=1;b=2&a")),
        ] {
            assert_eq!(rules.apply(query).as_deref(), expected, "{rules:?} {query}");
        }
    }

    /// No form has so many.
    #[test]
    fn a_query_of_very_many_parameters_is_kept_as_received() {
        let rules = QueryRules::all().ignoring(["x"]).sorted();
        let many = |count: usize| vec!["x"; count].join("&");
        assert_eq!(rules.apply(&many(MAX_PARAMETERS)), None);
        let more = many(MAX_PARAMETERS + 1);
        assert_eq!(rules.apply(&more).as_deref(), Some(&*more));
    }
}
