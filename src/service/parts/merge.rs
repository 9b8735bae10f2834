//! Merges the bytes of a part with stored ones.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use http::{StatusCode, response};

use crate::service::fill_data::MergePlan;

/// The head of the whole representation that a part belongs to.
pub(crate) fn whole_head(part: &response::Parts) -> response::Parts {
    let mut whole = part.clone();
    whole.status = StatusCode::OK;
    whole.headers.remove(CONTENT_RANGE);
    whole.headers.remove(CONTENT_LENGTH);
    whole
}

impl MergePlan {
    /// The length of the new part, in bytes.
    pub(crate) fn new_length(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// The length of the stored parts, in bytes.
    pub(crate) fn stored_length(&self) -> u64 {
        let stored = self.stored.as_ref();
        stored.map_or(0, |stored| stored.body().len() as u64)
    }

    /// The new and the stored bytes, in their order.
    pub(crate) fn merge(&self, new: Bytes) -> Bytes {
        let stored = self.stored.as_ref();
        let merged =
            stored.and_then(|stored| Some(stored.parts()?.join(stored.body(), &self.range, &new)));
        merged.unwrap_or(new)
    }
}
