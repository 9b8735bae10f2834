//! The reasons of the cache's decisions.
//!
//! One vocabulary serves `Cache-Status`, `tracing` events and the counters of
//! [`CacheHandle::stats`](crate::CacheHandle::stats): each decision names one reason of one set. A
//! new reason is one line in the set below; everything else follows from the macro.

use std::fmt;

use http::StatusCode;

mod sealed {
    pub trait Sealed {}
}

/// A closed set of reasons, each with one stable name.
///
/// The sets are enums of this crate. The trait is sealed: it cannot be implemented outside.
pub trait Reason: sealed::Sealed + Copy + Eq + fmt::Debug + fmt::Display + 'static {
    /// All reasons of the set, in the order of their [`index`](Self::index).
    const ALL: &'static [Self];

    /// Returns the position in [`ALL`](Self::ALL).
    fn index(self) -> usize;

    /// Returns the stable name, a token (RFC 9110 §5.6.2).
    fn as_str(self) -> &'static str;

    /// Returns the reason as sentences for people: its documentation. The wording may change.
    fn description(self) -> &'static str;
}

/// The text of one line of documentation; empty for another attribute.
macro_rules! doc_text {
    (doc = $text:literal) => {
        $text
    };
    ($($other:tt)*) => {
        ""
    };
}

