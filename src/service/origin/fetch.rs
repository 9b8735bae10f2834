//! Calls the inner service for a fill: once, or twice if the first response is of no use.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::pin::pin;
use std::task::Poll;

use http::{Request, Response, StatusCode};
use tower_service::Service;
use tracing::Span;

use crate::backend::Backend;
use crate::body::watched::WatchedBody;
use crate::config::work_span::{Work, in_span, note_end};
use crate::semantics::marks::UnsentRequest;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{
    Contradiction, FetchReason, FillOutcome, Reason, StaleUse, StatusClass, WaitedFor,
};
use crate::service::bounds::{InnerBody, InnerService};
use crate::service::fill_data::Fill;
use crate::service::parts::fetch_missing_range::narrow;
use crate::service::request::content::HiddenContent;
use crate::service::request::outgoing::OutgoingRequest;
use crate::state::LayerState;
use crate::state::throttled_log::Message;
use crate::stats::Event;

use super::hidden_failure::{HiddenFailure, HiddenSubject, log_hidden};
use super::interpret::{
    Added, FetchOutcome, Interpreted, fetch_info, interpret, remember_useless, without_repetition,
};
use super::queue_full::overloaded;
use super::repetition::Repetition;
use super::stale_on_failure::{is_failure_for, stale_in_place_of_failure};
use super::stored_content::check_content;
use super::validation::{add_validators, contradicted};

/// Waits for readiness, adds the cache's own validators or range, and calls the inner service. If
/// the response is of no use, calls once more without these.
///
/// `outgoing.at` becomes the time of the call whose response is used. `begins` is called right
/// before the first call: the fill is under way from then on, and its fence is older than both
/// calls. It returns whether the response may consist of stored content for all who have joined
/// until then.
///
/// Cancelling this drops the call.
pub(crate) fn fetch_from_origin<S, B, Req, Res>(
    state: &LayerState<B>,
    mut inner: S,
    mut request: Box<Request<Req>>,
    fill: &mut Fill<B::Fence>,
    outgoing: &mut OutgoingRequest,
    begins: impl FnOnce(Moment) -> bool,
) -> impl Future<Output = FetchOutcome<Res, S::Error>>
where
    S: InnerService<Req, WatchedBody<Res>>,
    B: Backend,
    Req: 'static,
    Res: InnerBody,
{
    let (mut begins, mut repetition) = (Some(begins), None);
    async move {
        let subject = HiddenSubject::new(&request, fill);
        loop {
            let mut added = Added::Nothing;
            let called = match ready_in_queue(state, outgoing, begins.is_none(), &mut inner).await {
                None => return overloaded(state, &request, fill, outgoing),
                Some(Err(error)) => Err(error),
                Some(Ok(())) => {
                    outgoing.at = state.now();
                    if let Some(begins) = begins.take() {
                        repetition = Repetition::new(state, &request);
                        let is_for_all = begins(outgoing.at);
                        check_content(state, &mut fill.miss, is_for_all);
                        added = add_own_fields(state, &mut request, fill, outgoing);
                    }
                    // The service that was waited for: a clone of a ready service is not ready.
                    let span = state.config.span_of(Work::Fetch);
                    let call = pin!(span.in_scope(|| inner.call(*request)));
                    let called = in_span(&span, call).await;
                    note_received(state, outgoing, &called, (&span, fill.miss.reason));
                    called
                }
            };
            let response = match without_failure(state, (called, &subject), fill, outgoing) {
                ControlFlow::Continue(response) => response,
                ControlFlow::Break(outcome) => return outcome,
            };
            let (contradiction, response) = match interpret(state, response, added, fill, outgoing)
            {
                Interpreted::Response(response, info) => {
                    return FetchOutcome::Response(response, info);
                }
                Interpreted::Useless(contradiction, response) => (contradiction, response),
            };
            state.count(Event::Contradiction(contradiction));
            remember_useless(state, added, fill);
            let again = repetition.take();
            request = match repeated_request(state, again, contradiction, response, fill, outgoing)
            {
                ControlFlow::Continue(request) => Box::new(request),
                ControlFlow::Break(outcome) => return outcome,
            };
        }
    }
}

/// Notes when the head of a response was received, and counts how long that took.
fn note_received<B: Backend, Res, E: 'static>(
    state: &LayerState<B>,
    outgoing: &mut OutgoingRequest,
    called: &Result<Response<Res>, E>,
    (span, reason): (&Span, FetchReason),
) {
    outgoing.received = state.now();
    let (class, is_refused) = match called {
        Ok(response) => (
            StatusClass::from_status(response.status()),
            UnsentRequest::is_overload(response.extensions()),
        ),
        Err(error) => (StatusClass::Error, state.config.is_overload(error)),
    };
    // A call that the inner service had no place for says nothing of how long others take.
    if !is_refused {
        let histograms = &state.shared.histograms;
        histograms.observe_fetch(class, outgoing.time_to_head());
    }
    note_end(span, class.as_str(), Some(reason.as_str()));
}

