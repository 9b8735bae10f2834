//! A service for operators: a page, statistics, metrics, invalidation and explanations.
//!
//! ```text
//! Admin::call -> route (path, method) -> access (token, origin) -> content -> answer
//!                404, 405                401, 403                  400, 413, 415
//! ```
//!
//! It knows the public API of [`CacheHandle`](crate::CacheHandle) alone, and neither the layer nor
//! the way of requests. Start reading with [`Admin`], then `service`, `route` and `access`.

mod access;
mod answer;
mod cache;
mod content;
mod explain;
mod invalidate;
mod options;
mod page;
mod readings;
mod route;
mod service;

pub use access::InvalidToken;
pub use explain::outer_layers::RequestProbe;
pub use options::Admin;
