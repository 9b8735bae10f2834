//! `CacheLayer`: the tower layer and its options, one file for each topic.
//!
//! Every option changes one field of `Config`, which the files of `service` read; no option does
//! work of its own. This folder may name everything below it; nothing below names it. Start with
//! `cache_layer`, then read the file of the topic.

// In the order in which the documentation shows the methods; rustfmt would sort neighbours.
mod cache_layer;

mod freshness;

mod storing;

mod groups;

mod keys_and_bypass;

mod routes;

mod queries;

mod writes;

mod coalescing;

mod stale;

mod refresh;

mod status;

mod time;

#[cfg(feature = "compress")]
mod compress;

#[cfg(feature = "serde")]
mod from_options;

mod invalid_option;

pub use cache_layer::CacheLayer;
pub use invalid_option::InvalidOption;
