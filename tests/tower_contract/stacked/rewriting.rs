//! A write whose target is rewritten between two layers of one cache: the inner one knows what the
//! service changes.

use http::{Extensions, Method, Request};
use tower::util::MapRequestLayer;
use tower::{Layer, ServiceExt};

use super::layer;
use crate::support::origin::{Origin, answer, cacheable, versions};
use crate::support::{get, put, request, send};

/// RFC 9111 §4.4. A middleware that routes `/old` to `/a`.
#[tokio::test(start_paused = true)]
async fn a_write_rewritten_between_the_layers_invalidates_what_it_changes() {
    let layer = layer();
    let to_a = MapRequestLayer::new(|mut request: Request<()>| {
        if request.uri().path() == "/old" {
            *request.uri_mut() = "/a".parse().expect("a target");
        }
        request
    });
    let service = layer.layer(to_a.layer(layer.layer(versions())));
    assert_eq!(send(&service, get("/a")).await.body, "v1");
    assert_eq!(send(&service, get("/old")).await.body, "v1");
    let written = send(&service, put("/old")).await;
    assert_eq!(written.headers.get_all("cache-status").iter().count(), 1);
    assert_eq!(send(&service, get("/a")).await.body, "v2");
    assert_eq!(send(&service, get("/old")).await.body, "v2");
    assert_eq!(layer.handle().stats().writes.total(), 1);
}

/// A write of unknown outcome, and one whose client leaves.
#[tokio::test(start_paused = true)]
async fn a_rewritten_write_without_an_answer_invalidates_what_it_may_change() {
    let origin = crate::support::origin::slow(|request, _| match *request.method() {
        Method::GET => cacheable("x"),
        _ => answer(504, &[], ""),
    });
    let layer = layer();
    let to_a = MapRequestLayer::new(|mut request: Request<()>| {
        if *request.method() == Method::PUT {
            *request.uri_mut() = "/a".parse().expect("a target");
        }
        request
    });
    let service = layer.layer(to_a.layer(layer.layer(origin.clone())));
    send(&service, get("/a")).await;
    send(&service, put("/old")).await;
    for _ in 0..2 {
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=write-grace");
    }
    tokio::time::advance(super::MINUTE).await;
    for _ in 0..2 {
        send(&service, get("/a")).await;
    }
    let left = tokio::time::timeout(super::SECOND / 1000, send(&service, put("/old"))).await;
    assert!(left.is_err());
    tokio::time::sleep(super::SECOND).await;
    assert!(!send(&service, get("/a")).await.is_hit());
}

/// A layer that has no key for a write leaves it to the next one.
#[tokio::test(start_paused = true)]
async fn a_write_that_the_outer_layer_has_no_key_for_is_one_of_the_inner_layer() {
    let layer = layer();
    let keyless = layer.clone().key_by(|request, key| {
        let is_read = request.method == Method::GET;
        is_read.then_some(key)
    });
    let service = keyless.layer(layer.layer(versions()));
    let inner = layer.layer(versions());
    send(&inner, get("/a")).await;
    assert!(send(&inner, get("/a")).await.is_hit());
    send(&service, put("/a")).await;
    assert!(!send(&inner, get("/a")).await.is_hit());
}

/// A handler of a GET that sends a write with the extensions of its own request.
#[tokio::test(start_paused = true)]
async fn a_write_with_the_mark_of_a_read_invalidates() {
    let layer = layer();
    let items = layer.layer(versions());
    let inner = items.clone();
    let pages = Origin::new(move |request: Request<()>| {
        let (items, extensions): (_, Extensions) = (inner.clone(), request.extensions().clone());
        async move {
            let mut write = put("/a");
            *write.extensions_mut() = extensions;
            items.oneshot(write).await.expect("an answer");
            Ok(answer(200, &[], "page"))
        }
    });
    let service = layer.layer(pages);
    send(&items, get("/a")).await;
    send(&service, request(Method::GET, "/page")).await;
    assert_eq!(send(&items, get("/a")).await.body, "v2");
}
