//! A backend of your own: one map behind one lock, which every write clears.
//!
//! ```text
//! cargo run --example custom_backend
//!
//! curl -i 127.0.0.1:3000/         # fwd=uri-miss; stored
//! curl -i 127.0.0.1:3000/         # hit; ttl=
//! curl -X POST 127.0.0.1:3000/    # hello (a write)
//! curl -i 127.0.0.1:3000/         # fwd=uri-miss; stored
//! ```
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::{Router, routing::any};
use tokio::net::TcpListener;
use tower_response_cache::key::{CacheKey, Resource};
use tower_response_cache::{CacheLayer, backend::*, clock::Moment};

type Stored = Arc<StoredResponse>;
type Result<T> = std::result::Result<T, BackendError>;
/// The stored responses, and the number of writes so far, which is the fence.
#[derive(Clone, Default)]
struct OneMap(Arc<Mutex<(HashMap<CacheKey, Stored>, u64)>>);

impl Backend for OneMap {
    type Fence = u64;
    async fn get(&self, key: &CacheKey, _: Moment) -> Result<Lookup<u64>> {
        let (responses, fence) = &*self.0.lock().unwrap();
        let found = responses.get(key).cloned();
        Ok(found.map_or(Lookup::Miss(*fence), |it| Lookup::Found(it, *fence)))
    }
    async fn fence(&self, _: Option<&Resource>) -> Result<Option<u64>> {
        Ok(Some(self.0.lock().unwrap().1))
    }
    /// Refuses responses with `Vary`, whose rule would have to be stored, too.
    async fn put(&self, key: &CacheKey, fence: u64, it: Stored, _: Moment) -> Result<PutOutcome> {
        let (responses, current) = &mut *self.0.lock().unwrap();
        if fence != *current || it.vary_rule().is_some() {
            return Ok(PutOutcome::Superseded);
        }
        responses.insert(*key, it);
        Ok(PutOutcome::Stored)
    }
    async fn remove(&self, key: &CacheKey, fence: u64) -> Result<bool> {
        let (responses, current) = &mut *self.0.lock().unwrap();
        responses.retain(|stored, _| stored != key || fence != *current);
        Ok(fence == *current)
    }
    async fn invalidate(&self, _: &InvalidationTarget) -> Result<()> {
        self.clear().await
    }
    async fn clear(&self) -> Result<()> {
        let mut state = self.0.lock().unwrap();
        *state = (HashMap::new(), state.1 + 1);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let cache = CacheLayer::new(OneMap::default()).ttl(std::time::Duration::from_secs(60));
    let app = Router::new().route("/", any(async || "hello\n"));
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:3000")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app.layer(cache)).await
}
