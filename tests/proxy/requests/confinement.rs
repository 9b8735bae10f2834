//! Paths that lead out of an upstream.

use http::{Method, Request};
use http_body_util::BodyExt;
use tower::{ServiceBuilder, ServiceExt};
use tower_response_cache::proxy::{ErrorResponderLayer, ReverseProxy};
use tower_response_cache::{CacheLayer, backend::MemoryBackend};

use crate::call::{call, get, to};
use crate::example::Example;
use crate::nginx::Nginx;
use crate::origin::{Origin, ok};
use crate::raw::{exchange, last_get};

/// Spellings of a way out of `/public`.
const ESCAPES: [&str; 12] = [
    "/../private",
    "/%2e%2e/private",
    "/.%2E/private",
    "/a/../../private",
    "/a/..%2f..%2fprivate",
    "/a%2f..%2f..%2fprivate",
    "/..\\private",
    "/a/..%5c..%5Cprivate",
    "/..;/private",
    "/a/..;x=1/..;y/private",
    "//../private",
    "/../public/../private",
];

/// nginx resolves dot segments, decodes `%2f` and merges slashes.
#[tokio::test]
async fn no_path_leads_out_of_the_path_of_an_upstream() {
    let nginx = Nginx::start("confined").await;
    std::fs::create_dir_all(nginx.path("public/a")).expect("a folder");
    nginx.write("private", "secret");
    nginx.write("public/page", "public");
    nginx.write("public/private", "also public");
    let url = format!("{}/public", nginx.url());
    let proxy = Example::start("proxy", &["--upstream", &url]).await;
    for path in ESCAPES {
        let said = exchange(proxy.port(), last_get(path)).await;
        assert!(!said.contains("secret"), "{path}: {said}");
        assert!(said.starts_with("HTTP/1.1 400 "), "{path}: {said}");
    }
    for (path, content) in [
        ("/page", "public"),
        ("//page", "public"),
        ("/%70age", "public"),
        ("/a/../page", "public"),
        ("/a/..%2fpage", "public"),
        ("/./a/./../page", "public"),
        ("//private", "also public"),
        ("/private", "also public"),
    ] {
        let said = exchange(proxy.port(), last_get(path)).await;
        assert!(said.ends_with(content), "{path}: {said}");
    }
}

/// The upstream is chosen by the path that its server will see.
#[tokio::test]
async fn an_upstream_is_chosen_by_the_normal_form_of_a_path() {
    let (main, api) = (
        Origin::saying(ok("", "main")).await,
        Origin::saying(ok("", "api")).await,
    );
    let proxy = ReverseProxy::new(&main.url()).expect("a URL");
    let proxy = proxy.upstream("/api", &api.url()).expect("a URL");
    for (path, expected) in [
        ("/api/x", "api"),
        ("/%61pi/x", "api"),
        ("//api/x", "api"),
        ("/x/../api", "api"),
        ("/api/../x", "main"),
        ("/%61pi/%2e%2e/x", "main"),
        ("/api%2fx", "400"),
        ("/api/..%2fx", "400"),
        ("/x/..%2fapi", "400"),
        ("/api/..;/x", "400"),
        ("/api\\x", "400"),
        // Servers that drop parameters take these for paths of the other upstream.
        ("/api;a/x", "400"),
        ("/api;/x", "400"),
        ("/api%3bx/y", "400"),
        ("/;/api;x", "400"),
        ("/x;a/api", "main"),
        ("/api/x;a", "api"),
        ("/apis;x", "main"),
        // It has the whole of its host.
        ("/../x", "main"),
        ("/../api", "api"),
    ] {
        let answer = call(&proxy, to(Method::GET, path, &[("host", "a")])).await;
        let answer = answer.expect("an answer");
        let got = match answer.status.as_u16() {
            200 => answer.content.expect("content"),
            status => status.to_string(),
        };
        assert_eq!(got, expected, "{path}");
    }
}

/// A path that leads out is refused before the cache, with and without a layer there.
#[tokio::test]
async fn a_path_that_leads_out_makes_no_key() {
    let origin = Origin::saying(ok("cache-control: max-age=60\r\n", "page")).await;
    let upstream = ReverseProxy::new(&format!("{}/public", origin.url())).expect("a URL");
    let cached = ServiceBuilder::new()
        .layer(ErrorResponderLayer::new())
        .layer(upstream.request_layer())
        .layer(CacheLayer::new(MemoryBackend::default()))
        .service(upstream.clone());
    for path in ESCAPES {
        for method in [Method::GET, Method::PUT] {
            let request = to(method, path, &[("host", "a")]);
            let bare = call(&upstream, clone(&request)).await.expect("an answer");
            assert_eq!(bare.status, 400, "{path}");
            let answer = cached.clone().oneshot(request).await.expect("an answer");
            assert_eq!(answer.status(), 400, "{path}");
            assert!(!answer.headers().contains_key("cache-status"), "{path}");
            answer.into_body().collect().await.expect("content");
        }
    }
    assert_eq!(origin.heard().len(), 0);
}

fn clone<B: Default>(request: &Request<B>) -> Request<B> {
    let mut copy = Request::new(B::default());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// Servers that remove parameters and empty segments read fewer segments than the proxy.
#[tokio::test]
async fn an_empty_segment_with_parameters_hides_no_way_out() {
    let origin = Origin::saying(ok("", "secret")).await;
    let proxy = ReverseProxy::new(&format!("{}/public", origin.url())).expect("a URL");
    for path in [
        "/;x/../private",
        "/a/;/;/../../../private",
        "/;/%2e%2e/private",
    ] {
        let answer = call(&proxy, get(path)).await.expect("an answer");
        assert_eq!(answer.status, 400, "{path}");
    }
}

/// A prefix is normalized as paths are.
#[tokio::test]
async fn a_prefix_matches_in_whatever_spelling_it_was_configured() {
    let (main, api) = (
        Origin::saying(ok("", "main")).await,
        Origin::saying(ok("", "api")).await,
    );
    let mut wrong = Vec::new();
    for prefix in [
        "/%61pi",
        "/api//",
        "//api",
        "/./api",
        "/x/../api",
        "/a;b",
        "/\u{e4}",
        "/{x}",
        "/%7Bx|",
        "/x^%7c",
    ] {
        let proxy = ReverseProxy::new(&main.url()).expect("a URL");
        let proxy = proxy.upstream(prefix, &api.url()).expect("a prefix");
        let paths: &[_] = match prefix {
            "/a;b" => &["/a;b/x", "/a%3Bb/x"],
            "/\u{e4}" => &["/%c3%a4/x"],
            "/{x}" => &["/{x}", "/%7Bx%7D/y", "/%7bx}/y"],
            "/%7Bx|" => &["/{x|", "/%7bx%7c", "/%7Bx|/y"],
            "/x^%7c" => &["/x%5E%7C/y", "/x^|"],
            _ => &["/api/x"],
        };
        for path in paths {
            let answer = call(&proxy, get(path)).await.expect("an answer");
            if answer.content.as_deref() != Ok("api") {
                wrong.push((prefix, *path));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
