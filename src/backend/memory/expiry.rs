//! Which stored responses expire next.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::backend::CacheKey;

/// How many expired responses one put reclaims at most: more than it adds, so that they cannot pile up.
const AT_ONCE: usize = 4;

/// Keys by the moment their response expires.
///
/// What was evicted, replaced or invalidated stays listed until then, or until the dead outnumber the living.
#[derive(Debug, Default)]
pub(super) struct Expiry {
    queue: BinaryHeap<Reverse<(Duration, CacheKey)>>,
    /// The length at which the dead are swept out next.
    sweep_at: usize,
}

impl Expiry {
    /// Lists a key; `lives` tells whether a key still holds a response that expires then.
    pub(super) fn add(
        &mut self,
        at: Duration,
        key: CacheKey,
        lives: impl Fn(Duration, &CacheKey) -> bool,
    ) {
        self.queue.push(Reverse((at, key)));
        if self.queue.len() > self.sweep_at {
            let mut all = std::mem::take(&mut self.queue).into_vec();
            all.sort_unstable();
            all.dedup();
            all.retain(|Reverse((at, key))| lives(*at, key));
            // Halving at least before the next sweep keeps its cost constant per key added.
            self.sweep_at = (all.len() * 2).max(64);
            all.shrink_to(self.sweep_at);
            self.queue = all.into();
        }
    }

    /// Takes out some of what has expired by `now`.
    pub(super) fn due(&mut self, now: Duration) -> [Option<CacheKey>; AT_ONCE] {
        let mut due = [None; AT_ONCE];
        for place in &mut due {
            match self.queue.peek() {
                Some(Reverse((at, _))) if *at <= now => {
                    *place = self.queue.pop().map(|Reverse((_, key))| key);
                }
                _ => break,
            }
        }
        due
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
