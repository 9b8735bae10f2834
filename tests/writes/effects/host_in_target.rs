//! A key hook that reads the host of the target, as HTTP/2 sends it.

use http::{Method, Request, Version};
use tower::Layer;

use crate::support::origin::{Origin, answer, cacheable};
use crate::support::{in_memory, send};

fn http2(method: Method, uri: &str) -> Request<()> {
    let request = Request::builder().method(method).uri(uri);
    request
        .version(Version::HTTP_2)
        .body(())
        .expect("a request")
}

/// RFC 9111 §4.4: what a response names is keyed as the GET of the client that sent the write.
#[tokio::test]
async fn a_named_resource_is_keyed_by_the_target_as_it_was_sent() {
    let layer = in_memory().key_by(|request, key| {
        let path = format!("/{}{}", request.uri.host()?, key.path());
        Some(key.with_path(path))
    });
    for field in ["location", "content-location"] {
        let origin = Origin::at_once(move |request| match *request.method() {
            Method::GET => cacheable("x"),
            _ => answer(201, &[(field, "/items/7")], ""),
        });
        let service = layer.layer(origin);
        let item = || http2(Method::GET, "https://one.example/items/7");
        send(&service, item()).await;
        assert!(send(&service, item()).await.is_hit());
        send(&service, http2(Method::POST, "https://one.example/items")).await;
        assert!(!send(&service, item()).await.is_hit(), "{field}");
    }
}

/// Promise: a hook names the same resources as it would without the cache's spelling.
#[tokio::test]
async fn also_invalidate_sees_the_target_as_it_was_sent() {
    let layer = in_memory().also_invalidate(|write| {
        let host = write.uri().host().unwrap_or("unknown");
        [format!("/hosts/{host}")]
    });
    let service = layer.layer(Origin::at_once(|_| cacheable("x")));
    let page = || http2(Method::GET, "https://one.example/hosts/one.example");
    send(&service, page()).await;
    send(&service, http2(Method::PUT, "https://one.example/a")).await;
    assert!(!send(&service, page()).await.is_hit());
}
