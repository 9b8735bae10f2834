//! Copies header fields into one buffer.

use bytes::BytesMut;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Appends copies of the fields that `keeps` accepts, with all values in one buffer of their own.
///
/// Values that arrive are slices of the connection's read buffer. Kept as they are, each stored
/// response would keep a whole read buffer alive.
pub(super) fn append_compact(
    to: &mut HeaderMap,
    headers: &HeaderMap,
    keeps: impl Fn(&HeaderName) -> bool,
) {
    let kept = || headers.iter().filter(|(name, _)| keeps(name));
    let length = kept().map(|(_, value)| value.len()).sum();
    let mut buffer = BytesMut::with_capacity(length);
    for (_, value) in kept() {
        buffer.extend_from_slice(value.as_bytes());
    }
    let mut buffer = buffer.freeze();
    for (name, value) in kept() {
        // A static value is cloned and replaced without touching a reference count.
        let mut own = HeaderValue::from_static("");
        if !value.is_empty() {
            let bytes = buffer.split_to(value.len());
            own = HeaderValue::from_maybe_shared(bytes).expect("bytes of a header value");
            own.set_sensitive(value.is_sensitive());
        }
        to.append(name, own);
    }
}
