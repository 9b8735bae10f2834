//! The variants stored under one key, and their limit.

use std::collections::VecDeque;
use std::sync::Arc;

/// The most chances of one variant at a time: uses that come meanwhile do not keep this going.
const MAX_CHANCES: usize = 3;

/// The variants stored under one key, the next one to leave first.
///
/// Their number is limited, so that a request field with a different value for every client does
/// not fill the store. Each is listed by the digest of the values that select it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredVariants(Arc<[u128]>);

impl StoredVariants {
    pub(super) fn new(variant: u128) -> Self {
        Self([variant].into())
    }

    /// Lists a variant as the latest one. Also returns those beyond the limit, which are to be
    /// removed.
    ///
    /// One that was used stays: `take_use` takes a use from a variant, if it has one. Those of
    /// which `is_stored` says no take no place from others.
    pub(super) fn with(
        &self,
        variant: u128,
        limit: usize,
        is_stored: impl Fn(u128) -> bool,
        take_use: impl Fn(u128) -> bool,
    ) -> (Self, Vec<u128>) {
        let others = self.0.iter().copied().filter(|other| *other != variant);
        let mut all: VecDeque<u128> = others.collect();
        if all.len() >= limit {
            all.retain(|other| is_stored(*other));
        }
        let mut removed = Vec::new();
        let mut chances = all.len() * MAX_CHANCES;
        while all.len() >= limit.max(1)
            && let Some(first) = all.pop_front()
        {
            match chances > 0 && take_use(first) {
                true => all.push_back(first),
                false => removed.push(first),
            }
            chances = chances.saturating_sub(1);
        }
        all.push_back(variant);
        (Self(Vec::from(all).into()), removed)
    }

    pub(super) fn all(&self) -> &[u128] {
        &self.0
    }

    pub(super) fn weight(&self) -> usize {
        size_of_val(&*self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn the_latest_variants_stay() {
        let mut variants = StoredVariants(Arc::default());
        for (variant, kept, removed) in [
            (1, &[1][..], &[][..]),
            (2, &[1, 2], &[]),
            (1, &[2, 1], &[]),
            (3, &[1, 3], &[2]),
            (3, &[1, 3], &[]),
        ] {
            let (with, out) = variants.with(variant, 2, |_| true, |_| false);
            assert_eq!((with.all(), &*out), (kept, removed), "{variant}");
            variants = with;
        }
        let (last, removed) = variants.with(9, 1, |_| true, |_| false);
        assert_eq!((last.all(), &*removed), (&[9][..], &[1, 3][..]));
    }

    #[test]
    fn variants_that_were_removed_otherwise_take_no_place() {
        let variants = StoredVariants([1, 2, 3].into());
        let (variants, removed) = variants.with(4, 3, |other| other != 2, |_| false);
        assert_eq!((variants.all(), &*removed), (&[1, 3, 4][..], &[][..]));
    }

    #[test]
    fn variants_that_are_used_stay() {
        let uses = RefCell::new([0_u8, 2, 0, 1, 0]);
        let take_use = |variant: u128| {
            let left = &mut uses.borrow_mut()[variant as usize];
            let has_one = *left > 0;
            *left -= u8::from(has_one);
            has_one
        };
        let variants = StoredVariants([1, 2, 3].into());
        let (variants, removed) = variants.with(4, 3, |_| true, take_use);
        assert_eq!((variants.all(), &*removed), (&[3, 1, 4][..], &[2][..]));
        let (variants, removed) = variants.with(2, 3, |_| true, take_use);
        assert_eq!((variants.all(), &*removed), (&[3, 1, 2][..], &[4][..]));
        assert_eq!(*uses.borrow(), [0; 5]);
        // Those whose uses never end stay no longer than others.
        let (variants, removed) = variants.with(4, 3, |_| true, |_| true);
        assert_eq!((variants.all().len(), removed.len()), (3, 1));
    }
}
