//! Marks on requests and responses, as extensions, by which the proxy and the cache tell each other
//! what no field says.

use http::Extensions;

/// The mark of a response whose request the inner service never had whole, since the client broke
/// its content off, and on which it has not acted: an extension. Such a write is rejected, whatever
/// the status says.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "proxy"), allow(dead_code, reason = "the proxy sets it"))]
pub(crate) struct IncompleteRequest;

/// The mark of a response that the inner service makes of its own to a request which the origin
/// never had whole, and has not answered: an extension.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "proxy"), allow(dead_code, reason = "the proxy sets it"))]
pub(crate) struct UnsentRequest {
    /// Whether the origin had nothing of it, as of a request without a place in a queue. Otherwise
    /// the client broke its content off.
    pub(crate) is_held_back: bool,
    /// If it is for lack of a place in such a queue: what there is too much of, as a token.
    pub(crate) overload: Option<&'static str>,
}

impl UnsentRequest {
    /// Whether a response of these extensions says that there was no place for its request.
    pub(crate) fn is_overload(response: &Extensions) -> bool {
        Self::overload(response).is_some()
    }

    /// Why there was no place for the request of a response with these extensions, if that is so.
    pub(crate) fn overload(response: &Extensions) -> Option<&'static str> {
        response.get::<Self>()?.overload
    }
}

/// The mark of a response to a request that was sent again after its connection was lost: an
/// extension. The first one may have been acted on, which the second is refused for (404, 412).
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "proxy"), allow(dead_code, reason = "the proxy sets it"))]
pub(crate) struct RepeatedRequest;

/// The mark of a request that is explained, and never answered: an extension. Its connection can
/// become one of any protocol that it asks for.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(
    not(all(feature = "proxy", feature = "admin")),
    allow(dead_code, reason = "set for operators, read by the proxy")
)]
pub(crate) struct ExplainedRequest;
