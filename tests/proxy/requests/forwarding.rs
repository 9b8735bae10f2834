//! Fields and bodies that are forwarded, both ways.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body::Frame;
use http_body_util::Full;
use tower_response_cache::proxy::{Forwarding, HostPolicy, Peer, ProxyErrorKind, ReverseProxy};

use crate::call::{Frames, call, get, to};
use crate::origin::{Origin, Step, ok};

fn proxy(origin: &Origin) -> ReverseProxy {
    ReverseProxy::new(&origin.url()).expect("a URL")
}

/// RFC 9110 §7.6.1: fields of a connection, with those that it names; §7.6.3: `Via`.
#[tokio::test]
async fn fields_of_the_connection_stay_behind() {
    let lines = "connection: X-Hop, close\r\nx-hop: 1\r\nkeep-alive: timeout=5\r\nx-end: to end\r\n\
                 via: 1.0 inner\r\nproxy-authenticate: Basic\r\nupgrade: h2c\r\n";
    let origin = Origin::saying(ok(lines, "hello")).await;
    let asked = [
        ("host", "test.example"),
        ("connection", "x-mine, upgrade, keep-alive"),
        ("x-mine", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers, deflate;q=0.5"),
        ("upgrade", "h2c"),
        ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA"),
        ("proxy-connection", "close"),
        ("proxy-authorization", "Basic x"),
        ("via", "1.1 outer"),
        ("x-end", "to end"),
    ];
    let proxy = proxy(&origin).name("edge-1");
    let answer = call(&proxy, to(Method::GET, "/p?q=%41", &asked)).await;
    let (answer, heard) = (answer.expect("an answer"), origin.heard_one());
    assert_eq!(heard.request_line(), "GET /p?q=%41 HTTP/1.1");
    for (name, expected) in [
        ("host", "test.example"),
        ("connection", "te"),
        ("te", "trailers"),
        ("x-mine", ""),
        ("keep-alive", ""),
        ("upgrade", ""),
        ("proxy-connection", ""),
        ("proxy-authorization", ""),
        ("x-end", "to end"),
        ("content-length", ""),
        ("transfer-encoding", ""),
    ] {
        assert_eq!(heard.field(name), expected, "{name}: {}", heard.head);
    }
    let via = heard.field("via");
    assert!(via.starts_with("1.1 outer | 1.1 edge-1 ("), "{via}");
    for (name, expected) in [
        ("connection", ""),
        ("x-hop", ""),
        ("keep-alive", ""),
        ("proxy-authenticate", ""),
        ("upgrade", ""),
        ("via", "1.0 inner | 1.1 edge-1"),
        ("x-end", "to end"),
        ("content-length", "5"),
    ] {
        assert_eq!(answer.field(name), expected, "{name}: {answer:?}");
    }
    assert_eq!(answer.content.as_deref(), Ok("hello"));
}

/// What a request claims about itself is believed only where that was asked for.
#[tokio::test]
async fn claims_are_removed_or_added_to() {
    let origin = Origin::saying(ok("", "")).await;
    let names = [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-real-ip",
    ];
    let told = "for=192.0.2.1;host=\"test.example\";proto=http";
    for (forwarding, trusted, expected) in [
        (Forwarding::None, false, ["", "", "", "", ""]),
        (
            Forwarding::None,
            true,
            ["for=1", "2", "three", "https", "5"],
        ),
        (Forwarding::Forwarded, false, [told, "", "", "", ""]),
        (
            Forwarding::XForwarded,
            false,
            ["", "192.0.2.1", "test.example", "http", ""],
        ),
        (
            Forwarding::Both,
            true,
            [
                &format!("for=1 | {told}"),
                "2 | 192.0.2.1",
                "three",
                "https",
                "5",
            ],
        ),
    ] {
        let mut proxy = proxy(&origin).forwarding(forwarding);
        if trusted {
            proxy = proxy.trust_forwarded(true);
        }
        let claims = [
            ("host", "test.example"),
            ("forwarded", "for=1"),
            ("x-forwarded-for", "2"),
            ("x-forwarded-host", "three"),
            ("x-forwarded-proto", "https"),
            ("x-real-ip", "5"),
        ];
        let mut request = to(Method::GET, "/", &claims);
        let address = "192.0.2.1".parse().expect("an address");
        request.extensions_mut().insert(Peer::new(address));
        call(&proxy, request).await.expect("an answer");
        let heard = origin.heard_one();
        let got = names.map(|name| heard.field(name));
        assert_eq!(got, expected, "{forwarding:?} {trusted}");
    }
}

/// RFC 9113 §8.2.3
#[tokio::test]
async fn cookies_are_one_line() {
    let origin = Origin::saying(ok("", "")).await;
    let cookies = [
        ("host", "test.example"),
        ("cookie", "a=1"),
        ("cookie", "b=2; c=3"),
    ];
    let asked = call(&proxy(&origin), to(Method::GET, "/", &cookies)).await;
    asked.expect("an answer");
    assert_eq!(origin.heard_one().field("cookie"), "a=1; b=2; c=3");
}

#[tokio::test]
async fn prefixes_bases_and_hosts() {
    let (first, second) = (
        Origin::saying(ok("", "")).await,
        Origin::saying(ok("", "")).await,
    );
    let both = ReverseProxy::new(&first.url())
        .and_then(|proxy| proxy.upstream("/api/", &format!("{}/base/", second.url())))
        .and_then(|proxy| proxy.upstream("/api/v1", &first.url()))
        .expect("URLs");
    let own = both.clone().host(HostPolicy::Upstream);
    for (path, proxy, origin, expected) in [
        ("/", &both, &first, "/"),
        ("/api", &both, &second, "/base/api"),
        ("/api/x?y=/api/v1", &both, &second, "/base/api/x?y=/api/v1"),
        ("/apis", &both, &first, "/apis"),
        ("/api/v1/x", &both, &first, "/api/v1/x"),
        ("/api/v10", &both, &second, "/base/api/v10"),
        ("/%61pi//./../%2F?", &both, &first, "/%61pi//./../%2F?"),
        ("http://test.example/api", &own, &second, "/base/api"),
    ] {
        let request = to(Method::GET, path, &[("host", "test.example")]);
        call(proxy, request).await.expect("an answer");
        let heard = origin.heard_one();
        assert_eq!(heard.request_line(), format!("GET {expected} HTTP/1.1"));
        let own_host = format!("127.0.0.1:{}", origin.port);
        let host = if path.starts_with("http") {
            &own_host
        } else {
            "test.example"
        };
        assert_eq!(heard.field("host"), host, "{path}");
    }
}

#[test]
fn wrong_upstreams_are_explained() {
    for (url, problem) in [
        ("", "\"\": not a URL; use http://HOST[:PORT][/PATH]"),
        (
            "127.0.0.1:8000",
            "the scheme is missing; use http://HOST[:PORT][/PATH]",
        ),
        (
            "/path",
            "the scheme is missing; use http://HOST[:PORT][/PATH]",
        ),
        (
            "ftp://a",
            "\"ftp://a\": unknown scheme; use http:// or https://",
        ),
        (
            "http://u:p@a",
            "\"http://…@a\": user information is not supported",
        ),
        ("http://u:p@a@b", "\"http://…@b\""),
        ("ftp://u:p@a", "\"ftp://…@a\": unknown scheme"),
        ("u:p@a", "\"…@a\""),
        ("u:p://q@a", "\"…@a\""),
        ("http://a/?q", "a query is not supported"),
        ("http://a/#f", "a fragment is not supported"),
        ("http://a#?q", "a fragment is not supported"),
        ("http://a,b", "each server needs a URL of its own"),
        ("http://a,", "each server needs a URL of its own"),
        ("http://a:1,b:2/c", "each server needs a URL of its own"),
        ("http://u:p@a,b", "\"http://…@a,b\": each server"),
        ("http://a:0", "the port is no number from 1 to 65535"),
        ("http://a:65536/b", "the port is no number from 1 to 65535"),
        (
            "http://[::1]:99999",
            "the port is no number from 1 to 65535",
        ),
        #[cfg(not(feature = "proxy-tls"))]
        ("https://a", "https:// needs the feature proxy-tls"),
    ] {
        let error = ReverseProxy::new(url).expect_err(url).to_string();
        assert!(error.contains(problem), "{error}");
    }
    for url in [
        "http://a:",
        "http://a:65535",
        "http://[::1]",
        "http://[::1]:1/b",
        "http://a/b,c",
        "http://a,http://b",
    ] {
        assert!(ReverseProxy::new(url).is_ok(), "{url}");
    }
    let proxy = ReverseProxy::new("http://a").expect("a URL");
    assert!(proxy.clone().upstream("api", "http://a").is_err());
    assert!(proxy.upstream("/api", "a").is_err());
}

/// Each would do nothing, or take the place of another one without a word.
#[test]
fn prefixes_without_an_effect_are_explained() {
    let proxy = ReverseProxy::new("http://a")
        .and_then(|proxy| proxy.upstream("/api", "http://b"))
        .expect("URLs");
    for (prefix, problem) in [
        ("/", "\"/\": all paths begin so"),
        ("//", "all paths begin so"),
        ("/x/..", "all paths begin so"),
        ("/api", "\"/api\": it has an upstream already"),
        ("/api/", "it has an upstream already"),
        ("/%61pi", "it has an upstream already"),
        ("/x?y", "no path of one upstream alone begins so"),
        ("/x#y", "no path of one upstream alone begins so"),
        ("/x y", "no path of one upstream alone begins so"),
        ("/x\ty", "no path of one upstream alone begins so"),
        ("/x%2Fy", "no path of one upstream alone begins so"),
        ("/x\\y", "no path of one upstream alone begins so"),
        ("/x/..;/y", "no path of one upstream alone begins so"),
    ] {
        let error = proxy
            .clone()
            .upstream(prefix, "http://c")
            .expect_err(prefix);
        assert!(error.to_string().contains(problem), "{error}");
    }
    for prefix in ["/api/v1", "/apis", "/api;x", "/a%20b", "/%3f"] {
        assert!(
            proxy.clone().upstream(prefix, "http://c").is_ok(),
            "{prefix}"
        );
    }
}

/// RFC 9110 §9.3.1: content of a GET has no meaning, but upstreams may read it.
#[tokio::test]
async fn content_of_any_method_reaches_the_upstream_whether_or_not_its_length_is_known() {
    let origin = Origin::saying(ok("", "")).await;
    for method in ["GET", "HEAD", "OPTIONS", "DELETE", "POST"] {
        for length in [None, Some("5")] {
            let mut request = Request::builder()
                .method(method)
                .uri("/")
                .header("host", "test.example");
            if let Some(length) = length {
                request = request.header("content-length", length);
            }
            let body = Frames([Frame::data(Bytes::from("hello"))].into());
            let request = request.body(body).expect("a request");
            call(&proxy(&origin), request).await.expect("an answer");
            let heard = origin.heard_one();
            let content = String::from_utf8_lossy(&heard.content);
            let expected = match length {
                None => "5\r\nhello\r\n0\r\n\r\n",
                Some(_) => "hello",
            };
            assert_eq!(content, expected, "{method}: {}", heard.head);
        }
    }
}

/// RFC 9110 §6.5.1: fields that frame, route or store a message are none of its trailers.
#[tokio::test]
async fn trailers_have_no_fields_that_count_in_the_head_alone() {
    let forbidden = [
        "connection",
        "keep-alive",
        "te",
        "upgrade",
        "transfer-encoding",
        "content-length",
        "set-cookie",
        "x-forwarded-for",
        "x_forwarded_host",
    ];
    let named = forbidden.join(", ");
    let lines: String = forbidden.map(|name| format!("{name}: 1\r\n")).concat();
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
         3\r\nabc\r\n0\r\n{lines}x-sum: 5\r\n\r\n"
    );
    let origin = Origin::saying(chunked).await;
    let mut trailers = HeaderMap::new();
    for name in forbidden {
        trailers.insert(name, HeaderValue::from_static("1"));
    }
    trailers.insert("x-check", HeaderValue::from_static("7"));
    let frames = [Frame::data(Bytes::from("one")), Frame::trailers(trailers)];
    let request = Request::put("/")
        .header("host", "test.example")
        .header("trailer", format!("x-check, {named}"));
    let request = request.body(Frames(frames.into())).expect("a request");
    let answer = call(&proxy(&origin), request).await.expect("an answer");
    let trailers = answer.trailers.expect("trailers");
    let names: Vec<_> = trailers.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["x-sum"]);
    let heard = origin.heard_one();
    let content = String::from_utf8_lossy(&heard.content);
    assert_eq!(content, "3\r\none\r\n0\r\nx-check: 7\r\n\r\n");
}

