//! The requests that upstreams get.

mod clients;
mod forwarding;
mod one_meaning;
mod same_key;
