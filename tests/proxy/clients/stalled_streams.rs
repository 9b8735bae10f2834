//! Responses over HTTP/2 whose clients take nothing, beside others of the same connection.

use std::time::{Duration, Instant};

use super::http2_client::Http2Client;
use crate::example::{Example, PATIENCE};
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{exchange, last_get};

const LENGTH: usize = 400_000;

/// A stored page at `/hot`, and small responses elsewhere.
async fn with_page(options: &[&str]) -> (Origin, Example) {
    let page = "x".repeat(LENGTH);
    let origin = Origin::start(move |heard| match heard.head.contains("/hot") {
        true => vec![Step::Say(fresh(&page).into_bytes())],
        false => vec![Step::Say(ok("", "").into_bytes())],
    })
    .await;
    let url = origin.url();
    let proxy = Example::start("proxy", &[&["--upstream", &url], options].concat()).await;
    exchange(proxy.port(), last_get("/hot")).await;
    (origin, proxy)
}

/// Asks for other things until one of the streams is reset. The connection must go on.
async fn until_reset(client: &mut Http2Client) {
    let begin = Instant::now();
    while client.resets.is_empty() {
        assert!(begin.elapsed() < PATIENCE, "the response is kept");
        client.request("GET", "/small", None).await;
        assert!(
            client.stays_for(Duration::from_millis(50)).await,
            "others go on"
        );
    }
    // Others go on after it, too.
    client.request("GET", "/small", None).await;
    assert!(client.stays_for(Duration::from_millis(50)).await);
}

const TIMES: [&str; 4] = ["--client-timeout", "10m", "--idle-timeout", "500ms"];

/// A stored response that nobody takes would be kept in memory after its removal from the store,
/// which ends the storing of other large pages (`max_lingering_bytes`).
#[tokio::test]
async fn a_stored_response_that_its_client_does_not_take_is_reset() {
    let (_origin, proxy) = with_page(&TIMES).await;
    for window in [0, 1, 1000] {
        let mut client = Http2Client::connect(proxy.port(), window).await;
        let stalled = client.request("GET", "/hot", None).await;
        until_reset(&mut client).await;
        assert_eq!(client.resets, [stalled], "window of {window}");
        assert_eq!(client.received, window as usize);
    }
}

/// A byte now and then is not enough.
#[tokio::test]
async fn a_response_that_trickles_is_reset() {
    let (_origin, proxy) = with_page(&TIMES).await;
    let mut client = Http2Client::connect(proxy.port(), 40_000).await;
    let stalled = client.request("GET", "/hot", None).await;
    let begin = Instant::now();
    while client.resets.is_empty() {
        assert!(begin.elapsed() < PATIENCE, "the response is kept");
        client.open(stalled, 1).await;
        assert!(client.stays_for(Duration::from_millis(100)).await);
    }
    assert_eq!(client.resets, [stalled]);
    assert!(client.received >= 40_000 && client.received < LENGTH);
}

/// One that is taken part by part goes on, however long that takes, and so does one whose service
/// is slow.
#[tokio::test]
async fn responses_that_are_taken_or_awaited_are_not_reset() {
    let page = "x".repeat(LENGTH);
    let origin = Origin::start(move |heard| match heard.head.contains("/hot") {
        true => vec![Step::Say(fresh(&page).into_bytes())],
        false => vec![
            Step::Pause(Duration::from_secs(5)),
            Step::Say(ok("", "hello").into_bytes()),
        ],
    })
    .await;
    let url = origin.url();
    let times = ["--client-timeout", "10m", "--idle-timeout", "2s"];
    let proxy = Example::start("proxy", &[&["--upstream", &url], &times[..]].concat()).await;
    let port = proxy.port();
    exchange(port, last_get("/hot")).await;
    let read = async |path: &str, length: usize| {
        let mut client = Http2Client::connect(port, 10_000).await;
        let stream = client.request("GET", path, None).await;
        let begin = Instant::now();
        while client.received < length {
            assert!(begin.elapsed() < PATIENCE, "{path}: {:?}", client.resets);
            client.open(stream, 8000).await;
            assert!(client.stays_for(Duration::from_millis(100)).await, "{path}");
        }
        assert!(begin.elapsed() > Duration::from_secs(3), "{path} is slow");
        assert!(client.resets.is_empty(), "{path}");
    };
    tokio::join!(read("/hot", LENGTH), read("/slow", 5));
}
