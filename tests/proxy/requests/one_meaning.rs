//! One request, one meaning: the key, the invalidation and the forwarded request agree, however a
//! request is spelled.

use crate::call::Http2;
use crate::example::Example;
use crate::origin::{Heard, Origin, Step, ok};
use crate::raw::exchange;

/// The example before an origin whose content tells the fields that it was sent.
async fn example(origin: &Origin, options: &[&str]) -> Example {
    let url = origin.url();
    let mut arguments = vec!["--upstream", url.as_str()];
    arguments.extend_from_slice(options);
    Example::start("proxy", &arguments).await
}

/// An origin that answers with the values of these fields, and with `Vary` on those of `vary`.
async fn telling(names: &'static [&'static str], vary: &str) -> Origin {
    let vary = match vary {
        "" => String::new(),
        vary => format!("vary: {vary}\r\n"),
    };
    Origin::start(move |heard: &Heard| {
        let values: Vec<String> = names.iter().map(|name| heard.field(name)).collect();
        let lines = format!("cache-control: public, max-age=60\r\n{vary}");
        let content = format!("<{}>", values.join("/"));
        vec![Step::Content, Step::Say(ok(&lines, &content).into_bytes())]
    })
    .await
}

/// The content of the answer to a request that is the last of its connection.
async fn content(proxy: &Example, target: &str, lines: &str) -> String {
    let said = exchange(
        proxy.port(),
        format!("GET {target} HTTP/1.1\r\n{lines}\r\n"),
    )
    .await;
    let (_, content) = said.split_once("\r\n\r\n").expect("a head");
    content.to_owned()
}

/// RFC 9110 §7.6.1: a field that `Connection` names is for the proxy alone.
#[tokio::test]
async fn a_variant_is_stored_for_the_fields_that_the_origin_saw() {
    let origin = telling(&["accept-language", "origin"], "accept-language, origin").await;
    let proxy = example(&origin, &[]).await;
    let fields = "accept-language: de\r\norigin: http://a\r\n";
    for (lines, expected) in [
        (
            format!("host: a\r\nconnection: close, origin, accept-language\r\n{fields}"),
            "</>",
        ),
        (
            format!("host: a\r\nconnection: close\r\n{fields}"),
            "<de/http://a>",
        ),
        ("host: a\r\nconnection: close\r\n".to_owned(), "</>"),
    ] {
        assert_eq!(content(&proxy, "/", &lines).await, expected, "{lines}");
    }
    assert_eq!(origin.heard().len(), 2);
}

/// A field that is not forwarded makes no variant, and one that the proxy adds does.
#[tokio::test]
async fn fields_that_the_proxy_removes_or_adds_select_as_the_origin_sees_them() {
    let origin = telling(&["x-forwarded-host"], "x-forwarded-host").await;
    let proxy = example(&origin, &[]).await;
    for claimed in ["evil.test", "other.test"] {
        let lines = format!("host: a\r\nconnection: close\r\nx-forwarded-host: {claimed}\r\n");
        assert_eq!(content(&proxy, "/", &lines).await, "<>", "{claimed}");
    }
    assert_eq!(origin.heard().len(), 1);

    let options = ["--host", "upstream", "--forwarding", "x-forwarded"];
    let proxy = example(&origin, &options).await;
    for host in ["one.test", "two.test", "one.test"] {
        let lines = format!("host: {host}\r\nconnection: close\r\n");
        assert_eq!(content(&proxy, "/", &lines).await, format!("<{host}>"));
    }
    assert_eq!(origin.heard().len(), 2);
}

/// RFC 9110 §7.8: an upgrade that is ignored leaves an ordinary request.
#[tokio::test]
async fn an_ignored_upgrade_is_no_other_request() {
    let origin = telling(&["upgrade", "connection"], "").await;
    let proxy = example(&origin, &[]).await;
    for upgrade in ["", "upgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"] {
        let lines = format!("host: a\r\nconnection: close, upgrade, http2-settings\r\n{upgrade}");
        assert_eq!(content(&proxy, "/", &lines).await, "</>", "{upgrade}");
    }
    assert_eq!(origin.heard().len(), 1);
}

