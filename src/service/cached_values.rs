//! Header values made from numbers (`Age`, `ttl`), which each thread remembers.

use std::cell::RefCell;

use http::HeaderValue;

/// Slots of header values that each thread remembers.
const CACHED_VALUES: usize = 64;

/// Sets a header value made from a number, from this thread's cache of such values.
///
/// Ages and lifetimes change once a second; formatting them on every hit would cost more than the
/// lookup. `kind` tells apart values that are made differently.
pub(crate) fn set_cached_value(
    slot: &mut HeaderValue,
    kind: u64,
    number: u64,
    make: impl Fn() -> HeaderValue,
) {
    type Entry = (u64, u64, HeaderValue);
    thread_local! {
        static VALUES: RefCell<[Option<Entry>; CACHED_VALUES]> =
            const { RefCell::new([const { None }; CACHED_VALUES]) };
    }
    let index = (number.wrapping_add(kind.wrapping_mul(31)) % CACHED_VALUES as u64) as usize;
    let set = VALUES.try_with(|values| match &mut values.borrow_mut()[index] {
        Some((k, n, value)) if (*k, *n) == (kind, number) => *slot = value.clone(),
        other => {
            *slot = make();
            *other = Some((kind, number, slot.clone()));
        }
    });
    if set.is_err() {
        // The thread is being torn down, and its cache is gone.
        *slot = make();
    }
}
