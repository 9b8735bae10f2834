//! Readers that stall cost no work, however short their time is.

use std::sync::mpsc;
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use crate::support::get;
use crate::support::origin::{Origin, cacheable, data, scripted, slow};
use crate::support::time::{SECOND, in_virtual_time};
use tower_response_cache::backend::MemoryBackend;

/// Runs a test in a thread of its own: in one where a task is busy, virtual time stands still.
fn in_a_thread<F: Future>(test: impl FnOnce() -> F + Send + 'static) {
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let builder = builder.enable_time().start_paused(true);
        builder.build().expect("a runtime").block_on(test());
        done.send(()).expect("the test waits");
    });
    let ended = ended.recv_timeout(Duration::from_secs(20));
    assert!(ended.is_ok(), "a task is busy");
}

/// An origin with a body beyond the buffer.
fn origin() -> Origin {
    slow(|_, _| {
        let (frames, body) = scripted();
        frames.send(data("more than ten bytes")).expect("room");
        for _ in 0..100 {
            let frame = Frame::data(Bytes::from(vec![0; 100_000]));
            frames.send(Ok(frame)).expect("room");
        }
        cacheable("").map(|_| body)
    })
}

const TIMES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(1),
];

/// A lone reader that stops holds up no other: it may go on later.
#[test]
fn a_lone_reader_that_stalls_keeps_no_task_busy() {
    for time in TIMES {
        in_a_thread(move || async move {
            let layer = in_virtual_time(MemoryBackend::default());
            let service = layer.slow_reader_timeout(time).max_body(10).layer(origin());
            let response = service.oneshot(get("/a")).await.expect("an answer");
            sleep(SECOND * 60).await;
            let whole = response.into_body().collect().await.expect("no error");
            assert_eq!(whole.to_bytes().len(), 100 * 100_000 + 19);
        });
    }
}