/// RFC 9110 §4.2.3, §7.2, RFC 9112 §3.2.2: a reflected host cannot be poisoned by its spelling.
#[tokio::test]
async fn every_spelling_of_a_host_is_one_key_and_the_origin_sees_one() {
    let origin = telling(&["host"], "").await;
    let proxy = example(&origin, &[]).await;
    for (target, host) in [
        ("/d", "SITE.test."),
        ("/d", "site.test"),
        ("/d", "site.test:80"),
        ("/d", "site.test:080"),
        ("/d", "Site.Test.:"),
        ("http://SITE.test:80/d", "site.test"),
        ("http://site.test./d", "other.test"),
        ("https://site.test:443/d", "site.test"),
    ] {
        let lines = format!("host: {host}\r\nconnection: close\r\n");
        assert_eq!(
            content(&proxy, target, &lines).await,
            "<site.test>",
            "{target} {host}"
        );
    }
    assert_eq!(origin.heard().len(), 1);
    // A port that is not the default one is another origin.
    for (target, host, expected) in [
        ("/d", "SITE.test.:0081", "<site.test:81>"),
        ("http://Site.test:443/d", "a", "<site.test:443>"),
        ("/d", "site.test:81", "<site.test:81>"),
    ] {
        let lines = format!("host: {host}\r\nconnection: close\r\n");
        assert_eq!(content(&proxy, target, &lines).await, expected);
    }
    assert_eq!(origin.heard().len(), 2);
}

/// RFC 9113 §8.2.3; cloudflare/pingora#892.
#[tokio::test]
async fn cookies_select_by_their_sequence_and_not_by_their_lines() {
    let origin = telling(&["cookie"], "cookie").await;
    let proxy = example(&origin, &[]).await;
    for (cookies, expected, is_hit) in [
        ("cookie: a=1\r\ncookie: b=2\r\n", "<a=1; b=2>", false),
        ("cookie: a=1; b=2\r\n", "<a=1; b=2>", true),
        ("cookie: a=1, b=2\r\n", "<a=1, b=2>", false),
        ("cookie: b=2\r\ncookie: a=1\r\n", "<b=2; a=1>", false),
    ] {
        let lines = format!("host: a\r\nconnection: close\r\n{cookies}");
        assert_eq!(content(&proxy, "/", &lines).await, expected, "{cookies}");
        assert_eq!(origin.heard().is_empty(), is_hit, "{cookies}");
    }
}

/// N11: HTTP/2 splits cookies (RFC 9113 §8.2.3); its clients share stored responses with those of
/// HTTP/1.1 that send the same cookies in one line.
#[tokio::test]
async fn crumbs_of_http2_are_the_cookies_of_one_line() {
    let origin = telling(&["cookie"], "cookie").await;
    let proxy = example(&origin, &[]).await;
    let mut client = Http2::connect(proxy.port()).await;
    for (crumbs, expected, is_hit) in [
        (&["a=1", "b=2"][..], "<a=1; b=2>", false),
        (&["a=1; b=2"], "<a=1; b=2>", true),
        (&["a=1, b=2"], "<a=1, b=2>", false),
        (&["b=2", "a=1"], "<b=2; a=1>", false),
    ] {
        let lines: Vec<_> = crumbs.iter().map(|crumb| ("cookie", *crumb)).collect();
        let answer = client.get("/", &lines).await;
        assert_eq!(answer.content.as_deref(), Ok(expected), "{crumbs:?}");
        assert_eq!(origin.heard().is_empty(), is_hit, "{crumbs:?}");
    }
    let lines = "host: test.example\r\nconnection: close\r\ncookie: b=2; a=1\r\n";
    assert_eq!(content(&proxy, "/", lines).await, "<b=2; a=1>");
    assert!(origin.heard().is_empty(), "it is a hit");
}

