//! How long a response may be used after its lifetime (RFC 9111 §4.2.4, RFC 5861).

use std::time::Duration;

use crate::semantics::cache_control::ResponseDirectives;
use crate::semantics::reason::StaleUse;

/// The windows after its lifetime in which a stored response may still be used. 0: not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Staleness {
    /// May be served at once while a refresh runs in the background (RFC 5861 §3).
    pub while_revalidate: Duration,
    /// May be served in the place of a server error (RFC 5861 §4).
    pub if_error: Duration,
    /// May be served if the inner service fails to answer (RFC 9111 §4.2.4, "disconnected").
    pub if_unreachable: Duration,
    /// Is kept to be validated (RFC 9111 §4.3). Not served by this alone.
    pub validation: Duration,
    /// `true` if the response forbids serving it stale beyond these windows, even to a request that
    /// accepts it (RFC 9111 §5.2.2.2, §5.2.2.4, §5.2.2.8, §5.2.2.10).
    pub is_forbidden: bool,
}

/// The windows of responses that state none, from the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StaleRules {
    /// In the place of `stale-while-revalidate`.
    pub while_revalidate: Duration,
    /// In the place of `stale-if-error`.
    pub if_error: Duration,
    /// For an inner service that fails to answer. No field states this.
    pub if_unreachable: Duration,
    /// How long after its lifetime a response with a validator is kept to be validated.
    pub validation: Duration,
    /// Whether `stale-while-revalidate` and `stale-if-error` count beside `s-maxage`, which forbids
    /// serving stale responses by its definition (RFC 9111 §5.2.2.10).
    pub despite_s_maxage: bool,
}

impl StaleRules {
    /// Returns the rules without windows for serving stale responses that state none.
    #[must_use]
    pub fn without_windows(self) -> Self {
        Self {
            validation: self.validation,
            despite_s_maxage: self.despite_s_maxage,
            ..Self::default()
        }
    }
}

impl Staleness {
    /// Computes the windows of a response with these directives.
    #[must_use]
    pub fn new(directives: &ResponseDirectives, rules: StaleRules) -> Self {
        if directives.is_never_stale() {
            return Self {
                is_forbidden: true,
                ..Self::default()
            };
        }
        if directives.s_maxage.is_some() {
            let explicit = |window: Option<Duration>| {
                window
                    .filter(|_| rules.despite_s_maxage)
                    .unwrap_or_default()
            };
            return Self {
                while_revalidate: explicit(directives.stale_while_revalidate),
                if_error: explicit(directives.stale_if_error),
                if_unreachable: explicit(directives.stale_if_error),
                // By its definition; the response itself excepts its own windows from that.
                is_forbidden: true,
                ..Self::default()
            };
        }
        Self {
            while_revalidate: directives
                .stale_while_revalidate
                .unwrap_or(rules.while_revalidate),
            if_error: directives.stale_if_error.unwrap_or(rules.if_error),
            // No answer is an error, too: the response may state that window itself.
            if_unreachable: directives
                .stale_if_error
                .unwrap_or(rules.if_unreachable.max(rules.if_error)),
            ..Self::default()
        }
    }

    /// Returns the longest window in which the response may be served while the inner service
    /// answers.
    #[must_use]
    pub fn longest_while_reachable(&self) -> Duration {
        self.while_revalidate.max(self.if_error)
    }

    /// Returns the longest window.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.longest_while_reachable()
            .max(self.if_unreachable)
            .max(self.validation)
    }

    /// Returns the window of one use.
    #[must_use]
    pub fn window(&self, of: StaleUse) -> Duration {
        match of {
            StaleUse::WhileRevalidate => self.while_revalidate,
            StaleUse::IfError => self.if_error,
            StaleUse::IfUnreachable => self.if_unreachable,
            // The request states that window.
            StaleUse::MaxStale => Duration::ZERO,
        }
    }
}
