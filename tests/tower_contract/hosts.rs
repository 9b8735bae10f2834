//! Requests without a host, or with one that is hard to read.

use http::{Method, Request};
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
            ("a.example:80", &["a.example"]),
        ] {
            for _ in 0..2 {
                let passed = send(&service, to(target, hosts)).await;
                assert_eq!(passed.cache_status(), "fwd=bypass; detail=authority");
                settled().await;
            }
        }
        let stats = layer.handle().stats();
        assert_eq!(stats.bypasses.get(Bypass::Authority), 10);
        assert_eq!(stats.stores, 0);
    })
    .await;
}