/// RFC 9111 §4.4; RFC 9110 §10.2.2; nginx `proxy_redirect default`; nodejs/undici#5509.
#[tokio::test]
async fn a_location_in_the_name_space_of_the_origin_is_translated_before_it_invalidates() {
    for (base, options, location, expected) in [
        (
            "",
            &["--host", "upstream"][..],
            "http://UPSTREAM/items?q#f",
            "/items?q#f",
        ),
        (
            "/base",
            &["--host", "upstream"],
            "http://UPSTREAM/base/items",
            "/items",
        ),
        ("/base", &["--host", "upstream"], "/base/items", "/items"),
        (
            "/base",
            &[],
            "http://site.test/base/items",
            "http://site.test/items",
        ),
        ("/base", &[], "/base/./items", "/items"),
        ("", &[], "http://UPSTREAM/items", "/items"),
        ("", &[], "http://site.test/items", "http://site.test/items"),
    ] {
        let port = std::sync::Arc::new(std::sync::atomic::AtomicU16::new(0));
        let origin = Origin::start({
            let port = port.clone();
            move |heard: &Heard| {
                let upstream = format!(
                    "127.0.0.1:{}",
                    port.load(std::sync::atomic::Ordering::Relaxed)
                );
                let answer = if heard.request_line().starts_with("POST") {
                    let named = location.replace("UPSTREAM", &upstream);
                    format!(
                        "HTTP/1.1 201 Created\r\nlocation: {named}\r\ncontent-length: 0\r\n\r\n"
                    )
                } else {
                    ok("cache-control: max-age=60\r\n", "items")
                };
                vec![Step::Content, Step::Say(answer.into_bytes())]
            }
        })
        .await;
        port.store(origin.port, std::sync::atomic::Ordering::Relaxed);
        let url = format!("{}{base}", origin.url());
        let mut arguments = vec!["--upstream", url.as_str()];
        arguments.extend_from_slice(options);
        let proxy = Example::start("proxy", &arguments).await;
        let lines = "host: site.test\r\nconnection: close\r\n";
        let get = format!("GET /items HTTP/1.1\r\n{lines}\r\n");
        let post = format!("POST /orders HTTP/1.1\r\n{lines}content-length: 0\r\n\r\n");
        exchange(proxy.port(), &get).await;
        let answer = exchange(proxy.port(), post).await;
        assert!(
            answer.contains(&format!("\r\nlocation: {expected}\r\n")),
            "{base} {options:?} {location}: {answer}"
        );
        exchange(proxy.port(), get).await;
        let heard = origin.heard();
        assert_eq!(heard.len(), 3, "{base} {options:?} {location}: invalidated");
    }
}

/// RFC 9112 §3.2: a request of HTTP/1.0 may name no host. It is for the one that its upstream is
/// told, so that its write is seen by all who read there.
#[tokio::test]
async fn a_request_without_host_is_for_the_host_that_its_upstream_is_told() {
    let names = &["host", "x-forwarded-host"];
    let (origin, other) = (telling(names, "").await, telling(names, "").await);
    let prefixed = format!("/api={}", other.url());
    let options = ["--upstream", &prefixed, "--forwarding", "x-forwarded"];
    let proxy = example(&origin, &options).await;
    for (upstream, target) in [(&origin, "/x"), (&other, "/api/x")] {
        let url = upstream.url();
        let host = url.strip_prefix("http://").expect("a URL");
        let ask = async || {
            let lines = format!("host: {host}\r\nconnection: close\r\n");
            content(&proxy, target, &lines).await
        };
        let without = async |method| {
            let said = exchange(proxy.port(), format!("{method} {target} HTTP/1.0\r\n\r\n")).await;
            let (_, content) = said.split_once("\r\n\r\n").expect("a head");
            content.to_owned()
        };
        assert_eq!(ask().await, format!("<{host}/{host}>"));
        assert_eq!(without("GET").await, ask().await, "one key");
        assert_eq!(upstream.heard().len(), 1);
        assert_eq!(without("DELETE").await, format!("<{host}/{host}>"));
        ask().await;
        assert_eq!(upstream.heard().len(), 2, "the write is seen: {target}");
    }
}
