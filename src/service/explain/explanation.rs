//! What an explanation says.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::backend::{PartialContent, Staleness};
use crate::key::Resource;
use crate::semantics::reason::{Bypass, FetchReason, Reason, Refresh, Refusal, StaleUse};
use crate::semantics::storing::LifetimeRule;

/// What a cache would do with a request, and why.
///
/// [`CacheHandle::explain`](crate::CacheHandle::explain) returns it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// How the request would be answered.
    pub verdict: Verdict,
    /// The status of the answer, if the cache gives it: that of the stored response, 304, 206 or
    /// 416 by the request's conditions and ranges, or 504, 400 and 500 of the cache's own.
    pub status: Option<StatusCode>,
    /// The ranges of a 206 that the cache gives, in bytes.
    pub ranges: Vec<Range<u64>>,
    /// The refresh in the background that the request would begin.
    pub refresh: Option<Refresh>,
    /// The key of the request; `None` if it has none.
    pub key: Option<ExplainedKey>,
    /// The lookups of the request, in their order. The last one answers a hit.
    pub lookups: Vec<ExplainedLookup>,
    /// The stored response of the lookup that decides: the one that answers, or that gives the
    /// reason why none does.
    pub stored: Option<ExplainedResponse>,
    /// The request fields by which the responses of that lookup's key are told apart, as their
    /// `Vary` says, with the values that count for this request.
    pub vary: Vec<SelectingField>,
    /// Circumstances that keep responses of this key from being stored or shared for now.
    pub notes: Vec<Note>,
}

/// One lookup of a request.
///
/// A request is looked up under its public key; then, if it has an id by
/// [`private_by`](crate::CacheLayer::private_by), in the partition of that; then stored parts (206)
/// are looked for. An id is in no explanation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExplainedLookup {
    /// Whether it is in the partition of the request's id; otherwise it is public.
    pub is_private: bool,
    /// Whether it is for stored parts; otherwise it is for a whole response.
    pub is_for_parts: bool,
    /// How the request would be answered, if there were no other lookup.
    pub verdict: Verdict,
    /// The response that is stored for the key, or for the variant that the request selects.
    pub stored: Option<ExplainedResponse>,
    /// The request fields by which the responses of the key are told apart.
    pub vary: Vec<SelectingField>,
}

/// How a cache would answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// From the store, with a fresh response.
    Hit,
    /// From the store, with a stale response.
    StaleHit(StaleUse),
    /// By the inner service.
    Fetch(FetchReason),
    /// By the response to a call that is under way, if that may be shared. Otherwise the request
    /// calls, too.
    Wait(FetchReason),
    /// With 504: the request has `only-if-cached`, and no stored response may be used.
    GatewayTimeout(FetchReason),
    /// By the inner service, without consulting the cache.
    Bypass(Bypass),
    /// From the store or by the inner service, as the content of the request says, which is not
    /// explained.
    ByContent,
    /// By the inner service; the answer decides what it invalidates.
    Write,
    /// With 400: the host of the request is invalid (RFC 9112 §3.2).
    BadRequest,
    /// With 500: the key hook panics, so that the resource of the write is unknown.
    FailedWrite,
}

impl Verdict {
    /// Returns whether the answer would come from the store.
    #[must_use]
    pub const fn is_hit(self) -> bool {
        matches!(self, Self::Hit | Self::StaleHit(_))
    }

    /// Returns the stable name of the verdict, a token without the reason.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::StaleHit(_) => "stale-hit",
            Self::Fetch(_) => "fetch",
            Self::Wait(_) => "wait",
            Self::GatewayTimeout(_) => "gateway-timeout",
            Self::Bypass(_) => "bypass",
            Self::ByContent => "by-content",
            Self::Write => "write",
            Self::BadRequest => "bad-request",
            Self::FailedWrite => "failed-write",
        }
    }

    /// Returns the name of the reason, a token as in `Cache-Status` and in the counters; `None` if
    /// the verdict has no reason of its own.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::StaleHit(reason) => Some(reason.as_str()),
            Self::Fetch(reason) | Self::Wait(reason) | Self::GatewayTimeout(reason) => {
                Some(reason.as_str())
            }
            Self::Bypass(reason) => Some(reason.as_str()),
            _ => None,
        }
    }
}

/// Writes the verdict as sentences for people. The wording may change.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (answer, reason) = match self {
            Self::Hit => ("The stored response is fresh and answers the request.", ""),
            Self::StaleHit(reason) => (
                "The stored response is stale and answers the request.",
                reason.description(),
            ),
            Self::Fetch(reason) => ("The inner service is called.", reason.description()),
            Self::Wait(reason) => (
                "The request waits for another one's call, whose response it shares if it may.",
                reason.description(),
            ),
            Self::GatewayTimeout(reason) => (
                "The request has `only-if-cached`, and no stored response may be used: 504.",
                reason.description(),
            ),
            Self::Bypass(reason) => ("The request bypasses the cache.", reason.description()),
            Self::Write => (
                "The request is a write: the inner service is called, and the resource is \
                 invalidated if the write may have changed it.",
                "",
            ),
            Self::ByContent => (
                "The request is read by its content, which is not known here.",
                "",
            ),
            Self::BadRequest => ("The host of the request is invalid: 400.", ""),
            Self::FailedWrite => ("The key hook panics, so a write is refused: 500.", ""),
        };
        f.write_str(answer)?;
        match reason {
            "" => Ok(()),
            reason => write!(f, " {reason}"),
        }
    }
}