/// Content of a known length keeps it; content of an unknown one is chunked; trailers pass both
/// ways.
#[tokio::test]
async fn content_streams_both_ways_with_its_trailers() {
    let chunked = "HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 5\r\n\r\n";
    let origin = Origin::saying(chunked).await;
    let known = Request::post("/").header("host", "test.example");
    let known = known
        .body(Full::new(Bytes::from("known")))
        .expect("a request");
    let answer = call(&proxy(&origin), known).await.expect("an answer");
    let heard = origin.heard_one();
    assert_eq!(heard.field("content-length"), "5");
    assert_eq!(heard.content, b"known");
    assert_eq!(answer.content.as_deref(), Ok("abcde"));
    assert_eq!(answer.trailers.expect("trailers")["x-sum"], "5");
    assert_eq!(answer.headers.get("transfer-encoding"), None);

    let mut trailers = HeaderMap::new();
    trailers.insert("x-check", HeaderValue::from_static("7"));
    let frames = [
        Frame::data(Bytes::from("one")),
        Frame::data(Bytes::from("two")),
        Frame::trailers(trailers),
    ];
    let body = Frames(frames.into());
    let unknown = Request::put("/")
        .header("host", "test.example")
        .header("trailer", "x-check");
    let unknown = unknown.body(body).expect("a request");
    call(&proxy(&origin), unknown).await.expect("an answer");
    let heard = origin.heard_one();
    assert_eq!(heard.field("transfer-encoding"), "chunked");
    let content = String::from_utf8_lossy(&heard.content);
    assert_eq!(content, "3\r\none\r\n3\r\ntwo\r\n0\r\nx-check: 7\r\n\r\n");
}

