//! Which stored responses a write means, however its target and its host are spelled.

use std::sync::Arc;

use http::{Method, Request, Version};
use tower::Layer;
use tower_response_cache::key::{Authority, Sites};

use super::origin;
use crate::support::origin::{Origin, answer, versions};
use crate::support::{in_memory, is_stored, send};

fn to(method: Method, target: &str, host: Option<&str>) -> Request<()> {
    let mut builder = Request::builder().method(method).uri(target);
    if let Some(host) = host {
        builder = builder.header("host", host);
    }
    builder.body(()).expect("a request")
}

fn get(target: &str, host: &str) -> Request<()> {
    to(Method::GET, target, Some(host))
}

/// Accepts every write.
fn accepting() -> Origin {
    origin(&Arc::default(), |_| async { Ok(answer(200, &[], "")) })
}

/// The README's own layer: a client that reads by one name and writes by another sees its write.
#[tokio::test(start_paused = true)]
async fn a_write_under_another_host_name_is_seen() {
    for (read, write) in [
        (Some("127.0.0.1:3000"), Some("localhost:3000")),
        (Some("www.example"), Some("internal.example:8080")),
        (Some("www.example"), None),
        (None, Some("www.example")),
        (None, None),
    ] {
        let service = in_memory().layer(versions());
        let ask = || to(Method::GET, "/items", read);
        assert_eq!(send(&service, ask()).await.body, "v1");
        assert!(send(&service, ask()).await.is_hit(), "{read:?}");
        send(&service, to(Method::POST, "/items", write)).await;
        let after = send(&service, ask()).await;
        assert_eq!(after.body, "v2", "{read:?} {write:?}");
    }
}

/// RFC 3986 §6.2.2: the origin takes these for one path.
#[tokio::test(start_paused = true)]
async fn a_write_means_a_path_in_every_spelling() {
    for (read, write) in [
        ("/x", "/%78"),
        ("/%78", "/x"),
        ("/x", "/a/../x"),
        ("/x", "/a/%2E%2e/x"),
        ("/x", "//x"),
        ("/a/b", "/a//b"),
        ("/a!b", "/a%21b"),
        ("/%C3%A9", "/%c3%a9"),
        ("/a%2Fb?q=1", "/a%2fb"),
        ("/", "/a/.."),
    ] {
        let service = in_memory().layer(accepting());
        for path in [read, "/y", "/x/"] {
            send(&service, get(path, "a.example")).await;
        }
        send(&service, to(Method::PUT, write, Some("a.example"))).await;
        let stored = is_stored(&service, get(read, "a.example")).await;
        assert!(!stored, "{read} after {write}");
        for other in ["/y", "/x/"] {
            let stored = is_stored(&service, get(other, "a.example")).await;
            assert!(stored, "{other} after {write}");
        }
    }
}

/// Coarser resources share nothing: each spelling and each host keeps its own response.
#[tokio::test(start_paused = true)]
async fn spellings_and_hosts_of_one_resource_share_no_response() {
    let echo = Origin::at_once(|request| {
        let host = request.headers()["host"].to_str().expect("text");
        crate::support::origin::cacheable(format!("{host} {}", request.uri()))
    });
    let service = in_memory().layer(echo);
    for is_hit in [false, true] {
        for host in ["a.example", "b.example"] {
            for target in ["/x", "/%78", "//x", "/a/../x", "/x?", "/x?a"] {
                let got = send(&service, get(target, host)).await;
                assert_eq!(got.body, format!("{host} {target}"));
                assert_eq!(got.is_hit(), is_hit, "{host} {target}");
            }
        }
    }
}

/// RFC 9112 §3.2.2, RFC 9110 §4.2.3: the resource is the one that the origin is given.
#[tokio::test(start_paused = true)]
async fn where_hosts_are_sites_a_write_means_its_host_in_every_spelling() {
    for (target, host, version) in [
        ("http://site.test/x", "other.test", Version::HTTP_11),
        ("/x", "site.test:080", Version::HTTP_11),
        ("/x", "SITE.test.:80", Version::HTTP_11),
        ("/x", "site%2Etest", Version::HTTP_11),
        ("/x", "site.test", Version::HTTP_10),
        ("http://site.test:80/x", "site.test", Version::HTTP_2),
        ("https://site.test:0443/x", "site.test", Version::HTTP_2),
        // Behind TLS the target does not tell which port is the default one.
        ("/x", "site.test:443", Version::HTTP_11),
        ("/x", "Site.test.:0443", Version::HTTP_11),
        ("https://site.test:80/x", "other.test", Version::HTTP_11),
        ("http://site.test:443/x", "site.test:443", Version::HTTP_2),
    ] {
        let service = in_memory().sites(Sites::ByAuthority).layer(accepting());
        for host in ["site.test", "other.test"] {
            send(&service, get("/x", host)).await;
        }
        let mut write = to(Method::PUT, target, Some(host));
        *write.version_mut() = version;
        send(&service, write).await;
        assert!(
            !is_stored(&service, get("/x", "site.test")).await,
            "{target} {host}"
        );
        assert!(
            is_stored(&service, get("/x", "other.test")).await,
            "{target} {host}"
        );
    }
}

