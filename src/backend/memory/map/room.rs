//! Which entries go when room is needed.
//!
//! ```text
//! new -> arrivals (queue, 1/64 of the bytes) -- used more than those at the hand -> main (clock)
//!            `-------------------> evicted, remembered as a ghost <---------------------'
//! ```
//!
//! An entry that is stored joins the *arrivals*. At the end of that queue, an entry that was used
//! meanwhile, or is known from before, competes for the bytes it needs with the entries at the hand
//! of a clock, which goes through all *main* entries: those with fewer uses are evicted. An arrival
//! that was not used is evicted at once: entries that are asked for once displace no others. `pace`
//! decides how fast the hand goes and uses are forgotten.
//!
//! This is S3-FIFO with two changes that measurements asked for (`benches/hit_ratio`): arrivals
//! compete instead of moving on, and the hand's speed adapts.

use std::collections::{HashSet, VecDeque};

use super::ghosts::{Ghost, Ghosts};
use super::pace::Pace;
use super::shard::{Shard, Shards};
use crate::backend::memory::entry::{EntryContent, MAX_USES, MemoryEntry, Slot};
use crate::backend::memory::evicted::{Cause, EvictedEntries};

/// The part of the capacity that arrivals take.
const ARRIVALS: u64 = 64;
/// The main entries at the hand that an arrival competes with.
const COMPETITORS: usize = 8;
/// The places that one put looks at for expired entries: more than the one it may take, so that
/// they cannot pile up.
const SWEPT_PER_PUT: usize = 8;

/// The totals of all shards, and the order in which entries leave. Its lock is held by every change
/// of the number or the weight of entries.
#[derive(Debug)]
pub(super) struct Room {
    capacity: u64,
    weight: u64,
    entries: usize,
    arriving_weight: u64,
    arriving: usize,
    /// The slots of the arrivals, the next one to leave first. Those of removed entries stay for a
    /// while.
    arrivals: VecDeque<Slot>,
    hand: Position,
    sweep: Position,
    ghosts: Ghosts,
    pace: Pace,
}

/// A place in a shard; the shard may have become smaller since.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    shard: usize,
    place: usize,
}

impl Position {
    fn enter_next_shard(&mut self, shards: &Shards) {
        self.shard = (self.shard + 1) % shards.count();
        self.place = 0;
    }
}

/// Counting.
impl Room {
    pub(super) fn new(capacity: u64) -> Self {
        Self {
            capacity,
            weight: 0,
            entries: 0,
            arriving_weight: 0,
            arriving: 0,
            arrivals: VecDeque::new(),
            hand: Position::default(),
            sweep: Position::default(),
            ghosts: Ghosts::default(),
            pace: Pace::default(),
        }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Counts a new entry among the arrivals.
    pub(super) fn add_arrival(&mut self, entry: &MemoryEntry) {
        if let Some(ghost) = self.ghosts.take(entry.slot) {
            self.pace.note_return(ghost.was_main);
            entry.set_uses((ghost.uses + 1).min(MAX_USES));
        }
        self.entries += 1;
        self.arriving += 1;
        self.count_weight(entry.is_main(), 0, entry.weight());
        self.arrivals.push_back(entry.slot);
    }

    /// Counts a change of an entry's weight.
    pub(super) fn count_weight(&mut self, is_main: bool, before: u64, after: u64) {
        self.weight = self.weight - before + after;
        if !is_main {
            self.arriving_weight = self.arriving_weight - before + after;
        }
    }

    /// Counts an entry that was removed from its shard.
    pub(super) fn count_removed(&mut self, entry: &MemoryEntry) {
        self.entries -= 1;
        self.arriving -= usize::from(!entry.is_main());
        self.count_weight(entry.is_main(), entry.weight(), 0);
    }

    /// Removes the content of an entry that is in the shard. If others depend on the entry's token,
    /// the entry stays.
    pub(super) fn take_content(&mut self, shard: &mut Shard, slot: Slot) -> Option<EntryContent> {
        let entry = shard.get_mut(slot)?;
        if entry.has_others() {
            let before = entry.weight();
            let content = entry.set_content(EntryContent::Free);
            self.count_weight(entry.is_main(), before, entry.weight());
            return Some(content);
        }
        let removed = shard.remove(slot)?;
        self.count_removed(&removed);
        Some(removed.content)
    }

    /// Drops the slots of removed entries from the queue if they are too many.
    pub(super) fn tidy_arrivals(&mut self, shards: &Shards) {
        if self.arrivals.len() > 2 * self.arriving + 64 {
            let mut listed = HashSet::new();
            self.arrivals
                .retain(|slot| listed.insert(*slot) && find_arrival(shards, *slot).is_some());
            self.arrivals.shrink_to(2 * self.arriving + 64);
        }
    }
}

/// Making room.
impl Room {
    /// Removes some of the entries that have expired by `now`.
    pub(super) fn sweep(&mut self, shards: &Shards, now: u32, evicted: &mut EvictedEntries) {
        let Position { shard, place } = self.sweep;
        let mut expired = [None; SWEPT_PER_PUT];
        {
            let shard = shards.read_by_number(shard);
            let swept = shard.entries_from(place);
            let swept = swept.take_while(|(at, _)| *at < place + SWEPT_PER_PUT);
            let swept = swept.filter(|(_, entry)| entry.is_expired(now));
            for (to, (_, entry)) in expired.iter_mut().zip(swept) {
                *to = Some(entry.slot);
            }
            self.sweep.place += SWEPT_PER_PUT;
            if self.sweep.place >= shard.places() {
                self.sweep.enter_next_shard(shards);
            }
        }
        for slot in expired.into_iter().flatten() {
            let mut shard = shards.write(slot);
            let is_expired = |entry: &MemoryEntry| entry.is_expired(now);
            if shard.get(slot).is_some_and(is_expired) {
                let content = self.take_content(&mut shard, slot);
                evicted.add(Cause::Expired, content);
            }
        }
    }

