//! A response on its way to the caller, with the result that its request counts as.
//!
//! ```text
//! Responder -> Served -> ... -> Cache::ready, or Counted: counted, and handed to the caller
//! ```
//!
//! The result travels with the response, and is counted where the caller gets that, which happens
//! once for each request. What a background refresh brings, or a call whose client has left, is
//! dropped with its result. Start at [`Served`].

use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::backend::{Backend, StoredResponse};
use crate::body::byte_meter::ByteMeter;
use crate::body::response::ResponseBody;
use crate::key::CacheKey;
use crate::semantics::marks::UnsentRequest;
use crate::semantics::reason::RequestResult;
use crate::state::layer_state::{LayerState, SharedState};

/// A response, and the result that a request answered with it has.
pub(crate) struct Served<Res> {
    pub(crate) response: Response<ResponseBody<Res>>,
    pub(crate) result: RequestResult,
    /// What it was made of, where it may be coded.
    pub(crate) source: Option<Box<AnsweredFrom>>,
}

/// The stored response that an answer was made of.
pub(crate) struct AnsweredFrom {
    /// Its key.
    pub(crate) key: CacheKey,
    pub(crate) stored: Arc<StoredResponse>,
}

/// What a request ends with: a response, or the error of the inner service.
pub(crate) type ServedResult<Res, E> = Result<Served<Res>, E>;

impl<Res> Served<Res> {
    #[inline]
    pub(crate) fn new(response: Response<ResponseBody<Res>>, result: RequestResult) -> Self {
        Self {
            response,
            result,
            source: None,
        }
    }

    /// The answer, with the stored response that it was made of. Without a key it is for one client,
    /// and not coded: no other one would get that.
    #[inline]
    pub(crate) fn made_of<B: Backend>(
        mut self,
        state: &LayerState<B>,
        key: Option<&CacheKey>,
        stored: &Arc<StoredResponse>,
    ) -> Self {
        if state.config.compress.is_on()
            && let Some(key) = key
        {
            self.source = Some(Box::new(AnsweredFrom {
                key: *key,
                stored: stored.clone(),
            }));
        }
        self
    }
}

/// Counts a request by its result, and the bytes of its response.
#[inline]
pub(crate) fn count<B: Backend, Res: Body<Data = Bytes>>(
    shared: &Arc<SharedState<B>>,
    response: &mut Response<ResponseBody<Res>>,
    result: RequestResult,
) {
    match response.body().data_length() {
        // Most requests end here. What they count as is known when this is compiled.
        Some(length) if result == RequestResult::Hit => {
            shared.counters.count_request(RequestResult::Hit, length);
        }
        length => count_others(shared, response, result, length),
    }
}

#[inline(never)]
fn count_others<B: Backend, Res: Body<Data = Bytes>>(
    shared: &Arc<SharedState<B>>,
    response: &mut Response<ResponseBody<Res>>,
    result: RequestResult,
    length: Option<u64>,
) {
    // A write that the inner service has no place for has a response, as nothing has changed.
    let result = match UnsentRequest::is_overload(response.extensions()) {
        true => RequestResult::Overload,
        false => result,
    };
    // What an origin announces need not come.
    let length = length.filter(|_| response.body().is_held());
    shared.counters.count_request(result, length.unwrap_or(0));
    if let (None, Some(source)) = (length, result.body_source()) {
        let meter = ByteMeter::new(shared.clone(), source);
        response.body_mut().set_meter(meter);
    }
}

pin_project! {
    /// The future of a request that has to wait. It counts the request by its result.
    pub(crate) struct Counted<F, B: Backend> {
        #[pin]
        future: F,
        request: UncountedRequest<B>,
    }
}

impl<F, B: Backend> Counted<F, B> {
    /// A request is `on_its_way` to a result, which it has if the inner service fails.
    pub(crate) fn new(state: LayerState<B>, on_its_way: RequestResult, future: F) -> Self {
        let request = UncountedRequest {
            state,
            on_its_way,
            phase: Phase::Waiting,
        };
        Self { future, request }
    }
}

impl<F, B, Res, E> Future for Counted<F, B>
where
    F: Future<Output = ServedResult<Res, E>>,
    B: Backend,
    Res: Body<Data = Bytes>,
    E: 'static,
{
    type Output = Result<Response<ResponseBody<Res>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.request.phase = Phase::Polled;
        match this.future.poll(cx) {
            Poll::Pending => {
                this.request.phase = Phase::Waiting;
                Poll::Pending
            }
            Poll::Ready(Ok(mut served)) => {
                this.request.phase = Phase::Counted;
                count(
                    &this.request.state.shared,
                    &mut served.response,
                    served.result,
                );
                Poll::Ready(Ok(served.response))
            }
            Poll::Ready(Err(error)) => {
                this.request.phase = Phase::Counted;
                this.request.count_failure(&error);
                Poll::Ready(Err(error))
            }
        }
    }
}

/// A request that counts by its result; as canceled, if it is dropped before it has one.
struct UncountedRequest<B: Backend> {
    state: LayerState<B>,
    on_its_way: RequestResult,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The request waits.
    Waiting,
    /// Its future is being polled. Dropped in this phase, it has panicked.
    Polled,
    /// It is counted.
    Counted,
}

impl<B: Backend> UncountedRequest<B> {
    /// Counts a request that the inner service has failed, or had no place for.
    #[cold]
    fn count_failure(&self, error: &dyn Any) {
        let result = match self.state.config.is_overload(error) {
            true => RequestResult::Overload,
            false => self.on_its_way,
        };
        self.state.shared.counters.count_request(result, 0);
    }
}

impl<B: Backend> Drop for UncountedRequest<B> {
    fn drop(&mut self) {
        let result = match self.phase {
            Phase::Counted => return,
            Phase::Polled => self.on_its_way,
            Phase::Waiting => RequestResult::Canceled,
        };
        self.state.shared.counters.count_request(result, 0);
    }
}
