//! What the inner service says about a response for this cache alone.

use std::time::Duration;

use http::HeaderName;

use crate::semantics::cache_control::ResponseDirectives;
use crate::semantics::freshness::{Staleness, Ttl};

/// What the inner service says about a response for this cache alone: in the program, not on the
/// wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatedPolicy {
    /// The lifetime.
    pub ttl: Option<Ttl>,
    /// The window of `stale-while-revalidate`.
    pub while_revalidate: Option<Duration>,
    /// The window of `stale-if-error`.
    pub if_error: Option<Duration>,
    /// Whether the response must not be stored.
    pub no_store: bool,
    /// The id of the one client that the response is for.
    pub private_to: Option<Box<[u8]>>,
    /// The names of groups that the response is in.
    pub groups: Vec<String>,
    /// The request fields that select the response, beside those in `Vary`.
    pub vary_on: Vec<HeaderName>,
}

impl StatedPolicy {
    /// Replaces the windows that are stated here. Directives that forbid stale use win.
    pub(super) fn replace_windows(&self, stale: &mut Staleness, directives: &ResponseDirectives) {
        if directives.is_never_stale() {
            return;
        }
        if let Some(window) = self.while_revalidate {
            stale.while_revalidate = window;
        }
        if let Some(window) = self.if_error {
            stale.if_error = window;
            // No answer is an error, too.
            stale.if_unreachable = window;
        }
    }
}
