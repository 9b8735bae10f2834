//! The log lines of failed requests.

use std::error::Error;

use http::uri::PathAndQuery;
use http::{Method, Request};

use crate::clock::throttle::Throttle;
use crate::clock::{Clock, SystemClock};
use crate::error::causes::{WithCauses, causes};

use super::error::{ProxyError, ProxyErrorKind};

/// What a log line says of a request: method and path. The query is left out: it may hold secrets.
#[derive(Clone, Debug)]
pub(super) struct LogSubject {
    method: Method,
    /// `None` for a target without a path, as of CONNECT.
    target: Option<PathAndQuery>,
}

impl LogSubject {
    pub(super) fn from_request<B>(request: &Request<B>) -> Self {
        Self {
            method: request.method().clone(),
            target: request.uri().path_and_query().cloned(),
        }
    }

    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    pub(super) fn path(&self) -> &str {
        self.target.as_ref().map_or("", PathAndQuery::path)
    }
}

/// Admits one warning per second for each kind of error, whatever the number of proxies.
static THROTTLES: [Throttle; ProxyErrorKind::Internal as usize + 1] =
    [const { Throttle::new() }; ProxyErrorKind::Internal as usize + 1];

/// Logs the error of a request with its causes, at most once a second for each kind, and returns
/// its kind.
pub(super) fn log_failure(error: &(dyn Error + 'static), subject: &LogSubject) -> ProxyErrorKind {
    let kind = causes(error)
        .find_map(|cause| cause.downcast_ref())
        .map_or(ProxyErrorKind::Internal, ProxyError::kind);
    let (reason, error) = (kind.as_str(), WithCauses(error));
    let (method, path) = (subject.method(), subject.path());
    match kind.status().is_client_error() {
        true => tracing::debug!(%method, path, reason, %error, "request failed"),
        false => {
            if let Some(suppressed) = THROTTLES[kind as usize].admit(SystemClock.now().monotonic())
            {
                tracing::warn!(%method, path, reason, %error, suppressed, "request failed");
            }
        }
    }
    kind
}
