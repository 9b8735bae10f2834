//! Concurrent requests for one key: one call of the inner service, which clients cannot cancel, slow down or spoil.

mod bodies;
mod budget;
mod failing;
mod leaving;
mod stampede;
#[path = "../support/mod.rs"]
mod support;
mod uncacheable;
mod waiting;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use http::Request;
use http_body_util::BodyExt;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::clock::Moment;
use tower_response_cache::{Cache, CacheLayer};

use crate::support::origin::{Origin, Response};
use crate::support::{Answer, get, send};

const SLOW: Duration = Duration::from_millis(50);

const SECOND: Duration = Duration::from_secs(1);

/// Longer than anything here takes: whoever is still waiting then was forgotten.
const FOR_EVER: Duration = Duration::from_secs(100_000);

/// Both clocks are tokio's, so that nothing but virtual time passes.
fn layer() -> CacheLayer<MemoryBackend> {
    layer_on(MemoryBackend::default())
}

fn layer_on<B: Backend>(backend: B) -> CacheLayer<B> {
    let begun = Instant::now();
    CacheLayer::new(backend).clock(move || {
        let passed = begun.elapsed() + SECOND;
        Moment::new(passed, SystemTime::UNIX_EPOCH + passed)
    })
}

/// Answers after a while what `answer` makes of the request and the number of the call, from 1.
fn slow(answer: impl Fn(&Request<()>, usize) -> Response + Send + Sync + 'static) -> Origin {
    after(SLOW, answer)
}

fn after(
    while_: Duration,
    answer: impl Fn(&Request<()>, usize) -> Response + Send + Sync + 'static,
) -> Origin {
    let answer = Arc::new(answer);
    let calls = Arc::new(AtomicUsize::new(0));
    Origin::new(move |request| {
        let answer = answer.clone();
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            sleep(while_).await;
            Ok(answer(&request, call))
        }
    })
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
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
    let all = timeout(FOR_EVER, local.run_until(tasks.join_all())).await;
    (begun.elapsed(), all.expect("somebody waits for ever"))
}

fn gets(count: usize) -> impl Iterator<Item = Request<()>> {
    (0..count).map(|_| get("/a"))
}

/// Sends all requests at once and waits for all answers.
async fn all_at_once<B: Backend>(
    service: &Cache<Origin, B>,
    asks: impl IntoIterator<Item = Request<()>>,
) -> Vec<Answer> {
    let local = LocalSet::new();
    let tasks: Vec<_> = asks
        .into_iter()
        .map(|ask| {
            let service = service.clone();
            local.spawn_local(async move { send(&service, ask).await })
        })
        .collect();
    local
        .run_until(async {
            let mut answers = Vec::new();
            for task in tasks {
                answers.push(task.await.expect("an answer"));
            }
            answers
        })
        .await
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
