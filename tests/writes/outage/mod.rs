//! While the backend cannot be asked: P2 and P3, an outage is no stampede; P1, nobody is answered by a call that began
//! before he came.

mod leaving;
mod orders;
mod recovery;
mod sharing;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tower::{Service, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::clock::Moment;
use tower_response_cache::{BoxError, CacheLayer};

use crate::support::dying::{Dying, Switch};
use crate::support::origin::{Origin, OriginError, Response, cacheable};
use crate::support::yielding::Yielding;
use crate::support::{Answer, collect, get};

const SLOW: Duration = Duration::from_millis(50);

const SECOND: Duration = Duration::from_secs(1);

/// Longer than anything here takes: whoever is still waiting then was forgotten.
const FOR_EVER: Duration = Duration::from_secs(100_000);

const LEADS: &str = "fwd=miss; detail=backend-failed";

type Dead = Yielding<Dying<MemoryBackend>>;

/// On a backend that is dead.
fn layer() -> (CacheLayer<Dead>, Switch) {
    let (backend, switch) = Dying::new(MemoryBackend::default());
    (layer_on(Yielding(backend)), switch)
}

/// Both clocks are tokio's, so that nothing but virtual time passes.
fn layer_on<B: Backend>(backend: B) -> CacheLayer<B> {
    let begun = Instant::now();
    CacheLayer::new(backend).clock(move || {
        let passed = begun.elapsed() + SECOND;
        Moment::new(passed, SystemTime::UNIX_EPOCH + passed)
    })
}

/// Answers after a while what `answer` makes of the request and the number of the call, from 1.
fn slow(answer: impl Fn(&Request<()>, usize) -> Response + Send + Sync + 'static) -> Origin {
    fallible(move |request, call| Ok(answer(request, call)))
}

fn fallible(
    answer: impl Fn(&Request<()>, usize) -> Result<Response, OriginError> + Send + Sync + 'static,
) -> Origin {
    let answer = Arc::new(answer);
    let calls = Arc::new(AtomicUsize::new(0));
    Origin::new(move |request| {
        let answer = answer.clone();
        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            sleep(SLOW).await;
            answer(&request, call)
        }
    })
}

fn numbered() -> Origin {
    slow(|_, call| cacheable(format!("call {call}")))
}

/// Sends one, in a task of its own.
fn ask<S, R>(service: &S, ask: Request<()>) -> JoinHandle<Result<Answer, OriginError>>
where
    S: Service<Request<()>, Response = http::Response<R>, Error = OriginError>,
    S: Clone + Send + 'static,
    S::Future: Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let answer = service.clone().oneshot(ask);
    tokio::spawn(async move {
        match answer.await {
            Ok(response) => Ok(collect(response).await),
            Err(error) => Err(error),
        }
    })
}

/// What came of it.
async fn end(task: JoinHandle<Result<Answer, OriginError>>) -> Result<Answer, OriginError> {
    let end = timeout(FOR_EVER, task).await;
    end.expect("somebody waits for ever").expect("no panic")
}

/// Sends all at once. How long that took, and what each got, if anything.
async fn burst<S, R>(
    service: &S,
    asks: impl IntoIterator<Item = Request<()>>,
) -> (Duration, Vec<Result<Answer, OriginError>>)
where
    S: Service<Request<()>, Response = http::Response<R>, Error = OriginError>,
    S: Clone + Send + 'static,
    S::Future: Send,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let begun = Instant::now();
    let tasks: Vec<_> = asks.into_iter().map(|one| ask(service, one)).collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(end(task).await);
    }
    (begun.elapsed(), answers)
}

fn gets(count: usize) -> impl Iterator<Item = Request<()>> {
    (0..count).map(|_| get("/a"))
}

fn count(answers: &[Result<Answer, OriginError>], is: impl Fn(&Answer) -> bool) -> usize {
    answers.iter().flatten().filter(|answer| is(answer)).count()
}

async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn dead() -> (Dying<MemoryBackend>, Switch) {
    Dying::new(MemoryBackend::new(1 << 20))
}
