//! What clients that read slowly, or not at all, can do to others: wait alone, in bounded memory.

mod captures;
mod lingering;
mod offsets;
mod removed;
mod windows;
mod zero_timeout;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};
use tower_response_cache::BoxError;

use crate::support::origin::{self, BodyStep, answer, scripted};
use crate::support::time::{SECOND, settled};
use crate::support::{get, is_stored, send};

type Script = UnboundedSender<BodyStep>;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Sends so many bytes in chunks of 16 KiB.
fn send_chunks(script: &Script, size: usize) {
    let mut left = size;
    while left > 0 {
        let chunk = left.min(16 * KIB);
        let frame = Frame::data(Bytes::from(vec![7; chunk]));
        script.send(Ok(frame)).expect("a reader");
        left -= chunk;
    }
}

/// A response with these fields whose body of `size` bytes comes in chunks of 16 KiB. Its length
/// is announced where the fields say so. With `is_endless` the end of the body never comes.
fn in_chunks(
    status: u16,
    fields: &[(&'static str, &str)],
    size: usize,
    is_endless: bool,
) -> origin::Response {
    let (script, body) = scripted();
    send_chunks(&script, size);
    if is_endless {
        tokio::spawn(async move {
            script.closed().await;
            drop(script);
        });
    }
    answer(status, fields, "").map(|_| body)
}

/// Reads a body up to `bytes`, and stops.
async fn read_up_to<B>(response: &mut Response<B>, bytes: usize) -> usize
where
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    let mut read = 0;
    while read < bytes
        && let Some(frame) = response.frame().await
    {
        read += frame
            .expect("no error")
            .into_data()
            .map_or(0, |data| data.len());
    }
    read
}

/// The virtual time after which a new page is stored, for at most `limit`; one is requested each
/// second.
async fn time_until_stored<S, B>(service: &S, limit: Duration) -> Option<Duration>
where
    S: Service<Request<()>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let begun = Instant::now();
    while begun.elapsed() <= limit {
        let path = format!("/new/{}", begun.elapsed().as_secs());
        let passed = begun.elapsed();
        send(service, get(&path)).await;
        settled().await;
        if is_stored(service, get(&path)).await {
            return Some(passed);
        }
        sleep(SECOND).await;
    }
    None
}

/// The head of a response to a request.
async fn head_of<S, B>(service: &S, request: Request<()>) -> Response<B>
where
    S: Service<Request<()>, Response = Response<B>> + Clone,
    S::Error: std::fmt::Debug,
{
    service.clone().oneshot(request).await.expect("a head")
}
