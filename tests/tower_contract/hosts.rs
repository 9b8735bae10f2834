//! Requests without a host, or with one that is hard to read.

use http::{Method, Request, Version};
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::key::Sites;
use tower_response_cache::stats::Bypass;

use crate::on_both_backends;
use crate::support::origin::{Origin, cacheable, versions};
use crate::support::time::settled;
use crate::support::{in_memory, send};

fn to(target: &str, hosts: &[&str]) -> Request<()> {
    let mut builder = Request::get(target);
    for host in hosts {
        builder = builder.header("host", *host);
    }
    builder.body(()).expect("a request")
}

#[tokio::test(start_paused = true)]
async fn two_hosts_never_share() {
    on_both_backends(async |backend| {
        let origin = Origin::at_once(|request| {
            let host = request.headers()["host"].to_str().expect("visible ASCII");
            cacheable(host.to_owned())
        });
        let service = CacheLayer::new(backend).layer(origin.clone());
        let hosts = ["a.example", "b.example", "a.example:8080"];
        for host in hosts {
            assert_eq!(send(&service, to("/", &[host])).await.body, host);
        }
        settled().await;
        for host in hosts {
            let hit = send(&service, to("/", &[host])).await;
            assert!(hit.is_hit());
            assert_eq!(hit.body, host);
        }
        assert!(send(&service, to("/", &["A.Example:80"])).await.is_hit());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn where_hosts_are_sites_a_write_to_one_leaves_the_other_alone() {
    let service = in_memory().sites(Sites::ByAuthority).layer(versions());
    send(&service, to("/", &["a.example"])).await;
    send(&service, to("/", &["b.example"])).await;
    let mut write = to("/", &["a.example"]);
    *write.method_mut() = Method::PUT;
    send(&service, write).await;
    assert!(!send(&service, to("/", &["a.example"])).await.is_hit());
    assert!(send(&service, to("/", &["b.example"])).await.is_hit());
}

/// A test of an application, or HTTP/1.0: such a request is cached like any other.
#[tokio::test(start_paused = true)]
async fn a_request_without_an_authority_is_cached() {
    on_both_backends(async |backend| {
        let service = CacheLayer::new(backend).layer(versions());
        for (target, hosts) in [("/items", &[][..]), ("/other", &[""])] {
            let first = send(&service, to(target, hosts)).await;
            assert_eq!(first.cache_status(), "fwd=uri-miss; stored");
            settled().await;
            assert!(send(&service, to(target, hosts)).await.is_hit(), "{target}");
        }
        let with_host = send(&service, to("/items", &["a.example"])).await;
        assert!(!with_host.is_hit(), "a host is another key");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn reads_with_an_invalid_host_bypass_the_cache() {
    on_both_backends(async |backend| {
        let layer = CacheLayer::new(backend);
        let service = layer.layer(versions());
        for (target, hosts) in [
            ("/", &["a.example", "a.example"][..]),
            ("/", &["a.example", "b.example"]),
            ("/", &["a.example/b"]),
            ("/", &["user@a.example"]),
        ] {
            for _ in 0..2 {
                let passed = send(&service, to(target, hosts)).await;
                assert_eq!(passed.cache_status(), "fwd=bypass; detail=authority");
                settled().await;
            }
        }
        let stats = layer.handle().stats();
        assert_eq!(stats.bypasses.get(Bypass::Authority), 8);
        assert_eq!(stats.stores, 0);
    })
    .await;
}

/// RFC 9112 §3.2: the service and the cache could take such a write to be for different resources.
#[tokio::test(start_paused = true)]
async fn a_write_with_an_invalid_host_is_refused() {
    on_both_backends(async |backend| {
        let origin = versions();
        let layer = CacheLayer::new(backend);
        let service = layer.layer(origin.clone());
        send(&service, to("/", &["a.example"])).await;
        settled().await;
        let calls = origin.calls();
        let mut refused = 0;
        for (version, target, hosts) in [
            (Version::HTTP_11, "/", &["a.example", "a.example"][..]),
            (Version::HTTP_11, "/", &["a.example", "b.example"]),
            (Version::HTTP_10, "/", &["a.example", "b.example"]),
            (Version::HTTP_11, "/", &["a.example/b"]),
            (Version::HTTP_11, "/", &["user@a.example"]),
            (Version::HTTP_11, "/", &["a.example:port"]),
            (
                Version::HTTP_11,
                "http://a.example/",
                &["b.example", "a.example"],
            ),
            (Version::HTTP_2, "http://a.example/", &["b.example"]),
            (Version::HTTP_2, "http://a.example/", &["a.example:8080"]),
            (Version::HTTP_3, "https://a.example/", &[""]),
        ] {
            for method in ["PUT", "DELETE", "X-UNKNOWN"] {
                let mut write = to(target, hosts);
                *write.method_mut() = method.parse().expect("a method");
                *write.version_mut() = version;
                let answer = send(&service, write).await;
                assert_eq!(answer.status, 400, "{method} {target} {hosts:?}");
                assert_eq!(answer.cache_status(), "detail=authority");
                assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
                assert!(answer.body.starts_with("Bad request: the host is invalid"));
                refused += 1;
            }
        }
        assert_eq!(origin.calls(), calls);
        assert_eq!(layer.handle().stats().bad_requests, refused);
        assert!(send(&service, to("/", &["a.example"])).await.is_hit());
    })
    .await;
}

/// RFC 9112 §3.2.3: only CONNECT may have a target in authority form.
#[tokio::test(start_paused = true)]
async fn a_target_without_a_path_is_refused_unless_it_is_for_connect() {
    let origin = versions();
    let service = in_memory().layer(origin.clone());
    for target in ["a.example:80", "a.example"] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
            let mut request = to(target, &["a.example"]);
            *request.method_mut() = method.clone();
            assert_eq!(
                send(&service, request).await.status,
                400,
                "{method} {target}"
            );
        }
    }
    assert_eq!(origin.calls(), 0);
    let mut tunnel = to("a.example:80", &["a.example"]);
    *tunnel.method_mut() = Method::CONNECT;
    assert_eq!(send(&service, tunnel).await.cache_status(), "fwd=method");
    let mut all = to("*", &["a.example"]);
    *all.method_mut() = Method::OPTIONS;
    assert_eq!(send(&service, all).await.cache_status(), "fwd=method");
}
