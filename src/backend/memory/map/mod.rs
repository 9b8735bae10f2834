//! The map of a memory backend: entries by slot, limited in bytes.
//!
//! ```text
//! mod      EntryMap: lookups and changes        shard    entries by slot, behind one lock
//! room     the order in which entries leave     ghosts   marks of evicted entries
//! pace     how fast uses are forgotten
//! ```
//!
//! It knows nothing of fences and keys. A lookup takes the lock of one shard, for reading. A change
//! of the number or the weight of entries takes the lock of the room, then those of shards, one at
//! a time. No code of a caller runs that takes another one of these locks.
//!
//! Start reading at [`EntryMap`].

mod ghosts;
mod pace;
mod room;
mod shard;

use parking_lot::Mutex;

use self::room::Room;
use self::shard::Shards;
use super::entry::{EntryContent, MemoryEntry, Slot};
use super::evicted::{Cause, EvictedEntries};

/// A shard for so many bytes of the capacity.
const BYTES_PER_SHARD: u64 = 128 * 1024;
/// More shards gain nothing: all requests for one hot key meet in one shard anyway.
const MAX_SHARDS: u64 = 64;

/// Entries by slot, limited in bytes.
#[derive(Debug)]
pub(super) struct EntryMap {
    shards: Shards,
    room: Mutex<Room>,
}

impl EntryMap {
    pub(super) fn new(capacity: u64) -> Self {
        let shards = (capacity / BYTES_PER_SHARD).clamp(1, MAX_SHARDS);
        Self {
            shards: Shards::new(1 << shards.ilog2()),
            room: Mutex::new(Room::new(capacity)),
        }
    }

    /// Reads an entry. This is a use of it.
    #[inline]
    pub(super) fn get<T>(&self, slot: Slot, read: impl FnOnce(&MemoryEntry) -> T) -> Option<T> {
        let shard = self.shards.read(slot);
        let entry = shard.get(slot)?;
        entry.note_use();
        Some(read(entry))
    }

    /// Reads an entry, which is no use of it.
    pub(super) fn peek<T>(&self, slot: Slot, read: impl FnOnce(&MemoryEntry) -> T) -> Option<T> {
        self.shards.read(slot).get(slot).map(read)
    }

    /// Stores an entry, in place of the one that its slot held. Removes entries that have expired
    /// by `now`, in whole seconds, and evicts others until the capacity is kept.
    #[inline]
    pub(super) fn insert(&self, entry: MemoryEntry, now: u32, evicted: &mut EvictedEntries) {
        let slot = entry.slot;
        let mut room = self.room.lock();
        if entry.weight() > room.capacity() {
            let replaced = self.shards.write(slot).remove(slot);
            if let Some(replaced) = replaced {
                room.count_removed(&replaced);
                evicted.add(Cause::Replaced, Some(replaced.content));
            }
            evicted.add(Cause::Size, Some(entry.content));
            return;
        }
        let mut shard = self.shards.write(slot);
        match shard.get_mut(slot) {
            Some(old) => {
                room.count_weight(old.is_main(), old.weight(), entry.weight());
                evicted.add(Cause::Replaced, Some(old.replace_by(entry)));
            }
            None => {
                room.add_arrival(&entry);
                shard.insert(entry);
            }
        }
        drop(shard);
        room.sweep(&self.shards, now, evicted);
        room.make(&self.shards, slot, evicted);
        room.tidy_arrivals(&self.shards);
    }

    /// Notes in a head that there are responses in other slots.
    pub(super) fn note_others(&self, head: Slot) {
        // Should the head have been evicted meanwhile, its other responses are out of reach.
        if let Some(head) = self.shards.write(head).get_mut(head) {
            head.set_has_others();
        }
    }

    /// Changes an entry where it is, if it is there. Makes no room, should it grow.
    pub(super) fn change<T>(
        &self,
        slot: Slot,
        change: impl FnOnce(&mut MemoryEntry) -> T,
    ) -> Option<T> {
        let mut room = self.room.lock();
        let mut shard = self.shards.write(slot);
        let entry = shard.get_mut(slot)?;
        let before = entry.weight();
        let changed = change(entry);
        room.count_weight(entry.is_main(), before, entry.weight());
        Some(changed)
    }

    /// Changes all entries where they are, the shards one after the other.
    pub(super) fn change_all<T>(&self, mut change: impl FnMut(&mut MemoryEntry) -> T) {
        for number in 0..self.shards.count() {
            let mut room = self.room.lock();
            let mut shard = self.shards.write_by_number(number);
            let mut each = |entry: &mut MemoryEntry| {
                let before = entry.weight();
                let changed = change(entry);
                room.count_weight(entry.is_main(), before, entry.weight());
                changed
            };
            let changed: Vec<_> = shard.entries_mut().map(&mut each).collect();
            drop((shard, room));
            // Freed when the locks are released.
            drop(changed);
        }
    }

    /// Removes the content of an entry if it is `due`. The entry stays if others depend on its
    /// token.
    pub(super) fn remove_content(
        &self,
        slot: Slot,
        due: impl Fn(&MemoryEntry) -> bool,
    ) -> Option<EntryContent> {
        if !self.peek(slot, &due)? {
            return None;
        }
        let mut room = self.room.lock();
        let mut shard = self.shards.write(slot);
        shard.get(slot).filter(|entry| due(entry))?;
        let content = room.take_content(&mut shard, slot);
        drop(shard);
        room.tidy_arrivals(&self.shards);
        content
    }

    /// Removes an entry whatever depends on it.
    pub(super) fn remove(&self, slot: Slot) -> Option<EntryContent> {
        self.peek(slot, |_| ())?;
        let mut room = self.room.lock();
        let removed = self.shards.write(slot).remove(slot)?;
        room.count_removed(&removed);
        room.tidy_arrivals(&self.shards);
        Some(removed.content)
    }

    /// Removes all entries.
    pub(super) fn clear(&self) {
        let removed: Vec<_> = {
            let mut room = self.room.lock();
            *room = Room::new(room.capacity());
            let shards = 0..self.shards.count();
            let take = |number| std::mem::take(&mut *self.shards.write_by_number(number));
            shards.map(take).collect()
        };
        // Freed when the locks are released.
        drop(removed);
    }

    /// The bytes that entries may take.
    pub(super) fn capacity(&self) -> u64 {
        self.room.lock().capacity()
    }

    /// The number of entries, and the bytes that they take.
    pub(super) fn usage(&self) -> (usize, u64) {
        let room = self.room.lock();
        (room.entries(), room.weight())
    }
}
