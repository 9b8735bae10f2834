//! Concurrent requests for one key: one call of the inner service, which clients cannot cancel, slow down or spoil.

mod flights;
mod stampede;
#[path = "../support/mod.rs"]
mod support;
