//! Connections of HTTP/1.1 that are kept: which ones serve again, and which ones end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tower::ServiceExt;
use tower_response_cache::proxy::{ProxyErrorKind, ReverseProxy};

use super::repetition::two_parts;
use crate::call::{call, get};
use crate::example::PATIENCE;
use crate::origin::{Heard, Origin, Step, ok};

const SOON: Duration = Duration::from_millis(20);

fn proxy(origin: &Origin) -> ReverseProxy {
    ReverseProxy::new(&origin.url()).expect("a URL")
}

fn with_content(method: Method, content: &'static str) -> Request<Full<Bytes>> {
    let request = Request::builder().method(method).uri("/");
    let request = request.header("host", "test.example");
    request.body(Full::from(content)).expect("a request")
}

/// The content of the answer to a write, which may not be sent twice.
async fn post(proxy: &ReverseProxy) -> String {
    let answer = call(proxy, with_content(Method::POST, "content")).await;
    let content = answer.expect("an answer").content;
    content.expect("whole content")
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(SOON).await;
    }
}

fn connections(heard: &[Heard]) -> HashSet<usize> {
    heard.iter().map(|heard| heard.connection).collect()
}

/// However a response ends, and whether the request has content.
#[tokio::test]
async fn one_connection_serves_requests_of_all_kinds() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let answers = [
        ok("", "hello"),
        ok("", ""),
        format!("{chunked}0\r\n\r\n"),
        format!("{chunked}0\r\nx-sum: 1\r\n\r\n"),
        "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n".to_owned(),
        format!("HTTP/1.1 103 Early Hints\r\n\r\n{}", ok("", "hello")),
    ];
    for answer in answers {
        let origin = Origin::saying(answer.clone()).await;
        let proxy = proxy(&origin);
        for method in [Method::GET, Method::PUT, Method::POST, Method::GET] {
            let content = if method == Method::GET { "" } else { "content" };
            let answered = call(&proxy, with_content(method, content)).await;
            let answered = answered.expect("an answer");
            answered.content.expect("whole content");
        }
        let heard = origin.heard();
        assert_eq!(heard.len(), 4);
        // A task has to notice the end of an exchange with content.
        assert!(connections(&heard).len() <= 3, "{answer}: {heard:?}");
        let origin = Origin::saying(answer.clone()).await;
        let proxy = ReverseProxy::new(&origin.url()).expect("a URL");
        for _ in 0..5 {
            call(&proxy, get("/")).await.expect("an answer");
        }
        assert_eq!(connections(&origin.heard()).len(), 1, "{answer}");
    }
}

/// RFC 9112 §9.6: the server says that there is no other response.
#[tokio::test]
async fn a_connection_that_its_server_ends_serves_no_more() {
    for answer in [
        ok("connection: close\r\n", "hello"),
        "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello".to_owned(),
        ok("", "hello, and more than it has announced").replace("length: 37", "length: 5"),
    ] {
        let origin = Origin::saying(answer.clone()).await;
        let proxy = proxy(&origin);
        for _ in 0..3 {
            let content = call(&proxy, get("/")).await.expect("an answer").content;
            assert_eq!(content.as_deref(), Ok("hello"), "{answer}");
        }
        assert_eq!(connections(&origin.heard()).len(), 3, "{answer}");
        until("it is kept", || origin.open() == 0).await;
    }
}

/// A server may close an idle connection, or its half of it, at any moment: a write that is not sent
/// yet is sent on another one.
#[tokio::test]
async fn a_write_is_not_sent_on_a_connection_that_was_closed() {
    for end in [Step::Close, Step::StopSaying] {
        for served in [1, 2] {
            let ended = Arc::new(Notify::new());
            let (end, tell) = (end.clone(), Step::Tell(ended.clone()));
            let origin = Origin::start(move |heard| {
                let mut steps = vec![Step::Content, Step::Say(ok("", "hello").into())];
                if heard.connection == 0 && heard.request_line().contains("last") {
                    steps.extend([tell.clone(), end.clone()]);
                }
                steps
            })
            .await;
            let proxy = proxy(&origin);
            for number in 1..=served {
                let path = if number == served { "/last" } else { "/" };
                call(&proxy, get(path)).await.expect("an answer");
            }
            ended.notified().await;
            tokio::time::sleep(SOON).await;
            assert_eq!(post(&proxy).await, "hello");
            let heard = origin.heard();
            assert_eq!(heard.len(), served + 1);
            assert_eq!(heard.last().expect("the write").connection, 1);
            until("it is kept", || origin.closed_connections() == [0]).await;
        }
    }
}

