//! Coded forms on a real server: two instances, each with a `Guarded` in front.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_compression::tokio::bufread::BrotliDecoder;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;
use tower::{Layer, ServiceExt};
use tower_response_cache::backend::{Guarded, RedisBackend};
use tower_response_cache::{Cache, CacheHandle, CacheLayer, Coding};

use crate::backend::instance;
use crate::support::origin::{Origin, answer};
use crate::support::redis::{PATIENCE, RedisServer, until};
use crate::support::{get, request, with};

struct Instance {
    service: Cache<Origin, Guarded<RedisBackend>>,
    handle: CacheHandle<Guarded<RedisBackend>>,
}

impl Instance {
    /// An instance over an origin whose pages have a version, which a PUT counts up.
    fn on(server: &RedisServer, version: &Arc<AtomicUsize>) -> Self {
        // A busy machine may be as slow as it likes.
        let guarded = Guarded::new(instance(server))
            .lookup_deadline(PATIENCE)
            .invalidation_deadline(PATIENCE)
            .store_deadline(PATIENCE);
        let layer = CacheLayer::new(guarded).compress([Coding::Brotli]);
        let version = version.clone();
        let origin = Origin::at_once(move |request| {
            if request.method() == Method::PUT {
                version.fetch_add(1, Ordering::SeqCst);
                return answer(204, &[], "");
            }
            let length = request.uri().path()[1..].parse().expect("a length");
            let lines = [("cache-control", "max-age=60"), ("etag", "\"a\"")];
            answer(200, &lines, text(version.load(Ordering::SeqCst), length))
        });
        Self {
            handle: layer.handle(),
            service: layer.layer(origin),
        }
    }

    /// Asks for a page. A miss is stored when this returns.
    async fn ask(&self, request: Request<()>) -> (HeaderMap, String) {
        let stores = self.handle.stats().stores;
        let answer = self
            .service
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        let (head, body) = answer.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        let mut text = String::new();
        let read = match head.headers.contains_key("content-encoding") {
            // The answer to HEAD.
            _ if body.is_empty() => Ok(0),
            true => {
                BrotliDecoder::new(&body[..])
                    .read_to_string(&mut text)
                    .await
            }
            false => (&body[..]).read_to_string(&mut text).await,
        };
        read.expect("a text");
        let status = head
            .headers
            .get("cache-status")
            .map(|it| it.to_str().expect("ASCII"));
        if status.is_some_and(|status| status.ends_with("stored")) {
            let stored = async || self.handle.stats().stores > stores;
            until("it is stored", stored).await;
        }
        (head.headers, text)
    }
}

/// A page of this length, in bytes.
fn text(version: usize, length: usize) -> String {
    let words = format!("v{version} the quick brown fox ");
    words.chars().cycle().take(length).collect()
}

/// Promise: no stale read after a write, in no form, whichever instance was written to.
#[tokio::test]
async fn all_instances_answer_in_forms_of_the_current_content() {
    let server = RedisServer::start().await;
    let version = Arc::new(AtomicUsize::new(1));
    let (one, other) = (
        Instance::on(&server, &version),
        Instance::on(&server, &version),
    );
    // The body of the last one is read apart from its head.
    for length in [2_000, 50_000, 700_000] {
        let path = format!("/{length}");
        let coded = || with(get(&path), "accept-encoding", "br");
        let coded_tag = HeaderValue::from_static("W/\"a~br\"");
        for instance in [&one, &other] {
            let version = version.load(Ordering::SeqCst);
            instance.ask(get(&path)).await;
            instance.ask(coded()).await;
            for instance in [&one, &other, &one] {
                let (headers, got) = instance.ask(coded()).await;
                assert_eq!(headers["content-encoding"], "br", "{length}");
                assert_eq!(headers["etag"], coded_tag);
                assert!(got == text(version, length), "{length}: version {version}");
                let named = with(coded(), "if-none-match", "W/\"a~br\"");
                let (headers, got) = instance.ask(named).await;
                assert_eq!((&headers["etag"], &*got), (&coded_tag, ""));
                let mut head = coded();
                *head.method_mut() = Method::HEAD;
                let (headers, _) = instance.ask(head).await;
                assert_eq!(headers["content-encoding"], "br");
            }
            instance.ask(request(Method::PUT, &path)).await;
        }
    }
}

/// Promise: a broken cache is a slow cache. Without Redis there are no forms, and the answers are
/// those of the origin.
#[tokio::test]
async fn without_the_server_the_answers_are_the_identity() {
    let server = RedisServer::start().await;
    let version = Arc::new(AtomicUsize::new(1));
    let one = Instance::on(&server, &version);
    one.ask(get("/2000")).await;
    drop(server);
    for _ in 0..3 {
        let coded = with(get("/2000"), "accept-encoding", "br");
        let (headers, got) = one.ask(coded).await;
        assert!(!headers.contains_key("content-encoding"));
        assert_eq!(got, text(1, 2000));
    }
}
