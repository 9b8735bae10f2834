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
//! As every call of the inner service is made through [`Marked`], it is counted here as well, by its
//! end ([`counted_call`]), and while it has no response ([`silence`]).
//!
//! This module knows the options and which cache they belong to, no keys and no responses. Start
//! with [`mark`].

mod counted_call;
mod mark;
mod passed;
mod silence;

pub(crate) use mark::{Marked, find_layers};
pub(crate) use passed::InnerLayers;
pub(crate) use silence::UnansweredCalls;
