//! The requests that upstreams get.

mod clients;
mod confinement;
mod forwarding;
mod one_meaning;
mod same_key;
mod schemes;
