//! A response on its way to the caller, with the result that its request counts as.
//!
//! ```text
//! Responder -> Served -> ... -> Cache::ready, or Counted: counted, and handed to the caller
//! ```
//!
//! The result travels with the response, and is counted where the caller gets that, which happens
//! once for each request. What a background refresh brings, or a call whose client has left, is
//! dropped with its result. Start at [`Served`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::backend::Backend;
use crate::body::response::ResponseBody;
use crate::semantics::reason::RequestResult;
use crate::state::layer_state::SharedState;

/// A response, and the result that a request answered with it has.
pub(crate) struct Served<Res> {
    pub(crate) response: Response<ResponseBody<Res>>,
    pub(crate) result: RequestResult,
}

/// What a request ends with: a response, or the error of the inner service.
pub(crate) type ServedResult<Res, E> = Result<Served<Res>, E>;

impl<Res> Served<Res> {
    pub(crate) fn new(response: Response<ResponseBody<Res>>, result: RequestResult) -> Self {
        Self { response, result }
    }
}

impl<Res: Body<Data = Bytes>> Served<Res> {
    /// Counts the request and the bytes of its response, which it returns.
    #[inline]
    pub(crate) fn count<B: Backend>(
        self,
        shared: &Arc<SharedState<B>>,
    ) -> Response<ResponseBody<Res>> {
        let length = self.response.body().data_length();
        shared
            .counters
            .count_request(self.result, length.unwrap_or(0));
        match (length, self.result.body_source()) {
            (None, Some(source)) => {
                let counted_by = shared.clone();
                self.response.map(|body| body.metered(counted_by, source))
            }
            _ => self.response,
        }
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
    pub(crate) fn new(shared: Arc<SharedState<B>>, on_its_way: RequestResult, future: F) -> Self {
        let request = UncountedRequest {
            shared,
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
{
    type Output = Result<Response<ResponseBody<Res>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.request.phase = Phase::Polled;
        let polled = this.future.poll(cx);
        if polled.is_pending() {
            this.request.phase = Phase::Waiting;
        }
        let ended = ready!(polled);
        Poll::Ready(this.request.count(ended))
    }
}

/// A request that counts by its result; as canceled, if it is dropped before it has one.
struct UncountedRequest<B: Backend> {
    shared: Arc<SharedState<B>>,
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
    fn count<Res: Body<Data = Bytes>, E>(
        &mut self,
        ended: ServedResult<Res, E>,
    ) -> Result<Response<ResponseBody<Res>>, E> {
        self.phase = Phase::Counted;
        match ended {
            Ok(served) => Ok(served.count(&self.shared)),
            Err(error) => {
                self.shared.counters.count_request(self.on_its_way, 0);
                Err(error)
            }
        }
    }
}

impl<B: Backend> Drop for UncountedRequest<B> {
    fn drop(&mut self) {
        let result = match self.phase {
            Phase::Counted => return,
            Phase::Polled => self.on_its_way,
            Phase::Waiting => RequestResult::Canceled,
        };
        self.shared.counters.count_request(result, 0);
    }
}