macro_rules! reasons {
    ($(#[$meta:meta])* $set:ident { $($(#[$($doc:tt)*])* $name:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $set { $($(#[$($doc)*])* $name,)+ }

        impl sealed::Sealed for $set {}

        impl Reason for $set {
            const ALL: &'static [Self] = &[$(Self::$name,)+];

            fn index(self) -> usize {
                self as usize
            }

            fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }

            fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($(doc_text!($($doc)*)),*).trim_start(),)+ }
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $set {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl fmt::Display for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

reasons! {
    /// The result of a request. Each request has one, which is counted when the head of its
    /// response is handed to the caller.
    ///
    /// A request that the inner service fails has the result that it was on its way to:
    /// [`Bypass`](Self::Bypass) if the cache was not consulted, otherwise [`Miss`](Self::Miss). So
    /// has one in which the inner service panics.
    RequestResult {
        /// A fresh stored response, without a call.
        Hit => "hit",
        /// A stored response that is stale, or that the inner service did not confirm.
        Stale => "stale",
        /// A stored response that a 304 of the inner service confirmed.
        Revalidated => "revalidated",
        /// The response to another request's call, of which some was still to come.
        Collapsed => "collapsed",
        /// A response of the inner service, or a 502 in its place.
        Miss => "miss",
        /// Stored parts, and the missing range from the inner service (RFC 9111 §3.4).
        Partial => "partial",
        /// A response of the inner service without a lookup. All writes are among them that it had
        /// a place for.
        Bypass => "bypass",
        /// A 503, because too many fills wait for the inner service; or an error by which the inner
        /// service says that it has no place for the request (see
        /// [`OriginMonitor`](crate::stats::OriginMonitor)), or a response of a
        /// [`ReverseProxy`](crate::proxy::ReverseProxy) that says so to a write.
        Overload => "overload",
        /// A 504 to `only-if-cached` (RFC 9111 §5.2.1.7).
        GatewayTimeout => "gateway_timeout",
        /// A 400 to an invalid host, or a 500 to a write whose key could not be made. The inner
        /// service is not called.
        Rejected => "rejected",
        /// No response: the client left before.
        Canceled => "canceled",
        /// A response of whatever is around the cache, which never got the request: see
        /// [`count_outside`](crate::CacheHandle::count_outside).
        Outside => "outside",
    }
}

reasons! {
    /// The source of the bytes in response bodies.
    BodySource {
        /// The cache: hits, stale, revalidated and collapsed responses. The inner service did not
        /// send these bytes for this request.
        Store => "store",
        /// The inner service: misses, responses completed from parts, and bypasses.
        Origin => "origin",
    }
}

reasons! {
    /// The way of a response into the store.
    StoredBy {
        /// A fill: a miss or a background refresh.
        Fill => "fill",
        /// The response to a write, by [`write_through`](crate::CacheLayer::write_through).
        WriteThrough => "write_through",
        /// A part of a response (206), alone or merged with stored parts.
        Parts => "parts",
    }
}

reasons! {
    /// Where a backend keeps its entries.
    Tier {
        /// In this process: it reports its usage, and has no health of its own to report.
        Near => "near",
        /// Outside of this process, such as in Redis.
        Far => "far",
        /// It keeps none: there is no backend, or it takes no response of any size.
        Nowhere => "none",
    }
}

reasons! {
    /// What an invalidation was of.
    InvalidatedTarget {
        /// One resource: all stored responses of its path.
        Resource => "resource",
        /// A cache group (RFC 9875).
        Group => "group",
        /// All resources below a path.
        Prefix => "prefix",
        /// Everything: [`CacheHandle::clear`](crate::CacheHandle::clear).
        All => "all",
    }
}

reasons! {
    /// What an invalidation does to stored responses.
    InvalidationMode {
        /// It removes them.
        Remove => "remove",
        /// It makes them stale.
        Expire => "expire",
    }
}

reasons! {
    /// Whether the backend acknowledged an invalidation.
    InvalidationResult {
        /// It did.
        Ok => "ok",
        /// It did not: it failed, or took too long. A
        /// [`Guarded`](crate::backend::Guarded) backend tries again later.
        Failed => "failed",
    }
}

reasons! {
    /// The class of a response: of the inner service's to a fill, or of one
    /// [outside](RequestResult::Outside) of the cache.
    StatusClass {
        /// A successful status, 200 to 299.
        Success => "2xx",
        /// A redirection or a 304, 300 to 399.
        Redirection => "3xx",
        /// The client's error, 400 to 499.
        ClientError => "4xx",
        /// The server's error, 500 and above.
        ServerError => "5xx",
        /// No response: the inner service failed.
        Error => "error",
    }
}

reasons! {
    /// How a call of the inner service ended.
    CallEnd {
        /// A successful status, 200 to 299, or 101.
        Success => "2xx",
        /// A redirection or a 304, 300 to 399.
        Redirection => "3xx",
        /// The client's error, 400 to 499.
        ClientError => "4xx",
        /// The server's error, 500 and above.
        ServerError => "5xx",
        /// No response: the inner service failed, or panicked.
        Error => "error",
        /// No response yet: the client left, or the cache gave up waiting.
        Canceled => "canceled",
        /// No response: the client broke off the content of its request, so that the inner service
        /// never had it whole.
        BrokenUpload => "broken_upload",
    }
}

reasons! {
    /// Why the inner service rejects calls that are no fault of a single client, as a rule.
    OriginRejection {
        /// It does not know the caller, or forbids the request: 401, 403 or 407.
        Credentials => "credentials",
        /// It limits the rate of calls: 429.
        Rate => "rate",
    }
}

reasons! {
    /// How a fill ended.
    FillOutcome {
        /// Its response is stored.
        Stored => "stored",
        /// Its response is not stored; a [`Refusal`] says why.
        Refused => "refused",
        /// The inner service failed, or the body of its response.
        Failed => "failed",
    }
}

reasons! {
    /// What a request waited for.
    WaitedFor {
        /// The call of another request.
        Flight => "flight",
        /// The readiness of the inner service.
        Readiness => "readiness",
    }
}

reasons! {
    /// An operation of a backend outside of this process.
    BackendOperation {
        /// A lookup, or the body of a stored response.
        Get => "get",
        /// A store, or the removal of stored parts.
        Put => "put",
        /// The fence of a store.
        Fence => "fence",
        /// An invalidation and a store in one step, for write-through.
        Replace => "replace",
        /// An invalidation of resources or groups.
        Invalidate => "invalidate",
        /// An invalidation of everything.
        Clear => "clear",
    }
}

reasons! {
    /// How an operation of a backend ended.
    OperationResult {
        /// It succeeded.
        Ok => "ok",
        /// It failed.
        Error => "error",
        /// It did not end by its deadline.
        Timeout => "timeout",
        /// A healthy backend refused it, for example because it is full.
        Refused => "refused",
        /// It was not attempted, or ended for a reason that tells nothing of the backend.
        Rejected => "rejected",
    }
}

reasons! {
    /// Why a GET or HEAD went to the inner service although the cache was consulted.
    FetchReason {
        /// No response is stored under the key.
        UriMiss => "uri-miss",
        /// The stored response was selected by other values of the fields that `Vary` names (RFC
        /// 9111 §4.1).
        VaryMiss => "vary-miss",
        /// The fields of the request that `Vary` names are too long to be compared: more than 16
        /// KiB together.
        LongSelectingFields => "long-selecting-fields",
        /// The stored response is stale (RFC 9111 §4.2).
        Stale => "stale",
        /// The request has `no-cache` (RFC 9111 §5.2.1.4).
        RequestNoCache => "request-no-cache",
        /// The stored response is older than the request's `max-age` (RFC 9111 §5.2.1.1).
        RequestMaxAge => "request-max-age",
        /// The stored response does not stay fresh for the request's `min-fresh` (RFC 9111
        /// §5.2.1.3).
        RequestMinFresh => "request-min-fresh",
        /// The stored response is a 401 or 403, and the request has credentials (RFC 9110 §15.5.2).
        RequestCredentials => "request-credentials",
        /// Only parts of the response are stored, and the request needs others (RFC 9111 §3.4).
        Partial => "partial",
        /// The stored response belongs to another key with the same digest.
        OtherKey => "other-key",
        /// The backend failed or did not answer in time.
        BackendFailed => "backend-failed",
    }
}

reasons! {
    /// Why a response of the inner service was of no use for the request it answered.
    Contradiction {
        /// A 304 is about another response than the stored one whose validators were sent (RFC 9111
        /// §4.3.4).
        NotModifiedIsAnother => "not-modified-is-another",
        /// The response to a request for a missing range is not that range (RFC 9111 §3.4).
        PartIsAnother => "part-is-another",
        /// A 304, 412 or 416 answers a condition or range that the client did not send.
        Unrequested => "unrequested-status",
    }
}

reasons! {
    /// Why a request went to the inner service without consulting the cache.
    Bypass {
        /// The method is neither GET, HEAD nor a write; or it is that of a read-only POST with a
        /// condition or a range, which are not defined for POST.
        Method => "method",
        /// The request asks for another protocol on its connection.
        Upgrade => "upgrade",
        /// A GET or HEAD announces content, or has some, which is no part of the key.
        RequestContent => "request-content",
        /// `Host` is missing, given twice, malformed or contradicts the authority of the target.
        Authority => "authority",
        /// The `skip` predicate matched.
        Skipped => "skipped",
        /// The request has one of the `bypass_fields`, which may change its meaning.
        BypassField => "bypass-field",
        /// The `MakeCacheKey` hook declined to make a key.
        NoKey => "no-key",
        /// A function that an option was given panicked, so that the request has no key, or may not
        /// reach the inner service in the form of its key.
        HookPanicked => "hook-panicked",
        /// A QUERY or read-only POST has longer content than
        /// [`cache_queries`](crate::CacheLayer::cache_queries) lets the cache collect.
        ContentTooLong => "content-too-long",
        /// The content of a QUERY or read-only POST broke off, has trailers, or is not of the length
        /// that its head announced.
        ContentUnusable => "content-unusable",
        /// The cache cannot make a request body of this type: see
        /// [`request_body`](crate::CacheLayer::request_body).
        RequestBodyType => "request-body-type",
    }
}

reasons! {
    /// Why a response was not stored.
    Refusal {
        /// The response answers another method than GET.
        Method => "method",
        /// The request has `no-store` (RFC 9111 §5.2.1.5).
        RequestNoStore => "request-no-store",
        /// The response has `no-store` (RFC 9111 §5.2.2.5).
        NoStore => "no-store",
        /// The response has `must-understand`, and this cache does not implement its status (RFC
        /// 9111 §5.2.2.3).
        MustUnderstand => "must-understand",
        /// The response has `private` (RFC 9111 §5.2.2.7).
        Private => "private",
        /// The response is for one client, whose [id](crate::CacheLayer::private_by) is too long:
        /// more than 1,024 bytes.
        LongPrivateId => "long-private-id",
        /// The response has `no-cache` and nothing to validate it by (RFC 9111 §5.2.2.4).
        NoCache => "no-cache",
        /// The request has `Authorization` or another credential field, and the response does not
        /// allow sharing (RFC 9111 §3.5).
        Credentials => "credentials",
        /// The request has `Cookie`, and the response has no explicit lifetime.
        Cookie => "cookie",
        /// The response sets a cookie.
        SetCookie => "set-cookie",
        /// The response has `Vary: *`, a `Vary` that cannot be read, or one that names more than 32
        /// fields (RFC 9111 §4.1).
        Vary => "vary",
        /// The fields of the request that the response names in `Vary` are too long to be kept:
        /// more than 16 KiB together.
        LongSelectingFields => "long-selecting-fields",
        /// The status is never stored: its definition forbids it, or it answers no cache key.
        Status => "status",
        /// The response has no lifetime, and the configuration gives it none (RFC 9111 §4.2).
        NoLifetime => "no-lifetime",
        /// The response has no lifetime but one of the configuration or a heuristic, and its
        /// `Cache-Control` cannot be read whole, or it has `Pragma: no-cache` alone.
        UnreadableDirectives => "unreadable-directives",
        /// The response arrived with its lifetime spent.
        Expired => "expired",
        /// The response is in more groups than the cache tracks, or in one whose name is too long
        /// (RFC 9875 §2).
        Groups => "groups",
        /// The media type is that of an endless stream.
        Stream => "stream",
        /// The content is larger than `max_body`.
        TooLarge => "too-large",
        /// The header fields are larger than the limit for a stored response.
        HeadTooLarge => "head-too-large",
        /// Nothing can be stored at all: there is no backend, or `max_body` is 0.
        NoRoom => "no-room",
        /// A server error would replace a stored response that is none (a poisoning defence:
        /// CPDoS).
        KeepsBetter => "keeps-better",
        /// A write of unknown outcome is too recent.
        WriteGrace => "write-grace",
        /// A write or an invalidation came while the response was being fetched, or the response to
        /// a call that began later was stored.
        Superseded => "superseded",
        /// The body ended with an error.
        BodyFailed => "body-failed",
        /// The length of the body contradicts `Content-Length`.
        Truncated => "truncated",
        /// The client left before the end of the body.
        Abandoned => "abandoned",
        /// The fill took longer than its timeout, and the body had stalled.
        TooSlow => "too-slow",
        /// The fill took longer than its timeout, and the body was still coming.
        Endless => "endless",
        /// The request may not wait for another one's fill (`coalesce_timeout` is zero) and went to
        /// the inner service itself.
        WaitedTooLong => "waited-too-long",
        /// Too many bytes are being captured at the moment.
        Budget => "budget",
        /// The backend failed or did not answer in time.
        BackendFailed => "backend-failed",
        /// The `store_if` hook declined.
        StoreIf => "store-if",
        /// A layer of the same cache further inside exempts the request, by `skip` or by a key
        /// hook of its own.
        Exempt => "exempt",
        /// The `ttl_by` or the `store_if` function panicked.
        HookPanicked => "hook-panicked",
        /// The answer to a write is no full representation named by `Content-Location`.
        NotRepresentation => "not-representation",
    }
}

reasons! {
    /// Why a stale stored response was served (RFC 9111 §4.2.4).
    StaleUse {
        /// A refresh in the background is fetching a newer one (RFC 5861 §3).
        WhileRevalidate => "stale-while-revalidate",
        /// The inner service answered 500, 502, 503 or 504 (RFC 5861 §4).
        IfError => "stale-if-error",
        /// The inner service failed to answer.
        IfUnreachable => "stale-if-unreachable",
        /// The request accepts stale responses by `max-stale` (RFC 9111 §5.2.1.2).
        MaxStale => "max-stale",
    }
}

reasons! {
    /// Why a stored response was refreshed in the background.
    Refresh {
        /// It is stale, and serving it meanwhile is allowed.
        Stale => "stale",
        /// Its lifetime is about to end.
        Early => "early",
    }
}

reasons! {
    /// How a write ended, as far as the cache can know. It decides what the write does to the
    /// cache.
    ///
    /// | outcome | when, by default | consequence |
    /// |---|---|---|
    /// | `Committed` | 2xx, 3xx | its resources are invalidated before the head is returned |
    /// | `Rejected` | 4xx except 408; 501, 505 | nothing changes |
    /// | `Rejected` | content that its client broke off: 4xx; `ReverseProxy`: 400 or 408 of its own | as above |
    /// | `Unknown` | 408, other 5xx, an error, a panic, a dropped call | invalidated; see below |
    ///
    /// After an unknown outcome, the write may be committed late: its resources are invalidated,
    /// and nothing is stored of exactly these for [`write_grace_window`].
    ///
    /// The resources of a write are its target, those that `Location` and `Content-Location` of
    /// the response name on the same site, and those that
    /// [`also_invalidate`](crate::CacheLayer::also_invalidate) names. The groups in
    /// `Cache-Group-Invalidation` are invalidated whatever the outcome (RFC 9875 §3).
    ///
    /// [`classify_writes`](crate::CacheLayer::classify_writes) replaces the second column.
    /// [`invalidate_on_unknown`](crate::CacheLayer::invalidate_on_unknown) can turn off the
    /// consequence of the last row.
    ///
    /// **A client that leaves changes none of this.** The write runs to its end in a task of its
    /// own, and is judged by its response as soon as its head is there; until then nothing is
    /// invalidated. The body of a committed one is read on, too, and its resources are invalidated
    /// once more at the end. Only a write that cannot run on is dropped, and its outcome is unknown
    /// at once: outside of a tokio runtime, beyond
    /// [`max_detached_writes`](crate::CacheLayer::max_detached_writes) or
    /// [`detached_write_timeout`](crate::CacheLayer::detached_write_timeout), and in a shutdown.
    ///
    /// **Several instances.** The backend keeps the period after an unknown outcome for all
    /// instances if it can, as `RedisBackend` does (see
    /// [`Backend::invalidate_unknown`](crate::backend::Backend::invalidate_unknown)). Otherwise the
    /// cache that had the write keeps it for itself.
    ///
    /// **Content that the client breaks off.** The inner service decides, by its response. One that
    /// acts on the head of a request says 2xx. One that has read an error instead of the content
    /// has not carried the request out (RFC 9112 §8), and should say so with a 4xx: an error or a
    /// 5xx would let any client invalidate any resource by hanging up in the middle of its content.
    /// `ReverseProxy` waits for the response of the upstream, for its `broken_upload_timeout` at
    /// most; without one, the write is rejected.
    ///
    /// [`write_grace_window`]: crate::CacheLayer::write_grace_window
    WriteOutcome {
        /// The write has changed its resources.
        Committed => "invalidated",
        /// The write has changed nothing.
        Rejected => "rejected",
        /// The write may have changed its resources, or may do so later.
        Unknown => "outcome-unknown",
    }
}

impl WriteOutcome {
    /// Returns the outcome that a write has by default, by the status of its response.
    ///
    /// For a [`classify_writes`](crate::CacheLayer::classify_writes) hook that decides on some
    /// responses only.
    #[must_use]
    pub fn from_status(status: StatusCode) -> Self {
        match status {
            // A timeout layer inside answers 408 for a handler that it drops wherever it is, after
            // its commit too.
            StatusCode::REQUEST_TIMEOUT => Self::Unknown,
            // RFC 9110 §15.6.2, §15.6.6: the server does not know the method or the version.
            StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Self::Rejected,
            _ if status.is_client_error() => Self::Rejected,
            _ if status.is_success() || status.is_redirection() => Self::Committed,
            _ => Self::Unknown,
        }
    }
}

#[allow(
    clippy::derivable_impls,
    reason = "the macro takes no attribute of a variant"
)]
impl Default for Tier {
    fn default() -> Self {
        Self::Far
    }
}

