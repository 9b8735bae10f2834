//! The memory that an allocation takes.

/// Returns the bytes that an allocation of this size takes: with its header, in steps of 16 bytes,
/// as common allocators of 64-bit machines have them.
#[must_use]
pub(crate) const fn allocated(size: usize) -> usize {
    let whole = (size + 8).next_multiple_of(16);
    if whole < 32 { 32 } else { whole }
}

/// Returns the bytes that a value takes whose references are counted (`Arc`).
#[must_use]
pub(crate) const fn allocated_counted(size: usize) -> usize {
    allocated(2 * size_of::<usize>() + size)
}
