//! Options for requests that are read by their content: QUERY (RFC 10008) and read-only POSTs.

use std::sync::Arc;

use bytes::Bytes;
use http::request;
use http_body::Body;

use super::CacheLayer;
use crate::backend::Backend;
use crate::config::hook::{HookGuard, subject};
use crate::error::BoxError;
use crate::request_body::RequestContent;

/// # Requests with content
///
/// A QUERY (RFC 10008) is a GET whose question is in its content. By default it goes past the
/// cache: [`cache_queries`](Self::cache_queries) has its responses stored. The key has the method,
/// the target, all fields whose names begin with `Content-` but `Content-Length`, and the content,
/// byte for byte; it is stored with the response and compared on each hit. All else is as for a GET:
/// it invalidates nothing, a write to its path invalidates it with the rest of the
/// [`Resource`](crate::key::Resource), and requests with the same key share one call.
///
/// The content is collected before anything else is done: a client that sends slowly waits for
/// itself alone, and holds at most the bound. The inner service gets the request with its content,
/// always with `Content-Length`, and without `Transfer-Encoding`, `Trailer` and `Expect`. Content
/// that is in no key goes on as it comes, past the cache, and is counted by its reason: longer than
/// the bound (`content-too-long`); broken off, with trailers, or of another length than announced
/// (`content-unusable`).
///
/// The cache has to make request bodies of the content: [`request_body`](Self::request_body). Where
/// requests pass two layers of one cache, the option of the outer one counts.
///
/// ```
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// let layer = CacheLayer::new(MemoryBackend::default())
///     .cache_queries(64 * 1024)
///     .request_body(axum::body::Body::new);
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Stores responses to QUERY (RFC 10008) whose content has at most this many bytes.
    ///
    /// Default: none, a QUERY bypasses the cache. With 0, only one without content is stored. Each
    /// stored response keeps the content of its request, and each request that is being received
    /// holds as much.
    #[must_use]
    pub fn cache_queries(self, max_content: usize) -> Self {
        self.with(|config| config.cache_queries = Some(max_content))
    }

    /// Treats the POSTs for which a function returns `true` as reads, such as the queries of
    /// GraphQL: their responses are stored by their content as those to a QUERY, and they
    /// invalidate nothing.
    ///
    /// Default: none, each POST is a write. The content has at most as many bytes as
    /// [`cache_queries`](Self::cache_queries) says, 64 KiB if that is not set. A POST for which the
    /// function returns `false`, or panics, is a write, which invalidates. The function sees the
    /// head alone, and is called more than once for a request.
    ///
    /// **A POST that is taken for a read and is a write is a lost write**: it is answered from the
    /// store without reaching the service, or changes data whose old responses stay. The path of
    /// GraphQL does not tell: queries and mutations are POSTs to one path. Let the clients say it,
    /// by a path or a field of its own that the service enforces, as by refusing mutations there.
    /// Nothing that a client may send by mistake should decide.
    ///
    /// RFC 9110 §9.3.3 lets no cache answer a POST: this is between the application and its clients.
    /// A POST with a condition or a range bypasses the cache, and the cache adds no conditions.
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// // The service refuses mutations at this path.
    /// let layer = CacheLayer::new(MemoryBackend::default())
    ///     .read_only_posts(|request| request.uri.path() == "/graphql/read")
    ///     .request_body(axum::body::Body::new);
    /// ```
    #[must_use]
    pub fn read_only_posts(
        self,
        is_read_only: impl Fn(&request::Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        let guard = HookGuard::new("read_only_posts");
        self.with(|config| {
            config.read_only_posts = Some(Arc::new(move |request| {
                guard.call(subject(request), || is_read_only(request))
            }));
        })
    }

    /// Adds a function that makes a request body of the type that the requests have from content
    /// that the cache has read.
    ///
    /// Default: the functions for `()`, which has no content, `Full<Bytes>`, and for
    /// `BoxBody<Bytes, E>` and `UnsyncBoxBody<Bytes, E>` whose error is `Infallible`,
    /// [`BoxError`] or `std::io::Error`; with the feature `proxy` also whose error is
    /// `hyper::Error`, and for `proxy::CanonicalBody<Incoming>`. A function for the same type
    /// replaces an earlier one, and makes [empty bodies](Self::empty_request_body), too. It must not
    /// panic.
    ///
    /// A request whose body has another type, such as hyper's `Incoming` itself, bypasses the cache
    /// if it would be read by its content (`request-body-type`).
    #[must_use]
    pub fn request_body<Req>(self, make: fn(RequestContent) -> Req) -> Self
    where
        Req: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.with(|config| config.request_bodies.add(make))
    }
}
