//! The error of a request to an upstream.
//!
//! Knows the errors of hyper and of bodies; nothing of responses.

use std::error::Error;
use std::{fmt, io};

use http::uri::Authority;
use http::{Method, StatusCode};
use hyper_util::client::legacy;

use crate::error::BoxError;
use crate::error::causes::causes;
use crate::semantics::invalidation::is_safe;
use crate::semantics::marks::UnsentRequest;

use super::body::timers::idle_timer::StalledBody;
use super::dns_error::DnsError;

/// The error of a request that an upstream did not answer.
///
/// Its [`source`](Error::source) is the cause, for logs. [`ErrorResponder`](super::ErrorResponder)
/// turns it into a response.
#[derive(Debug)]
pub struct ProxyError {
    kind: ProxyErrorKind,
    upstream: Option<Authority>,
    cause: Option<BoxError>,
}

/// The kinds of [`ProxyError`], named after the proxy error types of RFC 9209 §2.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProxyErrorKind {
    /// The upstream's host name could not be resolved.
    Dns,
    /// The connection to the upstream was refused or failed.
    Connect,
    /// The TLS handshake failed, or the upstream's certificate is not trusted.
    Tls,
    /// Connecting took longer than [`connect_timeout`](super::ReverseProxy::connect_timeout).
    ConnectTimeout,
    /// The response's head took longer than [`head_timeout`](super::ReverseProxy::head_timeout).
    HeadTimeout,
    /// The upstream closed the connection before the end of its response's head.
    Terminated,
    /// The upstream's response is not valid HTTP, or exceeds [`max_head`].
    ///
    /// [`max_head`]: super::ReverseProxy::max_head
    Protocol,
    /// The client's content ended with an error before it was complete.
    ///
    /// [`ReverseProxy`](super::ReverseProxy) answers such a request itself, with 400, unless the
    /// upstream answers it in time: see
    /// [`broken_upload_timeout`](super::ReverseProxy::broken_upload_timeout).
    Request,
    /// The client paused within its content for longer than
    /// [`idle_timeout`](super::ReverseProxy::idle_timeout). Answered like
    /// [`Request`](Self::Request), with 408.
    RequestTimeout,
    /// The request waited for its turn for longer than
    /// [`queue_timeout`](super::ReverseProxy::queue_timeout). It was not sent.
    Overloaded,
    /// The request waited as long because of [`max_uploads`](super::ReverseProxy::max_uploads). It was
    /// not sent, or not whole.
    TooManyUploads,
    /// Any error that was not caused by an upstream or the client.
    Internal,
}

impl ProxyErrorKind {
    /// The proxy error type for `Proxy-Status` (RFC 9209 §2.3).
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
            Self::Overloaded | Self::TooManyUploads => "connection_limit_reached",
            Self::Internal => "proxy_internal_error",
        }
    }

    /// The status of the response to the client: 502 for a failed upstream, 504 for a late one
    /// (RFC 9110 §15.6.3, §15.6.5), 400 or 408 for the client's own content, 503 without a place
    /// before the upstream, 500 otherwise.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::ConnectTimeout | Self::HeadTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Dns | Self::Connect | Self::Tls | Self::Terminated | Self::Protocol => {
                StatusCode::BAD_GATEWAY
            }
            Self::Request => StatusCode::BAD_REQUEST,
            Self::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Overloaded | Self::TooManyUploads => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether the request was refused because there was no place for it.
    pub(super) fn is_overload(self) -> bool {
        matches!(self, Self::Overloaded | Self::TooManyUploads)
    }

    /// What there is too much of, if the request was refused because of that.
    fn as_overload(self) -> Option<&'static str> {
        self.is_overload().then(|| self.as_str())
    }

    /// The message for the client. It does not name the upstream.
    pub(super) fn client_message(self) -> &'static str {
        match self {
            Self::Dns => "the upstream's name is not known",
            Self::Tls => "the upstream is not trusted, or speaks no TLS",
            Self::Connect => "the upstream cannot be reached",
            Self::ConnectTimeout => "connecting to the upstream took too long",
            Self::HeadTimeout => "the upstream did not answer in time",
            Self::Terminated => "the upstream closed the connection without an answer",
            Self::Protocol => "the upstream's answer is not sound",
            Self::Request => "the request's content ended too early",
            Self::RequestTimeout => "the request's content took too long",
            Self::Overloaded => "there are too many requests",
            Self::TooManyUploads => "there are too many requests with content",
            Self::Internal => "the request failed here",
        }
    }

    /// The error message of the failed step, for logs.
    fn failure(self) -> &'static str {
        match self {
            Self::Dns => "cannot resolve the host name of upstream",
            Self::Tls => "TLS handshake failed with upstream",
            Self::Connect => "cannot connect to upstream",
            Self::ConnectTimeout => "connect_timeout exceeded for upstream",
            Self::HeadTimeout => "head_timeout exceeded for upstream",
            Self::Terminated => "connection closed before the response by upstream",
            Self::Protocol => "invalid response from upstream",
            Self::Request => "the client's content ended early for upstream",
            Self::RequestTimeout => "idle_timeout exceeded in the client's content for upstream",
            Self::Overloaded => "queue_timeout exceeded before a request to upstream",
            Self::TooManyUploads => {
                "queue_timeout exceeded as max_uploads are under way to upstream"
            }
            Self::Internal => "the request failed before it reached upstream",
        }
    }

    /// The error of a request that failed for another reason than its error says.
    pub(super) fn in_place_of(self, error: ProxyError) -> ProxyError {
        ProxyError {
            kind: self,
            upstream: error.upstream.clone(),
            cause: Some(error.into()),
        }
    }

    pub(super) fn caused_by(self, cause: impl Into<BoxError>) -> ProxyError {
        ProxyError {
            kind: self,
            upstream: None,
            cause: Some(cause.into()),
        }
    }
}

