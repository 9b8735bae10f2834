//! Explanations of what the cache would do with a request.
//!
//! * [`question`]: the content of `POST /explain`, and of its answer.
//! * [`outer_layers`]: the layers outside of the cache, which a question passes first.

pub(super) mod outer_layers;
pub(super) mod question;
