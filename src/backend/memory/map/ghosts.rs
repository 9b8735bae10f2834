//! Marks of evicted entries: an entry that comes back is known from before.

use crate::backend::memory::entry::{MAX_USES, Slot};

/// Marks per bucket: enough that all buckets remember about equally long.
const MARKS: usize = 16;

/// Marks of evicted entries, about as many as there are entries, in two bytes each.
///
/// A mark has 13 bits of the slot's digest, so one of five hundred entries is taken for one that
/// was evicted. That costs nothing but a place among the arrivals.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    /// The latest mark of a bucket comes first.
    buckets: Vec<[u16; MARKS]>,
}

/// An entry that was evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ghost {
    pub(super) uses: u8,
    pub(super) was_main: bool,
}

const WAS_MAIN: u16 = 1 << 2;
const FLAGS: u16 = 0b111;
const _: () = assert!(MAX_USES < WAS_MAIN as u8);

impl Ghosts {
    /// Makes room for as many marks as there are entries. Forgets all, should their number have
    /// changed much.
    pub(super) fn fit(&mut self, entries: usize) {
        let marks = self.buckets.len() * MARKS;
        if marks < entries / 2 || marks > 2 * entries + 4 * MARKS {
            self.buckets = vec![[0; MARKS]; entries / MARKS + 1];
        }
    }

    /// Remembers an entry in place of the one of its bucket that was evicted first.
    pub(super) fn add(&mut self, slot: Slot, ghost: Ghost) {
        let (bucket, mark) = self.place(slot);
        if let Some(marks) = self.buckets.get_mut(bucket) {
            marks.copy_within(..MARKS - 1, 1);
            let was_main = if ghost.was_main { WAS_MAIN } else { 0 };
            marks[0] = mark | was_main | u16::from(ghost.uses);
        }
    }

    /// Takes the mark of a slot out.
    pub(super) fn take(&mut self, slot: Slot) -> Option<Ghost> {
        let (bucket, mark) = self.place(slot);
        let marks = self.buckets.get_mut(bucket)?;
        let at = marks.iter().position(|other| other & !FLAGS == mark)?;
        let found = marks[at];
        marks.copy_within(at + 1.., at);
        marks[MARKS - 1] = 0;
        Some(Ghost {
            uses: (found & FLAGS & !WAS_MAIN) as u8,
            was_main: found & WAS_MAIN != 0,
        })
    }

    fn place(&self, Slot(digest): Slot) -> (usize, u16) {
        let bucket = ((digest >> 8 & 0xffff_ffff) * self.buckets.len() as u64) >> 32;
        // No mark is 0.
        let mark = ((digest >> 48) as u16 & !FLAGS).max(1 << 3);
        (bucket as usize, mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(count: u64) -> impl Iterator<Item = Slot> {
        (1..=count).map(|n| Slot(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    #[test]
    fn the_latest_evictions_are_remembered_once() {
        let mut ghosts = Ghosts::default();
        assert_eq!(ghosts.take(Slot(1)), None, "nothing fits yet");
        ghosts.fit(1600);
        for (slot, uses) in slots(16_000).zip((0..=3).cycle()) {
            ghosts.add(
                slot,
                Ghost {
                    uses,
                    was_main: uses == 1,
                },
            );
        }
        let known = |range: std::ops::Range<usize>, ghosts: &mut Ghosts| {
            let slots = slots(16_000).skip(range.start).take(range.len());
            slots.filter(|slot| ghosts.take(*slot).is_some()).count()
        };
        assert!(known(0..10_000, &mut ghosts) < 100, "the first ones");
        let latest = slots(16_000).last().expect("there are some");
        assert_eq!(
            ghosts.take(latest),
            Some(Ghost {
                uses: 3,
                was_main: false
            })
        );
        let late = known(15_000..16_000, &mut ghosts);
        assert!(late > 900, "{late} of the last 1000");
        assert!(known(15_000..16_000, &mut ghosts) < 10, "they were taken");
    }
}
