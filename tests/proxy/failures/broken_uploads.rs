//! Content that a client breaks off, and an upstream that acts on a part of it: its answer counts,
//! for a bounded time and for a bounded number of them.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::uploads::{Part, SOON, data, is_hit, put, reset, send_parts, stays_a_hit, with_a_hit};
use crate::example::{Example, PATIENCE};
use crate::origin::{Origin, Step, fresh, ok};
use crate::raw::{Raw, STREAMED, exchange, last_get};

const DONE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
/// A test never waits so long. The other timeouts would end a wait as well.
const LONG: [&str; 6] = [
    "--broken-upload-timeout",
    "1h",
    "--head-timeout",
    "1h",
    "--idle-timeout",
    "1h",
];
const SHORT: [&str; 2] = ["--broken-upload-timeout", "300ms"];

/// An origin whose page has the number of writes so far as its version. It counts one at its head,
/// and takes these steps.
async fn acting_on_heads(
    steps: impl Fn() -> Vec<Step> + Send + Sync + 'static,
    options: &[&str],
) -> (Origin, Example, Arc<AtomicUsize>) {
    let written = Arc::new(AtomicUsize::new(0));
    let version = written.clone();
    let origin = Origin::start(move |heard| {
        if heard.head.starts_with("GET") {
            let page = format!("v{}", version.load(Ordering::SeqCst));
            return vec![Step::Say(fresh(&page).into_bytes())];
        }
        version.fetch_add(1, Ordering::SeqCst);
        steps()
    })
    .await;
    let proxy = with_a_hit(&origin, options).await;
    (origin, proxy, written)
}

async fn page(proxy: &Example) -> String {
    let heard = exchange(proxy.port(), last_get("/hot")).await;
    heard.rsplit("\r\n").next().unwrap_or_default().to_owned()
}

/// Waits until it is so.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let wait = async {
        while !is_so().await {
            sleep(SOON / 5).await;
        }
    };
    let waited = timeout(PATIENCE, wait).await;
    waited.unwrap_or_else(|_| panic!("it never happens: {what}"));
}

fn write(method: &str, lines: &str, content: &str) -> String {
    format!("{method} /hot HTTP/1.1\r\nhost: test.example\r\n{lines}\r\n\r\n{content}")
}

/// An upstream that acts on the head of a write, as many frameworks do for DELETE, and answers
/// after the client has broken off.
#[tokio::test]
async fn a_write_that_is_carried_out_on_its_head_leaves_nothing_stale() {
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let steps = move || vec![Step::Wait(wait.clone()), Step::Say(DONE.into())];
    let (_origin, proxy, written) = acting_on_heads(steps, &LONG).await;
    let expects = "content-length: 3\r\nexpect: 100-continue";
    for (version, said) in [
        write("DELETE", "content-length: 2", "x"),
        write("POST", "transfer-encoding: chunked", "3\r\nabc\r\n"),
        write("PATCH", "transfer-encoding: chunked", "3\r\nabc\r\n0\r\n"),
        write("PUT", expects, ""),
    ]
    .iter()
    .enumerate()
    {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(said).await;
        until("the head arrives", async || {
            written.load(Ordering::SeqCst) == version + 1
        })
        .await;
        drop(raw);
        assert!(stays_a_hit(&proxy).await, "nothing is known yet: {said}");
        go.notify_one();
        let expected = format!("v{}", version + 1);
        until(said, async || page(&proxy).await == expected).await;
    }
}

/// A reset stream drops the call at the proxy, which runs on as a write without a client.
#[tokio::test]
async fn a_write_whose_http2_stream_is_reset_is_judged_by_its_answer() {
    for (status, is_written) in [("204 No Content", true), ("403 Forbidden", false)] {
        let (told, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (tell, wait) = (told.clone(), go.clone());
        let gone = Arc::new(Notify::new());
        let end_told = gone.clone();
        let end = if is_written {
            ""
        } else {
            "content-length: 0\r\n"
        };
        let answer = format!("HTTP/1.1 {status}\r\n{end}\r\n");
        let steps = move || {
            let say = Step::Say(answer.clone().into_bytes());
            let (tell, wait) = (Step::Tell(tell.clone()), Step::Wait(wait.clone()));
            vec![tell, wait, say, Step::Gone(end_told.clone())]
        };
        let (_origin, proxy, _) = acting_on_heads(steps, &LONG).await;
        let parts = vec![data("abc"), Part::Wait(told), reset()];
        send_parts(&proxy, Some("10"), parts).await;
        assert!(stays_a_hit(&proxy).await, "nothing is known yet");
        go.notify_one();
        match is_written {
            true => until(status, async || page(&proxy).await == "v1").await,
            false => assert!(stays_a_hit(&proxy).await),
        }
        // A connection with half a request is of no use.
        let gone = timeout(PATIENCE, gone.notified()).await;
        gone.expect("no half request is left");
    }
}

/// The other way round: HTTP/2 on the upstream's side, and an upstream that reads no content.
#[tokio::test]
async fn an_http2_upstream_is_judged_by_its_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (go, written) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let (wait, version) = (go.clone(), written.clone());
    let answer = move |request: Request<Incoming>| {
        let (wait, version) = (wait.clone(), version.clone());
        async move {
            let answer = Response::builder();
            if request.method() == Method::GET {
                let page = Bytes::from(format!("v{}", version.load(Ordering::SeqCst)));
                let answer = answer.header("cache-control", "max-age=3600");
                return Ok::<_, Infallible>(answer.body(Full::new(page)).expect("a page"));
            }
            version.fetch_add(1, Ordering::SeqCst);
            wait.notified().await;
            Ok(answer.status(204).body(Full::default()).expect("an answer"))
        }
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let answer = service_fn(answer.clone());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), answer));
        }
    });
    let options = ["--upstream", &url, "--http2-upstream"];
    let options = [&options[..], &STREAMED, &LONG].concat();
    let proxy = Example::start("proxy", &options).await;
    exchange(proxy.port(), last_get("/hot")).await;
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say(put("content-length: 10", "abc")).await;
    until("the head arrives", async || {
        written.load(Ordering::SeqCst) == 1
    })
    .await;
    drop(raw);
    assert!(stays_a_hit(&proxy).await, "nothing is known yet");
    go.notify_one();
    until("it is invalidated", async || page(&proxy).await == "v1").await;
}

