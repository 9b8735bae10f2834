//! Plain data made of a request: its route through the cache, its key, its preconditions, and the
//! request that goes to the inner service.
//!
//! This module decides from the request alone. It knows the options and the key rules, but no
//! stored response, no flight and no clock.

pub(crate) mod content;
pub(crate) mod forwarded_form;
pub(crate) mod log_span;
pub(crate) mod outgoing;
pub(crate) mod partition;
pub(crate) mod preconditions;
pub(crate) mod request_key;
pub(crate) mod route;
mod route_fields;
