//! `ignore_request_cookies`: cookies of analytics are in no key, and reach no handler that fills
//! the store.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, Method, Request};
use tokio::time::{advance, sleep};
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::random::{Random, SeededRandom};
use tower_response_cache::stats::Refusal;

use super::layer;
use crate::support::origin::{Origin, Response, after, answer};
use crate::support::time::{SECOND, SLOW, settled};
use crate::support::{get, put, request, send, send_all, with};

const IGNORED: [&str; 3] = ["_ga", "_ga_*", "_fbp"];

/// An origin that notes the fields it gets, and shows the cookies in its response.
#[derive(Clone)]
struct Echo {
    origin: Origin,
    got: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Echo {
    fn new(lines: &'static [(&'static str, &'static str)]) -> Self {
        Self::with(move |request| {
            let lines_of_cookie = request.headers().get_all("cookie").iter();
            let cookies: Vec<_> = lines_of_cookie
                .map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned())
                .collect();
            answer(200, lines, cookies.join(" | "))
        })
    }

    fn with(respond: impl Fn(&Request<()>) -> Response + Send + Sync + 'static) -> Self {
        let got = Arc::<Mutex<Vec<HeaderMap>>>::default();
        let notes = got.clone();
        let origin = after(SLOW, move |request, _| {
            let headers = request.headers().clone();
            notes.lock().expect("not poisoned").push(headers);
            respond(request)
        });
        Self { origin, got }
    }

    /// The `Cookie` of the last request, its lines joined by a bar.
    fn last_cookies(&self) -> String {
        let got = self.got.lock().expect("not poisoned");
        let lines = got.last().expect("a request").get_all("cookie");
        let lines = lines.iter().map(|line| line.to_str().expect("text"));
        lines.collect::<Vec<_>>().join(" | ")
    }
}

fn ignoring() -> CacheLayer<MemoryBackend> {
    layer().ignore_request_cookies(IGNORED)
}

fn ask(cookies: &str) -> Request<()> {
    with(get("/a"), "cookie", cookies)
}

/// A hundred visitors with a number of their own: one call instead of a hundred, then hits.
#[tokio::test(start_paused = true)]
async fn visitors_with_ignored_cookies_alone_share_like_others() {
    let visitors = |n: usize| (0..n).map(|n| ask(&format!("_ga=GA1.{n}; _ga_X={n}")));
    for (layer, calls) in [(ignoring(), 1), (layer(), 100)] {
        let echo = Echo::new(&[]);
        let service = layer.layer(echo.origin.clone());
        let answers = send_all(&service, visitors(100)).await;
        assert_eq!(echo.origin.calls(), calls);
        if calls == 1 {
            assert!(answers.iter().all(|answer| answer.body.is_empty()));
            assert!(send(&service, ask("_fbp=1")).await.is_hit());
            assert!(send(&service, get("/a")).await.is_hit());
        }
    }
}

/// Other cookies count as ever: their responses need a lifetime of their own.
#[tokio::test(start_paused = true)]
async fn other_cookies_still_make_a_response_personal() {
    let layer = ignoring();
    let echo = Echo::new(&[]);
    let service = layer.layer(echo.origin.clone());
    for id in ["1", "2"] {
        let got = send(&service, ask(&format!("_ga=1; id={id}"))).await;
        assert_eq!(got.body, format!("id={id}"));
    }
    assert_eq!(layer.handle().stats().refusals.get(Refusal::Cookie), 2);
}

/// RFC 9111 §4.1: `Vary: Cookie` compares what the handler gets.
#[tokio::test(start_paused = true)]
async fn vary_compares_the_cookies_that_are_left() {
    let echo = Echo::new(&[("vary", "cookie"), ("cache-control", "max-age=60")]);
    let service = ignoring().layer(echo.origin.clone());
    for (cookies, is_hit, body) in [
        ("_ga=1", false, ""),
        ("_fbp=1; _ga_X=2", true, ""),
        ("lang=de; _ga=1", false, "lang=de"),
        ("_ga=2;lang=de;", true, "lang=de"),
        ("lang=en; _ga=1", false, "lang=en"),
        ("lang=en", true, "lang=en"),
    ] {
        let got = send(&service, ask(cookies)).await;
        assert_eq!((got.is_hit(), &*got.body), (is_hit, body), "{cookies}");
    }
    assert!(send(&service, get("/a")).await.is_hit());
}

