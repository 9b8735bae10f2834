//! The requests that upstreams get.

mod forwarding;
mod one_meaning;
mod same_key;
