//! Does a step: answers, or makes the one future that owns a clone of the inner service.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::Body;
use tower_service::Service;

use super::{KeyedRefresh, Step};
use crate::backend::Backend;
use crate::semantics::reason::RequestResult::{self, Bypass, Hit, Miss};
use crate::service::Cache;
use crate::service::bounds::{BodyOf, CachedService, HttpService};
use crate::service::bypass::bypass;
use crate::service::compress::{Demand, coded};
use crate::service::content_read::read_by_content;
use crate::service::future::ResponseFuture;
use crate::service::read::{answer_miss, read, read_on};
use crate::service::served::{Counted, ServedResult};
use crate::service::write::write;
use crate::state::LayerState;

impl<S: Clone, B: Backend> Cache<S, B> {
    /// A future that owns a clone of the inner service, and counts the request by its result; if
    /// the inner service fails, by the one that the request was `on_its_way` to. Out of line: it
    /// takes kilobytes, which a hit should not reserve on its stack.
    #[inline(never)]
    fn forward<Req, Res, F>(
        &self,
        (on_its_way, demand): (RequestResult, Option<Arc<Demand>>),
        (parts, body): (Parts, Req),
        work: impl FnOnce(LayerState<B>, HttpService<S>, Request<Req>) -> F,
    ) -> ResponseFuture<Res, S::Error>
    where
        S: Service<Request<Req>>,
        Req: 'static,
        F: Future<Output = ServedResult<Res, S::Error>> + Send + 'static,
        Res: Body<Data = Bytes> + Send + 'static,
        S::Error: Send + 'static,
    {
        let request = Request::from_parts(parts, body);
        let inner = HttpService(self.inner.clone());
        let work = work(self.state.clone(), inner, request);
        if let Some(demand) = demand {
            let work = coded(self.state.clone(), demand, Box::pin(work));
            return ResponseFuture::pending(Counted::new(self.state.clone(), on_its_way, work));
        }
        ResponseFuture::pending(Counted::new(self.state.clone(), on_its_way, work))
    }
}

impl<S, B: Backend> Cache<S, B> {
    /// Begins a refresh with the request that it is due for.
    fn refresh<Req>(&self, (refresh, key): KeyedRefresh<B>, (parts, body): (Parts, Req))
    where
        S: CachedService<Req>,
        Req: Send + 'static,
    {
        let inner = HttpService(self.inner.clone());
        let request = Box::new(Request::from_parts(parts, body));
        refresh.spawn(inner, request, key);
    }

    /// Does the next step, with the request in the form that the inner service gets. Out of line:
    /// a hit need not make room for it.
    #[inline(never)]
    pub(in crate::service) fn perform<Req>(
        &self,
        step: Step<B, BodyOf<S, Req>>,
        parts: Parts,
        body: Req,
    ) -> ResponseFuture<BodyOf<S, Req>, S::Error>
    where
        S: CachedService<Req>,
        Req: Send + 'static,
    {
        let request = (parts, step.body_to_send(&self.state.config, body));
        let demand = step.demand();
        match step {
            Step::Respond(response) => ResponseFuture::ready(response),
            Step::Routed(config) => {
                let shared = self.state.shared.clone();
                let of_route = Self::new(self.inner.clone(), LayerState { config, shared });
                of_route.answer(request.0, request.1)
            }
            Step::Refresh(response, refresh) => {
                self.refresh(refresh, request);
                ResponseFuture::ready(response)
            }
            Step::Code(waiting, refresh) => {
                if let Some(refresh) = refresh {
                    self.refresh(refresh, request);
                }
                let state = self.state.clone();
                let work = async move { Ok(waiting.finish(&state).await) };
                ResponseFuture::pending(Counted::new(self.state.clone(), Hit, work))
            }
            Step::Read(key) => self.forward((Miss, demand), request, |state, inner, request| {
                read(state, inner, request, key)
            }),
            Step::ReadOn(fill) => self.forward((Miss, demand), request, |state, inner, request| {
                read_on(state, inner, request, fill)
            }),
            Step::Fetch(fill) => self.forward((Miss, demand), request, |state, inner, request| {
                answer_miss(state, inner, request.into_parts(), fill)
            }),
            Step::Content(read) => {
                self.forward((Miss, demand), request, |state, inner, request| {
                    read_by_content(state, inner, request, read)
                })
            }
            Step::Write(target) => {
                self.forward((Bypass, None), request, |state, inner, request| {
                    write(state, inner, request, target)
                })
            }
            Step::Bypass(reason) => {
                self.forward((Bypass, None), request, |state, inner, request| {
                    bypass(state, inner, request, reason)
                })
            }
        }
    }
}