/// Answers without content keep their framing.
#[tokio::test]
async fn answers_without_content() {
    for (method, said, length) in [
        (
            Method::HEAD,
            "HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n",
            "12345",
        ),
        (Method::GET, "HTTP/1.1 204 No Content\r\n\r\n", ""),
        (
            Method::GET,
            "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n",
            "",
        ),
        (
            Method::GET,
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "0",
        ),
        (
            Method::GET,
            "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "0",
        ),
    ] {
        let origin = Origin::saying(said).await;
        let request = to(method, "/", &[("host", "test.example")]);
        let answer = call(&proxy(&origin), request).await.expect("an answer");
        assert_eq!(answer.field("content-length"), length, "{said}");
        assert_eq!(answer.field("link"), "", "{said}");
        assert_eq!(answer.content.as_deref(), Ok(""), "{said}");
    }
}

/// RFC 9110 §15.3.6: a 205 has no content, whatever its framing says.
#[tokio::test]
async fn a_205_has_no_content() {
    for said in [
        "HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello",
        "HTTP/1.1 205 Reset Content\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 205 Reset Content\r\nconnection: close\r\n\r\nhello",
        // It is not waited for.
        "HTTP/1.1 205 Reset Content\r\ncontent-length: 5\r\n\r\nhe",
    ] {
        let origin = Origin::saying(said).await;
        let request = to(Method::POST, "/", &[("host", "test.example")]);
        let answer = call(&proxy(&origin), request).await.expect("an answer");
        assert_eq!(answer.status, 205, "{said}");
        assert_eq!(answer.field("content-length"), "0", "{said}");
        assert_eq!(answer.content.as_deref(), Ok(""), "{said}");
    }
}

