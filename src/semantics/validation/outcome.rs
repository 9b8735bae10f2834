//! What a 304, or a 200 to HEAD, says of the stored response (RFC 9111 §4.3.4, §4.3.5).

use http::header::{CONTENT_LENGTH, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName};

use super::entity_tag::EntityTag;
use super::validators::has_validator;

/// What a 304 to a stored response's validators says of it (RFC 9111 §4.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidationOutcome {
    /// It is still right; its fields are to be updated.
    Confirmed,
    /// The 304 is about another response: it says nothing of the stored one, and must not be used for it.
    OtherResponse,
}

/// Decides by the validators of both.
///
/// A strong tag must be the same, strongly compared; a weak one must match; without a tag `Last-Modified` must not
/// contradict. A 304 without any validator is taken for the answer to the conditions it was asked by: only one stored
/// response was named in them.
#[must_use]
pub fn validation_outcome(stored: &HeaderMap, not_modified: &HeaderMap) -> ValidationOutcome {
    let is_this = match (
        EntityTag::from_headers(stored),
        EntityTag::from_headers(not_modified),
    ) {
        (Some(own), Some(new)) if !new.is_weak => own.matches_strongly(&new),
        (Some(own), Some(new)) => own.matches_weakly(&new),
        // A tag that was not there before: of something else, as far as anybody can know.
        (None, Some(new)) => new.is_weak && agree(stored, not_modified, &LAST_MODIFIED),
        (_, None) => agree(stored, not_modified, &LAST_MODIFIED),
    };
    if is_this {
        ValidationOutcome::Confirmed
    } else {
        ValidationOutcome::OtherResponse
    }
}

/// Whether a field of the new message is the stored one's, where it has it.
fn agree(stored: &HeaderMap, new: &HeaderMap, name: &HeaderName) -> bool {
    new.get(name)
        .is_none_or(|value| stored.get(name).is_none_or(|own| own == value))
}

/// What a 200 to HEAD says of the response that is stored for GET (RFC 9111 §4.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadComparison {
    /// It is the same: its fields are to be updated.
    Matches,
    /// It is another one: what is stored is out of date.
    Differs,
    /// Nothing: without a validator nobody can know. Two responses of the same length may differ in all else.
    Unknown,
}

/// Decides by the validators that the answer to HEAD has, and its `Content-Length`.
#[must_use]
pub fn compare_with_head(head: &HeaderMap, stored: &HeaderMap) -> HeadComparison {
    let is_same = |name: &HeaderName| {
        head.get(name)
            .is_none_or(|value| stored.get(name) == Some(value))
    };
    if ![ETAG, LAST_MODIFIED, CONTENT_LENGTH].iter().all(is_same) {
        HeadComparison::Differs
    } else if has_validator(head) {
        HeadComparison::Matches
    } else {
        HeadComparison::Unknown
    }
}
