//! Requests whose content does not begin. Each takes memory, and costs its client a few bytes.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Body, Frame};
use http_body_util::Full;
use tokio::task::{JoinSet, yield_now};
use tower_response_cache::BoxError;
use tower_response_cache::proxy::{Peer, ReverseProxy};

use crate::call::{Answer, call};
use crate::origin::{Nobody, Origin, Step, ok};

/// The requests that may wait so at once, however few there are with upstreams.
const BOUND: usize = 1024;

/// Content that does not begin before it is let go.
struct Silent(tokio::sync::oneshot::Receiver<Bytes>);

impl Body for Silent {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let content = Pin::new(&mut self.0).poll(cx);
        content.map(|content| content.ok().map(|content| Ok(Frame::data(content))))
    }
}

fn put<B>(client: u8, body: B) -> Request<B> {
    let mut request = Request::put("/up")
        .header("host", "test.example")
        .header("content-length", "5")
        .body(body)
        .expect("a request");
    let address = IpAddr::from([192, 0, 2, client]);
    request.extensions_mut().insert(Peer::new(address));
    request
}

/// What begins requests of clients, and the content of each.
#[derive(Default)]
struct Requests {
    answers: JoinSet<(usize, Answer)>,
    contents: Vec<tokio::sync::oneshot::Sender<Bytes>>,
}

impl Requests {
    async fn begin(&mut self, proxy: &ReverseProxy, client: u8, count: usize) {
        for _ in 0..count {
            let number = self.contents.len();
            let (content, awaited) = tokio::sync::oneshot::channel();
            let (proxy, request) = (proxy.clone(), put(client, Silent(awaited)));
            self.contents.push(content);
            self.answers.spawn(async move {
                let answer = call(&proxy, request).await;
                (number, answer.expect("an answer"))
            });
        }
        // Until all have begun to wait, and those that are ended have their answers.
        for _ in 0..2 * count {
            yield_now().await;
        }
    }

    /// The requests that were answered 408 so far.
    fn ended(&mut self) -> Vec<usize> {
        let mut ended = Vec::new();
        while let Some(answered) = self.answers.try_join_next() {
            let (number, answer) = answered.expect("no panic");
            assert_eq!(answer.status, StatusCode::REQUEST_TIMEOUT);
            ended.push(number);
        }
        ended.sort_unstable();
        ended
    }
}

fn proxy_to(url: &str) -> ReverseProxy {
    ReverseProxy::new(url).expect("a URL")
}

/// One more ends the oldest of the client that has most: no request of another.
#[tokio::test]
async fn requests_that_wait_for_their_content_are_bounded_by_client() {
    let origin = Origin::start(|_| vec![Step::Content, Step::Say(ok("", "hello").into_bytes())]);
    let origin = origin.await;
    let proxy = proxy_to(&origin.url()).max_concurrent_requests(8);
    let mut requests = Requests::default();
    requests.begin(&proxy, 1, 3).await;
    requests.begin(&proxy, 2, BOUND - 3).await;
    assert!(requests.ended().is_empty());
    requests.begin(&proxy, 2, 10).await;
    assert_eq!(requests.ended(), (3..13).collect::<Vec<_>>());
    assert_eq!(proxy.load_stats().ended_for_others, 10);
    // Another client's content may still come.
    requests
        .contents
        .swap_remove(0)
        .send("hello".into())
        .expect("it waits");
    let answered = requests.answers.join_next().await.expect("a request");
    let (number, answer) = answered.expect("no panic");
    assert_eq!((number, answer.status), (0, StatusCode::OK));
    assert_eq!(origin.heard_one().content, b"hello");
}

/// Where more requests may be with upstreams, more may wait for their content.
#[tokio::test]
async fn as_many_as_places_wait_for_their_content() {
    let nobody = Nobody::new();
    let proxy = proxy_to(&nobody.url()).max_concurrent_requests(BOUND + 50);
    let mut requests = Requests::default();
    requests.begin(&proxy, 1, BOUND + 50).await;
    assert!(requests.ended().is_empty());
    requests.begin(&proxy, 1, 1).await;
    assert_eq!(requests.ended(), [0]);
}

/// Neither content that is there at once counts, nor a client that has left.
#[tokio::test]
async fn a_request_whose_client_left_waits_no_more() {
    let nobody = Nobody::new();
    let proxy = proxy_to(&nobody.url());
    for _ in 0..4 {
        let mut requests = Requests::default();
        requests.begin(&proxy, 1, BOUND).await;
        assert!(requests.ended().is_empty());
        let at_once = put(1, Full::new(Bytes::from_static(b"hello")));
        assert!(call(&proxy, at_once).await.is_err(), "there is no upstream");
        assert!(requests.ended().is_empty());
        requests.answers.shutdown().await;
    }
    assert_eq!(proxy.load_stats().ended_for_others, 0);
}
