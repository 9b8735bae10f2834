//! The head of the whole representation that a part (206) belongs to.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{StatusCode, response};

use crate::semantics::fields::digest;

/// Returns the head of the whole representation that a part belongs to: without the fields of the
/// part's own content.
#[must_use]
pub fn whole_head(part: &response::Parts) -> response::Parts {
    let mut whole = part.clone();
    whole.status = StatusCode::OK;
    whole.headers.remove(CONTENT_RANGE);
    whole.headers.remove(CONTENT_LENGTH);
    digest::remove_from_content(&mut whole.headers);
    whole
}