/// What a server says without being asked is no response to the next request, which may be another
/// client's.
#[tokio::test]
async fn what_is_said_unasked_answers_nobody() {
    for unasked in [
        ok("", "unasked"),
        "x".to_owned(),
        "HTTP/1.1 408 ".to_owned(),
    ] {
        let (go, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (wait, tell) = (Step::Wait(go.clone()), Step::Gone(gone.clone()));
        let origin = Origin::start(move |heard| {
            let mut steps = vec![Step::Content, Step::Say(ok("", "hello").into())];
            if heard.connection == 0 {
                let unasked = Step::Say(unasked.clone().into());
                steps.extend([wait.clone(), unasked, tell.clone()]);
            }
            steps
        })
        .await;
        let proxy = proxy(&origin);
        assert_eq!(post(&proxy).await, "hello");
        go.notify_one();
        timeout(PATIENCE, gone.notified()).await.expect("it ends");
        for _ in 0..2 {
            assert_eq!(post(&proxy).await, "hello");
        }
        let used: Vec<_> = origin
            .heard()
            .iter()
            .map(|heard| heard.connection)
            .collect();
        assert_eq!(used[..2], [0, 1]);
    }
}

/// Idle connections end by themselves, without another request.
#[tokio::test]
async fn idle_connections_end_in_time() {
    let short = Duration::from_millis(100);
    let limits: [fn(ReverseProxy, Duration) -> ReverseProxy; 2] = [
        ReverseProxy::pool_idle_timeout,
        ReverseProxy::max_connection_age,
    ];
    for limit in limits {
        let origin = Origin::saying(ok("", "hello")).await;
        let proxy = limit(proxy(&origin), short);
        call(&proxy, get("/")).await.expect("an answer");
        until("it is kept", || origin.closed() == 1).await;
        call(&proxy, get("/")).await.expect("an answer");
        assert_eq!(origin.heard()[1].connection, 1);
        let none = limit(proxy, Duration::ZERO);
        for number in 2..4 {
            call(&none, get("/")).await.expect("an answer");
            until("it is kept", || origin.closed() == number + 1).await;
        }
    }
}

/// A proxy that is dropped keeps nothing.
#[tokio::test]
async fn idle_connections_end_with_their_proxy() {
    let origin = Origin::saying(ok("", "hello")).await;
    let proxy = proxy(&origin);
    call(&proxy, get("/")).await.expect("an answer");
    assert_eq!(origin.open(), 1);
    drop(proxy);
    until("it is kept", || origin.open() == 0).await;
}

#[tokio::test]
async fn no_more_connections_are_kept_than_allowed() {
    for kept in [0, 1, 3] {
        let origin = Origin::start(|_| {
            let answer = Step::Say(ok("", "hello").into());
            vec![Step::Pause(Duration::from_millis(100)), answer]
        })
        .await;
        let proxy = proxy(&origin).max_idle_connections(kept);
        let mut clients = JoinSet::new();
        for _ in 0..5 {
            let proxy = proxy.clone();
            clients.spawn(async move { call(&proxy, get("/")).await.expect("an answer") });
        }
        clients.join_all().await;
        let opened = connections(&origin.heard()).len();
        until("others are kept", || origin.open() == kept).await;
        for _ in 0..3 {
            call(&proxy, get("/")).await.expect("an answer");
        }
        let later = connections(&origin.heard());
        let is_new = |connection: &&usize| **connection >= opened;
        let new = later.iter().filter(is_new).count();
        assert_eq!(new, if kept == 0 { 3 } else { 0 }, "{kept}");
    }
}

/// A request that its client gives up closes its connection: what comes on it is for nobody. Its
/// place before the upstream is free then.
#[tokio::test]
async fn a_request_that_is_given_up_closes_its_connection() {
    for content in ["", "content"] {
        for says_head in [false, true] {
            let (arrived, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let (tell, tell_gone) = (Step::Tell(arrived.clone()), Step::Gone(gone.clone()));
            let origin = Origin::start(move |heard| {
                if heard.connection > 0 {
                    return vec![Step::Content, Step::Say(ok("", "hello").into())];
                }
                let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe";
                let begin = if says_head { head } else { "" };
                let say = Step::Say(begin.into());
                vec![Step::Content, say, tell.clone(), tell_gone.clone()]
            })
            .await;
            let proxy = proxy(&origin).max_concurrent_requests(1);
            let proxy = proxy.queue_timeout(PATIENCE);
            let asking = proxy.clone();
            let task = tokio::spawn(async move {
                let asked = asking.oneshot(with_content(Method::PUT, content));
                let mut answer = asked.await.expect("an answer");
                while answer.body_mut().frame().await.is_some() {}
            });
            arrived.notified().await;
            task.abort();
            timeout(PATIENCE, gone.notified()).await.expect("it ends");
            assert_eq!(post(&proxy).await, "hello");
            assert_eq!(origin.heard()[1].connection, 1);
        }
    }
}

/// A request that waits for its place takes none along when its client leaves.
#[tokio::test]
async fn a_request_that_is_given_up_while_it_waits_takes_no_place() {
    let (arrived, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Step::Tell(arrived.clone()), Step::Wait(go.clone()));
    let origin = Origin::start(move |_| {
        let answer = Step::Say(ok("", "hello").into());
        vec![tell.clone(), wait.clone(), answer]
    })
    .await;
    let proxy = proxy(&origin).max_concurrent_requests(1);
    let asking = proxy.clone();
    let first = tokio::spawn(async move { call(&asking, get("/")).await });
    arrived.notified().await;
    for _ in 0..3 {
        let waiting = call(&proxy, get("/"));
        timeout(SOON, waiting).await.expect_err("it waits");
    }
    let none = proxy.clone().queue_timeout(Duration::ZERO);
    let refused = call(&none, get("/")).await.expect_err("there is no place");
    assert_eq!(refused.kind(), ProxyErrorKind::Overloaded);
    go.notify_one();
    first.await.expect("no panic").expect("an answer");
    go.notify_one();
    call(&none, get("/")).await.expect("an answer");
    assert_eq!(origin.heard().len(), 2);
}

/// A response may come before the end of the request's content, which goes on all the same. Until
/// then the connection serves nobody else.
#[tokio::test]
async fn content_is_sent_on_after_the_response() {
    let origin = Origin::start(|_| {
        let answer = Step::Say(ok("", "hello").into());
        vec![answer, Step::Content]
    })
    .await;
    let proxy = proxy(&origin);
    let request = Request::put("/").header("host", "test.example");
    let go = Arc::new(Notify::new());
    let rest = go.clone();
    let content = two_parts(async move { rest.notified().await });
    let request = request.body(content).expect("a request");
    let answer = call(&proxy, request).await.expect("an answer");
    assert_eq!(answer.content.as_deref(), Ok("hello"));
    call(&proxy, get("/")).await.expect("an answer");
    go.notify_one();
    let mut heard = Vec::new();
    until("the content is not sent", || {
        heard = origin.heard_so_far();
        heard[0].content.ends_with(b"0\r\n\r\n")
    })
    .await;
    let sent = String::from_utf8_lossy(&heard[0].content);
    assert_eq!(sent.matches("part").count(), 2, "{sent}");
    assert_eq!(connections(&heard).len(), 2);
}
