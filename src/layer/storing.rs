//! Options for which responses are stored (RFC 9111 §3) and how large they may be.

use std::sync::Arc;

use http::{request, response};

use super::CacheLayer;
use super::invalid_option::{InvalidOption, field_names, or_panic};
use crate::backend::Backend;
use crate::config::hook::{HookGuard, subject};
use crate::semantics::request_kind::CredentialFields;

/// # Storing
///
/// The limits decide how large a stored response may be; a response that exceeds one streams to
/// its client and is not stored. The switches decide about responses that a shared cache may store
/// but that not every application wants stored.
///
/// ## Which statuses are stored
///
/// A lifetime is *stated* by `s-maxage`, `max-age` or `Expires`, *given* by [`ttl`](Self::ttl) or
/// [`ttl_by`](Self::ttl_by), or *estimated*: a tenth of the time since `Last-Modified`, at most one
/// day, and ten minutes for an error (RFC 9111 §4.2.2).
///
/// | status | stored with a lifetime that is |
/// |---|---|
/// | 200, 203, 204, 301, 308 | stated, given or estimated |
/// | 404, 410 | stated, given (at most [`negative_ttl`](Self::negative_ttl)) or estimated |
/// | 300, 405, 414, 501 | stated, given by `ttl_by`, or estimated (RFC 9110 §15.1) |
/// | 206 | as 200, but as a part: see [`store_parts`](Self::store_parts) |
/// | 428, 429, 431, 511 | never: their definition forbids it (RFC 6585) |
/// | 226, 407, 408, 412, 416, 417, 421, 425, 426 | never: they answer a condition or a connection |
/// | any other | stated, given by `ttl_by`, or, if it is `public`, estimated |
///
/// No lifetime is given or estimated if a directive of `Cache-Control` cannot be read, as `nostore`
/// or `private; max-age=0`, or if `Pragma: no-cache` stands alone: each was probably meant to
/// forbid storing. Lifetimes that a response states count all the same, but not the stale windows
/// of this layer. A 5xx never replaces another stored response. A stored 401 or 403 answers no
/// request with credentials of its own: `Cookie`, or one of the
/// [`credential_fields`](Self::credential_fields).
///
/// ## Requests with credentials
///
/// The response to a request with one of the [`credential_fields`](Self::credential_fields) is
/// stored only if it says `public`, `s-maxage` or `must-revalidate` (RFC 9111 §3.5), and the
/// response to a request with `Cookie` only if it states its lifetime. Otherwise it is for its
/// client alone: concurrent requests do not get it either. Give such responses a lifetime of their
/// own, or none: [`ttl`](Self::ttl) on a whole router must not make one client's page that of all.
/// [`key_covers_credentials`](Self::key_covers_credentials) is for applications that store one
/// response per client.
///
/// ```
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// const MIB: u64 = 1024 * 1024;
/// // The backend must accept what the layer captures: both have a limit.
/// let backend = MemoryBackend::builder().capacity(256 * MIB).max_response_size(5 * MIB).build();
/// let layer = CacheLayer::new(backend)
///     .max_body(4 * MIB)
///     .max_buffered_bytes(128 * MIB)
///     .max_lingering_bytes(32 * MIB)
///     .store_parts(false)
///     .generate_etags(true);
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Sets the largest body that is stored, in bytes.
    ///
    /// Default: 1 MiB. With 0 nothing is stored. A larger body streams to its client and is not
    /// stored. If its `Content-Length` exceeds the limit, none of it is kept in memory. The backend
    /// has a [limit](crate::backend::Backend::max_response_size) of its own, 2 MiB by default in
    /// memory and in Redis, and the lower one counts.
    #[must_use]
    pub fn max_body(self, bytes: u64) -> Self {
        self.with(|config| config.max_body = bytes)
    }

    /// Sets the largest header section that is stored, in bytes: the names and values, and four
    /// more for each line, as HTTP/1.1 writes them.
    ///
    /// Default: 64 KiB. A response with a larger one streams to its client and is not stored
    /// ([`Refusal::HeadTooLarge`](crate::stats::Refusal::HeadTooLarge)). Neither is one with more
    /// than 4,096 field lines, whatever the limit.
    #[must_use]
    pub fn max_head(self, bytes: usize) -> Self {
        self.with(|config| config.max_head = bytes)
    }

    /// Sets how many bytes of response bodies may be in memory until they are stored, over all
    /// requests together.
    ///
    /// Default: 64 MiB. With 0, only responses without content are stored. A response that would
    /// exceed the limit is not stored ([`Refusal::Budget`](crate::stats::Refusal::Budget)) and
    /// streams to its client at the pace of that. Those that wait for it call for themselves, as
    /// after a failed call. Each response is counted until it is stored or refused, and for
    /// [`fill_timeout`](Self::fill_timeout) at most, whether its clients read or not. Stored
    /// responses are not counted here but by the backend.
    ///
    /// Half of the limit is for bodies that come fast. Lengths that are only announced take the
    /// other half at most, and while more than that is taken, a body of more than 16 KiB that grows
    /// by less than a quarter within a thirtieth of `fill_timeout` (a second by default) is given up.
    ///
    /// Bytes that are not stored, and that clients have yet to read
    /// ([`unread_bytes`](crate::stats::InFlight::unread_bytes)), count too. Bodies that only pass
    /// take half of the limit at most; beyond it they wait for their readers after each chunk. Once
    /// all unread bytes exceed half of the limit, readers that stop for
    /// [`slow_reader_timeout`](Self::slow_reader_timeout) are cut off, so that others are stored
    /// again.
    #[must_use]
    pub fn max_buffered_bytes(self, bytes: u64) -> Self {
        self.with(|config| config.max_buffered_bytes = bytes)
    }

    /// Sets the request fields that count as credentials; it replaces an earlier list.
    ///
    /// Default: [`DEFAULT_CREDENTIAL_FIELDS`](crate::DEFAULT_CREDENTIAL_FIELDS), which are
    /// `Authorization`, `Proxy-Authorization`, `X-API-Key`, `X-Auth-Token` and `X-Access-Token`.
    /// `Authorization` counts whatever the list says (RFC 9111 §3.5 demands it); an empty list
    /// leaves it alone. List every field by which the service tells its clients apart, as a session
    /// or a gateway's user id: a response to a request with a field that is not listed may be
    /// stored, and answers all clients. Refused responses are counted as
    /// [`Refusal::Credentials`](crate::stats::Refusal::Credentials).
    ///
    /// With stacked layers, the fields listed by any of them keep a response out of the store.
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, DEFAULT_CREDENTIAL_FIELDS, backend::MemoryBackend};
    ///
    /// let own = ["x-session", "x-user-id"];
    /// let layer = CacheLayer::new(MemoryBackend::default())
    ///     .credential_fields(DEFAULT_CREDENTIAL_FIELDS.into_iter().chain(own));
    /// ```
    ///
    /// # Panics
    /// If a name is not a valid field name; see
    /// [`try_credential_fields`](Self::try_credential_fields).
    #[must_use]
    #[track_caller]
    pub fn credential_fields<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        or_panic(self.try_credential_fields(names))
    }

    /// Sets [`credential_fields`](Self::credential_fields) to names that come from configuration.
    ///
    /// # Errors
    /// If a name is not a valid field name.
    pub fn try_credential_fields<'n>(
        self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Self, InvalidOption> {
        let names = field_names("credential_fields", names)?;
        Ok(self.with(|config| config.credential_fields = CredentialFields::new(names)))
    }

    /// Sets how many bytes of responses that were removed from the store may be held by clients
    /// that are still reading them.
    ///
    /// Default: 64 MiB. A hit is sent from the stored bytes without a copy, so that a client that
    /// stops reading keeps them in memory after the response was evicted, replaced or invalidated.
    /// **The cache cannot free bytes that it has handed to a connection.** A write timeout of the
    /// server ends clients that do not read; without one they stay as long as they like.
    ///
    /// The cache stops adding to these bytes instead: once they exceed half of the limit, a
    /// response of more than 64 KiB is stored only if it is smaller than an eighth of the rest of
    /// the limit; others are refused ([`Refusal::Budget`](crate::stats::Refusal::Budget)). With 0,
    /// none of these is stored while a client reads a removed response. Responses of up to 64 KiB
    /// are stored in any case: each one that is kept takes a connection, or a stream, of its own,
    /// and otherwise a few clients could end the storing of nearly all pages. In the worst case
    /// removed responses take this limit, once more the capacity of the backend, and 64 KiB for
    /// each client.
    ///
    /// Bodies below 4 KiB are not counted. Responses from Redis are copies, one for each client;
    /// they are counted in [`copied_bytes`](crate::stats::InFlight::copied_bytes) and not limited
    /// here.
    #[must_use]
    pub fn max_lingering_bytes(self, bytes: u64) -> Self {
        self.with(|config| config.max_lingering_bytes = bytes)
    }

    /// Stores responses that have a `Set-Cookie` field.
    ///
    /// Default: `false`, although RFC 9111 §7.3 allows it: with `true` every client receives the
    /// stored cookie.
    #[must_use]
    pub fn store_set_cookie(self, store: bool) -> Self {
        self.with(|config| config.store_set_cookie = store)
    }

    /// Sets a function that says which client a request is from, so that responses for one client
    /// alone are stored for that client.
    ///
    /// Default: no function, nothing is stored for single clients. It returns an id of the client;
    /// `None` and an empty id stand for no client. A request with an id is answered with a public
    /// response first, then with one of the partition of its id. A response that a shared
    /// cache may store stays public. One that is `private`, or that only the credentials or the
    /// `Cookie` of its request keep out of the store, is stored in the partition, by the rules of a
    /// private cache (RFC 9111 §3): `s-maxage` and `proxy-revalidate` do not count, `no-store` and
    /// `Set-Cookie` forbid storing, and [`ttl`](Self::ttl) gives a lifetime. With
    /// [`CachePolicy::private_to`](crate::CachePolicy::private_to) the handler says which client a
    /// response is for. The response leaves as it came.
    ///
    /// Only requests with the same id share a stored response, a call to the inner service, or the
    /// memory of its refusals and failures. A write invalidates its resource in all partitions. A
    /// partition has its own variants, parts and validators. At most
    /// [`max_private_entries`](Self::max_private_entries) are stored for one id. A backend in
    /// another process keeps the ids beside the responses.
    ///
    /// An id has at most 1,024 bytes. With a longer one nothing is stored for the client
    /// ([`Refusal::LongPrivateId`](crate::stats::Refusal::LongPrivateId)); with a function that
    /// panics neither. The function is called for reads that no
    /// public response answers.
    ///
    /// Concurrent requests of a client for a response that turns out to be private may make two
    /// calls, the first of which could have been for all. The key is remembered then, see
    /// [`uncacheable_ttl`](Self::uncacheable_ttl).
    ///
    /// # Danger
    /// The id decides who gets a response. Make it of a verified fact, such as an extension that a
    /// layer outside of the cache has set: with a name that a client only claims, it gets the pages
    /// of that client. Two clients with one id are one. If a client's rights change, its
    /// stored responses stay: put the rights into the id, or invalidate the responses.
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// #[derive(Clone)]
    /// struct VerifiedUser(u64);
    ///
    /// let layer = CacheLayer::new(MemoryBackend::default())
    ///     .private_by(|request| Some(request.extensions.get::<VerifiedUser>()?.0.to_be_bytes()));
    /// ```
    #[must_use]
    pub fn private_by<I: AsRef<[u8]>>(
        self,
        id: impl Fn(&request::Parts) -> Option<I> + Send + Sync + 'static,
    ) -> Self {
        let guard = HookGuard::new("private_by");
        self.with(|config| {
            config.private_by = Some(Arc::new(move |request| {
                let id = || id(request).map(|id| id.as_ref().to_vec());
                guard.call(subject(request), id)
            }));
        })
    }

    /// Sets how many responses are stored for one id of [`private_by`](Self::private_by): variants
    /// and parts count.
    ///
    /// Default: 64. With 0 nothing is stored for single clients. If there are more, the one that
    /// was stored first is removed. The last 4,096 ids, or somewhat fewer, are counted by each
    /// process for the responses that it has stored itself; those of other ids stay until they
    /// expire or are evicted.
    #[must_use]
    pub fn max_private_entries(self, entries: usize) -> Self {
        self.with(|config| config.max_private_entries = entries)
    }

    /// Sets a function that decides whether the response to a request may be stored. It gets the
    /// heads of both, as [`ttl_by`](Self::ttl_by) does.
    ///
    /// Default: no function. It can only forbid: it is asked about responses that would be stored
    /// otherwise, and a `true` overrules nothing. A response that it declines goes to its client
    /// and is counted and named as [`Refusal::StoreIf`](crate::stats::Refusal::StoreIf)
    /// (`detail=store-if`). If the function panics, the response is not stored either. A stored
    /// response answers all requests with its key, whatever the function would say of these.
    /// A declined response is remembered as any refused one is, see
    /// [`uncacheable_ttl`](Self::uncacheable_ttl).
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// let layer = CacheLayer::new(MemoryBackend::default()).store_if(|request, response| {
    ///     !request.uri.path().starts_with("/admin/") && !response.headers.contains_key("x-debug")
    /// });
    /// ```
    #[must_use]
    pub fn store_if(
        self,
        store: impl Fn(&request::Parts, &response::Parts) -> bool + Send + Sync + 'static,
    ) -> Self {
        let guard = HookGuard::new("store_if");
        self.with(|config| {
            config.store_if = Some(Arc::new(move |request, head| {
                guard.call(subject(request), || store(request, head))
            }));
        })
    }

    /// Stores 206 responses as parts of a representation (RFC 9111 §3.3).
    ///
    /// Default: `true`; at most 16 parts of one response are kept. With `false`, 206 responses are
    /// not stored. A request for stored bytes is answered from the parts. For missing bytes, or the
    /// whole representation, the cache sends a range request and combines the result with the
    /// stored parts, if a strong validator proves that they belong to one representation (§3.4).
    #[must_use]
    pub fn store_parts(self, store: bool) -> Self {
        self.with(|config| config.store_parts = store)
    }

    /// Adds an `ETag` made from the content to stored responses that have neither `ETag` nor
    /// `Last-Modified`, so that clients can validate them (RFC 9110 §8.8.3).
    ///
    /// Default: `false`. The response to the first request has no tag, because its head is sent
    /// before the content is known. A generated tag is never sent to the inner service.
    #[must_use]
    pub fn generate_etags(self, generate: bool) -> Self {
        self.with(|config| config.generate_etags = generate)
    }

    /// Adds a function that makes an empty body of the type that the requests have, so that the
    /// cache can send a request once more.
    ///
    /// The cache adds conditions to requests: the validators of a stored response (RFC 9111
    /// §4.3.1), or the range that is missing between stored parts (§3.4). If the response is of no
    /// use then, such as a 304 about another version, the request is repeated once as the client
    /// sent it, within the same fill. A 304 to a client that sent no condition is treated alike,
    /// and answered 502 if the service insists on it. Repetitions are counted in
    /// [`Stats::repetitions`](crate::stats::Stats::repetitions). Only requests without content are
    /// repeated; the first call may have consumed the body all the same.
    ///
    /// Over HTTP/2 a GET may have content that its head does not announce. It is in no key, so that no
    /// response to it may be for others. A body of a type that is known by default, or by
    /// [`request_body`](Self::request_body), is asked: if it has not ended, the request goes to the
    /// service past the cache (`request-content`), unless a fresh stored response answers it. So does
    /// one of hyper's `Incoming` with the feature `proxy`. One of a type that is known by this
    /// function alone cannot be asked: each GET and HEAD that may be stored goes to the service with an
    /// empty body in its place. **Bodies of all other types go on as they are**: add a function for the
    /// type, or see to it that no handler of a GET reads content.
    ///
    /// Default: the functions for `()`, `String`, `Vec<u8>`, `Bytes`, `Full<Bytes>`,
    /// `Empty<Bytes>`, and for `BoxBody<Bytes, E>` and `UnsyncBoxBody<Bytes, E>` whose error is
    /// `Infallible`, [`BoxError`](crate::BoxError) or `std::io::Error`; with the feature `proxy`
    /// also whose error is `hyper::Error`, and for `Either<Incoming, Empty<Bytes>>`. A function for
    /// the same type replaces an earlier one.
    ///
    /// For other types, such as axum's `Body` and hyper's `Incoming` itself, requests are not
    /// repeated. Then no range is narrowed to the missing one, and a 304 that does not fit is
    /// answered with the stored response, which is not updated; a 412 or 416 to the cache's
    /// validators goes to the client. The next request goes without validators.
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// let layer = CacheLayer::new(MemoryBackend::default())
    ///     .empty_request_body(axum::body::Body::empty);
    /// ```
    #[must_use]
    pub fn empty_request_body<Req: 'static>(self, make: fn() -> Req) -> Self {
        self.with(|config| config.request_bodies.add_empty(make))
    }
}
