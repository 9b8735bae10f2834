//! One request, one meaning: requests with one key reach the service in one form, however they were
//! spelled.

use std::time::Duration;

use http::{HeaderValue, Method, Request, Version};
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::key::Authority;

use crate::support::origin::{Origin, answer, cacheable};
use crate::support::time::settled;
use crate::support::{in_memory, send};

/// The service's view of a request.
fn seen(request: &Request<()>) -> String {
    let values = |name| {
        let lines = request.headers().get_all(name).iter();
        let lines: Vec<_> = lines.map(HeaderValue::as_bytes).collect();
        String::from_utf8_lossy(&lines.join(&b" | "[..])).into_owned()
    };
    format!(
        "{} {} <{}>",
        request.uri(),
        values("host"),
        values("cookie")
    )
}

/// A service that reflects its requests.
fn reflecting(vary: &'static str) -> Origin {
    Origin::at_once(move |request| {
        let mut response = cacheable(seen(request));
        let headers = response.headers_mut();
        headers.insert("vary", HeaderValue::from_static(vary));
        // Requests with a cookie are stored with explicit freshness.
        headers.insert(
            "cache-control",
            HeaderValue::from_static("public, max-age=3600"),
        );
        response
    })
}

fn to(method: Method, version: Version, target: &str, lines: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder()
        .method(method)
        .uri(target)
        .version(version);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

fn get(version: Version, target: &str, lines: &[(&str, &str)]) -> Request<()> {
    to(Method::GET, version, target, lines)
}

/// RFC 9110 §4.2.3, §7.2; RFC 9112 §3.2.2; RFC 9113 §8.3.1: a reflected host cannot be poisoned by
/// its spelling, nor a reflected target by its form or its scheme.
#[tokio::test(start_paused = true)]
async fn every_spelling_of_a_target_reaches_the_service_as_one() {
    use Version as V;
    let spellings = [
        (V::HTTP_11, "/d", &[("host", "SITE.test.")][..]),
        (V::HTTP_11, "/d", &[("host", "site.test")]),
        (V::HTTP_11, "/d", &[("host", "site.test:80")]),
        (V::HTTP_11, "/d", &[("host", "site.test:080")]),
        (V::HTTP_11, "http://Site.test/d", &[("host", "other.test")]),
        (V::HTTP_11, "https://site.test:443/d", &[]),
        (V::HTTP_2, "https://site.test:443/d", &[]),
        (V::HTTP_2, "http://site.test./d", &[("host", "site.test")]),
    ];
    for (version, target, lines) in spellings {
        let origin = reflecting("");
        let service = in_memory().layer(origin.clone());
        let first = send(&service, get(version, target, lines)).await;
        assert_eq!(
            first.body, "/d site.test <>",
            "{version:?} {target} {lines:?}"
        );
        settled().await;
        for (version, target, lines) in spellings {
            let other = send(&service, get(version, target, lines)).await;
            assert!(other.is_hit(), "{version:?} {target} {lines:?}");
            assert_eq!(other.body, first.body);
        }
        assert_eq!(origin.calls(), 1);
    }
}

/// The background refresh of a stale response is a request like any other.
#[tokio::test(start_paused = true)]
async fn a_refresh_reaches_the_service_in_the_form_of_the_key() {
    let fresh = ("cache-control", "max-age=10, stale-while-revalidate=60");
    let origin = Origin::at_once(move |request| answer(200, &[fresh], seen(request)));
    let service = in_memory().layer(origin.clone());
    let plain = || get(Version::HTTP_11, "/d", &[("host", "site.test")]);
    send(&service, plain()).await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    let odd = get(Version::HTTP_2, "https://SITE.test.:443/d", &[]);
    assert!(send(&service, odd).await.is_hit());
    settled().await;
    assert_eq!(send(&service, plain()).await.body, "/d site.test <>");
    assert_eq!(origin.calls(), 2);
}

/// A key hook that adds the scheme tells the schemes apart, so the service sees them.
#[tokio::test(start_paused = true)]
async fn a_scheme_in_the_key_reaches_the_service() {
    let origin = reflecting("");
    let service = in_memory()
        .key_by(|request, key| {
            Some(match request.uri.scheme_str() {
                Some(scheme) => key.with_scheme(scheme),
                None => key,
            })
        })
        .layer(origin.clone());
    for (target, expected) in [
        (
            "https://SITE.test:443/d?q",
            "https://site.test/d?q site.test <>",
        ),
        ("http://site.test./d?q", "http://site.test/d?q site.test <>"),
        ("/d?q", "/d?q site.test <>"),
    ] {
        let request = get(Version::HTTP_11, target, &[("host", "site.test")]);
        assert_eq!(send(&service, request).await.body, expected);
    }
    assert_eq!(origin.calls(), 3);
}

/// Where all hosts share a key, the client's host does not reach the service.
#[tokio::test(start_paused = true)]
async fn a_fixed_authority_is_the_host_that_the_service_sees() {
    for target in ["/d", "http://evil.test/d"] {
        let service = CacheLayer::new(MemoryBackend::default())
            .authority(Authority::fixed("Shop.test"))
            .layer(reflecting(""));
        let request = get(Version::HTTP_11, target, &[("host", "evil.test")]);
        assert_eq!(send(&service, request).await.body, "/d shop.test <>");
    }
}

/// RFC 9113 §8.2.3; cloudflare/pingora#892: a service that reads the first line of `Cookie` only
/// does not spoil the variant of the whole.
#[tokio::test(start_paused = true)]
async fn cookies_select_by_their_sequence_and_reach_the_service_as_one_line() {
    let origin = reflecting("cookie");
    let service = in_memory().layer(origin.clone());
    let host = ("host", "site.test");
    for (version, lines, expected, is_hit) in [
        (
            Version::HTTP_2,
            &[host, ("cookie", "a=1"), ("cookie", "b=2")][..],
            "a=1; b=2",
            false,
        ),
        (
            Version::HTTP_11,
            &[host, ("cookie", "a=1; b=2")],
            "a=1; b=2",
            true,
        ),
        (
            Version::HTTP_11,
            &[host, ("cookie", "a=1, b=2")],
            "a=1, b=2",
            false,
        ),
        (
            Version::HTTP_11,
            &[host, ("cookie", "b=2; a=1")],
            "b=2; a=1",
            false,
        ),
        (
            Version::HTTP_2,
            &[host, ("cookie", "b=2"), ("cookie", "a=1")],
            "b=2; a=1",
            true,
        ),
    ] {
        let answer = send(&service, get(version, "/d", lines)).await;
        assert_eq!(answer.body, format!("/d site.test <{expected}>"));
        assert_eq!(answer.is_hit(), is_hit, "{lines:?}");
        settled().await;
    }
}

/// RFC 9112 §3.2.2: the service writes to the resource that the cache invalidates.
#[tokio::test(start_paused = true)]
async fn a_write_reaches_the_service_in_the_form_of_its_resource() {
    for (version, target, lines, expected) in [
        (
            Version::HTTP_11,
            "http://SITE.test:80/x?q",
            &[("host", "other.test")][..],
            "/x?q site.test <>",
        ),
        (
            Version::HTTP_11,
            "/x",
            &[("host", "SITE.test.")],
            "/x site.test <>",
        ),
        (
            Version::HTTP_2,
            "https://site.test/x",
            &[("cookie", "a=1"), ("cookie", "b=2")],
            "/x site.test <a=1; b=2>",
        ),
        (Version::HTTP_10, "/x", &[], "/x  <>"),
    ] {
        let service = in_memory().layer(reflecting(""));
        let write = to(Method::PUT, version, target, lines);
        assert_eq!(send(&service, write).await.body, expected, "{target}");
    }
}

/// A client as the inner service needs targets in absolute form, also of writes: hyper-util's ends
/// all others with `UserAbsoluteUriRequired`.
#[tokio::test(start_paused = true)]
async fn every_request_keeps_the_scheme_that_its_key_has() {
    let layer =
        || in_memory().key_by(|request, key| Some(key.with_scheme(request.uri.scheme_str()?)));
    for (method, target, expected) in [
        (
            Method::PUT,
            "http://SITE.test:80/x?q",
            "http://site.test/x?q site.test <>",
        ),
        (
            Method::POST,
            "https://site.test:443/x",
            "https://site.test/x site.test <>",
        ),
        (
            Method::DELETE,
            "http://site.test:8080",
            "http://site.test:8080/ site.test:8080 <>",
        ),
        (
            Method::GET,
            "https://site.test:80/x",
            "https://site.test:80/x site.test:80 <>",
        ),
    ] {
        let service = layer().layer(reflecting(""));
        let request = to(method, Version::HTTP_11, target, &[]);
        assert_eq!(send(&service, request).await.body, expected);
    }
    // Where all hosts share a key, a write keeps its own.
    let fixed = layer().authority(Authority::fixed("shop.test"));
    let service = fixed.layer(reflecting(""));
    let write = to(Method::PUT, Version::HTTP_11, "http://Site.test/x", &[]);
    let seen = send(&service, write).await.body;
    assert_eq!(seen, "http://site.test/x site.test <>");
}
