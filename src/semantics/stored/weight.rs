//! The memory that header maps take.

use http::HeaderMap;

/// Bytes that a header map takes for an entry, on a 64-bit machine.
pub(super) const MAP_ENTRY: usize = 104;
/// Bytes that a header map takes for each further value of a field.
pub(super) const MAP_EXTRA_VALUE: usize = 72;
/// Bytes that an allocation costs beyond its size: the allocator's header and a reference count.
pub(super) const SHARED_BUFFER: usize = 48;
/// Bytes that counting the readers of a body takes: two allocations with their headers.
pub(super) const OBSERVER: usize = 144;

/// Returns the bytes that a header map takes.
pub(super) fn map_weight(headers: &HeaderMap) -> usize {
    let slots = headers.capacity();
    let extra = headers.len() - headers.keys_len();
    let text: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    slots * (MAP_ENTRY + 6) + extra * MAP_EXTRA_VALUE + text
}