impl StatusClass {
    /// The class of a status.
    pub(crate) fn from_status(status: StatusCode) -> Self {
        match status.as_u16() {
            ..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

impl CallEnd {
    /// The end of a call whose response has a status.
    pub(crate) fn from_status(status: StatusCode) -> Self {
        match StatusClass::from_status(status) {
            StatusClass::Success => Self::Success,
            StatusClass::Redirection => Self::Redirection,
            StatusClass::ClientError => Self::ClientError,
            StatusClass::ServerError => Self::ServerError,
            StatusClass::Error => Self::Error,
        }
    }
}

impl OriginRejection {
    /// What a response with this status rejects its call for; `None` for another status.
    pub(crate) fn from_status(status: StatusCode) -> Option<Self> {
        match status.as_u16() {
            401 | 403 | 407 => Some(Self::Credentials),
            429 => Some(Self::Rate),
            _ => None,
        }
    }
}

impl FillOutcome {
    /// The outcome of a fill whose response is refused.
    pub(crate) fn from_refusal(refusal: Refusal) -> Self {
        match refusal {
            Refusal::BodyFailed | Refusal::Truncated | Refusal::BackendFailed => Self::Failed,
            _ => Self::Refused,
        }
    }
}

impl RequestResult {
    /// The source of the response body; `None` if the cache has made the response.
    #[inline]
    pub(crate) fn body_source(self) -> Option<BodySource> {
        match self {
            Self::Hit | Self::Stale | Self::Revalidated | Self::Collapsed => {
                Some(BodySource::Store)
            }
            Self::Miss | Self::Partial | Self::Bypass => Some(BodySource::Origin),
            Self::Overload | Self::GatewayTimeout | Self::Rejected => None,
            Self::Canceled | Self::Outside => None,
        }
    }
}

impl Refusal {
    /// Returns whether only a shared cache refuses the response: it may be for one client alone.
    #[must_use]
    pub(crate) fn is_of_shared_caches(self) -> bool {
        matches!(self, Self::Private | Self::Credentials | Self::Cookie)
    }

    /// Returns whether requests with the same fields would be refused just as well.
    ///
    /// Such a refusal lies in the response itself, or in what the request carries. Requests like it
    /// need not wait for each other. Other refusals concern one request or one moment.
    #[must_use]
    pub(crate) fn concerns_others(self) -> bool {
        matches!(
            self,
            Self::NoStore
                | Self::Private
                | Self::LongPrivateId
                | Self::MustUnderstand
                | Self::NoCache
                | Self::SetCookie
                | Self::Vary
                | Self::NoLifetime
                | Self::UnreadableDirectives
                | Self::Expired
                | Self::Groups
                | Self::Stream
                | Self::TooLarge
                | Self::HeadTooLarge
                | Self::NoRoom
                | Self::Credentials
                | Self::Cookie
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_are_distinct_tokens<R: Reason>() {
        for (index, reason) in R::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
            let is_token =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(reason.as_str().bytes().all(is_token), "{reason:?}");
            let namesakes = R::ALL.iter().filter(|r| r.as_str() == reason.as_str());
            assert_eq!(namesakes.count(), 1, "{reason:?}");
        }
    }

    #[test]
    fn every_reason_has_its_own_token() {
        names_are_distinct_tokens::<FetchReason>();
        names_are_distinct_tokens::<Bypass>();
        names_are_distinct_tokens::<Refusal>();
        names_are_distinct_tokens::<WriteOutcome>();
        names_are_distinct_tokens::<StaleUse>();
        names_are_distinct_tokens::<Refresh>();
    }

    #[test]
    fn rfc_9211_section_2_2_forward_reasons_are_registered() {
        let registered = [
            "bypass",
            "method",
            "uri-miss",
            "vary-miss",
            "miss",
            "request",
            "stale",
            "partial",
        ];
        for reason in FetchReason::ALL {
            assert!(registered.contains(&reason.fwd()), "{reason:?}");
        }
        for reason in Bypass::ALL {
            assert!(registered.contains(&reason.fwd()), "{reason:?}");
        }
    }
}
