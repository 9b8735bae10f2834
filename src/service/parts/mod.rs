//! Parts of a representation (206, RFC 9111 §3.3, §3.4).
//!
//! * [`find`]: stored parts that answer a request, or could complete it.
//! * [`fetch_missing_range`]: a request narrowed to the missing range, and its response made whole.
//! * [`store`]: a 206 decided as a part of its representation, and merged with stored parts.
//! * [`superseded`]: parts removed when the whole response is stored.
//!
//! A miss without a `Range`, of a key without stored parts, never enters this module.

pub(crate) mod fetch_missing_range;
pub(crate) mod find;
pub(crate) mod store;
pub(crate) mod superseded;
