//! The variants stored under one key, the latest last: bounded, so that a field with a value for every client does not fill
//! the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Memory;
use super::slots::{Evicted, Held, Slot};
use crate::backend::{CacheKey, VaryRule};

/// Digests of what selected them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Variants(Arc<[u128]>);

impl Variants {
    /// The same with one that is being stored, and those that it pushes out.
    pub(super) fn with(&self, variant: u128, most: usize) -> (Self, Vec<u128>) {
        let others = self.0.iter().copied().filter(|other| *other != variant);
        let mut all: Vec<u128> = others.chain([variant]).collect();
        let too_many = all.len().saturating_sub(most.max(1));
        let pushed_out = all.drain(..too_many).collect();
        (Self(all.into()), pushed_out)
    }

    pub(super) fn all(&self) -> &[u128] {
        &self.0
    }

    pub(super) fn weight(&self) -> usize {
        size_of_val(&*self.0)
    }
}

impl Memory {
    /// The rule that selects a variant, which knows all there are: those beyond the limit go, and those of another rule, which
    /// nobody would find any more. Under the stripe's lock.
    pub(super) fn insert_rule(
        &self,
        key: &CacheKey,
        token: u64,
        rule: &Arc<VaryRule>,
        evicted: &mut Evicted,
    ) {
        let held = self
            .slots
            .peek(&key.primary())
            .map(|slot| (slot.token, slot.held));
        let (variants, gone) = match held {
            Some((under, Held::Rule(old, variants))) if under == token => {
                let most = self.most_variants.load(Ordering::Relaxed);
                if old == *rule {
                    variants.with(key.variant(), most)
                } else {
                    (
                        Variants::default().with(key.variant(), most).0,
                        variants.all().to_vec(),
                    )
                }
            }
            _ => Variants::default().with(key.variant(), 1),
        };
        let slot = Slot::rule(token, rule.clone(), variants);
        self.slots
            .insert_with_lifecycle(key.primary(), slot, evicted);
        for variant in gone {
            evicted.add(self.slots.remove(&key.primary().with_variant(variant)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_stay() {
        let mut variants = Variants::default();
        for (variant, kept, pushed_out) in [
            (1, &[1][..], &[][..]),
            (2, &[1, 2], &[]),
            (1, &[2, 1], &[]),
            (3, &[1, 3], &[2]),
            (3, &[1, 3], &[]),
        ] {
            let (with, out) = variants.with(variant, 2);
            assert_eq!((with.all(), &*out), (kept, pushed_out), "{variant}");
            variants = with;
        }
        assert_eq!(variants.with(9, 0), (Variants(Arc::from([9])), vec![1, 3]));
    }
}