/// Writes the verdict as sentences for people, and what the cache answers with. The wording may
/// change.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.verdict)?;
        let Some(status) = self.status.filter(|_| self.verdict.is_hit()) else {
            return Ok(());
        };
        write!(f, " The answer is {}", status.as_str())?;
        for (number, range) in self.ranges.iter().enumerate() {
            let before = if number == 0 { " with bytes" } else { " and" };
            write!(
                f,
                "{before} {}-{}",
                range.start,
                range.end.saturating_sub(1)
            )?;
        }
        f.write_str(".")
    }
}

/// The key of a request, spelled out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExplainedKey {
    /// The scheme, if the key hook added one.
    pub scheme: Option<Box<str>>,
    /// The authority; empty if the request has none.
    pub authority: Box<str>,
    /// The path, as received.
    pub path: Box<str>,
    /// The query, without its ignored parts.
    pub query: Option<Box<str>>,
    /// The resource that writes invalidate.
    pub resource: Resource,
    /// The site of the resource; empty if all hosts are one site.
    pub site: Box<str>,
    /// The path of the resource: that of the key in normal form.
    pub resource_path: Box<str>,
}

/// A stored response.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExplainedResponse {
    /// The status.
    pub status: StatusCode,
    /// The length of the stored body, in bytes.
    pub body_length: u64,
    /// The parts that are stored, and the length of the whole; `None` if the whole is stored.
    pub parts: Option<PartialContent>,
    /// The age (RFC 9111 §4.2.3).
    pub age: Duration,
    /// The freshness lifetime, counted from age zero. `None`: fresh until it is invalidated.
    pub lifetime: Option<Duration>,
    /// The rule that gave the lifetime.
    pub lifetime_rule: LifetimeRule,
    /// The windows after the lifetime in which the response may still be used.
    pub staleness: Staleness,
    /// The `ETag`.
    pub etag: Option<HeaderValue>,
    /// The number of groups that the response is in.
    pub groups: usize,
    /// Whether the request selects this response by the fields in `Vary`.
    pub is_selected: bool,
}

impl ExplainedResponse {
    /// Returns the remaining lifetime, zero for a stale response; `None` if it is fresh until it is
    /// invalidated.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        Some(self.lifetime?.saturating_sub(self.age))
    }
}

/// A request field that `Vary` names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SelectingField {
    /// The name.
    pub name: HeaderName,
    /// The value of the request in normal form; `None` if it has no such field.
    pub value: Option<Box<str>>,
}

/// A circumstance that an explanation mentions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Note {
    /// The response to a request like this one could not be stored a moment ago, for this reason.
    /// Such requests do not wait for each other.
    RefusedLately(Refusal),
    /// The response to a request with other fields could not be stored a moment ago, for this
    /// reason. It is not held against this one.
    OthersRefused(Refusal),
    /// A write to the resource had an unknown outcome a moment ago: nothing is stored of it for
    /// now.
    WriteGrace,
    /// Parts of the response are stored (206), which may answer requests for ranges.
    PartsStored,
    /// Calls to the inner service for this key have failed a moment ago. Requests with the fields
    /// of one that failed are answered without a call, if a stale response may be used. Others call
    /// all the same, and turn to it if that fails.
    OriginFailing,
}

impl Note {
    /// Returns the stable name, a token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RefusedLately(_) => "refused-lately",
            Self::OthersRefused(_) => "others-refused",
            Self::WriteGrace => "write-grace",
            Self::PartsStored => "parts-stored",
            Self::OriginFailing => "origin-failing",
        }
    }

    /// Returns the name of the reason, a token as in `Cache-Status` and in the counters; `None` if
    /// the note has none.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::RefusedLately(refusal) | Self::OthersRefused(refusal) => Some(refusal.as_str()),
            _ => None,
        }
    }
}

/// Writes the note as sentences for people. The wording may change.
impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RefusedLately(refusal) => {
                let text = "The response to a request like this one was not stored a moment ago.";
                return write!(f, "{text} {}", refusal.description());
            }
            Self::OthersRefused(refusal) => {
                let text =
                    "The response to a request with other fields was not stored a moment ago.";
                return write!(f, "{text} {}", refusal.description());
            }
            Self::WriteGrace => {
                "A write to the resource had an unknown outcome a moment ago: nothing is stored of \
                 it for now."
            }
            Self::PartsStored => "Parts of the response are stored, for requests with a range.",
            Self::OriginFailing => {
                "Calls to the inner service for this key have failed a moment ago. Requests with \
                 the fields of one that failed get a stale response without a call, if there is \
                 one; others get it if their call fails, too."
            }
        })
    }
}