    /// Evicts until the capacity is kept. The entry of the slot `kept` stays.
    pub(super) fn make(&mut self, shards: &Shards, kept: Slot, evicted: &mut EvictedEntries) {
        self.settle_arrivals(shards);
        while self.weight > self.capacity {
            if !self.evict_one(shards, kept, evicted) {
                break;
            }
        }
    }

    /// Moves arrivals on for as long as there is room for them.
    fn settle_arrivals(&mut self, shards: &Shards) {
        let for_main = self.capacity - self.capacity / ARRIVALS;
        while self.has_many_arrivals() {
            let Some(slot) = self.arrivals.front().copied() else {
                return;
            };
            let mut shard = shards.write(slot);
            let arrival = shard.get_mut(slot).filter(|entry| !entry.is_main());
            if let Some(entry) = arrival {
                if self.weight - self.arriving_weight + entry.weight() > for_main {
                    return;
                }
                self.make_main(entry);
            }
            self.arrivals.pop_front();
        }
    }

    fn has_many_arrivals(&self) -> bool {
        self.arriving_weight > self.capacity / ARRIVALS
    }

    fn make_main(&mut self, entry: &mut MemoryEntry) {
        entry.set_main();
        self.arriving_weight -= entry.weight();
        self.arriving -= 1;
    }

    /// Evicts one entry, or as many small ones as a large arrival displaces. Returns whether there
    /// was one.
    fn evict_one(&mut self, shards: &Shards, kept: Slot, evicted: &mut EvictedEntries) -> bool {
        if self.has_many_arrivals()
            && let Some(arrival) = self.next_arrival(shards, kept)
        {
            self.move_hand(shards, u32::from(arrival.uses > 0));
            if !self.has_displaced_others(shards, arrival, kept, evicted) {
                self.evict(shards, arrival.slot, evicted);
            }
            return true;
        }
        self.move_hand(shards, 1);
        let other = match self.competitor(shards, kept) {
            Some((slot, _)) => Some(slot),
            None => self.next_arrival(shards, kept).map(|arrival| arrival.slot),
        };
        if let Some(slot) = other {
            self.evict(shards, slot, evicted);
        }
        other.is_some()
    }

