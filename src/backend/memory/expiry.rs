//! The order in which stored responses expire.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::key::CacheKey;

/// The most expired keys that one put takes out: more than the one it adds, so that they cannot
/// pile up.
const MAX_PER_PUT: usize = 4;

/// Keys, ordered by the moment their response expires.
///
/// A key that was evicted, replaced or invalidated stays listed until that moment, or until a
/// sweep: these happen when the queue has doubled since the last one.
#[derive(Debug, Default)]
pub(super) struct ExpiryQueue {
    queue: BinaryHeap<Reverse<(Duration, CacheKey)>>,
    /// The length that triggers the next sweep.
    sweep_at: usize,
}

impl ExpiryQueue {
    /// Lists a key. `is_current` tells whether a key still holds a response that expires then.
    pub(super) fn add(
        &mut self,
        at: Duration,
        key: CacheKey,
        is_current: impl Fn(Duration, &CacheKey) -> bool,
    ) {
        self.queue.push(Reverse((at, key)));
        if self.queue.len() > self.sweep_at {
            let mut all = std::mem::take(&mut self.queue).into_vec();
            all.sort_unstable();
            all.dedup();
            all.retain(|Reverse((at, key))| is_current(*at, key));
            // The queue at least doubles before the next sweep, so the cost per added key is
            // constant.
            self.sweep_at = (all.len() * 2).max(64);
            all.shrink_to(self.sweep_at);
            self.queue = all.into();
        }
    }

    /// Takes out some of the keys that have expired by `now`.
    pub(super) fn take_expired(&mut self, now: Duration) -> [Option<CacheKey>; MAX_PER_PUT] {
        let mut expired = [None; MAX_PER_PUT];
        for slot in &mut expired {
            match self.queue.peek() {
                Some(Reverse((at, _))) if *at <= now => {
                    *slot = self.queue.pop().map(|Reverse((_, key))| key);
                }
                _ => break,
            }
        }
        expired
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
