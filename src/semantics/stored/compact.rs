//! Copies header fields into one buffer.

use bytes::BytesMut;
use http::{HeaderMap, HeaderValue};

/// Returns a copy of the fields, with all values in one buffer of their own.
///
/// Values that arrive are slices of the connection's read buffer. Kept as they are, each stored
/// response would keep a whole read buffer alive.
pub(super) fn compact_copy(headers: &HeaderMap) -> HeaderMap {
    let mut to = HeaderMap::with_capacity(headers.keys_len());
    let length = headers.values().map(HeaderValue::len).sum();
    let mut buffer = BytesMut::with_capacity(length);
    for value in headers.values() {
        buffer.extend_from_slice(value.as_bytes());
    }
    let mut buffer = buffer.freeze();
    for (name, value) in headers {
        // A static value is cloned and replaced without touching a reference count.
        let mut own = HeaderValue::from_static("");
        if !value.is_empty() {
            let bytes = buffer.split_to(value.len());
            own = HeaderValue::from_maybe_shared(bytes).expect("bytes of a header value");
            own.set_sensitive(value.is_sensitive());
        }
        to.append(name, own);
    }
    to
}
