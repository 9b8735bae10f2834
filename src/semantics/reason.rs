//! Why the cache did what it did: one vocabulary for `Cache-Status`, events and counters.

use std::fmt;

mod sealed {
    pub trait Sealed {}
}

/// A closed set of reasons, each with one stable name.
///
/// The sets are enums of this crate. The trait is sealed: it cannot be implemented outside.
pub trait Reason: sealed::Sealed + Copy + Eq + fmt::Debug + fmt::Display + 'static {
    /// All reasons of the set, in the order of their [`index`](Self::index).
    const ALL: &'static [Self];

    /// Position in [`ALL`](Self::ALL).
    fn index(self) -> usize;

    /// The name, a token (RFC 9110 §5.6.2).
    fn as_str(self) -> &'static str;
}

macro_rules! reasons {
    ($(#[$meta:meta])* $set:ident { $($(#[$doc:meta])* $name:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $set { $($(#[$doc])* $name,)+ }

        impl sealed::Sealed for $set {}

        impl Reason for $set {
            const ALL: &'static [Self] = &[$(Self::$name,)+];

            fn index(self) -> usize {
                self as usize
            }

            fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
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
    /// Why a GET or HEAD was answered by the inner service although the cache was asked.
    FetchReason {
        /// Nothing is stored under this key.
        UriMiss => "uri-miss",
        /// What is stored was selected by other request fields (RFC 9111 §4.1).
        VaryMiss => "vary-miss",
        /// What is stored is no longer fresh (§4.2).
        Stale => "stale",
        /// The request said `no-cache` (§5.2.1.4).
        RequestNoCache => "request-no-cache",
        /// What is stored is older than the request's `max-age` (§5.2.1.1).
        RequestMaxAge => "request-max-age",
        /// What is stored does not stay fresh for the request's `min-fresh` (§5.2.1.3).
        RequestMinFresh => "request-min-fresh",
        /// Parts are stored, and what they lack was asked for (§3.4).
        Partial => "partial",
        /// The digest of another key is the same: what is stored belongs to that one.
        OtherKey => "other-key",
        /// The backend could not be asked.
        BackendFailed => "backend-failed",
    }
}

reasons! {
    /// Why a request went past the cache.
    Bypass {
        /// Neither GET, HEAD nor a write: the method's answers are not this cache's business.
        Method => "method",
        /// The request asks for another protocol on this connection.
        Upgrade => "upgrade",
        /// A GET or HEAD that announces content, which is no part of the key.
        RequestContent => "request-content",
        /// `Host` is missing, doubled, malformed or contradicts the target's authority.
        Authority => "authority",
        /// The `skip` predicate said so.
        Skipped => "skipped",
        /// The `MakeCacheKey` hook declined.
        NoKey => "no-key",
    }
}

reasons! {
    /// Why a response was not stored.
    Refusal {
        /// Only answers to GET are stored.
        Method => "method",
        /// The request said `no-store` (RFC 9111 §5.2.1.5).
        RequestNoStore => "request-no-store",
        /// The response said `no-store` (§5.2.2.5).
        NoStore => "no-store",
        /// The response said `must-understand`, and its status is not known here (§5.2.2.3).
        MustUnderstand => "must-understand",
        /// The response said `private` (§5.2.2.7).
        Private => "private",
        /// The response said `no-cache` (§5.2.2.4).
        NoCache => "no-cache",
        /// The request carried `Authorization` and nothing in the response allows sharing (§3.5).
        Authorization => "authorization",
        /// The request carried `Cookie` and the response's freshness is not explicit.
        Cookie => "cookie",
        /// The response sets a cookie.
        SetCookie => "set-cookie",
        /// `Vary: *`, or a `Vary` that cannot be read (§4.1).
        Vary => "vary",
        /// A status that is never stored: not final, partial, not modified.
        Status => "status",
        /// Nothing gives the response a lifetime (§4.2).
        NoLifetime => "no-lifetime",
        /// It arrived with its lifetime spent.
        Expired => "expired",
        /// It is in more groups than are kept track of, or in one with too long a name (RFC 9875 §2).
        Groups => "groups",
        /// An endless stream by its media type.
        Stream => "stream",
        /// Larger than the limit for a stored response.
        TooLarge => "too-large",
        /// Header fields larger than the limit for a stored response.
        HeadTooLarge => "head-too-large",
        /// The limit is nothing at all: there is no backend, or `max_body` is 0.
        NoRoom => "no-room",
        /// An error must not push out the good response that is stored (CPDoS).
        KeepsBetter => "keeps-better",
        /// A write of unknown outcome is too recent.
        WriteGrace => "write-grace",
        /// A write or invalidation overtook the fill.
        Superseded => "superseded",
        /// The body ended with an error.
        BodyFailed => "body-failed",
        /// The body's length contradicts `Content-Length`.
        Truncated => "truncated",
        /// The client left before the body's end.
        Abandoned => "abandoned",
        /// Took longer than a fill may.
        TooSlow => "too-slow",
        /// The fill it waited for took too long; it asked on its own.
        WaitedTooLong => "waited-too-long",
        /// Too many bytes are being captured at this moment.
        Budget => "budget",
        /// The backend could not be asked, or failed.
        BackendFailed => "backend-failed",
        /// The write's answer is no full representation that names itself by `Content-Location`.
        NotRepresentation => "not-representation",
    }
}

reasons! {
    /// Why a stored response was used beyond its lifetime (RFC 9111 §4.2.4).
    StaleUse {
        /// It is being fetched anew (RFC 5861 §3).
        WhileRevalidate => "stale-while-revalidate",
        /// The inner service answered 500, 502, 503 or 504 (RFC 5861 §4).
        IfError => "stale-if-error",
        /// The inner service did not answer but failed.
        IfUnreachable => "stale-if-unreachable",
        /// The request takes it (RFC 9111 §5.2.1.2).
        MaxStale => "max-stale",
    }
}

reasons! {
    /// Why a stored response was fetched anew, in the background.
    Refresh {
        /// It is stale, and may be used while that is done.
        Stale => "stale",
        /// Its lifetime is about to end.
        Early => "early",
    }
}

reasons! {
    /// How a write ended, as far as the cache can know.
    WriteOutcome {
        /// 2xx or 3xx: its resources were invalidated before the head was yielded.
        Committed => "invalidated",
        /// 4xx: nothing changed, nothing was invalidated but the groups that it named.
        Rejected => "rejected",
        /// 5xx, 408, an error or a panic: it may have committed, so it was invalidated.
        Unknown => "outcome-unknown",
        /// Its client left: it was invalidated, goes on by itself and is invalidated again when it ends.
        Dropped => "dropped",
    }
}

impl Refusal {
    /// Whether it is the answer's doing, whoever asks, rather than this request's or this moment's.
    #[must_use]
    pub(crate) fn concerns_every_request(self) -> bool {
        matches!(
            self,
            Self::NoStore
                | Self::Private
                | Self::MustUnderstand
                | Self::NoCache
                | Self::SetCookie
                | Self::Vary
                | Self::NoLifetime
                | Self::Expired
                | Self::Groups
                | Self::Stream
                | Self::TooLarge
                | Self::HeadTooLarge
                | Self::NoRoom
        )
    }
}

impl FetchReason {
    /// The `fwd` parameter's registered token (RFC 9211 §2.2).
    #[must_use]
    pub(crate) fn fwd(self) -> &'static str {
        match self {
            Self::UriMiss | Self::OtherKey => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Stale => "stale",
            Self::RequestNoCache | Self::RequestMaxAge | Self::RequestMinFresh => "request",
            Self::Partial => "partial",
            Self::BackendFailed => "miss",
        }
    }

    /// Our own name, where the registered token does not say it all.
    #[must_use]
    pub(crate) fn detail(self) -> Option<&'static str> {
        (self.fwd() != self.as_str()).then(|| self.as_str())
    }
}

impl Bypass {
    /// The `fwd` parameter's registered token (RFC 9211 §2.2).
    #[must_use]
    pub(crate) fn fwd(self) -> &'static str {
        match self {
            Self::Method => "method",
            _ => "bypass",
        }
    }

    /// Our own name, where the registered token does not say it all.
    #[must_use]
    pub(crate) fn detail(self) -> Option<&'static str> {
        (self.fwd() != self.as_str()).then(|| self.as_str())
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
