//! The requests that upstreams get.

mod clients;
mod confinement;
mod field_counts;
mod forwarding;
mod one_meaning;
mod overrides;
mod same_key;
mod schemes;
