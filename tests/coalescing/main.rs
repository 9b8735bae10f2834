//! Concurrent requests for one key: one call of the inner service, which clients cannot cancel,
//! slow down or spoil.

mod bodies;
mod budget;
mod claims;
mod failing;
mod later_calls;
mod leaving;
mod stampede;
#[path = "../support/mod.rs"]
mod support;
mod uncacheable;
mod waiting;
mod whole;
mod writes;

use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, timeout};
use tower::ServiceExt;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::{Cache, CacheLayer};

use crate::support::get;
use crate::support::origin::Origin;
use crate::support::time::{FOREVER, in_virtual_time};

/// Both clocks are tokio's, so that nothing but virtual time passes.
fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

/// Sends all at once. How long that took, and what each got: the body, or what went wrong.
async fn burst<B: Backend>(
    service: &Cache<Origin, B>,
    asks: impl IntoIterator<Item = Request<()>>,
) -> (Duration, Vec<Result<String, String>>) {
    let local = LocalSet::new();
    let mut tasks = JoinSet::new();
    let begun = Instant::now();
    for ask in asks {
        let service = service.clone();
        let one = async move {
            let response = service
                .oneshot(ask)
                .await
                .map_err(|error| error.to_string())?;
            let body = response.into_body().collect().await;
            let whole = body.map_err(|error| error.to_string())?.to_bytes();
            Ok(String::from_utf8_lossy(&whole).into_owned())
        };
        tasks.spawn_local_on(one, &local);
    }
    let all = timeout(FOREVER, local.run_until(tasks.join_all())).await;
    (begun.elapsed(), all.expect("somebody waits for ever"))
}

fn times(count: usize, path: &str) -> Vec<Request<()>> {
    (0..count).map(|_| get(path)).collect()
}

/// A `JoinSet` whose tasks may panic.
trait JoinAllResults<T> {
    async fn join_all_results(self) -> Vec<Result<T, tokio::task::JoinError>>;
}

impl<T: 'static> JoinAllResults<T> for JoinSet<T> {
    async fn join_all_results(mut self) -> Vec<Result<T, tokio::task::JoinError>> {
        let mut ended = Vec::new();
        while let Some(result) = self.join_next().await {
            ended.push(result);
        }
        ended
    }
}
