//! The input of the decision to store.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use crate::semantics::cache_control::{IgnoredDirectives, TargetedFields};
use crate::semantics::freshness::{StaleRules, Ttl};
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;

/// The configuration that storing depends on.
#[derive(Clone, Debug, Default)]
pub struct StoringRules {
    /// The lifetime of responses that state none. `None`: they get none.
    pub assigned: Option<Ttl>,
    /// Stores responses with `Set-Cookie`, as RFC 9111 allows.
    pub store_set_cookie: bool,
    /// The status of the response that is already stored under the key.
    pub existing: Option<StatusCode>,
    /// How long responses that do not say so may be used after their lifetime.
    pub stale: StaleRules,
    /// The targeted fields that are obeyed in the place of `Cache-Control` (RFC 9213).
    pub targets: TargetedFields,
    /// The request directives that are ignored.
    pub ignored: IgnoredDirectives,
    /// Stores only responses with explicit freshness, as for POST (RFC 9110 §9.3.3).
    pub explicit_only: bool,
    /// The longest time for which a response is fresh, counted from its receipt.
    pub max_fresh: Option<Duration>,
    /// The fraction of the remaining lifetime that is cut off, from 0 to 1.
    pub shortened_by: f64,
}

/// The head of the request that went to the inner service.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a Method,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// Cookies and credentials that the request carries.
    pub kind: RequestKind,
    /// When the request was sent.
    pub at: Moment,
}

/// The head of the response that may be stored.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: &'a HeaderMap,
    /// When the head arrived.
    pub at: Moment,
}
