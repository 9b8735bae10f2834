//! The log line of a failure that no client sees, because a stale response takes its place.
//!
//! Errors that clients get are logged by whoever answers them. Start at [`log_hidden`].

use std::any::Any;

use http::{Method, Request, StatusCode, Uri};

use crate::backend::Backend;
use crate::service::fill_data::Fill;
use crate::service::request::content::HiddenContent;
use crate::state::LayerState;
use crate::state::throttled_log::Message;

/// How the inner service has failed.
pub(super) enum HiddenFailure<'f> {
    Error(&'f dyn Any),
    Status(StatusCode),
}

/// What a line says of the request: `None` if no stale response hides a failure of it.
pub(super) struct HiddenSubject(Option<(Method, Uri)>);

impl HiddenSubject {
    /// That of a request that is about to be sent.
    pub(super) fn new<F, Req>(request: &Request<Req>, fill: &Fill<F>) -> Self {
        let may_be_hidden = fill.miss.has_stale() || fill.miss.is_refresh();
        let method = || HiddenContent::method_of(request).clone();
        Self(may_be_hidden.then(|| (method(), request.uri().clone())))
    }
}

/// Logs a failure that a stale response hides, at most once a second.
#[cold]
pub(super) fn log_hidden<B: Backend>(
    state: &LayerState<B>,
    subject: &HiddenSubject,
    failure: HiddenFailure<'_>,
) {
    let Some(suppressed) = state.admit_log(Message::HiddenFailure) else {
        return;
    };
    let subject = subject.0.as_ref();
    let (error, status) = match failure {
        HiddenFailure::Error(error) => (state.config.text_of(error), None),
        HiddenFailure::Status(status) => (None, Some(status.as_u16())),
    };
    tracing::warn!(
        method = subject.map(|(method, _)| method.as_str()),
        path = subject.map(|(_, uri)| uri.path()),
        error,
        status,
        suppressed,
        "inner service failed; a stale response hides it"
    );
}