/// A request that has no response of the upstream.
pub(super) enum Failed {
    /// The upstream may have got the whole request.
    Upstream(ProxyError),
    /// No upstream has got the whole request: the client has broken its content off, or there was
    /// no place for a write.
    Unsent(ProxyError, UnsentRequest),
}

impl Failed {
    /// The failure of a request that was sent, of which the content has `broken` off or not.
    pub(super) fn sent(error: ProxyError, broken: Option<ProxyErrorKind>) -> Self {
        match broken {
            Some(kind) => {
                // It is not up to the client if there is no place for the rest of the content.
                let unsent = UnsentRequest {
                    is_held_back: kind.is_overload(),
                    overload: kind.as_overload(),
                };
                Self::Unsent(kind.in_place_of(error), unsent)
            }
            None => Self::Upstream(error),
        }
    }

    /// The failure of a request of which no upstream has got anything.
    fn held_back(error: ProxyError) -> Self {
        let unsent = UnsentRequest {
            is_held_back: true,
            overload: error.kind.as_overload(),
        };
        Self::Unsent(error, unsent)
    }

    /// The failure of a request whose content is not sent: it has not come, or there is no place
    /// for it.
    pub(super) fn before_content(error: ProxyError, method: &Method) -> Self {
        match error.kind().is_overload() {
            true => Self::without_place(error.kind(), method),
            false => Self::held_back(error),
        }
    }

    /// The failure of a request for which there is no place.
    pub(super) fn without_place(kind: ProxyErrorKind, method: &Method) -> Self {
        match is_safe(method) {
            true => Self::Upstream(kind.into()),
            // An error would leave it open whether the write has changed something.
            false => Self::held_back(kind.into()),
        }
    }
}

impl ProxyError {
    /// The kind of this error.
    #[must_use]
    pub fn kind(&self) -> ProxyErrorKind {
        self.kind
    }

    /// The host and port of the upstream that the request was sent to; `None` if none was chosen.
    #[must_use]
    pub fn upstream(&self) -> Option<&Authority> {
        self.upstream.as_ref()
    }

    /// The error of connecting.
    pub(super) fn from_connecting(error: BoxError) -> Self {
        let is_late = |io: &io::Error| io.kind() == io::ErrorKind::TimedOut;
        let kind = match &*error {
            error if has_cause(error, is_late) => ProxyErrorKind::ConnectTimeout,
            error if has_cause(error, is_tls) => ProxyErrorKind::Tls,
            error if find_cause::<DnsError>(error).is_some() => ProxyErrorKind::Dns,
            _ => ProxyErrorKind::Connect,
        };
        kind.caused_by(error)
    }

    /// The error of hyper on a connection.
    pub(super) fn from_exchange(error: impl Error + Send + Sync + 'static) -> Self {
        let is_client = |stalled: &StalledBody| *stalled == StalledBody::Client;
        let kind = match () {
            () if has_cause(&error, is_client) => ProxyErrorKind::RequestTimeout,
            () if has_cause(&error, hyper::Error::is_user) => ProxyErrorKind::Request,
            () if has_cause(&error, hyper::Error::is_parse) => ProxyErrorKind::Protocol,
            () => ProxyErrorKind::Terminated,
        };
        kind.caused_by(error)
    }

    pub(super) fn with_upstream(self, upstream: Authority) -> Self {
        Self {
            upstream: Some(upstream),
            ..self
        }
    }
}

impl From<ProxyErrorKind> for ProxyError {
    fn from(kind: ProxyErrorKind) -> Self {
        Self {
            kind,
            upstream: None,
            cause: None,
        }
    }
}

impl From<legacy::Error> for ProxyError {
    fn from(error: legacy::Error) -> Self {
        match error.is_connect() {
            true => Self::from_connecting(error.into()),
            false => Self::from_exchange(error),
        }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.failure())?;
        match &self.upstream {
            Some(upstream) => write!(f, " {upstream}"),
            None => Ok(()),
        }
    }
}

impl Error for ProxyError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Whether an I/O error wraps an error of rustls, which `source` does not return.
#[cfg(feature = "proxy-tls")]
fn is_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| {
        inner.is::<rustls::Error>() || inner.downcast_ref().is_some_and(is_tls)
    })
}

#[cfg(not(feature = "proxy-tls"))]
fn is_tls(_: &io::Error) -> bool {
    false
}

/// Whether one of an error's causes, itself included, has a type and satisfies a condition.
fn has_cause<E: Error + 'static>(
    error: &(dyn Error + 'static),
    condition: impl Fn(&E) -> bool,
) -> bool {
    causes(error).any(|cause| cause.downcast_ref::<E>().is_some_and(&condition))
}

/// The outermost of an error's causes, itself included, that has a type.
pub(super) fn find_cause<'e, E: Error + 'static>(
    error: &'e (dyn Error + 'static),
) -> Option<&'e E> {
    causes(error).find_map(|cause| cause.downcast_ref())
}
