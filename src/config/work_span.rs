//! The spans of a cache's own work: `response_cache.lookup`, `.fetch`, `.store`, `.invalidate`.
//!
//! They say how the work ended, and never for which key. Start at [`Config::span_of`].

use std::future::{Future, poll_fn};
use std::pin::Pin;

use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Level, Span, field};

use super::Config;

/// A piece of work that has a span.
#[derive(Clone, Copy)]
pub(crate) enum Work {
    Lookup,
    Fetch,
    Store,
    Invalidate,
}

impl Config {
    /// The span of a piece of work that begins. It costs one comparison unless lines at debug level
    /// may be of interest.
    #[inline]
    pub(crate) fn span_of(&self, work: Work) -> Span {
        match Level::DEBUG <= STATIC_MAX_LEVEL && Level::DEBUG <= LevelFilter::current() {
            true => self.new_span(work),
            false => Span::none(),
        }
    }

    #[cold]
    fn new_span(&self, work: Work) -> Span {
        macro_rules! span {
            ($name:literal) => {
                tracing::debug_span!(
                    $name,
                    cache.name = self.cache_status_name.name.text(),
                    cache.status = field::Empty,
                    cache.reason = field::Empty
                )
            };
        }
        match work {
            Work::Lookup => span!("response_cache.lookup"),
            Work::Fetch => span!("response_cache.fetch"),
            Work::Store => span!("response_cache.store"),
            Work::Invalidate => span!("response_cache.invalidate"),
        }
    }
}

/// Polls a future inside of a span. It is not moved into anything: that would cost more than a
/// span that is disabled may.
pub(crate) fn in_span<F: Future>(
    span: &Span,
    mut future: Pin<&mut F>,
) -> impl Future<Output = F::Output> {
    poll_fn(move |cx| {
        let _entered = (!span.is_disabled()).then(|| span.enter());
        future.as_mut().poll(cx)
    })
}

/// Notes how the work of a span has ended, and why.
#[inline]
pub(crate) fn note_end(span: &Span, status: &'static str, reason: Option<&'static str>) {
    if !span.is_disabled() {
        span.record("cache.status", status);
        if let Some(reason) = reason {
            span.record("cache.reason", reason);
        }
    }
}