/// An upstream that waits for the rest has done nothing, and is let go.
#[tokio::test]
async fn an_upstream_that_waits_for_the_rest_is_let_go() {
    let gone = Arc::new(Notify::new());
    let told = gone.clone();
    let steps = move || vec![Step::Gone(told.clone())];
    let (_origin, proxy, written) = acting_on_heads(steps, &SHORT).await;
    for said in [
        put("content-length: 10", "abc"),
        put("transfer-encoding: chunked", "3\r\nabc\r\n"),
    ] {
        let before = written.load(Ordering::SeqCst);
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(&said).await;
        until("the head arrives", async || {
            written.load(Ordering::SeqCst) > before
        })
        .await;
        drop(raw);
        let let_go = timeout(PATIENCE, gone.notified()).await;
        let_go.expect("it is let go");
        assert!(stays_a_hit(&proxy).await, "{said}");
    }
}

/// The answer may have come long before the client breaks off.
#[tokio::test]
async fn an_early_answer_counts_however_much_content_followed() {
    let gone = Arc::new(Notify::new());
    let told = gone.clone();
    let steps = move || vec![Step::Say(DONE.into()), Step::Gone(told.clone())];
    let (_origin, proxy, _) = acting_on_heads(steps, &LONG).await;
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say(put("content-length: 2000000", &"x".repeat(1 << 20)))
        .await;
    raw.hear_until("204 No Content").await;
    drop(raw);
    assert_eq!(page(&proxy).await, "v1");
    let let_go = timeout(PATIENCE, gone.notified()).await;
    let_go.expect("it is let go");
}

/// A client that stops within its content, and goes on listening, gets the whole answer.
#[tokio::test]
async fn an_answer_under_way_is_not_cut_off() {
    let go = Arc::new(Notify::new());
    let (wait, content) = (go.clone(), "0123456789".repeat(10_000));
    let whole = ok("", &content);
    let steps = move || {
        let (head, rest) = whole.split_at(100);
        let rest = Step::Say(rest.as_bytes().to_vec());
        vec![
            Step::Say(head.as_bytes().to_vec()),
            Step::Wait(wait.clone()),
            rest,
        ]
    };
    let (_origin, proxy, _) = acting_on_heads(steps, &SHORT).await;
    let mut raw = Raw::connect(proxy.port()).await;
    raw.say(put("content-length: 10", "abc")).await;
    raw.hear_until("\r\n\r\n").await;
    raw.stop_saying().await;
    // Longer than a head would be waited for.
    sleep(10 * SOON).await;
    go.notify_one();
    let heard = raw.hear_all().await;
    assert_eq!(heard.len(), content.len(), "{}", &heard[..100]);
}

/// An upstream that has lost patience with the content has not carried it out. Any other failure
/// is as unknown as ever.
#[tokio::test]
async fn an_upstream_that_gives_up_first_writes_nothing() {
    for (status, is_kept) in [
        ("408 Request Timeout", true),
        ("400 Bad Request", true),
        ("500 Internal Server Error", false),
    ] {
        let go = Arc::new(Notify::new());
        let (wait, told) = (go.clone(), format!("HTTP/1.1 {status}\r\n"));
        let answer = format!("{told}content-length: 0\r\nconnection: close\r\n\r\n");
        let steps = move || {
            let say = Step::Say(answer.clone().into_bytes());
            vec![Step::Wait(wait.clone()), say]
        };
        let (_origin, proxy, _) = acting_on_heads(steps, &LONG).await;
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(put("content-length: 10", "abc")).await;
        raw.stop_saying().await;
        assert!(stays_a_hit(&proxy).await, "{status}");
        go.notify_one();
        let heard = raw.hear_all().await;
        assert!(heard.starts_with(&told), "{status}: {heard}");
        assert_eq!(is_hit(&proxy).await, is_kept, "{status}: {heard}");
    }
}

