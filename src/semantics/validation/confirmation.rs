//! What a 304, or a 200 to HEAD, says about the stored response (RFC 9111 §4.3.4, §4.3.5).

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName};

use super::entity_tag::EntityTag;
use super::validators::has_validator;
use crate::semantics::fields;

/// What a 304 to the stored validators says about the stored response (RFC 9111 §4.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidationOutcome {
    /// The stored response is current; its fields are to be updated.
    Confirmed,
    /// The 304 is about another response and must not be used for the stored one.
    OtherResponse,
}

/// Compares the validators of the stored response and the 304.
///
/// Tags are compared weakly, as `If-None-Match` is (RFC 9110 §13.1.2): a server that compresses
/// weakens the tag of its 200, and not that of its 304. Without a tag, `Last-Modified` must not
/// contradict. A 304 without any validator confirms the stored response: only that one was named in
/// the conditions.
#[must_use]
pub fn validation_outcome(stored: &HeaderMap, not_modified: &HeaderMap) -> ValidationOutcome {
    let is_confirmed = match (
        EntityTag::from_headers(stored),
        EntityTag::from_headers(not_modified),
    ) {
        (Some(own), Some(new)) => own.matches_weakly(&new),
        // A tag that the stored response does not have belongs to another response, as far as one
        // can tell.
        (None, Some(new)) => new.is_weak && agree(stored, not_modified, &LAST_MODIFIED),
        (_, None) => agree(stored, not_modified, &LAST_MODIFIED),
    };
    if is_confirmed {
        ValidationOutcome::Confirmed
    } else {
        ValidationOutcome::OtherResponse
    }
}

/// Returns whether a field is equal in both messages, or absent in one.
fn agree(stored: &HeaderMap, new: &HeaderMap, name: &HeaderName) -> bool {
    new.get(name)
        .is_none_or(|value| stored.get(name).is_none_or(|own| own == value))
}

/// What a 200 to HEAD says about the response stored for GET (RFC 9111 §4.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadComparison {
    /// It describes the stored response, whose fields are to be updated.
    Matches,
    /// It describes another version: the stored response is stale.
    Differs,
    /// It has no validator, and two responses of equal length may differ in everything else; or it
    /// is in another content coding, as from a server that compresses GET alone.
    Unknown,
}

/// Compares the content coding, the validators and the `Content-Length` of the answer to HEAD with
/// the stored response.
#[must_use]
pub fn compare_with_head(head: &HeaderMap, stored: &HeaderMap) -> HeadComparison {
    let is_same = |name: &HeaderName| {
        head.get(name)
            .is_none_or(|value| stored.get(name) == Some(value))
    };
    let is_same_tag = match (
        EntityTag::from_headers(stored),
        EntityTag::from_headers(head),
    ) {
        (Some(own), Some(new)) => own.matches_weakly(&new),
        _ => is_same(&ETAG),
    };
    if !is_same_coding(head, stored) {
        HeadComparison::Unknown
    } else if !is_same_tag || ![LAST_MODIFIED, CONTENT_LENGTH].iter().all(is_same) {
        HeadComparison::Differs
    } else if has_validator(head) {
        HeadComparison::Matches
    } else {
        HeadComparison::Unknown
    }
}

/// Returns whether two messages have one content coding (RFC 9110 §8.4).
fn is_same_coding(one: &HeaderMap, other: &HeaderMap) -> bool {
    let codings = |headers| {
        fields::list(headers, &CONTENT_ENCODING)
            .filter(|coding| !coding.eq_ignore_ascii_case(b"identity"))
    };
    codings(one)
        .map(<[u8]>::to_ascii_lowercase)
        .eq(codings(other).map(<[u8]>::to_ascii_lowercase))
}
