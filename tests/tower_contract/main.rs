//! The cache as a tower service: readiness, limits, cancellation, panics, and the body types of hyper and axum.

mod contract;
#[path = "../support/mod.rs"]
mod support;
