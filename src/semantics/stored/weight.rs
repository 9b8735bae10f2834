//! Bytes of memory that header maps take.

use http::HeaderMap;

/// What `http`'s map spends on an entry and on a further value of one field, on a 64-bit machine.
pub(super) const MAP_ENTRY: usize = 104;
pub(super) const MAP_EXTRA_VALUE: usize = 72;
/// What one allocation costs beyond its size: the allocator's header and a shared buffer's reference count.
pub(super) const SHARED_BUFFER: usize = 48;

pub(super) fn map_weight(headers: &HeaderMap) -> usize {
    let slots = headers.capacity();
    let extra = headers.len() - headers.keys_len();
    let text: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    slots * (MAP_ENTRY + 6) + extra * MAP_EXTRA_VALUE + text
}