/// What the cache does not handle keeps its cookies, line by line.
#[tokio::test(start_paused = true)]
async fn writes_and_bypassed_requests_keep_their_cookies() {
    let crumbs = |request| with(with(request, "cookie", "a=1;_ga=2"), "cookie", "_fbp=3");
    let skipping = |layer: CacheLayer<_>| layer.skip(|request| request.uri.path() == "/skip");
    let without_key = |layer: CacheLayer<_>| {
        layer.key_by(|request, key| (request.uri.path() != "/no-key").then_some(key))
    };
    let echo = Echo::new(&[]);
    let service = without_key(skipping(ignoring())).layer(echo.origin.clone());
    for (ask, expected) in [
        (get("/a"), "a=1"),
        (request(Method::HEAD, "/a"), "a=1"),
        (get("/skip"), "a=1;_ga=2 | _fbp=3"),
        (get("/no-key"), "a=1;_ga=2 | _fbp=3"),
        (with(get("/a"), "content-length", "1"), "a=1;_ga=2 | _fbp=3"),
        (request(Method::OPTIONS, "/a"), "a=1;_ga=2 | _fbp=3"),
        // A write has its cookies in one line, as without the option.
        (put("/a"), "a=1;_ga=2; _fbp=3"),
        (request(Method::DELETE, "/a"), "a=1;_ga=2; _fbp=3"),
    ] {
        let case = format!("{} {}", ask.method(), ask.uri());
        send(&service, crumbs(ask)).await;
        assert_eq!(echo.last_cookies(), expected, "{case}");
    }
}

/// A refresh in the background is a GET like any other.
#[tokio::test(start_paused = true)]
async fn a_refresh_is_sent_without_ignored_cookies() {
    let echo = Echo::new(&[]);
    let layer = ignoring().stale_while_revalidate(SECOND * 60);
    let service = layer.layer(echo.origin.clone());
    send(&service, get("/a")).await;
    advance(SECOND * 61).await;
    assert!(send(&service, ask("_ga=1")).await.is_hit());
    sleep(SLOW * 2).await;
    assert_eq!(
        (echo.origin.calls(), echo.last_cookies()),
        (2, String::new())
    );
    let fresh = send(&service, get("/a")).await;
    assert!(fresh.is_hit() && fresh.header("age") == "0");
}

/// A write invalidates under the key by which a GET stores, though it keeps its cookies.
#[tokio::test(start_paused = true)]
async fn a_key_hook_sees_the_same_cookies_for_reads_and_writes() {
    let layer = ignoring().key_by(|request, key| {
        let cookies = request.headers.get("cookie").map(|line| line.as_bytes());
        let path = format!("/{cookies:?}{}", key.path());
        Some(key.with_path(path))
    });
    let lines = [("cache-control", "max-age=60"), ("location", "/b")];
    let service = layer.layer(Origin::at_once(move |_| answer(200, &lines, "x")));
    let asks = || ["/a", "/b"].map(|path| with(get(path), "cookie", "id=1"));
    for ask in asks() {
        send(&service, ask).await;
    }
    for ask in asks() {
        assert!(send(&service, ask).await.is_hit());
    }
    send(&service, with(put("/a"), "cookie", "_ga=1; id=1")).await;
    for ask in asks() {
        assert!(!send(&service, ask).await.is_hit());
    }
}

/// What a write with an ignored cookie got may show it.
#[tokio::test(start_paused = true)]
async fn a_write_with_ignored_cookies_stores_by_explicit_lifetimes_only() {
    for (line, is_stored) in [("max-age=60", true), ("x=1", false)] {
        let layer = ignoring().write_through(true);
        let lines = [("content-location", "/a"), ("cache-control", line)];
        let service = layer.layer(Origin::at_once(move |_| answer(200, &lines, "x")));
        send(&service, with(put("/a"), "cookie", "_ga=1")).await;
        settled().await;
        let ask = with(get("/a"), "cache-control", "only-if-cached");
        assert_eq!(send(&service, ask).await.is_hit(), is_stored, "{line}");
    }
}

