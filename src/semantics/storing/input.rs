//! The input of the decision to store.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};

use crate::semantics::cache_control::{IgnoredDirectives, TargetedFields};
use crate::semantics::freshness::{StaleRules, Ttl};
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;
use crate::semantics::vary::Vary;

use super::stated::StatedPolicy;

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
    /// Judges by the rules of a private cache: the response is stored for one client alone.
    pub is_private: bool,
    /// What the inner service says for this cache alone. It comes before the fields of the
    /// response, unless these forbid something.
    pub stated: Option<Arc<StatedPolicy>>,
}

impl StoringRules {
    /// Returns whether the inner service forbids this cache to store the response.
    #[inline]
    pub(super) fn forbid_storing(&self) -> bool {
        self.stated.as_ref().is_some_and(|stated| stated.no_store)
    }

    /// Returns whether the inner service says that the response is for one client alone.
    #[inline]
    pub(super) fn state_private(&self) -> bool {
        let stated = self.stated.as_ref();
        stated.is_some_and(|stated| stated.private_to.is_some())
    }

    /// Returns whether the response may be stored for the client with this id.
    #[must_use]
    pub fn may_be_private_to(&self, id: &[u8]) -> bool {
        let stated = self.stated.as_ref();
        let private_to = stated.and_then(|stated| stated.private_to.as_deref());
        private_to.is_none_or(|named| named == id)
    }

    /// Returns the fields that select a response whose `Vary` is this.
    #[inline]
    pub(super) fn selecting_fields(&self, vary: Vary) -> Vary {
        match &self.stated {
            Some(stated) if !stated.vary_on.is_empty() => vary.with_fields(stated.vary_on.iter()),
            _ => vary,
        }
    }
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
