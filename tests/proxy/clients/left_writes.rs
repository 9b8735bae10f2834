//! Promise: no stale read after a write. The clients of writes leave before the end of the response,
//! at which the origin does its work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

use super::http2_client::Http2Client;
use super::limit_counts::{series, start, until};
use crate::origin::{Heard, Origin, Step, fresh};
use crate::raw::{Raw, exchange, last_get};

const BEGUN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n";

/// Leaves a write with `leave`, which returns when it has the beginning of the body.
async fn check(leave: impl AsyncFnOnce(u16)) {
    let (version, commit) = (Arc::<AtomicU64>::default(), Arc::new(Notify::new()));
    let (current, committed) = (version.clone(), commit.clone());
    let origin = Origin::start(move |heard: &Heard| {
        if heard.head.starts_with("GET") {
            let body = format!("v{}", current.load(Ordering::SeqCst));
            return vec![Step::Say(fresh(&body).into_bytes())];
        }
        vec![
            Step::Content,
            Step::Say(BEGUN.into()),
            Step::Wait(committed.clone()),
            Step::Say(b"0\r\n\r\n".into()),
        ]
    })
    .await;
    let (proxy, _log) = start(&origin, &[]).await;
    leave(proxy.port()).await;
    until("the response is read on", || async {
        series(&proxy, "background_tasks{").await == 1
    })
    .await;
    let read = || exchange(proxy.port(), last_get("/a"));
    assert!(read().await.ends_with("v0"));
    origin.heard();
    assert!(read().await.ends_with("v0"));
    assert!(origin.heard().is_empty(), "it is stored");
    version.store(1, Ordering::SeqCst);
    commit.notify_one();
    until("the old response is gone", || async {
        read().await.ends_with("v1")
    })
    .await;
    until("nothing is left", || async {
        series(&proxy, "background_tasks{").await == 0
    })
    .await;
}

#[tokio::test]
async fn a_write_that_is_left_with_its_connection_invalidates_at_its_end() {
    check(async |port| {
        let mut client = Raw::connect(port).await;
        let put = "PUT /a HTTP/1.1\r\nhost: test.example\r\ncontent-length: 0\r\n\r\n";
        client.say(put).await;
        client.hear_until("begun").await;
    })
    .await;
}

#[tokio::test]
async fn a_write_that_is_reset_invalidates_at_its_end() {
    // It keeps its connection.
    let mut kept = None;
    check(async |port| {
        let mut client = Http2Client::connect(port, 65_535).await;
        let stream = client.request("PUT", "/a", None).await;
        client.receive("begun".len()).await;
        client.reset(stream).await;
        kept = Some(client);
    })
    .await;
}
