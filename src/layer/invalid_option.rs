//! The error of options that are set from configuration.

use std::error::Error;
use std::fmt;

use http::header::{HeaderName, InvalidHeaderName};
use matchit::InsertError;

use crate::semantics::cache_status::InvalidCacheName;

/// The error of the `try_*` options of [`CacheLayer`](crate::CacheLayer): a value is out of range
/// or malformed.
///
/// Its message names the option, the value and what the option accepts.
///
/// ```
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// let layer = CacheLayer::new(MemoryBackend::default());
/// let error = layer.try_ttl_jitter(7.0).expect_err("more than 1");
/// assert_eq!(error.to_string(), "ttl_jitter must be between 0 and 1, not 7");
/// ```
#[derive(Debug)]
pub struct InvalidOption {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Jitter(f64),
    EarlyRefresh(f64),
    CacheName(Box<str>, InvalidCacheName),
    CookieName(Box<str>),
    Path(&'static str, Box<str>),
    Route(Box<str>, InsertError),
    FieldName {
        option: &'static str,
        name: Box<str>,
        error: InvalidHeaderName,
    },
}

impl InvalidOption {
    pub(super) fn jitter(fraction: f64) -> Self {
        Kind::Jitter(fraction).into()
    }

    pub(super) fn early_refresh(beta: f64) -> Self {
        Kind::EarlyRefresh(beta).into()
    }

    pub(super) fn cache_name(name: &str, error: InvalidCacheName) -> Self {
        Kind::CacheName(name.into(), error).into()
    }

    pub(super) fn cookie_name(name: &str) -> Self {
        Kind::CookieName(name.into()).into()
    }

    pub(super) fn route(pattern: &str, error: InsertError) -> Self {
        Kind::Route(pattern.into(), error).into()
    }

    pub(super) fn path(option: &'static str, path: &str) -> Self {
        Kind::Path(option, path.into()).into()
    }

    fn field_name(option: &'static str, name: &str, error: InvalidHeaderName) -> Self {
        let name = name.into();
        Kind::FieldName {
            option,
            name,
            error,
        }
        .into()
    }
}

impl From<Kind> for InvalidOption {
    fn from(kind: Kind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for InvalidOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Jitter(fraction) => {
                write!(f, "ttl_jitter must be between 0 and 1, not {fraction}")
            }
            Kind::EarlyRefresh(beta) => {
                write!(
                    f,
                    "early_refresh must be 0 or a positive finite number, not {beta}"
                )
            }
            Kind::CacheName(name, _) => {
                write!(
                    f,
                    "cache_status_name must be visible ASCII or spaces, not {name:?}"
                )
            }
            Kind::CookieName(name) => {
                write!(
                    f,
                    "ignore_request_cookies must be given cookie names, not {name:?}"
                )
            }
            Kind::Path(option, path) => {
                write!(
                    f,
                    "{option} must be given paths that begin with `/`, not {path:?}"
                )
            }
            Kind::Route(pattern, error) => {
                write!(
                    f,
                    "route must be given a path pattern such as \"/api/{{*rest}}\", not {pattern:?}: \
                     {error}"
                )
            }
            Kind::FieldName { option, name, .. } => {
                write!(f, "{option} must be given field names, not {name:?}")
            }
        }
    }
}

impl Error for InvalidOption {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.kind {
            Kind::Jitter(_) | Kind::EarlyRefresh(_) | Kind::CookieName(_) | Kind::Path(..) => None,
            Kind::CacheName(_, error) => Some(error),
            Kind::Route(_, error) => Some(error),
            Kind::FieldName { error, .. } => Some(error),
        }
    }
}

/// Parses the field names that are given to an option.
pub(super) fn field_names<'n>(
    option: &'static str,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<HeaderName>, InvalidOption> {
    let parse = |name: &str| {
        let invalid = |error| InvalidOption::field_name(option, name, error);
        HeaderName::try_from(name).map_err(invalid)
    };
    names.into_iter().map(parse).collect()
}

