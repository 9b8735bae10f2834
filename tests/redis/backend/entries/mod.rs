//! Entries: their age, lookup and variants.

mod age;
mod lookups;
mod variants;
