//! The memory that stored responses take.

use http::HeaderMap;

/// Bytes that a header map takes for an entry, on a 64-bit machine.
pub(super) const MAP_ENTRY: usize = 104;
/// Bytes that a header map takes for each further value of a field.
pub(super) const MAP_EXTRA_VALUE: usize = 72;
/// Bytes that a name takes beyond its text, which has no constant.
const MAP_NAME: usize = 64;
/// Bytes that the reference count of a shared buffer takes.
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
    let own = headers.keys_len() * MAP_NAME + 2 * SHARED_BUFFER;
    slots * (MAP_ENTRY + 6) + extra * MAP_EXTRA_VALUE + own + text
}
