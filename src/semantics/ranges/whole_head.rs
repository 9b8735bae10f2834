//! The head of the whole representation that a part (206) belongs to.

use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{StatusCode, response};

/// The head of the whole representation that a part belongs to.
#[must_use]
pub fn whole_head(part: &response::Parts) -> response::Parts {
    let mut whole = part.clone();
    whole.status = StatusCode::OK;
    whole.headers.remove(CONTENT_RANGE);
    whole.headers.remove(CONTENT_LENGTH);
    whole
}
