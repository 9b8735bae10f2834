//! The reverse proxy: as a service, and as the example, between real and hostile origins and
//! clients.

mod call;
mod edge;
mod errors;
#[path = "../support/example.rs"]
mod example;
mod expect;
mod failing;
mod folder;
mod forwarding;
mod hostile;
mod http2;
mod nginx;
mod one_meaning;
mod origin;
mod raw;
mod real;
#[cfg(feature = "redis")]
#[path = "../support/redis/mod.rs"]
mod redis;
mod same_key;
#[path = "../support/spellings.rs"]
mod spellings;
mod tunnels;
