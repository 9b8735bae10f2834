//! How long a form lives: as long as its identity, at most; and how often it is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;
use tokio::task::JoinSet;
use tokio::time::advance;
use tower::{Layer, Service};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use super::{CODINGS, Watched, accepting, fetch, page, watched};
use crate::support::origin::{Origin, Response, answer};
use crate::support::puts::ScriptedPuts;
use crate::support::time::{SECOND, in_virtual_time, settled};
use crate::support::{get, put, with};

/// A page with a version, which a PUT counts up. It is fresh for a minute, and validated by its
/// version.
#[derive(Clone)]
pub(super) struct Versions {
    pub(super) origin: Origin,
    version: Arc<AtomicUsize>,
}

impl Versions {
    pub(super) fn new() -> Self {
        let version = Arc::new(AtomicUsize::new(1));
        let current = version.clone();
        let answered = move |request: &Request<()>| -> Response {
            if request.method() == "PUT" {
                current.fetch_add(1, Ordering::SeqCst);
                return answer(204, &[], "");
            }
            let version = current.load(Ordering::SeqCst);
            let tag = format!("\"v{version}\"");
            let lines = [("cache-control", "max-age=60"), ("etag", &*tag)];
            let named = request.headers().get("if-none-match");
            match named.is_some_and(|named| named == &*tag) {
                true => answer(304, &lines, ""),
                false => answer(200, &lines, text(version)),
            }
        };
        Self {
            origin: Origin::at_once(answered),
            version,
        }
    }

    /// Changes the page without a write that the cache sees.
    pub(super) fn change(&self) {
        self.version.fetch_add(1, Ordering::SeqCst);
    }
}

pub(super) fn text(version: usize) -> String {
    page(&format!("v{version}"))
}

/// Promise: one call and one encoding, however many clients ask at once.
#[tokio::test(start_paused = true)]
async fn a_hundred_clients_cause_one_call_and_one_encoding() {
    let (layer, backend) = watched();
    let versions = Versions::new();
    let service = layer.layer(versions.origin.clone());
    let mut clients = JoinSet::new();
    for _ in 0..100 {
        let service = service.clone();
        clients.spawn(async move { fetch(&service, accepting("/a", "gzip")).await });
    }
    while let Some(got) = clients.join_next().await {
        got.expect("an answer").assert_form("gzip", &text(1));
    }
    settled().await;
    assert_eq!((versions.origin.calls(), backend.forms()), (1, 1));
    // One for each coding.
    for coding in ["gzip", "br", "zstd", "br"] {
        fetch(&service, accepting("/a", coding))
            .await
            .assert_form(coding, &text(1));
    }
    settled().await;
    assert_eq!((versions.origin.calls(), backend.forms()), (1, 3));
}

/// Promise: no client can end what others wait for.
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_does_not_end_an_encoding() {
    let (layer, backend) = watched();
    let service = layer.layer(Versions::new().origin);
    fetch(&service, get("/a")).await;
    let mut leaving = Box::pin(service.clone().call(accepting("/a", "br")));
    let polled =
        std::future::poll_fn(|cx| std::task::Poll::Ready(leaving.as_mut().poll(cx).is_ready()));
    assert!(!polled.await, "it is being made");
    drop(leaving);
    settled().await;
    assert_eq!(backend.forms(), 1);
    fetch(&service, accepting("/a", "br"))
        .await
        .assert_form("br", &text(1));
    settled().await;
    assert_eq!(backend.forms(), 1);
}

/// RFC 9111 §4.3.4: the form follows the identity that a 304 has freshened.
#[tokio::test(start_paused = true)]
async fn a_304_of_the_origin_keeps_the_form_and_other_content_makes_a_new_one() {
    let backend = Watched::new(MemoryBackend::default());
    let versions = Versions::new();
    let layer = in_virtual_time(backend.clone()).compress(CODINGS);
    let service = layer.layer(versions.origin.clone());
    fetch(&service, accepting("/a", "gzip"))
        .await
        .assert_form("gzip", &text(1));
    settled().await;
    advance(61 * SECOND).await;
    let validated = fetch(&service, accepting("/a", "gzip")).await;
    validated.assert_form("gzip", &text(1));
    assert!(!validated.is_hit() && layer.handle().stats().validations == 1);
    settled().await;
    let hit = fetch(&service, accepting("/a", "gzip")).await;
    hit.assert_form("gzip", &text(1));
    assert!(hit.is_hit() && hit.header("age") == "0");
    assert_eq!((versions.origin.calls(), backend.forms()), (2, 1));

    versions.change();
    advance(61 * SECOND).await;
    let changed = fetch(&service, accepting("/a", "gzip")).await;
    changed.assert_form("gzip", &text(2));
    assert_eq!(changed.header("etag"), "W/\"v2~gzip\"");
    settled().await;
    fetch(&service, accepting("/a", "gzip"))
        .await
        .assert_form("gzip", &text(2));
    fetch(&service, get("/a"))
        .await
        .assert_form("identity", &text(2));
    settled().await;
    assert_eq!((versions.origin.calls(), backend.forms()), (3, 2));
}