/// RFC 9111 §4.1: the GETs that a write also answers come without ignored cookies.
#[tokio::test(start_paused = true)]
async fn a_write_with_ignored_cookies_stores_the_variant_of_those_without() {
    let lines = [
        ("content-location", "/a"),
        ("cache-control", "max-age=60"),
        ("vary", "cookie"),
    ];
    let layer = ignoring().write_through(true);
    let service = layer.layer(Origin::at_once(move |_| answer(200, &lines, "x")));
    send(&service, with(put("/a"), "cookie", "_ga=1;id=1")).await;
    settled().await;
    assert!(send(&service, ask("id=1; _fbp=2")).await.is_hit());
    assert!(!send(&service, ask("id=2")).await.is_hit());
}

/// Cookies in field lines: some that count, some that do not, spelled and split in many ways.
fn spelled(random: &SeededRandom, counted: &[&str]) -> Vec<String> {
    let drawn = |limit: usize| (random.next_u64() % limit as u64) as usize;
    let mut lines = vec![String::new()];
    let mut add = |cookie: &str| {
        let separator = ["; ", ";", " ;\t", ";;"][drawn(4)];
        let line = lines.last_mut().expect("a line");
        line.push_str(cookie);
        match drawn(3) {
            0 => lines.push(String::new()),
            _ => line.push_str(separator),
        }
    };
    let ignored = ["_ga=1", "_ga=2", "_ga_Z=\"a b\"", "_fbp", "_fbp =x"];
    for cookie in counted {
        for _ in 0..drawn(3) {
            add(ignored[drawn(ignored.len())]);
        }
        add(cookie);
    }
    for _ in 0..drawn(3) {
        add(ignored[drawn(ignored.len())]);
    }
    if drawn(2) == 0 {
        for line in &mut lines {
            line.truncate(line.trim_end_matches([';', ' ', '\t']).len());
        }
    }
    lines.retain(|line| drawn(2) == 0 || !line.is_empty());
    lines
}

/// Requests that differ only in ignored cookies have one key, and the inner service gets one
/// request for both.
#[tokio::test(start_paused = true)]
async fn requests_that_differ_in_ignored_cookies_have_one_key_and_one_form() {
    const COUNTED: [&str; 6] = ["a=1", "a=2", "id=\"x y\"", "b", "c==;", "_gat=1"];
    let random = SeededRandom::new(7);
    let echo = Echo::new(&[("cache-control", "max-age=60"), ("vary", "cookie")]);
    let service = ignoring().layer(echo.origin.clone());
    let mut kinds = std::collections::HashSet::new();
    for round in 0..500 {
        let path = format!("/{round}");
        let count = (random.next_u64() % 4) as usize;
        let counted: Vec<&str> = (0..count)
            .map(|_| COUNTED[(random.next_u64() % 6) as usize])
            .collect();
        let mut asks = [get(&path), get(&path), get(&path)];
        let spellings = [(); 3].map(|()| spelled(&random, &counted));
        for (ask, lines) in asks.iter_mut().zip(&spellings) {
            for line in lines {
                let line = line.parse().expect("a field value");
                ask.headers_mut().append("cookie", line);
            }
        }
        let [first, second, third] = asks;
        kinds.insert(counted.join("; "));
        let stored = send(&service, first).await;
        assert!(!stored.is_hit() && stored.cache_status().contains("stored"));
        let hit = send(&service, second).await;
        assert!(hit.is_hit(), "{spellings:?}: {}", hit.cache_status());
        assert_eq!(hit.body, stored.body, "{spellings:?}");
        let newer = send(&service, with(third, "cache-control", "no-cache")).await;
        assert_eq!(newer.body, stored.body, "{spellings:?}");
        let got = echo.got.lock().expect("not poisoned");
        let [.., own, other] = &got[..] else {
            panic!("two calls")
        };
        let mut other = other.clone();
        other.remove("cache-control");
        other.remove("if-none-match");
        assert_eq!(*own, other, "{spellings:?}");
    }
    assert!(kinds.len() > 50, "{}", kinds.len());
}
