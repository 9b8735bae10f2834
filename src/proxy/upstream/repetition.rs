//! Which requests may be sent again after a failure (RFC 9110 §9.2.2, RFC 9113 §8.7).
//!
//! Knows the errors of hyper and h2; sends nothing.

use std::error::Error;

use http::{Extensions, HeaderMap, Method, Request, Uri};
use hyper_util::client::legacy;

use crate::error::BoxError;
use crate::proxy::body::in_flight::connection_use::ConnectionUse;
use crate::proxy::body::replay::ReplayableContent;
use crate::proxy::body::upload::{RequestBody, empty};
use crate::proxy::error::{ProxyError, find_cause};
use crate::semantics::invalidation::is_safe;

/// The requests that may be sent again after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::proxy) enum Repeatable {
    /// All requests, to another server: there was no connection.
    Elsewhere,
    /// All requests: the upstream has said that it did not process this one.
    All,
    /// Idempotent requests: the connection was lost before any byte of a response.
    Idempotent,
    None,
}

/// A request without a response, and whether it may be sent again.
#[derive(Debug)]
pub(in crate::proxy) struct FailedSend {
    pub(in crate::proxy) error: ProxyError,
    pub(in crate::proxy) repeatable: Repeatable,
}

impl From<ProxyError> for FailedSend {
    fn from(error: ProxyError) -> Self {
        Self {
            error,
            repeatable: Repeatable::None,
        }
    }
}

impl From<legacy::Error> for FailedSend {
    fn from(error: legacy::Error) -> Self {
        let repeatable = match error.is_connect() {
            true => Repeatable::Elsewhere,
            false => {
                let mut extras = Extensions::new();
                if let Some(connected) = error.connect_info() {
                    connected.get_extras(&mut extras);
                }
                repeatable_after(&error, extras.get())
            }
        };
        let error = error.into();
        Self { error, repeatable }
    }
}

impl FailedSend {
    /// There was no connection.
    pub(super) fn not_connected(error: BoxError) -> Self {
        Self {
            error: ProxyError::from_connecting(error),
            repeatable: Repeatable::Elsewhere,
        }
    }
}

/// Which requests may be sent again after an error on a connection.
pub(super) fn repeatable_after(
    error: &(dyn Error + 'static),
    connection: Option<&ConnectionUse>,
) -> Repeatable {
    if let Some(error) = find_cause::<h2::Error>(error) {
        // The streams that a GOAWAY does not cover fail with the connection, not with its reason.
        let is_refused = error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM);
        return match error.is_remote() && is_refused {
            true => Repeatable::All,
            false => Repeatable::None,
        };
    }
    if find_cause::<hyper::Error>(error).is_some_and(hyper::Error::is_user) {
        return Repeatable::None;
    }
    match connection {
        Some(connection) if connection.is_lost_while_idle() => Repeatable::Idempotent,
        _ => Repeatable::None,
    }
}

/// The methods of RFC 9110 §9.2.2.
fn is_idempotent(method: &Method) -> bool {
    is_safe(method) || [Method::PUT, Method::DELETE].contains(method)
}

/// A request on its way, with all that is needed to send it again.
#[derive(Debug)]
pub(in crate::proxy) struct KeptRequest {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    /// The callback for `100 (Continue)`, if the request has content.
    extensions: Extensions,
    content: Option<ReplayableContent>,
}

impl KeptRequest {
    /// Keeps a copy of a request. Content is recorded only up to a limit: see
    /// [`ReplayableContent`].
    pub(in crate::proxy) fn new(request: &mut Request<RequestBody>, has_content: bool) -> Self {
        let mut content = None;
        if has_content {
            let body = request.body_mut();
            let replayable = ReplayableContent::new(std::mem::replace(body, empty()));
            *body = replayable.start();
            content = Some(replayable);
        } else {
            *request.extensions_mut() = Extensions::new();
        }
        Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
            extensions: request.extensions().clone(),
            content,
        }
    }

    /// Makes the request once more, if it may be sent again after such a failure.
    pub(in crate::proxy) fn repeat(&self, after: Repeatable) -> Option<Request<RequestBody>> {
        let may_repeat = match after {
            Repeatable::Elsewhere | Repeatable::All => true,
            Repeatable::Idempotent => is_idempotent(&self.method),
            Repeatable::None => false,
        };
        if !may_repeat {
            return None;
        }
        let body = match &self.content {
            Some(content) => content.restart()?,
            None => empty(),
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        *request.extensions_mut() = self.extensions.clone();
        Some(request)
    }
}
