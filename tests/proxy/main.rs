//! The reverse proxy: as a service, and as the example, between real and hostile origins and
//! clients.

mod call;
#[cfg(feature = "proxy-tls")]
mod certificate;
mod clients;
mod edge;
#[path = "../support/example.rs"]
mod example;
mod expect;
mod failures;
mod folder;
mod framings;
/// Its own tests.
#[allow(dead_code, reason = "the example uses the rest of it")]
#[path = "../../examples/proxy/head_timer.rs"]
mod head_timer;
mod http2;
mod http2_frames;
#[allow(dead_code, reason = "other programs use the rest of it")]
#[path = "../support/logs.rs"]
mod logs;
#[cfg(feature = "redis")]
mod namespaces;
mod nginx;
mod origin;
mod program;
mod raw;
#[cfg(feature = "redis")]
#[path = "../support/redis/mod.rs"]
mod redis;
mod requests;
#[path = "../support/spellings.rs"]
mod spellings;
mod stack;
mod tunnels;
mod upstreams;
