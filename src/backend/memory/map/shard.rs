//! Entries by slot, behind one lock.

use hashbrown::HashTable;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::backend::memory::entry::{MemoryEntry, Slot};

/// The shards of a map.
#[derive(Debug)]
pub(super) struct Shards(Box<[LockedShard]>);

/// Aligned, so that two locks are not in one cache line.
#[derive(Debug, Default)]
#[repr(align(128))]
struct LockedShard(RwLock<Shard>);

impl Shards {
    /// Creates shards, whose number must be a power of two.
    pub(super) fn new(count: usize) -> Self {
        assert!(
            count.is_power_of_two(),
            "the number of shards is a power of two"
        );
        Self((0..count).map(|_| LockedShard::default()).collect())
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn of(&self, slot: Slot) -> &RwLock<Shard> {
        // The index of a shard takes the digest's lowest and highest bits.
        let number = (slot.0 >> 40) as usize & (self.0.len() - 1);
        &self.0[number].0
    }

    #[inline]
    pub(super) fn read(&self, slot: Slot) -> RwLockReadGuard<'_, Shard> {
        self.of(slot).read()
    }

    pub(super) fn write(&self, slot: Slot) -> RwLockWriteGuard<'_, Shard> {
        self.of(slot).write()
    }

    pub(super) fn read_by_number(&self, number: usize) -> RwLockReadGuard<'_, Shard> {
        self.0[number].0.read()
    }

    pub(super) fn write_by_number(&self, number: usize) -> RwLockWriteGuard<'_, Shard> {
        self.0[number].0.write()
    }
}

/// Entries by slot. Each has a place, and the places are in no order.
#[derive(Debug, Default)]
pub(super) struct Shard {
    index: HashTable<u32>,
    places: Vec<Option<MemoryEntry>>,
    free: Vec<u32>,
}

/// The least number of places that is worth giving back.
const MIN_PLACES: usize = 64;

impl Shard {
    #[inline]
    fn find(&self, slot: Slot) -> Option<usize> {
        let is_slot = |place: &u32| match &self.places[*place as usize] {
            Some(entry) => entry.slot == slot,
            None => false,
        };
        self.index
            .find(slot.0, is_slot)
            .map(|place| *place as usize)
    }

    #[inline]
    pub(super) fn get(&self, slot: Slot) -> Option<&MemoryEntry> {
        self.places[self.find(slot)?].as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut MemoryEntry> {
        let place = self.find(slot)?;
        self.places[place].as_mut()
    }

    /// The entries from a place on, each with its place.
    pub(super) fn entries_from(&self, place: usize) -> impl Iterator<Item = (usize, &MemoryEntry)> {
        let places = self.places.iter().enumerate().skip(place);
        places.filter_map(|(place, entry)| Some((place, entry.as_ref()?)))
    }

    /// All entries, to be changed.
    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut MemoryEntry> {
        self.places.iter_mut().flatten()
    }

    /// The number of places.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// Inserts an entry whose slot is not in the shard.
    pub(super) fn insert(&mut self, entry: MemoryEntry) {
        let digest = entry.slot.0;
        let place = self.free.pop().unwrap_or_else(|| {
            if self.places.len() == self.places.capacity() {
                // An eighth more: half of all places would be spare if their number doubled.
                self.places.reserve_exact(self.places.len() / 8 + 8);
            }
            self.places.push(None);
            (self.places.len() - 1) as u32
        });
        self.places[place as usize] = Some(entry);
        let places = &self.places;
        let rehash = |place: &u32| digest_at(places, *place);
        self.index.insert_unique(digest, place, rehash);
    }

    pub(super) fn remove(&mut self, slot: Slot) -> Option<MemoryEntry> {
        let place = self.find(slot)? as u32;
        let in_index = self.index.find_entry(slot.0, |other| *other == place);
        in_index.expect("it was just found").remove();
        let removed = self.places[place as usize].take();
        self.free.push(place);
        if self.places.len() >= MIN_PLACES && self.free.len() * 4 > self.places.len() * 3 {
            self.compact();
        }
        removed
    }

    /// Gives back the places that are free. As three quarters of them are, the cost per removed
    /// entry is constant.
    fn compact(&mut self) {
        self.places.retain(Option::is_some);
        self.places.shrink_to_fit();
        self.free = Vec::new();
        self.index = HashTable::with_capacity(self.places.len());
        let places = &self.places;
        for place in 0..places.len() as u32 {
            let rehash = |place: &u32| digest_at(places, *place);
            self.index
                .insert_unique(digest_at(places, place), place, rehash);
        }
    }
}

fn digest_at(places: &[Option<MemoryEntry>], place: u32) -> u64 {
    let entry = places[place as usize].as_ref();
    entry.expect("the index lists places that are taken").slot.0
}
