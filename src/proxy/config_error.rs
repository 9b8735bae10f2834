//! Errors of the proxy's configuration: invalid upstreams and invalid options.

use std::error::Error;
use std::fmt;

use super::field_value::is_token;

/// The error of a URL or prefix that cannot be used for an upstream.
///
/// It displays the value, the problem and what to use instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUpstream {
    value: String,
    problem: UpstreamProblem,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UpstreamProblem {
    NotAUrl,
    NoScheme,
    UnknownScheme,
    HttpsDisabled,
    NoHost,
    HasUserInfo,
    HasQuery,
    HasFragment,
    InvalidPort,
    RelativePrefix,
    DifferentServers,
    TooManyServers,
}

impl InvalidUpstream {
    pub(super) fn new(value: &str, problem: UpstreamProblem) -> Self {
        Self {
            value: value.to_owned(),
            problem,
        }
    }
}

impl fmt::Display for InvalidUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = &self.value;
        match self.problem {
            UpstreamProblem::NotAUrl => write!(
                f,
                "invalid upstream {value:?}: not a URL; use http://HOST[:PORT][/PATH]"
            ),
            UpstreamProblem::NoScheme => write!(
                f,
                "invalid upstream {value:?}: the scheme is missing; use http://HOST[:PORT][/PATH]"
            ),
            UpstreamProblem::UnknownScheme => write!(
                f,
                "invalid upstream {value:?}: unknown scheme; use http:// or https://"
            ),
            UpstreamProblem::HttpsDisabled => write!(
                f,
                "invalid upstream {value:?}: https:// needs the feature proxy-tls; \
                 enable it or use http://"
            ),
            UpstreamProblem::NoHost => write!(
                f,
                "invalid upstream {value:?}: the host is missing; use http://HOST[:PORT][/PATH]"
            ),
            UpstreamProblem::HasUserInfo => write!(
                f,
                "invalid upstream {value:?}: user information is not supported; \
                 remove everything up to the @"
            ),
            UpstreamProblem::HasQuery => write!(
                f,
                "invalid upstream {value:?}: a query is not supported; remove it from the ? on"
            ),
            UpstreamProblem::HasFragment => write!(
                f,
                "invalid upstream {value:?}: a fragment is not supported; remove it from the # on"
            ),
            UpstreamProblem::InvalidPort => write!(
                f,
                "invalid upstream {value:?}: the port is no number from 1 to 65535"
            ),
            UpstreamProblem::DifferentServers => write!(
                f,
                "invalid upstream {value:?}: its servers differ in scheme or path; \
                 use the same for all of them"
            ),
            UpstreamProblem::TooManyServers => {
                write!(f, "invalid upstream {value:?}: it has more than 64 servers")
            }
            UpstreamProblem::RelativePrefix => write!(
                f,
                "invalid upstream prefix {value:?}: it must begin with a slash; use \"/{value}\""
            ),
        }
    }
}

impl Error for InvalidUpstream {}

/// The error of the `try_*` options of [`ReverseProxy`](super::ReverseProxy): a value is out of
/// range or malformed.
///
/// Its message names the option, the value and what the option accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidProxyOption(OptionProblem);

#[derive(Clone, Debug, PartialEq, Eq)]
enum OptionProblem {
    Name(Box<str>),
    MaxHead { bytes: usize, least: usize },
    MaxHeadFields(usize),
    HealthPath(Box<str>),
}

/// The largest limit for the number of header fields.
const MAX_HEAD_FIELDS: usize = 10_000;

impl InvalidProxyOption {
    /// Checks a name for `Via` and `Proxy-Status`.
    pub(super) fn check_name(name: &str) -> Result<(), Self> {
        match is_token(name) {
            true => Ok(()),
            false => Err(Self(OptionProblem::Name(name.into()))),
        }
    }

    /// The error of a path that is none.
    pub(super) fn health_path(path: &str) -> Self {
        Self(OptionProblem::HealthPath(path.into()))
    }

    /// Checks a limit for the number of a response's header fields.
    pub(super) fn check_max_head_fields(count: usize) -> Result<(), Self> {
        match (1..=MAX_HEAD_FIELDS).contains(&count) {
            true => Ok(()),
            false => Err(Self(OptionProblem::MaxHeadFields(count))),
        }
    }

    /// Checks a limit for a response's head.
    pub(super) fn check_max_head(bytes: usize, least: usize) -> Result<(), Self> {
        match bytes >= least {
            true => Ok(()),
            false => Err(Self(OptionProblem::MaxHead { bytes, least })),
        }
    }
}

impl fmt::Display for InvalidProxyOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            OptionProblem::Name(name) => {
                write!(f, "name must be a token (RFC 9110 §5.6.2), not {name:?}")
            }
            OptionProblem::HealthPath(path) => {
                write!(
                    f,
                    "the path of a health check must begin with /, not {path:?}"
                )
            }
            OptionProblem::MaxHeadFields(count) => {
                let most = MAX_HEAD_FIELDS;
                write!(f, "max_head_fields must be from 1 to {most}, not {count}")
            }
            OptionProblem::MaxHead { bytes, least } => {
                write!(f, "max_head must be at least {least} bytes, not {bytes}")
            }
        }
    }
}

impl Error for InvalidProxyOption {}

/// Unwraps an option that was set in code, where an invalid value is a programming error.
#[track_caller]
pub(super) fn or_panic<T>(checked: Result<T, InvalidProxyOption>) -> T {
    match checked {
        Ok(value) => value,
        Err(invalid) => panic!("{invalid}"),
    }
}