/// RFC 9110 §15.2: an interim response is none, so it is neither forwarded nor stored.
#[tokio::test]
async fn an_interim_response_is_no_response() {
    for interim in [
        "100 Continue",
        "102 Processing",
        "103 Early Hints",
        "199 Any",
    ] {
        let fresh = "cache-control: max-age=60\r\nlink: </a.css>\r\n";
        let origin = Origin::start(move |heard| {
            let interim = format!("HTTP/1.1 {interim}\r\n{fresh}\r\n");
            let last = match heard.head.contains("/alone") {
                true => Step::Close,
                false => Step::Say(ok("", "hello").into_bytes()),
            };
            vec![Step::Say(interim.into_bytes()), last]
        })
        .await;
        let proxy = proxy(&origin);
        let answer = call(&proxy, get("/")).await.expect("an answer");
        assert_eq!(answer.status, 200, "{interim}");
        assert_eq!(answer.field("cache-control"), "", "{interim}");
        assert_eq!(answer.content.as_deref(), Ok("hello"), "{interim}");
        let failed = call(&proxy, get("/alone")).await.expect_err("no answer");
        assert_eq!(failed.kind(), ProxyErrorKind::Terminated, "{interim}");
    }
}

/// Connections are used again.
#[tokio::test]
async fn connections_are_kept() {
    let origin = Origin::saying(ok("", "hello")).await;
    let proxy = proxy(&origin);
    for _ in 0..3 {
        call(&proxy, get("/")).await.expect("an answer");
    }
    let heard = origin.heard();
    assert!(heard.iter().all(|heard| heard.connection == 0), "{heard:?}");
    let none = proxy
        .max_idle_connections(0)
        .pool_idle_timeout(std::time::Duration::ZERO);
    for _ in 0..2 {
        call(&none, get("/")).await.expect("an answer");
    }
    let heard = origin.heard().into_iter().map(|heard| heard.connection);
    assert_eq!(heard.collect::<Vec<_>>(), [1, 2]);
}
