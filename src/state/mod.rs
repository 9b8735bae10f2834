//! State that all clones of one layer share, grouped by purpose.
//!
//! [`LayerState`] is one layer's options next to an `Arc` of the shared state, in which every
//! field serves one purpose and has its own file. Functions of the service take the whole only
//! where they need several fields.
//!
//! This module knows the backend, the flights and the counters. It knows nothing of requests on
//! their way but the mark of [`inner_layers`], and imports nothing of `service`. Start reading with
//! [`layer_state`], then [`operations`].

pub(crate) mod background;
pub(crate) mod bounded_work;
pub(crate) mod encodings;
pub(crate) mod inner_layers;
pub(crate) mod layer_state;
pub(crate) mod noted_requests;
pub(crate) mod operations;
pub(crate) mod origin_failures;
pub(crate) mod partitions;
pub(crate) mod shared_head;
pub(crate) mod short_refreshes;
pub(crate) mod throttled_log;
pub(crate) mod uncacheable;
pub(crate) mod variant_hints;
pub(crate) mod write_grace;

pub(crate) use layer_state::LayerState;
