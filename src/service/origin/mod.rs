//! One call to the inner service for a fill: readiness, validators, and what its response means.
//!
//! * [`fetch`]: the call itself.
//! * [`stale_on_failure`]: a stale response in place of a failure.
//! * [`validation`]: a 304 to the cache's validators.
//! * [`head`]: what a response to HEAD says of the stored response.
//!
//! This room knows the fill, and neither its followers nor how its response is stored.

pub(crate) mod fetch;
pub(crate) mod head;
pub(crate) mod stale_on_failure;
pub(crate) mod validation;