/// Neither a safe method nor a timeout of 0 waits, nor where none may.
#[tokio::test]
async fn nothing_is_waited_for_without_need() {
    let steps = || vec![Step::Content];
    for (method, options) in [
        ("OPTIONS", &LONG[..]),
        ("PUT", &["--broken-upload-timeout", "0s"]),
        ("PUT", &["--max-broken-uploads", "0"]),
    ] {
        let (_origin, proxy, _) = acting_on_heads(steps, options).await;
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(write(method, "content-length: 10", "abc")).await;
        raw.stop_saying().await;
        let heard = raw.hear_all().await;
        assert!(heard.starts_with("HTTP/1.1 400 "), "{method}: {heard}");
        assert!(is_hit(&proxy).await, "{method}");
    }
}

/// 500 at a time hold no more connections than may wait. The oldest go, and flush nothing.
#[tokio::test]
async fn broken_uploads_are_bounded() {
    let options = [&LONG[..], &["--max-broken-uploads", "16"]].concat();
    let (origin, proxy, _) = acting_on_heads(|| vec![Step::Content], &options).await;
    let mut clients = JoinSet::new();
    for _ in 0..500 {
        let mut raw = Raw::connect(proxy.port()).await;
        clients.spawn(async move {
            raw.say(put("content-length: 10", "abc")).await;
            raw.stop_saying().await;
            raw.hear_all().await
        });
    }
    for _ in 16..500 {
        let heard = clients.join_next().await.expect("a client");
        let heard = heard.expect("an answer");
        assert!(heard.starts_with("HTTP/1.1 400 "), "{heard}");
        assert!(heard.contains("detail=rejected"), "{heard}");
    }
    // One more for what the page came by.
    until("16 are held", async || origin.open() <= 17).await;
    assert!(origin.open() >= 16);
    assert!(is_hit(&proxy).await, "nothing is flushed");
}

/// However many have come, the last one waits for its answer.
#[tokio::test]
async fn the_latest_broken_upload_is_judged_by_its_answer() {
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    let steps = move || vec![Step::Wait(wait.clone()), Step::Say(DONE.into())];
    let options = [&LONG[..], &["--max-broken-uploads", "1"]].concat();
    let (_origin, proxy, written) = acting_on_heads(steps, &options).await;
    let mut clients = JoinSet::new();
    for number in 1..=3 {
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say(put("content-length: 10", "abc")).await;
        until("the head arrives", async || {
            written.load(Ordering::SeqCst) == number
        })
        .await;
        raw.stop_saying().await;
        clients.spawn(async move { raw.hear_all().await });
        if number > 1 {
            let heard = clients.join_next().await.expect("a client");
            assert!(heard.expect("an end").starts_with("HTTP/1.1 400 "));
        }
    }
    assert!(is_hit(&proxy).await, "two are rejected");
    // The origin may still hold the others.
    (0..3).for_each(|_| go.notify_one());
    let heard = clients.join_next().await.expect("a client");
    assert!(heard.expect("an end").starts_with("HTTP/1.1 204 "));
    assert!(!is_hit(&proxy).await, "the last one was carried out");
}

/// An HTTP/2 client may break off after all of its announced content: the upstream has a whole
/// request, whose answer counts.
#[tokio::test]
async fn content_that_is_whole_is_no_broken_upload() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let answer = async |request: Request<Incoming>| {
        let answer = Response::builder();
        if request.method() == Method::GET {
            let page = answer.header("cache-control", "max-age=3600");
            return Ok::<_, Infallible>(page.body(Full::new(Bytes::from("page"))).expect("a page"));
        }
        // The write is not allowed, which shows once it is there.
        let status = match request.into_body().collect().await {
            Ok(_) => 401,
            Err(_) => 500,
        };
        Ok(answer
            .status(status)
            .body(Full::default())
            .expect("an answer"))
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(builder.serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    for (length, parts) in [
        (Some("3"), vec![data("abc"), Part::Pause, reset()]),
        (Some("3"), vec![data("abc"), reset()]),
        (Some("0"), vec![Part::Pause, reset()]),
        (Some("10"), vec![data("abc"), Part::Pause, reset()]),
        (None, vec![data("abc"), Part::Pause, reset()]),
    ] {
        let options = ["--upstream", &url, "--http2-upstream"];
        let proxy = Example::start("proxy", &[&options[..], &STREAMED, &SHORT].concat()).await;
        exchange(proxy.port(), last_get("/hot")).await;
        send_parts(&proxy, length, parts).await;
        sleep(10 * SOON).await;
        assert!(stays_a_hit(&proxy).await, "{length:?}");
    }
}
