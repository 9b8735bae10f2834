//! Nobody without the token acts or looks, whatever they send.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, advance};
use tower::Layer;
use tower_response_cache::admin::Admin;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{Cache, CacheLayer};

use super::calls::{Answer, TOKEN, call, request};
use crate::support::logs::Logs;
use crate::support::origin::{Origin, cacheable};
use crate::support::{get, is_stored, send};

const PATHS: [&str; 2] = ["/a", "/b"];

/// A cache with stored responses.
async fn cache() -> (CacheLayer<MemoryBackend>, Cache<Origin, MemoryBackend>) {
    let layer = CacheLayer::new(MemoryBackend::default());
    let service = layer.layer(Origin::at_once(|_| cacheable("stored")));
    for path in PATHS {
        send(&service, get(path)).await;
    }
    (layer, service)
}

async fn all_stored(service: &Cache<Origin, MemoryBackend>) -> bool {
    for path in PATHS {
        if !is_stored(service, get(path)).await {
            return false;
        }
    }
    true
}

type Sent = (
    &'static str,
    &'static str,
    Vec<(&'static str, String)>,
    &'static str,
);

const ALL: &str = r#"{"type":"all"}"#;
const JSON: (&str, &str) = ("content-type", "application/json");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn sent(
    method: &'static str,
    path: &'static str,
    lines: &[(&'static str, &str)],
    content: &'static str,
) -> Sent {
    let lines = lines
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()));
    (method, path, lines.collect(), content)
}

async fn answer(admin: &Admin, (method, path, lines, content): &Sent) -> Answer {
    let lines: Vec<_> = lines
        .iter()
        .map(|(name, value)| (*name, &**value))
        .collect();
    call(admin, request(method, path, &lines, *content)).await
}

/// Every way to invalidate, with these lines.
fn mutations(lines: &[(&'static str, &str)]) -> Vec<Sent> {
    let and = |more: &[(&'static str, &'static str)]| [lines, more].concat();
    vec![
        sent("POST", "/invalidate", &and(&[JSON]), ALL),
        sent(
            "POST",
            "/invalidate",
            &and(&[JSON]),
            r#"{"type":"uri","selectors":["/a"]}"#,
        ),
        sent("PURGE", "/a", lines, ""),
        sent("PURGE", "/", &and(&[("surrogate-key", "g")]), ""),
    ]
}

/// All are refused with one of the statuses, and nothing happens.
async fn refused(admin: &Admin, requests: Vec<Sent>, statuses: &[u16]) {
    for request in requests {
        let answer = answer(admin, &request).await;
        assert!(
            statuses.contains(&answer.status.as_u16()),
            "{request:?}: {answer:?}"
        );
        assert_eq!(answer.header("cache-control"), "no-store", "{request:?}");
        assert_eq!(
            answer.status == 401,
            answer.headers.contains_key("www-authenticate")
        );
        assert!(
            !answer.text.contains(TOKEN) && !answer.text.contains("stored"),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn without_the_token_nothing_is_invalidated_and_nothing_is_shown() {
    let (layer, service) = cache().await;
    let admin = Admin::new(layer.handle()).token(TOKEN);
    let right = format!("Bearer {TOKEN}");
    let wrong = [
        "Bearer wrong-token-wrong-token",
        &right[..right.len() - 1],
        &format!("{right}0"),
        &right.to_uppercase(),
        "Bearer ",
        "Bearer",
        TOKEN,
        &format!("Basic {TOKEN}"),
        &format!("Bearer \"{TOKEN}\""),
        &format!("Bearer {TOKEN},{TOKEN}"),
    ];
    let mut requests = mutations(&[]);
    for value in wrong {
        requests.extend(mutations(&[("authorization", value)]));
        requests.push(sent("GET", "/stats", &[("authorization", value)], ""));
        requests.push(sent("GET", "/metrics", &[("authorization", value)], ""));
        requests.push(sent("HEAD", "/stats", &[("authorization", value)], ""));
        let explain = [("authorization", value), JSON];
        requests.push(sent("POST", "/explain", &explain, r#"{"uri":"/a"}"#));
    }
    // The token in two lines, or in another place than its own.
    requests.extend(mutations(&[
        ("authorization", &right),
        ("authorization", "Basic x"),
    ]));
    requests.extend(mutations(&[("cookie", &format!("token={TOKEN}"))]));
    requests.extend(mutations(&[("x-token", TOKEN), ("x-api-key", TOKEN)]));
    for path in [
        "/stats?token=0123456789abcdef0123456789abcdef",
        "/stats?access_token=0123456789abcdef0123456789abcdef",
        "/metrics?authorization=Bearer%200123456789abcdef0123456789abcdef",
    ] {
        requests.push(sent("GET", path, &[], ""));
    }
    let path = "/invalidate?token=0123456789abcdef0123456789abcdef";
    requests.push(sent("POST", path, &[JSON], ALL));
    refused(&admin, requests, &[401]).await;
    assert!(all_stored(&service).await);
    assert_eq!(layer.handle().stats().invalidations, 0);
}

#[tokio::test]
async fn without_a_configured_token_nothing_is_allowed_that_was_not_asked_for() {
    let (layer, service) = cache().await;
    let reads = || {
        vec![
            sent("GET", "/stats", &[], ""),
            sent("GET", "/metrics", &[], ""),
            sent("POST", "/explain", &[JSON], r#"{"uri":"/a"}"#),
        ]
    };
    let admin = Admin::new(layer.handle());
    let mut requests = [mutations(&[]), reads()].concat();
    requests.extend(mutations(&[(
        "authorization",
        "Bearer anything-at-all-here",
    )]));
    refused(&admin, requests, &[403]).await;
    // With open reads, the rest stays closed.
    let admin = admin.allow_unauthenticated_reads(true);
    refused(&admin, mutations(&[]), &[403]).await;
    for request in reads() {
        assert_eq!(answer(&admin, &request).await.status, 200, "{request:?}");
    }
    assert!(all_stored(&service).await);
    let admin = admin.allow_unauthenticated(true);
    for request in mutations(&[]) {
        assert_eq!(answer(&admin, &request).await.status, 200, "{request:?}");
    }
    assert!(!is_stored(&service, get("/a")).await);
}

/// Who presents a token is told that it is wrong, also where none is needed.
#[tokio::test]
async fn a_wrong_token_is_refused_where_none_is_needed() {
    let (layer, service) = cache().await;
    let admin = Admin::new(layer.handle()).token(TOKEN);
    let admin = admin.allow_unauthenticated(true);
    let wrong = [("authorization", "Bearer wrong-token-wrong-token")];
    let mut requests = mutations(&wrong);
    requests.push(sent("GET", "/stats", &wrong, ""));
    refused(&admin, requests, &[401]).await;
    assert!(all_stored(&service).await);
    let without = sent("GET", "/stats", &[], "");
    assert_eq!(answer(&admin, &without).await.status, 200);
}

#[tokio::test]
async fn another_site_cannot_make_a_browser_act() {
    let (layer, service) = cache().await;
    let right = format!("Bearer {TOKEN}");
    let fields: [&[(&str, &str)]; 9] = [
        &[("origin", "http://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:9091")],
        &[("origin", "http://127.0.0.1")],
        &[("origin", "file://127.0.0.1:9090")],
        &[("origin", "garbage")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[
            ("sec-fetch-site", "cross-site"),
            ("origin", "http://127.0.0.1:9090"),
        ],
    ];
    let with_token = Admin::new(layer.handle()).token(TOKEN);
    let open = Admin::new(layer.handle()).allow_unauthenticated(true);
    for lines in fields {
        refused(&open, mutations(lines), &[403]).await;
        let token = [lines, &[("authorization", &*right)]].concat();
        refused(&with_token, mutations(&token), &[403]).await;
        let read = sent("GET", "/stats", lines, "");
        refused(&open, vec![read], &[403]).await;
    }
    // What a form can send, from an old browser that adds neither field.
    for content_type in ["text/plain", FORM.1, "multipart/form-data; boundary=x", ""] {
        let lines = [("content-type", content_type)];
        refused(
            &open,
            vec![sent("POST", "/invalidate", &lines, ALL)],
            &[415],
        )
        .await;
    }
    refused(&open, vec![sent("POST", "/invalidate", &[], ALL)], &[415]).await;
    // A preflight gets no permission.
    let asks = [
        ("origin", "http://evil.example"),
        ("access-control-request-method", "PURGE"),
    ];
    let preflight = answer(&open, &sent("OPTIONS", "/invalidate", &asks, "")).await;
    assert_eq!(preflight.status, 405);
    assert!(
        preflight
            .headers
            .keys()
            .all(|name| !name.as_str().starts_with("access-control"))
    );
    assert!(all_stored(&service).await);
    // The page itself may act.
    let own = [
        ("origin", "http://127.0.0.1:9090"),
        ("sec-fetch-site", "same-origin"),
        JSON,
    ];
    assert_eq!(
        answer(&open, &sent("POST", "/invalidate", &own, ALL))
            .await
            .status,
        200
    );
    assert!(!is_stored(&service, get("/a")).await);
}

#[tokio::test]
async fn a_foreign_name_for_this_machine_needs_the_token() {
    let (layer, service) = cache().await;
    let open = Admin::new(layer.handle()).allow_unauthenticated(true);
    let host = ("host", "evil.example:9090");
    let origin = ("origin", "http://evil.example:9090");
    let posts = || {
        vec![
            sent("GET", "/stats", &[host], ""),
            sent("POST", "/invalidate", &[host, origin, JSON], ALL),
            sent("POST", "/invalidate", &[host, JSON], ALL),
            sent("PURGE", "/a", &[host, origin], ""),
            sent("GET", "/metrics", &[("host", "127.0.0.1.evil.example")], ""),
            sent("GET", "/metrics", &[("host", "localhost.evil.example")], ""),
        ]
    };
    refused(&open, posts(), &[403]).await;
    assert!(all_stored(&service).await);
    // Names of the operator's own, and addresses.
    let named = open.hosts(["Ops.Example"]);
    for value in [
        "ops.example",
        "OPS.example:9090",
        "localhost:1",
        "[::1]:9090",
        "10.0.0.7",
    ] {
        let read = sent("GET", "/stats", &[("host", value)], "");
        assert_eq!(answer(&named, &read).await.status, 200, "{value}");
    }
    // A name with a port is that name.
    let named = named.hosts(["ops.example:8443"]);
    let read = sent("GET", "/stats", &[("host", "ops.example")], "");
    assert_eq!(answer(&named, &read).await.status, 200);
    // With the token, the name does not matter.
    let token = Admin::new(layer.handle()).token(TOKEN);
    let lines = [host, ("authorization", &*format!("Bearer {TOKEN}"))];
    assert_eq!(
        answer(&token, &sent("GET", "/stats", &lines, ""))
            .await
            .status,
        200
    );
}

/// A proxy that ends TLS has another scheme, another port, and may send another `Host`.
#[tokio::test]
async fn the_page_works_behind_a_proxy_whose_name_is_told_and_under_no_other() {
    let (layer, service) = cache().await;
    let bearer = format!("Bearer {TOKEN}");
    let admin = Admin::new(layer.handle()).token(TOKEN);
    let read = async |admin: &Admin, host: &str, origin: &str, site: &str| {
        let lines = [
            ("host", host),
            ("origin", origin),
            ("sec-fetch-site", site),
            ("authorization", &*bearer),
            JSON,
        ];
        let uri = r#"{"type":"uri","selectors":["/elsewhere"]}"#;
        let post = sent("POST", "/invalidate", &lines, uri);
        answer(admin, &post).await.status.as_u16()
    };
    let named = admin.clone().hosts(["Ops.Example", "other.example:8443"]);
    for (host, origin, site, expected) in [
        ("127.0.0.1:9090", "https://ops.example", "same-origin", 200),
        (
            "127.0.0.1:9090",
            "https://OPS.example:443",
            "same-origin",
            200,
        ),
        (
            "ops.example:9090",
            "https://ops.example",
            "same-origin",
            200,
        ),
        (
            "127.0.0.1:9090",
            "https://other.example:8443",
            "same-origin",
            200,
        ),
        (
            "127.0.0.1:9090",
            "https://other.example",
            "same-origin",
            403,
        ),
        (
            "127.0.0.1:9090",
            "https://ops.example:8443",
            "same-origin",
            403,
        ),
        ("127.0.0.1:9090", "https://ops.example", "same-site", 403),
        ("127.0.0.1:9090", "https://ops.example", "cross-site", 403),
        ("127.0.0.1:9090", "ftp://ops.example", "same-origin", 403),
        (
            "127.0.0.1:9090",
            "https://ops.example.evil",
            "same-origin",
            403,
        ),
        ("ops.example", "https://evil.example", "same-origin", 403),
    ] {
        let name = format!("{host} {origin} {site}");
        assert_eq!(read(&named, host, origin, site).await, expected, "{name}");
        // Untold, the origin has to be the host.
        assert_eq!(read(&admin, host, origin, site).await, 403, "{name}");
    }
    assert!(all_stored(&service).await);
}

#[tokio::test]
async fn no_spelling_of_a_path_leads_around_the_token() {
    let (layer, service) = cache().await;
    let admin = Admin::new(layer.handle()).token(TOKEN);
    let paths = [
        "//invalidate",
        "/./invalidate",
        "/healthz/../invalidate",
        "/%69nvalidate",
        "/invalidate/",
        "/invalidate;x",
        "/INVALIDATE",
        "/healthz/invalidate",
        "/invalidate%2f",
    ];
    let requests = paths.map(|path| sent("POST", path, &[JSON], ALL));
    refused(&admin, requests.into(), &[404]).await;
    let methods = ["GET", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "post"];
    let requests = methods.map(|method| sent(method, "/invalidate", &[JSON], ALL));
    refused(&admin, requests.into(), &[405]).await;
    // A method of its own letter case is another method.
    let requests = ["purge", "Purge", "BAN"].map(|method| sent(method, "/stats", &[], ""));
    refused(&admin, requests.into(), &[405]).await;
    assert!(all_stored(&service).await);
}

const PIECE: usize = 10_000;

/// Content in pieces of 10 KB, after so many of which it ends, or stalls.
struct Pieces {
    left: usize,
    then_stalls: bool,
    /// Whether the length is known before, as by `Content-Length`.
    is_announced: bool,
    /// The pieces that were taken.
    taken: Arc<AtomicUsize>,
}

impl Pieces {
    fn new(left: usize) -> Self {
        Self {
            left,
            then_stalls: false,
            is_announced: false,
            taken: Arc::default(),
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return if self.then_stalls {
                Poll::Pending
            } else {
                Poll::Ready(None)
            };
        }
        self.left -= 1;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b' '; PIECE])))))
    }

    fn size_hint(&self) -> SizeHint {
        match self.is_announced {
            true => SizeHint::with_exact((self.left * PIECE) as u64),
            false => SizeHint::default(),
        }
    }
}

/// Sends content, and returns the status and the number of pieces that were taken.
async fn send_pieces(admin: &Admin, token: &str, body: Pieces) -> (u16, usize) {
    let taken = body.taken.clone();
    let lines = [("authorization", token), JSON];
    let (head, _) = request("POST", "/invalidate", &lines, "").into_parts();
    let answer = call(admin, Request::from_parts(head, body)).await;
    (answer.status.as_u16(), taken.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn content_is_bounded_in_size_and_time_and_not_read_without_the_token() {
    let (layer, service) = cache().await;
    let admin = Admin::new(layer.handle()).token(TOKEN);
    let right = format!("Bearer {TOKEN}");
    // 10 MB: seven pieces are more than 64 KiB.
    let send = async |token: &str, body| send_pieces(&admin, token, body).await;
    assert_eq!(send(&right, Pieces::new(1000)).await, (413, 7));
    assert_eq!(send("Bearer nothing", Pieces::new(1000)).await, (401, 0));
    // Nobody asks for what is announced to be too large.
    for (pieces, expected) in [(1000, (413, 0)), (7, (413, 0)), (6, (400, 6))] {
        let announced = Pieces {
            is_announced: true,
            ..Pieces::new(pieces)
        };
        assert_eq!(send(&right, announced).await, expected, "{pieces}");
    }
    let begun = Instant::now();
    let stalled = Pieces {
        then_stalls: true,
        ..Pieces::new(1)
    };
    assert_eq!(send(&right, stalled).await, (408, 1));
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    // The option.
    let small = admin.clone().max_content(16);
    let lines = [("authorization", &*right), JSON];
    let exact = sent("POST", "/invalidate", &lines, r#"{"type": "all" }"#);
    let more = sent("POST", "/invalidate", &lines, r#"{"type": "all"  }"#);
    refused(&small, vec![more.clone()], &[413]).await;
    assert!(all_stored(&service).await);
    assert_eq!(answer(&small, &exact).await.status, 200);
    assert_eq!(answer(&admin, &more).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_wrong_tokens_are_one_line_a_second_with_their_number() {
    let logs = Logs::new();
    let admin = Admin::new(CacheLayer::new(MemoryBackend::default()).handle()).token(TOKEN);
    let wrong = [("authorization", "Bearer wrong-token-wrong-token")];
    for _ in 0..1000 {
        refused(&admin, vec![sent("PURGE", "/a", &wrong, "")], &[401]).await;
    }
    advance(Duration::from_secs(1)).await;
    refused(&admin, vec![sent("PURGE", "/b", &wrong, "")], &[401]).await;
    let lines = logs.lines("admin request refused");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("denial=WrongToken") && lines[0].contains("path=\"/a\""));
    assert!(lines[1].contains("suppressed=999"), "{lines:?}");
    assert!(logs.lines("wrong-token").is_empty(), "no token is logged");
}

#[test]
fn a_token_is_long_enough_to_be_one() {
    let layer = CacheLayer::new(MemoryBackend::default());
    let admin = || Admin::new(layer.handle());
    for token in [
        "",
        "short",
        "0123456789abcde",
        "0123456789abcde f",
        "0123456789abcdé\u{fc}",
    ] {
        let error = admin().try_token(token).expect_err(token);
        assert!(error.to_string().contains("at least 16"), "{error}");
    }
    assert!(admin().try_token("0123456789abcdef").is_ok());
    assert!(!format!("{:?}", admin().token(TOKEN)).contains(TOKEN));
}
