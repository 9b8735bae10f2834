//! What nginx reads of a request is what its key was made of.

use super::Nginx;
use super::files::cache_status;
#[cfg(feature = "proxy-tls")]
use super::files::{curl, field};
use crate::call::Http2;
#[cfg(feature = "proxy-tls")]
use crate::certificate::self_signed;
use crate::example::Example;
use crate::raw::exchange;

/// Pages that tell what nginx has read.
const PAGES: &str = "
    location /host {
        add_header Cache-Control max-age=60;
        if ($request_method = PUT) { return 204; }
        return 200 '<$http_host $host>';
    }
    location /language {
        add_header Cache-Control 'public, max-age=60';
        add_header Vary Accept-Language;
        return 200 '<$http_accept_language>';
    }
    location /cookie {
        add_header Cache-Control 'public, max-age=60';
        add_header Vary Cookie;
        return 200 '<$http_cookie>';
    }
    location /scheme {
        add_header Cache-Control max-age=60;
        if ($http_x_forwarded_proto != https) { return 301 https://$host/scheme; }
        return 200 secure;
    }
    location /method {
        add_header Cache-Control max-age=60;
        set $method '$http_x_http_method_override$http_x_http_method$http_x_method_override';
        return 200 '<$method>';
    }
";

async fn both(name: &str) -> (Nginx, Example) {
    let nginx = Nginx::with(name, PAGES, None).await;
    let proxy = Example::start("proxy", &["--upstream", &nginx.url()]).await;
    (nginx, proxy)
}

/// The answer to a request that is the last of its connection.
async fn ask(proxy: &Example, line: &str, lines: &str) -> String {
    let request = format!("{line}\r\n{lines}connection: close\r\n\r\n");
    exchange(proxy.port(), request).await
}

/// RFC 9112 §3.2.2, §3.2: the host of a write is that of its target, in whatever spelling, and
/// without any the one that nginx is told.
#[tokio::test]
async fn a_write_invalidates_for_the_host_that_nginx_reads() {
    let (nginx, proxy) = both("write-host").await;
    let own = format!("127.0.0.1:{}", nginx.port);
    for (write, lines, host) in [
        (
            "PUT http://site.test/host HTTP/1.1",
            "host: other.test\r\n",
            "site.test",
        ),
        (
            "PUT /host HTTP/1.1",
            "host: SITE.test.:080\r\n",
            "site.test",
        ),
        ("PUT /host HTTP/1.0", "", own.as_str()),
    ] {
        let read = async |host: &str| {
            let lines = format!("host: {host}\r\n");
            ask(&proxy, "GET /host HTTP/1.1", &lines).await
        };
        for host in [host, "other.test", host, "other.test"] {
            let said = read(host).await;
            assert!(said.contains(&format!("<{host} ")), "{said}");
        }
        assert!(read(host).await.contains("; hit"), "{write}");
        let written = ask(&proxy, write, &format!("{lines}content-length: 0\r\n")).await;
        assert!(written.contains(" 204 "), "{write}: {written}");
        assert!(!read(host).await.contains("; hit"), "{write}");
        assert!(read("other.test").await.contains("; hit"), "{write}");
    }
}

/// RFC 9110 §4.2.3, §7.2.
#[tokio::test]
async fn nginx_reads_one_spelling_of_a_host() {
    let (nginx, proxy) = both("host").await;
    for (target, host) in [
        ("/host", "SITE.test."),
        ("/host", "site.test:080"),
        ("http://Site.test:80/host", "other.test"),
        ("https://site.test.:443/host", "site.test"),
    ] {
        let lines = format!("host: {host}\r\n");
        let said = ask(&proxy, &format!("GET {target} HTTP/1.1"), &lines).await;
        assert!(
            said.ends_with("<site.test site.test>"),
            "{target} {host}: {said}"
        );
    }
    assert_eq!(nginx.log().await, ["GET /host HTTP/1.1 200"]);
}

/// RFC 9110 §7.6.1: nginx sees no field that `Connection` names, so it makes no variant.
#[tokio::test]
async fn a_variant_is_stored_for_the_fields_that_nginx_reads() {
    let (nginx, proxy) = both("connection").await;
    for (path, name) in [("/language", "accept-language"), ("/cookie", "cookie")] {
        for (lines, expected, is_hit) in [
            (
                format!("connection: {name}\r\n{name}: a=1\r\n"),
                "<>",
                false,
            ),
            (format!("{name}: a=1\r\n"), "<a=1>", false),
            (String::new(), "<>", true),
            (format!("{name}: a=1\r\n"), "<a=1>", true),
        ] {
            let line = format!("GET {path} HTTP/1.1");
            let said = ask(&proxy, &line, &format!("host: a\r\n{lines}")).await;
            assert!(said.ends_with(expected), "{name}: {said}");
            assert_eq!(said.contains("; hit"), is_hit, "{name}: {said}");
        }
    }
    assert_eq!(nginx.log().await.len(), 4);
}

/// RFC 9113 §8.2.3: clients of both versions share the response to the same cookies, which nginx
/// reads as one line over both.
#[tokio::test]
async fn nginx_reads_the_cookies_of_http2_as_one_line() {
    let nginx = Nginx::with("crumbs", PAGES, None).await;
    let (http1, http2) = (nginx.url(), nginx.http2_url());
    for options in [
        &["--upstream", &http1][..],
        &["--upstream", &http2, "--http2-upstream"],
    ] {
        let proxy = Example::start("proxy", options).await;
        let mut client = Http2::connect(proxy.port()).await;
        for (crumbs, expected) in [
            (&["a=1", "b=2"][..], "<a=1; b=2>"),
            (&["a=1; b=2"], "<a=1; b=2>"),
            (&["b=2", "a=1"], "<b=2; a=1>"),
            (&["a=1, b=2"], "<a=1, b=2>"),
        ] {
            let lines: Vec<_> = crumbs.iter().map(|crumb| ("cookie", *crumb)).collect();
            let answer = client.get("/cookie", &lines).await;
            assert_eq!(answer.content.as_deref(), Ok(expected), "{options:?}");
        }
        let lines = "host: test.example\r\ncookie: a=1; b=2\r\n";
        let said = ask(&proxy, "GET /cookie HTTP/1.1", lines).await;
        assert!(said.contains("; hit"), "{options:?}: {said}");
    }
    assert_eq!(nginx.log().await.len(), 6);
}

/// Behind nginx that terminates TLS: its redirect to `https` is stored for `http` alone, and is no
/// loop.
#[cfg(feature = "proxy-tls")]
#[tokio::test]
async fn a_redirect_to_https_is_no_loop_behind_nginx_with_tls() {
    let through = "
        location /scheme {
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_pass http://127.0.0.1:$http_x_port;
        }
    ";
    let origin = Nginx::with("scheme", PAGES, None).await;
    let made = self_signed(&["localhost"]);
    let pem = [made.cert.pem(), made.signing_key.serialize_pem()];
    let front = Nginx::with("terminator", through, Some(pem)).await;
    for forwarding in ["none", "x-forwarded", "both"] {
        let upstream = ["--upstream", &origin.url(), "--trust-forwarded"];
        let options = [&upstream[..], &["--forwarding", forwarding]].concat();
        let proxy = Example::start("proxy", &options).await;
        let port = format!("x-port: {}", proxy.port());
        for status in ["fwd=uri-miss", "hit"] {
            for (url, expected) in [
                (format!("{}/scheme", front.url()), "HTTP/1.1 301"),
                (
                    format!("https://127.0.0.1:{}/scheme", front.tls_port),
                    "HTTP/1.1 200",
                ),
            ] {
                let said = curl(&["--http1.1", "-ik", "-H", &port, &url]).await;
                assert!(said.starts_with(expected), "{forwarding}: {said}");
                assert!(cache_status(&said).starts_with(status), "{said}");
                let is_redirect = expected.ends_with("301");
                assert_eq!(!field(&said, "location").is_empty(), is_redirect);
            }
        }
    }
}

/// Frameworks behind nginx may obey these fields: the response is for nobody else.
#[tokio::test]
async fn a_request_of_another_method_is_forwarded_to_nginx_and_not_stored() {
    let (nginx, proxy) = both("override").await;
    for name in [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ] {
        let line = format!("GET /method/{name} HTTP/1.1");
        let other = format!("host: a\r\n{name}: DELETE\r\n");
        let plain = "host: a\r\n";
        for (lines, expected, status) in [
            (other.as_str(), "<DELETE>", "fwd=bypass"),
            (plain, "<>", "fwd=uri-miss; stored"),
            (other.as_str(), "<DELETE>", "fwd=bypass"),
            (plain, "<>", "hit"),
        ] {
            let said = ask(&proxy, &line, lines).await;
            assert!(said.ends_with(expected), "{name}: {said}");
            assert!(cache_status(&said).starts_with(status), "{name}: {said}");
        }
    }
    assert_eq!(nginx.log().await.len(), 9);
}
