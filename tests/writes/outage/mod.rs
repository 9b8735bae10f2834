//! While the backend cannot be asked: an outage is no stampede, and no request is answered by a
//! call that began before it.

mod leaving;
mod orders;
mod recovery;
mod sharing;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Body;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tower::{Service, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{BoxError, CacheLayer};

use crate::support::dying::{Dying, Switch, dying};
use crate::support::origin::{Origin, OriginError, cacheable, slow};
use crate::support::time::{FOREVER, in_virtual_time};
use crate::support::yielding::{Yielding, yielding};
use crate::support::{Answer, collect};

const LEADS: &str = "fwd=miss; detail=backend-failed";

type Dead = Yielding<Dying<MemoryBackend>>;

/// On a backend that is dead.
fn layer() -> (CacheLayer<Dead>, Switch) {
    let (backend, switch) = dying(MemoryBackend::default());
    (in_virtual_time(yielding(backend)), switch)
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

/// The outcome of the request.
async fn end(task: JoinHandle<Result<Answer, OriginError>>) -> Result<Answer, OriginError> {
    let end = timeout(FOREVER, task).await;
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

fn count(answers: &[Result<Answer, OriginError>], is: impl Fn(&Answer) -> bool) -> usize {
    answers.iter().flatten().filter(|answer| is(answer)).count()
}

fn dead() -> (Dying<MemoryBackend>, Switch) {
    dying(MemoryBackend::new(1 << 20))
}
