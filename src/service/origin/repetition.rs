//! A request that can be sent once more, as the client sent it.
//!
//! The cache adds validators and narrows ranges. If the response is of no use then, or answers a
//! condition that no client sent, the request is repeated without these: what the cache added never
//! costs a client its response.

use http::{Extensions, Request, Uri, Version};

use crate::backend::Backend;
use crate::request_body::MakeEmpty;
use crate::service::request::outgoing::OutgoingRequest;
use crate::state::LayerState;

/// The parts of a request that the first call took, and how another empty body is made.
pub(crate) struct Repetition<Req> {
    empty: MakeEmpty<Req>,
    uri: Uri,
    version: Version,
    extensions: Extensions,
}

/// Whether requests with this type of body can be repeated. If not, the cache narrows no range.
pub(crate) fn can_repeat<B: Backend, Req: 'static>(state: &LayerState<B>) -> bool {
    state.config.request_bodies.empty::<Req>().is_some()
}

impl<Req: 'static> Repetition<Req> {
    /// The repetition of a request; `None` without an empty body of its type.
    ///
    /// A GET or HEAD that announces content never gets here: it bypasses the cache. Content by which
    /// a request is read is in its extensions.
    pub(crate) fn new<B: Backend>(state: &LayerState<B>, request: &Request<Req>) -> Option<Self> {
        let empty = state.config.request_bodies.empty()?;
        Some(Self {
            empty,
            uri: request.uri().clone(),
            version: request.version(),
            extensions: request.extensions().clone(),
        })
    }

    /// The request with the fields it has without those of the cache.
    pub(crate) fn into_request(self, outgoing: &OutgoingRequest) -> Request<Req> {
        let mut request = Request::new(self.empty.make());
        *request.method_mut() = outgoing.method.clone();
        *request.uri_mut() = self.uri;
        *request.version_mut() = self.version;
        *request.headers_mut() = outgoing.headers.clone();
        *request.extensions_mut() = self.extensions;
        request
    }
}
