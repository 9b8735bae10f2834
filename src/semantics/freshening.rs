//! Updating the fields of a stored response (RFC 9111 §3.2).

use http::header::{
    AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, TRAILER,
};
use http::{HeaderMap, HeaderName};

use super::hop_by_hop;
use super::stored::{CACHE_STATUS, StoredResponse};

/// Of the content that is stored, not of the message that was received: an update never changes them (§3.2). A 304 that
/// names them is about a content that it does not carry.
const OF_THE_CONTENT: [HeaderName; 5] = [
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    TRAILER,
];

/// The stored response's fields, updated by those of a 304 to its validators, or of a 200 to HEAD that describes it.
///
/// Each field that the new message has replaces all lines of the stored one. `Date` and `Age` are the new message's alone:
/// they tell when it was made, and the stored ones say when the old one was.
#[must_use]
pub fn freshened(stored: &StoredResponse, new: &HeaderMap) -> HeaderMap {
    let mut headers = stored.headers().clone();
    headers.remove(AGE);
    headers.remove(DATE);
    if !stored.has_upstream_status() {
        headers.remove(CACHE_STATUS);
    }
    let mut new = new.clone();
    hop_by_hop::remove(&mut new);
    for name in new.keys().filter(|name| !OF_THE_CONTENT.contains(name)) {
        headers.remove(name);
        for value in new.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    headers
}
