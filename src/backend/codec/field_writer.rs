//! Writes what few stored responses have, each field with its length.

use bytes::BufMut;
use http::{HeaderMap, HeaderName};

use crate::semantics::groups::Group;
use crate::semantics::ranges::PartialContent;
use crate::semantics::stored::Extras;
use crate::semantics::vary::VarySelection;

/// Writes what few stored responses have.
///
/// `beside_vary` are the selecting fields that the response does not name. They stand at the end,
/// and nothing stands there without any.
pub(super) fn put_extras(to: &mut Vec<u8>, extras: &Extras, beside_vary: &[HeaderName]) {
    let selected = extras.selected.as_ref();
    put_bytes(to, selected.map_or(&[], VarySelection::values));
    put_groups(to, &extras.groups);
    put_parts(to, extras.parts.as_deref());
    to.put_u8(u8::from(extras.trailers.is_some()));
    if let Some(trailers) = &extras.trailers {
        put_headers(to, trailers);
    }
    if !beside_vary.is_empty() {
        put_names(to, beside_vary);
    }
}

/// Writes the number of names, and the names.
pub(super) fn put_names(to: &mut Vec<u8>, names: &[HeaderName]) {
    to.put_u32_le(names.len() as u32);
    for name in names {
        put_bytes(to, name.as_str().as_bytes());
    }
}

pub(super) fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    to.put_u32_le(bytes.len() as u32);
    to.put_slice(bytes);
}

fn put_headers(to: &mut Vec<u8>, headers: &HeaderMap) {
    to.put_u32_le(headers.len() as u32);
    for (name, value) in headers {
        put_bytes(to, name.as_str().as_bytes());
        put_bytes(to, value.as_bytes());
        to.put_u8(u8::from(value.is_sensitive()));
    }
}

fn put_groups(to: &mut Vec<u8>, groups: &[Group]) {
    to.put_u32_le(groups.len() as u32);
    for group in groups {
        to.put_u128_le(group.digest());
    }
}

/// Writes the number of spans, which is 0 for a complete response, and the spans.
fn put_parts(to: &mut Vec<u8>, parts: Option<&PartialContent>) {
    let Some(parts) = parts else {
        return to.put_u32_le(0);
    };
    to.put_u32_le(parts.spans().len() as u32);
    to.put_u64_le(parts.complete_length());
    for span in parts.spans() {
        to.put_u64_le(span.start);
        to.put_u64_le(span.end);
    }
}
