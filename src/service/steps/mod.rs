//! The steps of a request, once its route is known.
//!
//! `Cache::route` decides on the first one; [`perform`] does it.

mod perform;

use std::sync::Arc;

use http::Response;

use crate::backend::Backend;
use crate::body::response::ResponseBody;
use crate::config::Config;
use crate::semantics::reason::Bypass;

use super::compress::{Demand, PendingForm};
use super::content_read::ContentRead;
use super::fill_data::Fill;
use super::refresh::BackgroundRefresh;
use super::request::route::{RequestKey, WriteTarget};

/// A refresh that is about to start, and the key of its request.
pub(super) type KeyedRefresh<B> = (Box<BackgroundRefresh<B>>, RequestKey);

/// The next step of a request.
#[allow(
    clippy::large_enum_variant,
    reason = "boxing a response would cost every hit an allocation"
)]
pub(super) enum Step<B: Backend, Res> {
    /// The request has a route with options of its own, and begins anew with them.
    Routed(Arc<Config>),
    /// The request is answered, and counted.
    Respond(Response<ResponseBody<Res>>),
    /// The request is answered with a stored response, which is refreshed, and counted.
    Refresh(Response<ResponseBody<Res>>, KeyedRefresh<B>),
    /// The request is answered in a coded form that has to be waited for, and the stored response
    /// may be refreshed.
    Code(Box<PendingForm<B::Fence, Res>>, Option<KeyedRefresh<B>>),
    /// The backend has to be waited for.
    Read(RequestKey),
    /// Something else than the lookup may answer.
    ReadOn(Box<Fill<B::Fence>>),
    /// The inner service is asked.
    Fetch(Box<Fill<B::Fence>>),
    /// The content of the request is collected first.
    Content(Box<ContentRead>),
    /// The inner service is asked, and its answer invalidates.
    Write(WriteTarget),
    /// The inner service is asked, past the cache.
    Bypass(Bypass),
}

impl<B: Backend, Res> Step<B, Res> {
    /// The body that the request is sent with. Where the response may be stored by the key of the
    /// request, it has no content that is not in the key.
    fn body_to_send<Req: 'static>(&self, config: &Config, body: Req) -> Req {
        match self {
            Self::Refresh(..)
            | Self::Code(..)
            | Self::Read(_)
            | Self::ReadOn(_)
            | Self::Fetch(_) => config.request_bodies.without_content(body),
            Self::Routed(_) | Self::Respond(_) | Self::Content(_) => body,
            Self::Write(_) | Self::Bypass(_) => body,
        }
    }

    /// The form that the request gets, where its answer is still to come.
    fn demand(&self) -> Option<Arc<Demand>> {
        if !cfg!(feature = "compress") {
            return None;
        }
        match self {
            Self::Read(key) => key.demand.clone(),
            Self::ReadOn(fill) | Self::Fetch(fill) => fill.key.demand.clone(),
            Self::Content(read) => read.key.demand.clone(),
            _ => None,
        }
    }
}
