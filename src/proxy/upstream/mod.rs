//! Upstreams: the choice of one by path prefix, and the connections to them.
//!
//! Knows nothing of header fields but `Host` and those that refer to resources. Start reading at
//! `routes`.

pub(super) mod addresses;
pub(super) mod client;
mod confinement;
pub(super) mod connect;
mod head_wait;
pub(super) mod health;
pub(super) mod http1;
mod http2;
pub(super) mod options;
pub(super) mod repetition;
pub(super) mod response_references;
pub(super) mod routes;
pub(super) mod server;
