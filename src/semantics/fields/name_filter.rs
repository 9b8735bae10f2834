//! A filter that tells nearly all field names from the few of a list, without comparing them.

use http::HeaderName;

/// One bit for the length and the last byte of each name of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameFilter(u64);

impl NameFilter {
    /// Creates the filter of these names.
    #[must_use]
    pub fn new<'n>(names: impl IntoIterator<Item = &'n HeaderName>) -> Self {
        let bits = names.into_iter().map(bit_of);
        Self(bits.fold(0, |all, bit| all | bit))
    }

    /// Returns whether a name may be one of the list.
    #[inline]
    #[must_use]
    pub fn may_contain(self, name: &HeaderName) -> bool {
        self.0 & bit_of(name) != 0
    }
}

#[inline]
fn bit_of(name: &HeaderName) -> u64 {
    let name = name.as_str().as_bytes();
    let last = name.last().copied().unwrap_or_default();
    1 << ((name.len() ^ usize::from(last)) & 63)
}
