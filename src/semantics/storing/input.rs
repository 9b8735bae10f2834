//! What the decision to store depends on.

use http::{HeaderMap, Method, StatusCode};

use crate::semantics::cache_control::{IgnoredDirectives, TargetedFields};
use crate::semantics::freshness::{StaleRules, Ttl};
use crate::semantics::moment::Moment;

/// What storing depends on besides the two messages.
#[derive(Clone, Debug, Default)]
pub struct StoringRules {
    /// The lifetime for responses that say nothing of theirs.
    pub assigned: Option<Ttl>,
    /// Stores responses with `Set-Cookie`, as the RFC would.
    pub store_set_cookie: bool,
    /// The status of the response already stored under the key, if any.
    pub existing: Option<StatusCode>,
    /// How long it may be used beyond its lifetime, where it does not say.
    pub stale: StaleRules,
    /// The fields that take the place of a response's `Cache-Control`.
    pub targets: TargetedFields,
    /// What of a request's `Cache-Control` is not obeyed.
    pub ignored: IgnoredDirectives,
    /// Stores nothing without explicit freshness, as for POST (RFC 9110 §9.3.3).
    pub explicit_only: bool,
    /// The part of what is left of its lifetime that is taken off, 0 to 1.
    pub shortened_by: f64,
}

/// The request's part of the decision.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// When it was sent to the inner service.
    pub at: Moment,
}

/// The response's part of the decision.
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// Its status.
    pub status: StatusCode,
    /// Its header fields.
    pub headers: &'a HeaderMap,
    /// When its head arrived.
    pub at: Moment,
}
