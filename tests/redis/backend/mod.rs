//! `RedisBackend` on real servers: the contract, what instances share and what not, and the
//! counterexamples that its protocol must survive, alone and under two caches.

mod addresses;
#[cfg(feature = "compress")]
mod compressed;
#[cfg(feature = "test-util")]
mod conformance;
mod entries;
mod expirations;
mod groups;
mod instances;
mod private;
mod protocol;
mod queries;
mod retries;
mod sharing;
mod start;
#[cfg(all(feature = "redis-tls", feature = "redis-client", feature = "test-util"))]
pub mod tls;
mod writes;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use tower_response_cache::backend::RedisBackend;
use tower_response_cache::backend::redis::RedisOptions;

use crate::support::redis::{PATIENCE, RedisServer};

/// Options that let a busy machine be as slow as it likes.
fn options(url: &str, namespace: &str) -> RedisOptions {
    let options = RedisOptions::new(url).expect("a URL");
    patient(options)
        .try_namespace(namespace)
        .expect("a namespace")
}

fn patient(options: RedisOptions) -> RedisOptions {
    options.connect_timeout(PATIENCE).response_timeout(PATIENCE)
}

/// An instance's own backend on a server.
fn instance(server: &RedisServer) -> RedisBackend {
    options(&server.url(), "test").build()
}

/// Polls a future once, so that it has begun; whether it has ended.
async fn begin<F: Future + Unpin>(future: &mut F) -> bool {
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_ready())).await
}

/// Deletes what the test's namespace has of a kind: `n` its epoch, `l` leases, `e` entries, `q` the
/// token of all groups, `g` those of each. How many there were.
async fn evict(server: &RedisServer, kind: &str) -> usize {
    let pattern = format!("test:{kind}*");
    let names = server.names(&pattern).await;
    for name in &names {
        server.command(&["DEL", name]).await;
    }
    names.len()
}
