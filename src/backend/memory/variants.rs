//! The variants stored under one key, and their limit.

use std::sync::Arc;

/// The variants stored under one key, the latest last.
///
/// Their number is limited, so that a request field with a different value for every client does
/// not fill the store. Each is listed by the digest of the values that select it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredVariants(Arc<[u128]>);

impl StoredVariants {
    pub(super) fn new(variant: u128) -> Self {
        Self([variant].into())
    }

    /// Lists a variant as the latest one. Also returns the oldest ones beyond the limit, which are
    /// to be removed.
    pub(super) fn with(&self, variant: u128, limit: usize) -> (Self, Vec<u128>) {
        let others = self.0.iter().copied().filter(|other| *other != variant);
        let mut all: Vec<u128> = others.chain([variant]).collect();
        let too_many = all.len().saturating_sub(limit);
        let removed = all.drain(..too_many).collect();
        (Self(all.into()), removed)
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
            let (with, out) = variants.with(variant, 2);
            assert_eq!((with.all(), &*out), (kept, removed), "{variant}");
            variants = with;
        }
        assert_eq!(variants.with(9, 1), (StoredVariants::new(9), vec![1, 3]));
    }
}
