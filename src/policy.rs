//! `CachePolicy`: what a handler says about its response for this cache alone.

use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, HeaderName};

use crate::semantics::freshness::Ttl;
use crate::semantics::storing::StatedPolicy;

/// What a handler says about its response for this cache alone: an extension of the response.
///
/// The cache takes it off before the response leaves. No other cache and no client sees it, unlike
/// `Cache-Control`, and a service without a cache around it ignores it.
///
/// ```
/// use std::time::Duration;
/// use axum::{Extension, Router, response::IntoResponse, routing::get};
/// use tower_response_cache::{CacheLayer, CachePolicy, backend::MemoryBackend};
///
/// async fn product() -> impl IntoResponse {
///     let policy = CachePolicy::new()
///         .ttl(Duration::from_secs(60))
///         .stale_while_revalidate(Duration::from_secs(10))
///         .group("products");
///     (Extension(policy), "a product")
/// }
///
/// let cache = CacheLayer::new(MemoryBackend::default());
/// let app: Router = Router::new().route("/products/{id}", get(product)).layer(cache);
/// ```
///
/// Any service can say it: `response.extensions_mut().insert(policy)`.
///
/// # What counts
///
/// In each row, the first column from the left that says something counts. A targeted field is one
/// such as `CDN-Cache-Control` (RFC 9213); the layer is [`CacheLayer`](crate::CacheLayer).
///
/// | | policy | targeted field | `Cache-Control` | layer |
/// |---|---|---|---|---|
/// | lifetime | `ttl` | `max-age` | `s-maxage`, `max-age`, then `Expires` | `ttl_by`, `ttl` |
/// | stale, beside a refresh | `stale_while_revalidate` | the directive | the directive | the option |
/// | stale, for an error | `stale_if_error` | the directive | the directive | the options |
///
/// These add up, wherever they are said:
///
/// | | policy | response | layer |
/// |---|---|---|---|
/// | not stored | `no_store` | `no-store` | `store_if`, `skip` |
/// | stored for [one client](crate::CacheLayer::private_by) at most | `private_to` | `private` | |
/// | validated for each request | | `no-cache` | |
/// | never stale | | `must-revalidate`, `proxy-revalidate`, `no-cache` | |
/// | groups | `groups` | `Cache-Groups` | [its options](crate::CacheLayer#groups) |
/// | selecting fields | `vary_on` | `Vary` | |
///
/// A policy does not open what is closed for other reasons: the response to a request with
/// credentials needs a permission of its own (RFC 9111 §3.5), `Set-Cookie` keeps a response out of
/// the store, and [`max_ttl`](crate::CacheLayer::max_ttl) limits the lifetime. A lifetime from a
/// policy is one that the response states, as for requests with `Cookie`. Beside `s-maxage`, which
/// forbids stale use by its definition (RFC 9111 §5.2.2.10), the windows of a policy count.
///
/// # Responses to validation
///
/// A 304 to the cache's validators is a new response: the lifetime and the windows are those of its
/// own policy and fields. Groups and selecting fields of the stored response stay, unless the 304
/// names groups itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "a policy counts once it is an extension of a response"]
pub struct CachePolicy(Arc<StatedPolicy>);

impl CachePolicy {
    /// Creates a policy that says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, set: impl FnOnce(&mut StatedPolicy)) -> Self {
        set(Arc::make_mut(&mut self.0));
        self
    }

    /// Sets how long the response is fresh, counted from age zero (RFC 9111 §4.2.1).
    ///
    /// With zero it is stale on arrival: it is stored if it has a validator, or may be used stale.
    /// With [`Ttl::UntilInvalidated`] it never expires.
    pub fn ttl(self, ttl: impl Into<Ttl>) -> Self {
        self.with(|stated| stated.ttl = Some(ttl.into()))
    }

    /// Sets how long after its lifetime the response may be served while it is refreshed in the
    /// background (RFC 5861 §3). With zero it may not.
    pub fn stale_while_revalidate(self, window: Duration) -> Self {
        self.with(|stated| stated.while_revalidate = Some(window))
    }

    /// Sets how long after its lifetime the response may be served in place of a server error, or
    /// of no answer at all (RFC 5861 §4). With zero it may not.
    pub fn stale_if_error(self, window: Duration) -> Self {
        self.with(|stated| stated.if_error = Some(window))
    }

    /// Adds the response to a group, to be invalidated together:
    /// [`CacheHandle::invalidate_group`](crate::CacheHandle::invalidate_group).
    ///
    /// The group is the one that `Cache-Groups` would name (RFC 9875). A response is in at most 64
    /// groups, whose names have at most 256 bytes; beyond that it is not stored
    /// ([`Refusal::Groups`](crate::stats::Refusal::Groups)), because it could not be invalidated
    /// with them.
    pub fn group(self, name: impl Into<String>) -> Self {
        self.with(|stated| stated.groups.push(name.into()))
    }

    /// Adds the response to several groups: see [`group`](Self::group).
    pub fn groups<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        self.with(|stated| stated.groups.extend(names.into_iter().map(Into::into)))
    }

    /// Keeps the response out of the store
    /// ([`Refusal::NoStore`](crate::stats::Refusal::NoStore)).
    pub fn no_store(self) -> Self {
        self.with(|stated| stated.no_store = true)
    }

    /// Makes the response one for the client with this id alone, as `private` in `Cache-Control`
    /// does (RFC 9111 §5.2.2.7).
    ///
    /// It is stored if [`private_by`](crate::CacheLayer::private_by) gives the request the same id,
    /// in the partition of that id, and otherwise not at all
    /// ([`Refusal::Private`](crate::stats::Refusal::Private)). Other caches are not told: where
    /// there are some, say `private` as well.
    pub fn private_to(self, id: impl AsRef<[u8]>) -> Self {
        self.with(|stated| stated.private_to = Some(id.as_ref().into()))
    }

    /// Lets the values of request fields select the response, as `Vary` does (RFC 9111 §4.1), and
    /// beside it. Clients and other caches are not told.
    ///
    /// All responses of a resource should name the same fields. More than 32 with those in `Vary`
    /// keep the response out of the store.
    pub fn vary_on(self, fields: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|stated| stated.vary_on.extend(fields))
    }

    /// Finds the policy among the extensions of a response.
    #[inline]
    pub(crate) fn of(extensions: &Extensions) -> Option<&Self> {
        // Most responses have none.
        (!extensions.is_empty()).then(|| extensions.get()).flatten()
    }

    /// The extensions that a copy of a response's head keeps: its policy, if it has one.
    pub(crate) fn kept(extensions: &Extensions) -> Extensions {
        let mut kept = Extensions::new();
        if let Some(policy) = Self::of(extensions) {
            kept.insert(policy.clone());
        }
        kept
    }

    pub(crate) fn stated(&self) -> &Arc<StatedPolicy> {
        &self.0
    }
}
