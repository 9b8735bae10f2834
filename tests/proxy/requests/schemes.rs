//! `X-Forwarded-*`, `Forwarded` and the cache key.

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

/// An origin that makes URLs of what it is told: of the host, the port and the path of its site.
async fn naming() -> Origin {
    Origin::start(|heard| {
        let names = ["x-forwarded-host", "x-forwarded-port", "x-forwarded-prefix"];
        let told = names.map(|name| heard.field(name)).join("/");
        let forwarded = heard.field("forwarded");
        let host = forwarded.split(';').find(|pair| pair.starts_with("host="));
        let location = format!("https://{told}{}", host.unwrap_or_default());
        let said = format!(
            "HTTP/1.1 301 Moved\r\ncache-control: max-age=60\r\n\
             location: {location}\r\ncontent-length: 0\r\n\r\n"
        );
        vec![Step::Content, Step::Say(said.into_bytes())]
    })
    .await
}

/// P10: a redirect to the host that one client has made up is none for the clients of another.
#[tokio::test]
async fn a_redirect_to_the_host_that_is_told_is_stored_for_that_host_alone() {
    let origin = naming().await;
    let url = origin.url();
    for forwarding in ["x-forwarded", "forwarded", "both"] {
        for host in ["upstream", "preserve"] {
            let flags = ["--host", host, "--forwarding", forwarding];
            let options = [&["--upstream", url.as_str()][..], &flags].concat();
            let proxy = Example::start("proxy", &options).await;
            for is_hit in [false, true] {
                for name in ["evil.test", "good.test"] {
                    let get = last_get("/").replacen("test.example", name, 1);
                    let said = exchange(proxy.port(), get).await;
                    let location = said.lines().find(|line| line.starts_with("location: "));
                    let location = location.unwrap_or_else(|| panic!("{flags:?}: {said}"));
                    assert!(location.contains(name), "{flags:?} {name}: {said}");
                    assert_eq!(said.contains("; hit"), is_hit, "{flags:?} {name}: {said}");
                }
            }
        }
    }
}

/// What a proxy in front tells beside the scheme makes keys, too; the client's address makes none.
#[tokio::test]
async fn all_that_a_trusted_proxy_tells_is_in_the_key() {
    let origin = naming().await;
    let proxy = trusting_proxy(&origin, "none").await;
    for (line, has_own_key) in [
        ("x-forwarded-host: evil.test", true),
        ("x-forwarded-host: good.test", true),
        ("x_forwarded_host: evil.test", true),
        ("x-forwarded-port: 444", true),
        ("x-forwarded-prefix: /evil", true),
        ("forwarded: for=192.0.2.1;host=evil.test", true),
        ("forwarded: for=192.0.2.1;host=good.test", true),
        ("forwarded: for=192.0.2.2;host=good.test", false),
        ("x-a: b", true),
        ("x-forwarded-for: 192.0.2.1", false),
        ("forwarded: for=192.0.2.1", false),
    ] {
        let said = exchange(proxy.port(), get(line)).await;
        assert_eq!(said.contains("; hit"), !has_own_key, "{line}: {said}");
        let again = exchange(proxy.port(), get(line)).await;
        assert!(again.contains("; hit"), "{line}: {again}");
    }
}