/// Checks the names of cookies that are given to an option.
pub(super) fn check_cookie_names<'n>(
    mut names: impl Iterator<Item = &'n str>,
) -> Result<(), InvalidOption> {
    let is_invalid = |name: &&str| {
        let has_separator = name.contains(|c: char| c.is_whitespace() || "=;".contains(c));
        name.is_empty() || has_separator
    };
    match names.find(is_invalid) {
        Some(invalid) => Err(InvalidOption::cookie_name(invalid)),
        None => Ok(()),
    }
}

/// Unwraps an option that was set in code, where an invalid value is a programming error.
#[track_caller]
pub(super) fn or_panic<T>(checked: Result<T, InvalidOption>) -> T {
    match checked {
        Ok(layer) => layer,
        Err(invalid) => panic!("{invalid}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::backend::MemoryBackend;
    use crate::{CacheLayer, Rules};

    #[test]
    fn an_option_from_configuration_that_is_out_of_range_is_an_error_that_names_it() {
        let layer = || CacheLayer::new(MemoryBackend::default());
        let rows = [
            (
                layer().try_ttl_jitter(f64::NAN).err(),
                "ttl_jitter must be between 0 and 1, not NaN",
            ),
            (
                layer().try_ttl_jitter(-0.5).err(),
                "ttl_jitter must be between 0 and 1, not -0.5",
            ),
            (
                layer().try_early_refresh(f64::INFINITY).err(),
                "early_refresh must be 0 or a positive finite number, not inf",
            ),
            (
                layer().try_cache_status_name("ä").err(),
                "cache_status_name must be visible ASCII or spaces, not \"ä\"",
            ),
            (
                layer().try_targeted_cache_control(["cdn cache"]).err(),
                "targeted_cache_control must be given field names, not \"cdn cache\"",
            ),
            (
                layer().try_credential_fields(["x-session", ""]).err(),
                "credential_fields must be given field names, not \"\"",
            ),
            (
                layer().try_ignore_request_cookies(["_ga", "_gid=1"]).err(),
                "ignore_request_cookies must be given cookie names, not \"_gid=1\"",
            ),
            (
                layer().try_group_fields(["cache tag"]).err(),
                "group_fields must be given field names, not \"cache tag\"",
            ),
            (
                layer().try_group_prefixes(["/img/", "js/"]).err(),
                "group_prefixes must be given paths that begin with `/`, not \"js/\"",
            ),
            (
                layer().try_route("api/*", Rules::new()).err(),
                "route must be given paths that begin with `/`, not \"api/*\"",
            ),
            (
                layer().try_route("/{a}{b}", Rules::new()).err(),
                "route must be given a path pattern such as \"/api/{*rest}\", not \"/{a}{b}\": \
                 Only one parameter is allowed per path segment",
            ),
            (
                layer()
                    .route("/a/{b}", Rules::new())
                    .try_route("/a/{c}", Rules::new())
                    .err(),
                "route must be given a path pattern such as \"/api/{*rest}\", not \"/a/{c}\": \
                 Insertion failed due to conflict with previously registered route: /a/{b}",
            ),
            (
                layer().try_group_prefixes(["/img?a"]).err(),
                "group_prefixes must be given paths that begin with `/`, not \"/img?a\"",
            ),
            (
                layer().try_ignore_request_cookies([""]).err(),
                "ignore_request_cookies must be given cookie names, not \"\"",
            ),
        ];
        for (error, expected) in rows {
            assert_eq!(
                error.map(|error| error.to_string()).as_deref(),
                Some(expected)
            );
        }
    }

    #[test]
    #[should_panic(expected = "ttl_jitter must be between 0 and 1, not 7")]
    fn an_option_in_code_that_is_out_of_range_panics_with_a_sentence() {
        let _ = CacheLayer::new(MemoryBackend::default()).ttl_jitter(7.0);
    }
}
