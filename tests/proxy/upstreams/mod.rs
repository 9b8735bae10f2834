//! Connections to upstreams: their loss, their addresses, their servers, their names.

mod addresses;
mod health;
mod http2_origin;
mod loops;
mod pool;
mod repetition;
#[cfg(feature = "proxy-tls")]
mod server_names;
mod servers;
mod shared_connections;
mod versions;
