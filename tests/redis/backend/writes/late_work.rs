//! A write whose work goes on after the head of its response, to the end of its body.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use http::{Method, Request, Response};
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;

use crate::backend::instance;
use crate::support::origin::{Origin, cacheable, data, scripted};
use crate::support::redis::{RedisServer, until};
use crate::support::{collect, get, is_stored, put, send};

/// Promise: no stale read after a write. Another instance has stored the old state between the head
/// and the end; the end waits for the acknowledgement.
#[tokio::test]
async fn a_read_after_the_end_of_a_write_gets_nothing_older_from_any_instance() {
    let server = RedisServer::start().await;
    let version = Arc::new(AtomicU64::new(0));
    let (sender, body) = scripted();
    let (read, body) = (version.clone(), Mutex::new(Some(body)));
    let origin = Origin::new(move |request: Request<()>| {
        let response = match *request.method() {
            Method::GET => cacheable(read.load(Ordering::SeqCst).to_string()),
            _ => Response::new(body.lock().expect("no panic").take().expect("one write")),
        };
        std::future::ready(Ok(response))
    });
    let [one, other] = [(), ()].map(|()| {
        let layer = CacheLayer::new(instance(&server));
        layer.layer(origin.clone())
    });
    let response = one.clone().oneshot(put("/a")).await.expect("an answer");
    assert_eq!(send(&other, get("/a")).await.body, "0");
    until("it is stored", async || is_stored(&one, get("/a")).await).await;
    version.store(1, Ordering::SeqCst);
    sender.send(data("done")).expect("it is read");
    drop(sender);
    assert_eq!(collect(response).await.body, "done");
    for cache in [&other, &one] {
        assert_eq!(send(cache, get("/a")).await.body, "1");
    }
}
