//! Header values that are remembered, because they are made again and again.

use std::cell::RefCell;

use http::HeaderValue;

/// Header values, each with the input that it is made from, in `N` slots. For one thread.
#[derive(Debug)]
pub(crate) struct ValueSlots<K, const N: usize>(RefCell<[Option<(K, HeaderValue)>; N]>);

impl<K: PartialEq, const N: usize> ValueSlots<K, N> {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new([const { None }; N]))
    }

    /// Returns the value that is made from an input; makes it if another one is in its slot.
    #[inline]
    pub(crate) fn value(
        &self,
        index: usize,
        input: K,
        make: impl Fn() -> HeaderValue,
    ) -> HeaderValue {
        match &mut self.0.borrow_mut()[index % N] {
            Some((known, value)) if *known == input => value.clone(),
            other => {
                let value = make();
                *other = Some((input, value.clone()));
                value
            }
        }
    }
}
