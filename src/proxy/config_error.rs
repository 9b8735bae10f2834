//! Errors of the proxy's configuration: invalid upstreams and invalid options.

use std::error::Error;
use std::fmt;

use super::field_value::is_token;

/// The error of a URL or prefix that cannot be used for an upstream.
///
/// It displays the value, the problem and what to use instead; what stands before an `@` is left
/// out, because it may be a password.
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
    RootPrefix,
    RepeatedPrefix,
    ImpossiblePrefix,
    SeveralHosts,
    DifferentServers,
    TooManyServers,
}

impl InvalidUpstream {
    pub(super) fn new(value: &str, problem: UpstreamProblem) -> Self {
        Self {
            value: without_user_info(value),
            problem,
        }
    }
}

/// A value, which may be no URL at all, without its user and password.
fn without_user_info(value: &str) -> String {
    let Some((before, host)) = value.rsplit_once('@') else {
        return value.to_owned();
    };
    match before.split_once("://") {
        Some((scheme, _)) if !scheme.contains([':', '@']) => format!("{scheme}://…@{host}"),
        _ => format!("…@{host}"),
    }
}

impl fmt::Display for InvalidUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, problem } = self;
        let subject = match problem.is_of_prefix() {
            true => "upstream prefix",
            false => "upstream",
        };
        write!(f, "invalid {subject} {value:?}: {}", problem.text())?;
        match problem {
            UpstreamProblem::RelativePrefix => write!(f, "; use \"/{value}\""),
            _ => Ok(()),
        }
    }
}

impl UpstreamProblem {
    fn is_of_prefix(&self) -> bool {
        matches!(
            self,
            Self::RelativePrefix | Self::RootPrefix | Self::RepeatedPrefix | Self::ImpossiblePrefix
        )
    }

    fn text(&self) -> &'static str {
        match self {
            Self::NotAUrl => "not a URL; use http://HOST[:PORT][/PATH]",
            Self::NoScheme => "the scheme is missing; use http://HOST[:PORT][/PATH]",
            Self::UnknownScheme => "unknown scheme; use http:// or https://",
            Self::HttpsDisabled => "https:// needs the feature proxy-tls; enable it or use http://",
            Self::NoHost => "the host is missing; use http://HOST[:PORT][/PATH]",
            Self::HasUserInfo => "user information is not supported; remove everything up to the @",
            Self::HasQuery => "a query is not supported; remove it from the ? on",
            Self::HasFragment => "a fragment is not supported; remove it from the # on",
            Self::InvalidPort => "the port is no number from 1 to 65535",
            Self::SeveralHosts => "each server needs a URL of its own; use http://HOST,http://HOST",
            Self::DifferentServers => {
                "its servers differ in scheme or path; use the same for all of them"
            }
            Self::TooManyServers => "it has more than 64 servers",
            Self::RelativePrefix => "it must begin with a slash",
            Self::RootPrefix => {
                "all paths begin so; give the upstream of all other paths without a prefix"
            }
            Self::RepeatedPrefix => {
                "it has an upstream already; list the URLs of several servers behind one prefix"
            }
            Self::ImpossiblePrefix => {
                "no path of one upstream alone begins so; use no ?, #, space, backslash, %2F or %5C"
            }
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
