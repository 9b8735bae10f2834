//! Asks the inner service for a fill; a stored response may stand in where that fails (RFC 9111 §4.2.4, RFC 5861 §4).

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tower_service::Service;

use crate::backend::{Backend, CacheKey};
use crate::flight::{Audience, ExpiringSet};
use crate::semantics::moment::Moment;
use crate::semantics::reason::StaleUse;
use crate::semantics::staleness;

use crate::body::origin::Content;
use crate::body::response::ResponseBody;
use crate::error::BoxError;
use crate::service::lookup::{Fill, Hit, Stored};
use crate::service::origin::ready;
use crate::service::parts::complete::Completed;
use crate::service::request::outgoing::{Forward, Sent};
use crate::state::Shared;

/// What came of asking the inner service.
pub(crate) enum Came<Res, E> {
    /// Its answer, or what is stored where it says that this is still right.
    Answer(Response<Content<Res>>, Forward),
    /// The cache's own answer, in the place of an error.
    Instead(Response<ResponseBody<Res>>),
    Error(E),
}

/// Calls the inner service; `sent` is told when that is, and `begins` right before.
pub(crate) async fn ask<S, B, Req, Res>(
    shared: &Shared<B>,
    mut inner: S,
    mut request: Request<Req>,
    fill: &Fill<B::Fence>,
    sent: &mut Sent,
    begins: impl FnOnce(Moment),
) -> Came<Res, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>>,
    B: Backend,
    Res: Body<Data = Bytes>,
    Res::Error: Into<BoxError>,
{
    let most = shared.config.coalesce.max_waiting_fills;
    let called = match ready::ready_in(&shared.core.queue, most, &mut inner).await {
        None => return Came::Instead(shared.overloaded(fill, sent)),
        Some(Err(error)) => Err(error),
        Some(Ok(())) => {
            shared.validate(&mut request, fill, sent);
            shared.complete(&mut request, fill);
            sent.at = shared.now();
            begins(sent.at);
            inner.call(request).await
        }
    };
    let reason = fill.miss.reason;
    let forward = |status| Forward { reason, status };
    let answer = match called {
        Err(error) => {
            return match shared.instead(fill, sent, StaleUse::IfUnreachable, None) {
                Some(response) => Came::Instead(response),
                None => Came::Error(error),
            };
        }
        Ok(response) => response,
    };
    let status = answer.status();
    if is_failure(status)
        && let Some(response) = shared.instead(fill, sent, StaleUse::IfError, Some(status))
    {
        return Came::Instead(response);
    }
    let answer = match shared.completed(answer, fill, sent) {
        Completed::Answer(answer) => answer,
        Completed::Contradicts => {
            let response = shared.bad_gateway(forward(status), "part-is-another");
            return Came::Instead(response);
        }
    };
    match shared.validated(answer, sent) {
        Some(answer) => Came::Answer(answer, forward(status)),
        None => Came::Instead(shared.contradicted(fill, sent)),
    }
}

/// RFC 5861 §4
fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// Keys of which something is stored, and whose inner service failed a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Failing {
    with_an_error: ExpiringSet,
    without_answer: ExpiringSet,
    /// Audience refresh has begun, and has not brought anything yet.
    refreshed: ExpiringSet,
}

impl Failing {
    /// Something new is stored.
    pub(crate) fn forget(&self, key: &CacheKey) {
        self.with_an_error.forget(key, Audience::Everyone);
        self.without_answer.forget(key, Audience::Everyone);
        self.refreshed.forget(key, Audience::Everyone);
    }

    pub(crate) fn refreshes(&self, key: &CacheKey, now: Moment, pause: Duration) {
        self.refreshed.remember(key, Audience::Everyone, now, pause);
    }

    /// Whether a refresh now would only repeat one that brought nothing.
    pub(crate) fn is_refreshed_in_vain(&self, key: &CacheKey, now: Moment) -> bool {
        self.refreshed.is_remembered(key, Audience::Everyone, now)
            || self.now(key, now).next().is_some()
    }

    /// In which ways, if any: for what stale responses may stand in without another try.
    pub(crate) fn now(&self, key: &CacheKey, now: Moment) -> impl Iterator<Item = StaleUse> {
        let failed = move |of: &StaleUse| self.of(*of).is_remembered(key, Audience::Everyone, now);
        [StaleUse::IfError, StaleUse::IfUnreachable]
            .into_iter()
            .filter(failed)
    }

    fn of(&self, of: StaleUse) -> &ExpiringSet {
        match of {
            StaleUse::IfUnreachable => &self.without_answer,
            StaleUse::IfError | StaleUse::WhileRevalidate | StaleUse::MaxStale => {
                &self.with_an_error
            }
        }
    }
}

impl<B: Backend> Shared<B> {
    /// What is stored, in the place of a failure, where it may be.
    fn instead<Res>(
        &self,
        fill: &Fill<B::Fence>,
        sent: &Sent,
        of: StaleUse,
        status: Option<StatusCode>,
    ) -> Option<Response<ResponseBody<Res>>> {
        let now = self.now();
        self.note_failure(fill, of, now);
        let hit = self.stand_in(fill, of, now)?;
        Some(self.stood_in(&hit, sent, fill.miss.reason, status))
    }

    /// Where something may stand in, the inner service is left in peace for a while.
    fn note_failure(&self, fill: &Fill<B::Fence>, of: StaleUse, now: Moment) {
        if matches!(fill.miss.stored, Stored::Nothing) {
            return;
        }
        let (memory, pause) = (self.core.failing.of(of), self.config.failure_backoff);
        memory.remember(&fill.miss.place, Audience::Everyone, now, pause);
    }

    /// What is stored, if it may be used in the place of a failure.
    pub(crate) fn stand_in(&self, fill: &Fill<B::Fence>, of: StaleUse, now: Moment) -> Option<Hit> {
        let Stored::Stale(stored) = &fill.miss.stored else {
            return None;
        };
        let asked = &fill.key.directives;
        staleness::may_be_used(asked, stored.freshness(), now, of)
            .then(|| Hit::stale(stored.clone(), now, of))
    }

    /// The same without asking, while the inner service is left in peace.
    pub(crate) fn stand_in_unasked(&self, fill: &Fill<B::Fence>) -> Option<Hit> {
        if !matches!(fill.miss.stored, Stored::Stale(_)) {
            return None;
        }
        let now = self.now();
        let mut failed = self.core.failing.now(&fill.miss.place, now);
        failed.find_map(|of| self.stand_in(fill, of, now))
    }

    /// The answer where too many wait for the inner service already.
    fn overloaded<Res>(&self, fill: &Fill<B::Fence>, sent: &Sent) -> Response<ResponseBody<Res>> {
        match (
            self.stand_in(fill, StaleUse::IfError, self.now()),
            &fill.miss.stored,
        ) {
            (Some(hit), _) => self.hit(&hit, sent.wanted()),
            (None, Stored::InUse(_)) => Response::default(),
            (None, _) => self.too_many_waiting(),
        }
    }
}