    /// Lets an arrival compete for the bytes that it needs. Main entries that were used less than
    /// it make room; with enough of them it becomes a main entry.
    fn has_displaced_others(
        &mut self,
        shards: &Shards,
        arrival: Arrival,
        kept: Slot,
        evicted: &mut EvictedEntries,
    ) -> bool {
        let mut freed = 0;
        while freed < arrival.weight && self.weight > self.capacity {
            let competitor = match arrival.uses {
                0 => None,
                _ => self.competitor(shards, kept),
            };
            match competitor {
                Some((slot, uses)) if uses < arrival.uses => {
                    freed += self.evict(shards, slot, evicted);
                }
                _ => return false,
            }
        }
        if let Some(entry) = shards.write(arrival.slot).get_mut(arrival.slot) {
            self.make_main(entry);
        }
        true
    }

    /// Evicts an entry; returns how many bytes that frees.
    fn evict(&mut self, shards: &Shards, slot: Slot, evicted: &mut EvictedEntries) -> u64 {
        let Some(entry) = shards.write(slot).remove(slot) else {
            return 0;
        };
        let weight = entry.weight();
        self.count_removed(&entry);
        let ghost = Ghost {
            uses: entry.uses(),
            was_main: entry.is_main(),
        };
        self.ghosts.fit(self.entries);
        self.ghosts.add(slot, ghost);
        self.pace.note_eviction(entry.is_main(), self.entries);
        evicted.add(Cause::Size, Some(entry.content));
        weight
    }

    /// Takes the next arrival out of the queue.
    fn next_arrival(&mut self, shards: &Shards, kept: Slot) -> Option<Arrival> {
        for _ in 0..self.arrivals.len() {
            let slot = self.arrivals.pop_front()?;
            if slot == kept {
                self.arrivals.push_back(slot);
            } else if let Some(arrival) = find_arrival(shards, slot) {
                return Some(arrival);
            }
        }
        None
    }

    /// Moves the hand as far as it is due. Uses of the entries that it passes count half from then
    /// on. It does not pass an entry that has none: that one leaves next.
    fn move_hand(&mut self, shards: &Shards, at_least: u32) {
        for _ in 0..self.pace.take_moves(at_least) {
            let Some(shard) = self.find_main(shards, None) else {
                return;
            };
            let at_hand = shard.entries_from(self.hand.place).next();
            let Some((_, entry)) = at_hand.filter(|(_, entry)| entry.uses() > 0) else {
                return;
            };
            entry.set_uses(entry.uses() / 2);
            self.hand.place += 1;
        }
    }

    /// The main entry with the fewest uses among some from the hand on.
    fn competitor(&mut self, shards: &Shards, kept: Slot) -> Option<(Slot, u8)> {
        let shard = self.find_main(shards, Some(kept))?;
        let entries = shard.entries_from(self.hand.place).map(|(_, entry)| entry);
        let others = entries.filter(|entry| entry.is_main() && entry.slot != kept);
        let least = others.take(COMPETITORS).min_by_key(|entry| entry.uses());
        least.map(|entry| (entry.slot, entry.uses()))
    }

    /// Moves the hand to the next main entry, unless it is at one.
    fn find_main<'s>(
        &mut self,
        shards: &'s Shards,
        except: Option<Slot>,
    ) -> Option<parking_lot::RwLockReadGuard<'s, Shard>> {
        // The shard of the hand comes twice: its first entries last.
        for _ in 0..=shards.count() {
            let shard = shards.read_by_number(self.hand.shard);
            let mut entries = shard.entries_from(self.hand.place);
            let is_main = |entry: &MemoryEntry| entry.is_main() && Some(entry.slot) != except;
            let found = entries.find(|(_, entry)| is_main(entry));
            if let Some((place, _)) = found {
                drop(entries);
                self.hand.place = place;
                return Some(shard);
            }
            self.hand.enter_next_shard(shards);
        }
        None
    }
}

/// An entry at the end of the queue.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    slot: Slot,
    uses: u8,
    weight: u64,
}

/// Returns the arrival in a slot. The queue also has slots of removed entries, and of entries that
/// were stored again since.
fn find_arrival(shards: &Shards, slot: Slot) -> Option<Arrival> {
    let shard = shards.read(slot);
    let entry = shard.get(slot).filter(|entry| !entry.is_main())?;
    Some(Arrival {
        slot,
        uses: entry.uses(),
        weight: entry.weight(),
    })
}
