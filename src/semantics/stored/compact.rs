//! Copies header fields into one buffer.

use bytes::{Buf, BytesMut};
use http::header::AGE;
use http::{HeaderMap, HeaderValue};

/// Returns the fields with all values in one buffer of their own.
///
/// Values that arrive are slices of the connection's read buffer. Kept as they are, each stored
/// response would keep a whole read buffer alive.
pub(super) fn compact(headers: &HeaderMap) -> HeaderMap {
    let length = headers.values().map(HeaderValue::len).sum();
    let mut buffer = BytesMut::with_capacity(length);
    for value in headers.values() {
        buffer.extend_from_slice(value.as_bytes());
    }
    let mut buffer = buffer.freeze();
    let mut compact = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        if name == AGE || value.is_empty() {
            // The slots: a static value is cloned and replaced without touching a reference count.
            buffer.advance(value.len());
            compact.append(name, HeaderValue::from_static(""));
            continue;
        }
        let own = buffer.split_to(value.len());
        let mut own = HeaderValue::from_maybe_shared(own).expect("bytes of a header value");
        own.set_sensitive(value.is_sensitive());
        compact.append(name, own);
    }
    compact
}