/// The request for another call after a response of no use, or the outcome if there is none: the
/// response was that of a repeated call, or the request cannot be repeated.
fn repeated_request<B: Backend, Req: 'static, Res: InnerBody, E>(
    state: &LayerState<B>,
    repetition: Option<Repetition<Req>>,
    contradiction: Contradiction,
    response: Response<WatchedBody<Res>>,
    fill: &mut Fill<B::Fence>,
    outgoing: &mut OutgoingRequest,
) -> ControlFlow<FetchOutcome<Res, E>, Request<Req>> {
    let status = response.status();
    if outgoing.contradiction.replace(contradiction).is_some() {
        let info = fetch_info(status, fill, outgoing);
        let error = contradicted(state, fill, outgoing, info);
        return ControlFlow::Break(FetchOutcome::Replacement(error));
    }
    let Some(repetition) = repetition else {
        return ControlFlow::Break(without_repetition(state, response, fill, outgoing));
    };
    // It may hold a resource that the next call has to wait for, such as a connection.
    drop(response);
    fill.miss.give_up_content();
    let request = repetition.into_request(outgoing);
    note_repetition(state, &request, contradiction, status);
    ControlFlow::Continue(request)
}

/// Counts and logs that a request is sent once more.
fn note_repetition<B: Backend, Req>(
    state: &LayerState<B>,
    request: &Request<Req>,
    contradiction: Contradiction,
    status: StatusCode,
) {
    state.count(Event::Repetition);
    let Some(suppressed) = state.admit_log(Message::Repetition) else {
        return;
    };
    tracing::warn!(
        method = %HiddenContent::method_of(request),
        path = request.uri().path(),
        %status,
        reason = contradiction.as_str(),
        suppressed,
        "response of no use; repeating the request as the client sent it"
    );
}

/// Adds the validators of the stored response, or the range that is missing.
fn add_own_fields<B: Backend, Req>(
    state: &LayerState<B>,
    request: &mut Request<Req>,
    fill: &Fill<B::Fence>,
    outgoing: &mut OutgoingRequest,
) -> Added {
    if let Some(stored) = fill.miss.confirmable() {
        add_validators(state, request, fill, stored, outgoing);
    }
    if let Some(held) = &fill.miss.parts
        && narrow(request, held)
    {
        return Added::Range;
    }
    match outgoing.validated {
        Some(_) => Added::Validators,
        None => Added::Nothing,
    }
}

/// The response of a call, or the stale one that is served in place of its failure.
fn without_failure<B: Backend, Res, E: 'static>(
    state: &LayerState<B>,
    (called, subject): (Result<Response<WatchedBody<Res>>, E>, &HiddenSubject),
    fill: &Fill<B::Fence>,
    outgoing: &OutgoingRequest,
) -> ControlFlow<FetchOutcome<Res, E>, Response<WatchedBody<Res>>> {
    let stale = |use_, status| stale_in_place_of_failure(state, fill, outgoing, use_, status);
    let (stale, failure) = match &called {
        Err(error) => (
            stale(StaleUse::IfUnreachable, None),
            Some(HiddenFailure::Error(error)),
        ),
        Ok(response) if is_failure_for(response.status(), fill) => {
            let status = response.status();
            (
                stale(StaleUse::IfError, Some(status)),
                Some(HiddenFailure::Status(status)),
            )
        }
        Ok(_) => (None, None),
    };
    if let Some(failure) = failure
        && (stale.is_some() || fill.miss.is_refresh())
    {
        log_hidden(state, subject, failure);
    }
    let outcome = match (stale, called) {
        (Some(stale), _) => FetchOutcome::Replacement(stale),
        (None, Err(error)) => FetchOutcome::Error(error),
        (None, Ok(response)) => return ControlFlow::Continue(response),
    };
    let histograms = &state.shared.histograms;
    histograms.observe_fill(FillOutcome::Failed, outgoing.time_to_head());
    ControlFlow::Break(outcome)
}

/// The limit of the queue for a call. None for a repetition: it must not cost the client its
/// response.
fn max_waiting<B: Backend>(state: &LayerState<B>, is_repetition: bool) -> usize {
    match is_repetition {
        true => usize::MAX,
        false => state.config.coalesce.max_waiting_fills,
    }
}

/// Waits until a service is ready for one call of a client, in a queue. `None` if that is full, or
/// the client has its share of it. A service that is ready at once needs no place.
async fn ready_in_queue<B: Backend, S: Service<Request<Req>>, Req>(
    state: &LayerState<B>,
    outgoing: &OutgoingRequest,
    is_repetition: bool,
    service: &mut S,
) -> Option<Result<(), S::Error>> {
    let max = max_waiting(state, is_repetition);
    let mut place = None;
    let enter = || {
        let place = state
            .shared
            .origin
            .waiting_fills
            .begin(outgoing.client, max)?;
        Some((place, state.now()))
    };
    let ready = poll_fn(|cx| match service.poll_ready(cx) {
        Poll::Ready(ready) => Poll::Ready(Some(ready)),
        Poll::Pending => {
            place = place.take().or_else(enter);
            match place {
                Some(_) => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    })
    .await;
    if let Some((_, began)) = place {
        state.observe_wait(WaitedFor::Readiness, began);
    }
    ready
}

/// Waits until a service is ready for one call.
pub(crate) async fn ready<S: Service<Request<Req>>, Req>(service: &mut S) -> Result<(), S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await
}

/// Readies this very clone and calls it: a clone of a ready service is not ready.
pub(crate) async fn call<S, Req, Res>(
    mut service: S,
    request: Request<Req>,
) -> Result<Response<Res>, S::Error>
where
    S: Service<Request<Req>, Response = Response<Res>>,
{
    ready(&mut service).await?;
    service.call(request).await
}