/// A response that is validated each time gets its form each time, made once.
#[tokio::test(start_paused = true)]
async fn a_response_that_is_never_fresh_has_forms_as_well() {
    let (layer, backend) = watched();
    let origin = Origin::at_once(|request| {
        let lines = [("cache-control", "no-cache"), ("etag", "\"a\"")];
        match request.headers().contains_key("if-none-match") {
            true => answer(304, &lines, ""),
            false => answer(200, &lines, page("a")),
        }
    });
    let service = layer.layer(origin.clone());
    for calls in 1..4 {
        fetch(&service, accepting("/a", "zstd"))
            .await
            .assert_form("zstd", &page("a"));
        settled().await;
        assert_eq!((origin.calls(), backend.forms()), (calls, 1));
    }
}

/// RFC 9111 §4.1: each variant has forms of its own.
#[tokio::test(start_paused = true)]
async fn each_variant_has_its_own_forms() {
    let (layer, backend) = watched();
    let origin = Origin::at_once(|request| {
        let language = request.headers().get("accept-language");
        let language = language.map_or("none", |language| language.to_str().expect("ASCII"));
        let lines = [("cache-control", "max-age=60"), ("vary", "Accept-Language")];
        answer(200, &lines, page(language))
    });
    let service = layer.layer(origin.clone());
    for _ in 0..3 {
        for language in ["de", "fr"] {
            let request = with(accepting("/a", "br"), "accept-language", language);
            let got = fetch(&service, request).await;
            assert_eq!((got.coding(), &got.text), ("br", &page(language)));
            assert_eq!(got.header("vary"), "Accept-Language, accept-encoding");
            settled().await;
        }
    }
    assert_eq!((origin.calls(), backend.forms()), (2, 2));
}

/// Promise: what a form takes counts, and can be evicted alone.
#[tokio::test(start_paused = true)]
async fn a_form_counts_in_the_memory_and_is_made_again_once_it_was_evicted() {
    let memory = MemoryBackend::builder()
        .capacity(64 * 1024)
        .max_response_size(8 * 1024)
        .build();
    let backend = Watched::new(memory);
    let service = CacheLayer::new(backend.clone())
        .compress(CODINGS)
        .layer(Versions::new().origin);
    let used = || {
        let usage = tower_response_cache::backend::Backend::usage(&backend);
        usage.expect("it is known").bytes
    };
    fetch(&service, get("/a")).await;
    let identity = used();
    let got = fetch(&service, accepting("/a", "br")).await;
    settled().await;
    assert!(
        used() >= identity + got.sent as u64,
        "{} {identity}",
        used()
    );
    for number in 0..100 {
        fetch(&service, accepting(&format!("/{number}"), "br")).await;
        settled().await;
        assert!(used() <= 64 * 1024);
    }
    assert_eq!(backend.forms(), 101);
    fetch(&service, accepting("/a", "br"))
        .await
        .assert_form("br", &text(1));
    settled().await;
    assert_eq!(backend.forms(), 102);
}

/// Promise: the work that clients cause is bounded: a form that cannot be stored is not made for
/// each of them.
#[tokio::test(start_paused = true)]
async fn a_form_that_the_backend_does_not_store_is_made_once_in_ten_seconds() {
    let (backend, permits) = ScriptedPuts::held();
    let service = in_virtual_time(backend).compress(CODINGS);
    permits.add_permits(1);
    let service = service.layer(Versions::new().origin);
    fetch(&service, get("/a")).await;
    settled().await;
    // The store of the form fails.
    permits.close();
    assert_eq!(
        fetch(&service, accepting("/a", "gzip")).await.coding(),
        "gzip"
    );
    settled().await;
    for _ in 0..3 {
        let got = fetch(&service, accepting("/a", "gzip")).await;
        got.assert_form("identity", &text(1));
    }
    advance(11 * SECOND).await;
    assert_eq!(
        fetch(&service, accepting("/a", "gzip")).await.coding(),
        "gzip"
    );
}

/// A response for one client has no forms: no other one would use them.
#[tokio::test(start_paused = true)]
async fn a_private_response_is_sent_as_it_is() {
    let (layer, backend) = watched();
    let origin = Origin::at_once(|_| {
        answer(
            200,
            &[("cache-control", "private, max-age=60")],
            page("own"),
        )
    });
    let layer = layer.private_by(|request| {
        let client = request.headers.get("x-client")?;
        Some(client.as_bytes().to_vec())
    });
    let service = layer.layer(origin.clone());
    for is_hit in [false, true, true] {
        let request = with(accepting("/a", "br"), "x-client", "alice");
        let got = fetch(&service, request).await;
        got.assert_form("identity", &page("own"));
        assert_eq!(got.is_hit(), is_hit);
        settled().await;
    }
    assert_eq!((origin.calls(), backend.forms()), (1, 0));
}

/// Promise: no stale read after a write, in any form.
#[tokio::test(start_paused = true)]
async fn a_write_ends_all_forms() {
    let (layer, backend) = watched();
    let service = layer.layer(Versions::new().origin);
    for version in 1..4 {
        for coding in ["gzip", "br", "zstd", "identity", "gzip", "br", "zstd"] {
            let got = fetch(&service, accepting("/a?x=1", coding)).await;
            got.assert_form(coding, &text(version));
            settled().await;
        }
        assert_eq!(backend.forms(), 3 * version);
        fetch(&service, put("/a")).await;
    }
}
