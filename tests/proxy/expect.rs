//! `Expect: 100-continue` (RFC 9110 §10.1.1), from one end to the other: a client, the example, an
//! origin.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::example::{Example, PATIENCE};
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, exchange, last_get};

const HEAD: &str =
    "POST /up HTTP/1.1\r\nhost: test.example\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\n";

async fn before(origin: &Origin) -> Example {
    Example::start("proxy", &["--upstream", &origin.url()]).await
}

/// The client gets `100 Continue` when the origin sends it: not before, and not by the second that
/// the proxy waits for origins that say nothing.
#[tokio::test]
async fn an_origin_that_wants_it() {
    const TIMES: u32 = 8;
    let steps = [
        Step::Say(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()),
        Step::Content,
        Step::Say(ok("", "thanks").into_bytes()),
    ];
    let origin = Origin::start(move |_| steps.to_vec()).await;
    let proxy = before(&origin).await;
    let mut fastest = Duration::MAX;
    for _ in 0..TIMES {
        let start = Instant::now();
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(HEAD).await;
        let said = raw.hear_until("\r\n\r\n").await;
        assert_eq!(said, "HTTP/1.1 100 Continue\r\n\r\n");
        fastest = fastest.min(start.elapsed());
        raw.say("hello").await;
        let said = raw.hear_until("thanks").await;
        assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
        let heard = origin.heard_one();
        assert_eq!(heard.field("expect"), "100-continue");
        assert_eq!(heard.content, b"hello");
    }
    // None could be faster if each had waited for the second to pass.
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
}

/// The client never sends what the origin does not want.
#[tokio::test]
async fn an_origin_that_does_not() {
    let no = "HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno";
    let gone = Arc::new(Notify::new());
    let steps = [Step::Say(no.into()), Step::Gone(gone.clone())];
    let origin = Origin::start(move |_| steps.to_vec()).await;
    let proxy = before(&origin).await;
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say(HEAD).await;
    let said = raw.hear_all().await;
    // A connection on which half of a request was sent is of no use.
    let let_go = tokio::time::timeout(PATIENCE, gone.notified()).await;
    let_go.expect("the origin is let go");
    assert!(said.starts_with("HTTP/1.1 417 "), "{said}");
    assert!(said.ends_with("\r\n\r\nno"), "{said}");
}

/// Many origins know nothing of it, and wait for the content: it is asked for all the same, a
/// second later.
#[tokio::test]
async fn an_origin_that_says_nothing() {
    let origin = Origin::saying(ok("", "thanks")).await;
    let proxy = before(&origin).await;
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say(HEAD).await;
    let said = raw.hear_until("\r\n\r\n").await;
    assert_eq!(said, "HTTP/1.1 100 Continue\r\n\r\n");
    raw.say("hello").await;
    raw.hear_until("thanks").await;
    assert_eq!(origin.heard_one().content, b"hello");
}

#[tokio::test]
async fn on_a_hit_it_does_not_hang() {
    let origin = Origin::saying(fresh("hello")).await;
    let proxy = before(&origin).await;
    exchange(proxy.port(), last_get("/")).await;
    let asked =
        "GET / HTTP/1.1\r\nhost: test.example\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n";
    let said = exchange(proxy.port(), asked).await;
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    assert!(said.ends_with("hello"), "{said}");
}
