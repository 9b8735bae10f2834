//! How long a response may be used beyond its lifetime (RFC 9111 §4.2.4, RFC 5861).

use std::time::Duration;

use crate::semantics::cache_control::ResponseDirectives;
use crate::semantics::reason::StaleUse;

/// How long beyond its lifetime a stored response may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Staleness {
    /// At once, while it is fetched anew (RFC 5861 §3).
    pub while_revalidate: Duration,
    /// In the place of a server error (RFC 5861 §4).
    pub if_error: Duration,
    /// Where there is no answer at all (RFC 9111 §4.2.4, "disconnected").
    pub if_unreachable: Duration,
    /// For how long it is kept to be validated (§4.3). No use by itself.
    pub validation: Duration,
    /// Whether the response forbids any use, whatever a request would take (§5.2.2.2, §5.2.2.4, §5.2.2.8, §5.2.2.10).
    pub is_forbidden: bool,
}

/// What the configuration gives to responses that say nothing of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StaleRules {
    /// In the place of `stale-while-revalidate`.
    pub while_revalidate: Duration,
    /// In the place of `stale-if-error`.
    pub if_error: Duration,
    /// No field says this.
    pub if_unreachable: Duration,
    /// For how long beyond its lifetime a response with a validator is kept to be validated.
    pub validation: Duration,
    /// Whether `stale-while-revalidate` and `stale-if-error` count beside `s-maxage`, which forbids both by its letter
    /// (RFC 9111 §5.2.2.10).
    pub despite_s_maxage: bool,
}

impl Staleness {
    /// What a response with these directives allows.
    #[must_use]
    pub fn new(said: &ResponseDirectives, rules: StaleRules) -> Self {
        if said.must_revalidate || said.proxy_revalidate || said.no_cache {
            return Self {
                is_forbidden: true,
                ..Self::default()
            };
        }
        if said.s_maxage.is_some() {
            let explicit = |window: Option<Duration>| {
                window
                    .filter(|_| rules.despite_s_maxage)
                    .unwrap_or_default()
            };
            return Self {
                while_revalidate: explicit(said.stale_while_revalidate),
                if_error: explicit(said.stale_if_error),
                if_unreachable: explicit(said.stale_if_error),
                is_forbidden: !rules.despite_s_maxage,
                ..Self::default()
            };
        }
        Self {
            while_revalidate: said
                .stale_while_revalidate
                .unwrap_or(rules.while_revalidate),
            if_error: said.stale_if_error.unwrap_or(rules.if_error),
            // No answer is an error, too, of which the response may speak for itself.
            if_unreachable: said
                .stale_if_error
                .unwrap_or(rules.if_unreachable.max(rules.if_error)),
            ..Self::default()
        }
    }

    /// The windows for which a response asked to be kept, rather than those it is kept for anyway.
    #[must_use]
    pub fn asked_for(&self) -> Duration {
        self.while_revalidate.max(self.if_error)
    }

    /// The longest window.
    #[must_use]
    pub fn longest(&self) -> Duration {
        self.asked_for()
            .max(self.if_unreachable)
            .max(self.validation)
    }

    /// The window of one use.
    #[must_use]
    pub fn window(&self, of: StaleUse) -> Duration {
        match of {
            StaleUse::WhileRevalidate => self.while_revalidate,
            StaleUse::IfError => self.if_error,
            StaleUse::IfUnreachable => self.if_unreachable,
            // The request's to say.
            StaleUse::MaxStale => Duration::ZERO,
        }
    }
}
