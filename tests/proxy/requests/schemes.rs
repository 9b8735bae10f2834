//! `X-Forwarded-Proto`, `Forwarded` and the cache key.

use crate::example::Example;
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{exchange, last_get};

/// An origin that redirects requests of `http` to `https`.
async fn redirecting() -> Origin {
    Origin::start(|heard| {
        let told = format!(
            "{};{}",
            heard.field("x-forwarded-proto"),
            heard.field("forwarded")
        );
        let redirect = "HTTP/1.1 301 Moved\r\ncache-control: max-age=60\r\n\
                        location: https://site.test/\r\ncontent-length: 0\r\n\r\n";
        vec![
            Step::Content,
            Step::Say(match told.contains("https") {
                true => fresh("secure").into_bytes(),
                false if heard.head.starts_with("GET") => redirect.into(),
                false => ok("", "").into_bytes(),
            }),
        ]
    })
    .await
}

/// A proxy behind another one, whose fields it trusts.
async fn trusting_proxy(origin: &Origin, forwarding: &str) -> Example {
    let url = origin.url();
    let options = [
        "--upstream",
        &url,
        "--trust-forwarded",
        "--forwarding",
        forwarding,
    ];
    Example::start("proxy", &options).await
}

fn get(line: &str) -> String {
    last_get("/").replace("connection:", &format!("{line}\r\nconnection:"))
}

/// Behind a terminator of TLS, the redirect of one scheme is no answer to the other.
#[tokio::test]
async fn a_redirect_to_https_is_stored_for_http_alone() {
    for (option, http, https) in [
        (
            "x-forwarded",
            "x-forwarded-proto: http",
            "x-forwarded-proto: https",
        ),
        ("x-forwarded", "x-a: b", "x-forwarded-proto: https"),
        (
            "none",
            "x-forwarded-proto: http",
            "x-forwarded-proto: https",
        ),
    ] {
        let origin = redirecting().await;
        let proxy = trusting_proxy(&origin, option).await;
        for is_hit in [false, true] {
            let said = exchange(proxy.port(), get(http)).await;
            assert!(said.starts_with("HTTP/1.1 301 "), "{option}: {said}");
            assert_eq!(said.contains("; hit"), is_hit, "{option}: {said}");
            let said = exchange(proxy.port(), get(https)).await;
            assert!(said.ends_with("secure"), "{option}: {said}");
            assert_eq!(said.contains("; hit"), is_hit, "{option}: {said}");
        }
    }
}

/// A write invalidates the stored responses of both schemes.
#[tokio::test]
async fn a_write_invalidates_the_responses_of_all_schemes() {
    let origin = redirecting().await;
    let proxy = trusting_proxy(&origin, "x-forwarded").await;
    let (http, https) = (
        get("x-forwarded-proto: http"),
        get("x-forwarded-proto: https"),
    );
    for request in [&http, &https] {
        exchange(proxy.port(), request).await;
        assert!(exchange(proxy.port(), request).await.contains("; hit"));
    }
    exchange(proxy.port(), http.replacen("GET", "PUT", 1)).await;
    for request in [&http, &https] {
        assert!(!exchange(proxy.port(), request).await.contains("; hit"));
    }
}

/// A stranger's claim is removed, and makes no key.
#[tokio::test]
async fn a_claim_of_a_scheme_that_is_not_trusted_makes_no_key() {
    let origin = redirecting().await;
    let url = origin.url();
    let proxy = Example::start("proxy", &["--upstream", &url, "--forwarding", "both"]).await;
    for (line, is_hit) in [
        ("x-a: b", false),
        ("x-forwarded-proto: https", true),
        ("forwarded: proto=https", true),
    ] {
        let said = exchange(proxy.port(), get(line)).await;
        assert!(said.starts_with("HTTP/1.1 301 "), "{said}");
        assert_eq!(said.contains("; hit"), is_hit, "{said}");
    }
}

/// The proxy may add an element of its own; upstreams differ in the element that they read.
#[tokio::test]
async fn all_schemes_of_forwarded_are_in_the_key() {
    for forwarding in ["forwarded", "both", "none"] {
        let origin = Origin::start(|heard| match heard.head.to_lowercase().contains("proto=https") {
            false => vec![Step::Say("HTTP/1.1 301 Moved\r\nlocation: https://test.example/\r\ncache-control: max-age=60\r\ncontent-length: 0\r\n\r\n".into())],
            true => vec![Step::Say(fresh("page").into_bytes())],
        }).await;
        let proxy = trusting_proxy(&origin, forwarding).await;
        let ask = |proto: &str| {
            format!(
                "GET / HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\nforwarded: for=192.0.2.1;proto={proto}\r\n\r\n"
            )
        };
        exchange(proxy.port(), ask("http")).await;
        let said = exchange(proxy.port(), ask("https")).await;
        assert!(said.ends_with("page"), "{forwarding}: {said}");
    }
}
