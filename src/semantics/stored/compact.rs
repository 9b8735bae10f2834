//! Copies header fields into one buffer.

use bytes::BytesMut;
use http::header::AGE;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Returns the fields that `keeps` accepts, with all values in one buffer of their own, and room
/// for `more` fields.
///
/// Values that arrive are slices of the connection's read buffer. Kept as they are, each stored
/// response would keep a whole read buffer alive. The value of `Age` is left out: its field is a
/// slot.
pub(super) fn compact(
    headers: &HeaderMap,
    more: usize,
    keeps: impl Fn(&HeaderName) -> bool,
) -> HeaderMap {
    let is_copied = |name: &HeaderName, value: &HeaderValue| !value.is_empty() && name != AGE;
    let kept = || headers.iter().filter(|(name, _)| keeps(name));
    let copied = || kept().filter(|(name, value)| is_copied(name, value));
    let length = copied().map(|(_, value)| value.len()).sum();
    let mut buffer = BytesMut::with_capacity(length);
    for (_, value) in copied() {
        buffer.extend_from_slice(value.as_bytes());
    }
    let mut buffer = buffer.freeze();
    let mut compact = HeaderMap::with_capacity(headers.keys_len() + more);
    for (name, value) in kept() {
        // A static value is cloned and replaced without touching a reference count.
        let mut own = HeaderValue::from_static("");
        if is_copied(name, value) {
            let bytes = buffer.split_to(value.len());
            own = HeaderValue::from_maybe_shared(bytes).expect("bytes of a header value");
            own.set_sensitive(value.is_sensitive());
        }
        compact.append(name, own);
    }
    compact
}
