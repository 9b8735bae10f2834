//! Upstreams of several servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tower_response_cache::proxy::{HostPolicy, ProxyErrorKind, ReverseProxy};

use crate::call::{call, get};
use crate::example::Example;
use crate::origin::{Nobody, Origin, Step, ok};
use crate::raw::{exchange, last_get};

fn post() -> Request<Full<Bytes>> {
    let request = Request::post("/").header("host", "test.example");
    request
        .body(Full::new(Bytes::from("content")))
        .expect("a request")
}

/// A request without a connection goes to the next server, whatever its method.
#[tokio::test]
async fn a_dead_server_among_others_costs_no_client_its_answer() {
    let (one, two) = (
        Origin::saying(ok("", "1")).await,
        Origin::saying(ok("", "2")).await,
    );
    let nobody = Nobody::new();
    let urls = format!("{},{},{}", one.url(), nobody.url(), two.url());
    let proxy = ReverseProxy::new(&urls)
        .expect("URLs")
        .max_idle_connections(0);
    for number in 0..12 {
        call(&proxy, get("/"))
            .await
            .unwrap_or_else(|error| panic!("{number}: {error:?}"));
        call(&proxy, post())
            .await
            .unwrap_or_else(|error| panic!("{number}: {error:?}"));
    }
    let (one, two) = (one.heard(), two.heard());
    assert_eq!(one.len() + two.len(), 24);
    assert!(
        one.len() >= 8 && two.len() >= 8,
        "{} {}",
        one.len(),
        two.len()
    );
    let posts = one
        .iter()
        .chain(&two)
        .filter(|heard| heard.head.starts_with("POST"));
    assert!(
        posts
            .map(|heard| &heard.content)
            .all(|content| content == b"content")
    );
    let none = ReverseProxy::new(&format!("{},{}", nobody.url(), nobody.url())).expect("URLs");
    for _ in 0..10 {
        let failed = call(&none, get("/")).await.expect_err("nobody is there");
        assert_eq!(failed.kind(), ProxyErrorKind::Connect);
    }
}

/// Requests that take long at one server go to the other.
#[tokio::test]
async fn the_server_with_the_fewest_requests_under_way_is_asked() {
    let go = Arc::new(Notify::new());
    let waits = go.clone();
    let slow = Origin::start(move |_| {
        vec![
            Step::Wait(waits.clone()),
            Step::Say(ok("", "slow").into_bytes()),
        ]
    })
    .await;
    let fast = Origin::saying(ok("", "fast")).await;
    let proxy = ReverseProxy::new(&format!("{},{}", slow.url(), fast.url())).expect("URLs");
    let mut clients = JoinSet::new();
    for _ in 0..30 {
        let proxy = proxy.clone();
        clients.spawn(async move { call(&proxy, get("/")).await.expect("an answer").content });
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let mut fast_answers = 0;
    while fast_answers < 20 {
        let content = clients
            .join_next()
            .await
            .expect("a client")
            .expect("no panic");
        assert_eq!(content.as_deref(), Ok("fast"));
        fast_answers += 1;
    }
    clients.abort_all();
    while clients.join_next().await.is_some() {}
    // Requests that were cancelled are not counted.
    let (before, _) = (slow.heard(), fast.heard());
    assert!(before.len() <= 15, "{}", before.len());
    go.notify_waiters();
}

/// The references and the host of each server are its own.
#[tokio::test]
async fn each_server_is_told_its_own_host_and_is_known_by_all_of_them() {
    let one = Origin::start(|heard| {
        let host = heard.field("host");
        let line = format!("location: http://{host}/there\r\n");
        vec![Step::Say(ok(&line, "").into_bytes())]
    })
    .await;
    let other = Nobody::new();
    for urls in [
        format!("{},{}", one.url(), other.url()),
        format!("{},{}", other.url(), one.url()),
    ] {
        let proxy = ReverseProxy::new(&urls)
            .expect("URLs")
            .host(HostPolicy::Upstream);
        let answer = call(&proxy, get("/")).await.expect("an answer");
        assert_eq!(answer.field("location"), "/there");
        assert_eq!(
            one.heard_one().field("host"),
            format!("127.0.0.1:{}", one.port)
        );
    }
}

#[tokio::test]
async fn the_program_takes_several_servers() {
    let (one, two) = (
        Origin::saying(ok("", "1")).await,
        Origin::saying(ok("", "2")).await,
    );
    let urls = format!("{},{}", one.url(), two.url());
    let proxy = Example::start("proxy", &["--upstream", &urls]).await;
    for number in 0..10 {
        let said = exchange(proxy.port(), last_get(&format!("/{number}"))).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    }
    assert_eq!((one.heard().len(), two.heard().len()), (5, 5));
}

#[test]
fn lists_of_servers_that_are_none_are_explained() {
    for (urls, problem) in [
        ("http://a,http://b/x", "differ in scheme or path"),
        ("http://a,http://b:0", "the port is no number"),
        ("http://a,httpx://b", "unknown scheme"),
        (
            &format!("http://a{}", ",http://a".repeat(64)),
            "more than 64 servers",
        ),
    ] {
        let error = ReverseProxy::new(urls).expect_err(urls).to_string();
        assert!(error.contains(problem), "{error}");
    }
    for urls in [
        "http://a,http://b",
        "http://a/x,y",
        "http://a/x/,http://b/x",
    ] {
        assert!(ReverseProxy::new(urls).is_ok(), "{urls}");
    }
}

/// Failures of requests that began before the ejection do not prolong it.
#[tokio::test]
async fn a_server_that_restarts_under_load_is_asked_again_within_11_seconds() {
    let nobody = Nobody::new();
    let url = nobody.url();
    let slow = Origin::start(|_| {
        vec![
            Step::Pause(Duration::from_millis(50)),
            Step::Say(ok("", "other").into_bytes()),
        ]
    })
    .await;
    let proxy = ReverseProxy::new(&format!("{url},{}", slow.url())).expect("URLs");
    let mut set = JoinSet::new();
    for _ in 0..40 {
        let proxy = proxy.clone();
        set.spawn(async move { call(&proxy, get("/")).await.expect("an answer") });
    }
    while set.join_next().await.is_some() {}
    drop(nobody);
    let port = url
        .rsplit(':')
        .next()
        .expect("a port")
        .parse()
        .expect("a port");
    let back = Origin::saying_at("127.0.0.1", port, ok("", "back")).await;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(11) {
        call(&proxy, get("/")).await.expect("an answer");
        if !back.heard().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not asked for 11 s after it was back");
}
