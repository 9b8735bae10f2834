//! The same cache met twice on one request's way, such as that of a router and that of a route.
//!
//! ```text
//! outer layer: Marked::call          marks the request
//!     ... services between, other caches among them ...
//! inner layer: find_layers           knows the mark as that of its own cache
//!              InnerLayers::add      hands its options outwards, and passes the request on
//! outer layer: InnerLayers::options  the response is here: takes the options over
//! ```
//!
//! This module knows the options and which cache they belong to, no keys and no responses. Start
//! with [`mark`].

mod mark;
mod passed;

pub(crate) use mark::{Marked, find_layers};
pub(crate) use passed::InnerLayers;