/// One site under two ports shares no response, and a port that is the default of no scheme is
/// another site.
#[tokio::test(start_paused = true)]
async fn where_hosts_are_sites_default_ports_are_one_site_and_share_nothing() {
    let layer = in_memory().sites(Sites::ByAuthority);
    let echo = Origin::at_once(|request| {
        let host = request.headers()["host"].to_str().expect("text");
        crate::support::origin::cacheable(host.to_owned())
    });
    let service = layer.layer(echo);
    let hosts = [
        "site.test",
        "site.test:443",
        "site.test:8443",
        "site.test:8080",
    ];
    for is_hit in [false, true] {
        for host in hosts {
            let got = send(&service, get("/x", host)).await;
            assert_eq!((&*got.body, got.is_hit()), (host, is_hit));
        }
    }
    let named = layer.handle().invalidate("https://site.test:443/x").await;
    named.expect("acknowledged");
    for (host, stays) in std::iter::zip(hosts, [false, false, true, true]) {
        assert_eq!(is_stored(&service, get("/x", host)).await, stays, "{host}");
    }
}

/// A request without an authority is cached, and has a site of its own.
#[tokio::test(start_paused = true)]
async fn where_hosts_are_sites_no_host_is_one_too() {
    let service = in_memory().sites(Sites::ByAuthority).layer(accepting());
    let without = || to(Method::GET, "/x", None);
    send(&service, without()).await;
    send(&service, get("/x", "a.example")).await;
    send(&service, to(Method::PUT, "/x", Some("a.example"))).await;
    assert!(is_stored(&service, without()).await);
    send(&service, to(Method::PUT, "/x", None)).await;
    assert!(!is_stored(&service, without()).await);
}

/// One URL over HTTP/1.1 and cleartext HTTP/2 is one stored response.
#[tokio::test(start_paused = true)]
async fn the_scheme_is_no_part_of_the_key() {
    for target in [
        "http://a.example/x",
        "https://a.example/x",
        "http://a.example:80/x",
    ] {
        let service = in_memory().layer(accepting());
        send(&service, get("/x", "a.example")).await;
        let mut http_2 = to(Method::GET, target, None);
        *http_2.version_mut() = Version::HTTP_2;
        assert!(send(&service, http_2).await.is_hit(), "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_hook_can_add_the_scheme() {
    let layer = in_memory().key_by(|request, key| {
        let scheme = request.uri.scheme_str()?.to_owned();
        Some(key.with_scheme(scheme))
    });
    let service = layer.layer(accepting());
    for is_hit in [false, true] {
        for target in ["http://a.example/x", "https://a.example/x"] {
            let got = send(&service, to(Method::GET, target, None)).await;
            assert_eq!(got.is_hit(), is_hit, "{target}");
        }
    }
    send(&service, to(Method::PUT, "http://a.example/x", None)).await;
    let https = to(Method::GET, "https://a.example/x", None);
    assert!(!is_stored(&service, https).await, "one resource");
}

/// No host is needed to name a resource where all hosts are one site.
#[tokio::test(start_paused = true)]
async fn a_handle_names_a_resource_by_its_path_alone() {
    let layer = in_memory();
    let (service, handle) = (layer.layer(accepting()), layer.handle());
    for uri in [
        "/items",
        "/%69tems?query",
        "//items",
        "http://other.example/items",
        "http://[::1]:3000/a/../items",
    ] {
        for host in [None, Some("a.example"), Some("b.example:8080")] {
            send(&service, to(Method::GET, "/items?page=1", host)).await;
        }
        handle.invalidate(uri).await.expect("acknowledged");
        for host in [None, Some("a.example"), Some("b.example:8080")] {
            let ask = to(Method::GET, "/items?page=1", host);
            assert!(!is_stored(&service, ask).await, "{host:?} {uri}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_hosts_are_sites_a_handle_needs_a_host() {
    let layer = in_memory().sites(Sites::ByAuthority);
    let (service, handle) = (layer.layer(accepting()), layer.handle());
    for host in ["a.example", "b.example"] {
        send(&service, get("/items", host)).await;
    }
    for uri in ["/items", "http://user@a.example/items"] {
        let error = handle.invalidate(uri).await.expect_err("no host");
        assert!(error.is_invalid_uri());
        let told = error.to_string();
        assert!(
            told.contains("host") && told.contains("Sites::ByAuthority"),
            "{told}"
        );
    }
    let done = handle.invalidate("http://A.example:80/items").await;
    done.expect("acknowledged");
    assert!(!is_stored(&service, get("/items", "a.example")).await);
    assert!(is_stored(&service, get("/items", "b.example")).await);
    let fixed = layer.authority(Authority::fixed("shop"));
    let (service, handle) = (fixed.layer(accepting()), fixed.handle());
    send(&service, get("/items", "a.example")).await;
    handle
        .invalidate("/items")
        .await
        .expect("the layer has a host");
    assert!(!is_stored(&service, get("/items", "a.example")).await);
}
