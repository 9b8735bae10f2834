//! What can go wrong between here and an origin.

use std::error::Error;
use std::{fmt, io};

use http::StatusCode;

use crate::error::BoxError;

use super::idle::Stalled;

/// What is wrong with a URL that was to be an upstream's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidUpstream {
    pub(super) url: String,
    pub(super) problem: &'static str,
}

impl fmt::Display for InvalidUpstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no upstream: {}", self.url, self.problem)
    }
}

impl Error for InvalidUpstream {}

/// Why a request has no answer: an upstream failed, or could not be reached.
#[derive(Debug)]
pub struct ProxyError {
    kind: ProxyErrorKind,
    cause: Option<BoxError>,
}

/// In which way; the names are those of RFC 9209 §2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyErrorKind {
    /// Its name is not known.
    Dns,
    /// It could not be connected to.
    Connect,
    /// It speaks no TLS, or is not trusted.
    Tls,
    /// Connecting took too long.
    ConnectTimeout,
    /// The head of its answer took too long.
    HeadTimeout,
    /// It closed the connection before it had answered.
    Terminated,
    /// It does not speak HTTP, or not by our limits.
    Protocol,
    /// The client's content ended with an error before all of it was sent.
    Request,
    /// The client stopped sending its content.
    RequestTimeout,
    /// Nothing that an upstream did.
    Internal,
}

impl ProxyErrorKind {
    /// The type of a proxy error (RFC 9209 §2.3).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns_error",
            Self::Connect => "connection_refused",
            Self::Tls => "tls_protocol_error",
            Self::ConnectTimeout => "connection_timeout",
            Self::HeadTimeout => "http_response_timeout",
            Self::Terminated => "connection_terminated",
            Self::Protocol => "http_protocol_error",
            Self::Request | Self::RequestTimeout => "http_request_error",
            Self::Internal => "proxy_internal_error",
        }
    }

    /// What a client is told of it (RFC 9110 §15.6.3, §15.6.5).
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::ConnectTimeout | Self::HeadTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Dns | Self::Connect | Self::Tls | Self::Terminated | Self::Protocol => {
                StatusCode::BAD_GATEWAY
            }
            Self::Request => StatusCode::BAD_REQUEST,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(super) fn because(self, cause: impl Into<BoxError>) -> ProxyError {
        ProxyError {
            kind: self,
            cause: Some(cause.into()),
        }
    }
}

impl ProxyError {
    /// In which way.
    #[must_use]
    pub fn kind(&self) -> ProxyErrorKind {
        self.kind
    }
}

impl From<ProxyErrorKind> for ProxyError {
    fn from(kind: ProxyErrorKind) -> Self {
        Self { kind, cause: None }
    }
}

impl From<hyper_util::client::legacy::Error> for ProxyError {
    fn from(error: hyper_util::client::legacy::Error) -> Self {
        kind_of(&error).because(error)
    }
}

fn kind_of(error: &hyper_util::client::legacy::Error) -> ProxyErrorKind {
    let hyper = |is: fn(&hyper::Error) -> bool| any(error, is);
    let is_late = any(error, |io: &io::Error| io.kind() == io::ErrorKind::TimedOut);
    match () {
        () if error.is_connect() && is_late => ProxyErrorKind::ConnectTimeout,
        () if error.is_connect() && any(error, is_of_tls) => ProxyErrorKind::Tls,
        () if error.is_connect() && causes(error).any(is_of_dns) => ProxyErrorKind::Dns,
        () if error.is_connect() => ProxyErrorKind::Connect,
        () if any(error, |stalled: &Stalled| *stalled == Stalled::Client) => {
            ProxyErrorKind::RequestTimeout
        }
        () if hyper(hyper::Error::is_user) => ProxyErrorKind::Request,
        () if hyper(hyper::Error::is_parse) => ProxyErrorKind::Protocol,
        () => ProxyErrorKind::Terminated,
    }
}

/// hyper's connector says it by these words alone.
fn is_of_dns(cause: &(dyn Error + 'static)) -> bool {
    cause.to_string() == "dns error"
}

/// Errors of I/O are no causes of those that hold them.
#[cfg(feature = "proxy-tls")]
fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|held| {
        held.is::<rustls::Error>() || held.downcast_ref().is_some_and(is_of_tls)
    })
}

#[cfg(not(feature = "proxy-tls"))]
fn is_of_tls(_: &io::Error) -> bool {
    false
}

/// Whether one of an error's causes is of a type, and like that.
pub(super) fn any<E: Error + 'static>(
    error: &(dyn Error + 'static),
    is: impl Fn(&E) -> bool,
) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<E>().is_some_and(&is))
}

pub(super) fn causes<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ProxyErrorKind::Dns => "the upstream's name is not known",
            ProxyErrorKind::Tls => "the upstream is not trusted, or speaks no TLS",
            ProxyErrorKind::Connect => "the upstream cannot be reached",
            ProxyErrorKind::ConnectTimeout => "connecting to the upstream took too long",
            ProxyErrorKind::HeadTimeout => "the upstream did not answer in time",
            ProxyErrorKind::Terminated => "the upstream closed the connection without an answer",
            ProxyErrorKind::Protocol => "the upstream's answer is not sound",
            ProxyErrorKind::Request => "the request's content ended too early",
            ProxyErrorKind::RequestTimeout => "the request's content took too long",
            ProxyErrorKind::Internal => "the request failed here",
        })
    }
}

impl Error for ProxyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}
