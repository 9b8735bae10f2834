//! Storing and reusing responses: which ones, how long, for which requests, and the answers made of
//! them.

mod background;
mod basics;
mod bodies;
mod bytes;
mod directives;
mod explain;
mod fields;
mod groups;
mod keys;
mod parts;
mod poisoning;
mod policy;
mod posts;
mod private;
mod queries;
mod ranges;
mod routes;
mod sharing;
mod stale;
#[path = "../support/mod.rs"]
mod support;
mod validation;
mod variants;
