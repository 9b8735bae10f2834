//! What operators see of an origin that is dead, or hangs, and of one that is well behind a full
//! queue of the proxy: each call counts by its end, whatever it was for.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::example::{Example, PATIENCE};
use crate::http_client::{get, send};

/// An origin that answers a request for each permit, and none without. It adds one to `asked` for
/// each that it gets.
async fn origin(answers: Arc<Semaphore>, asked: Arc<Semaphore>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answers, asked) = (answers.clone(), asked.clone());
            tokio::spawn(async move {
                let mut head = [0; 4096];
                while stream.read(&mut head).await.is_ok_and(|length| length > 0) {
                    asked.add_permits(1);
                    answers.acquire().await.expect("it is open").forget();
                    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx";
                    let _ = stream.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    format!("http://{address}")
}

async fn proxy(upstream: &str, more: &[&str]) -> Example {
    let upstream = ["--upstream", upstream, "--admin", "127.0.0.1:0"];
    Example::start("proxy", &[&upstream[..], more].concat()).await
}

async fn stats(proxy: &Example) -> Value {
    let text = get(proxy.admin(), "/stats").await.text;
    serde_json::from_str(&text).expect("JSON")
}

/// The ends of calls that have happened, in a fixed order.
async fn ends(proxy: &Example) -> Vec<(String, u64)> {
    let stats = stats(proxy).await;
    let ends = stats["origin_calls"].as_object().expect("counts").iter();
    let ends = ends.map(|(end, count)| (end.clone(), count.as_u64().expect("a number")));
    ends.filter(|(_, count)| *count > 0).collect()
}

/// Waits until a condition holds.
async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let held = async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, held).await.expect("it holds in time");
}

/// Begins a request, whose client leaves when the stream is dropped.
async fn begin(proxy: &Example, method: &str, path: &str) -> TcpStream {
    begin_with(proxy, method, path, "content-length: 0").await
}

/// Begins a request with a field, and without its content.
async fn begin_with(proxy: &Example, method: &str, path: &str, field: &str) -> TcpStream {
    let address = proxy.base().strip_prefix("http://").expect("a base");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let request = format!("{method} {path} HTTP/1.1\r\nhost: a.example\r\n{field}\r\n\r\n");
    let sent = stream.write_all(request.as_bytes()).await;
    sent.expect("it is sent");
    stream
}

/// No call fails, because no client waits for so long: they count as canceled, for fills as well as
/// past the cache.
#[tokio::test]
async fn a_hung_origin_is_seen_though_its_clients_leave_first() {
    let asked = Arc::new(Semaphore::new(0));
    let upstream = origin(Arc::new(Semaphore::new(0)), asked.clone()).await;
    let proxy = proxy(&upstream, &[]).await;
    for (method, path) in [
        ("GET", "/1"),
        ("GET", "/2"),
        ("HEAD", "/3"),
        ("OPTIONS", "/4"),
    ] {
        let impatient = begin(&proxy, method, path).await;
        asked.acquire().await.expect("it is asked").forget();
        drop(impatient);
    }
    let canceled = [("canceled".to_owned(), 4)];
    until(async || ends(&proxy).await == canceled).await;
    let metrics = get(proxy.admin(), "/metrics").await.text;
    let series = "origin_calls_total{cache=\"tower-response-cache\",status_class=\"canceled\"} 4";
    assert!(metrics.contains(series), "{metrics}");
}

/// A write runs on without its client until the proxy gives up, and has failed then.
#[tokio::test]
async fn a_hung_origin_is_seen_by_writes_whose_clients_leave_first() {
    let asked = Arc::new(Semaphore::new(0));
    let upstream = origin(Arc::new(Semaphore::new(0)), asked.clone()).await;
    let proxy = proxy(&upstream, &["--head-timeout", "1s"]).await;
    let impatient = begin(&proxy, "PUT", "/1").await;
    asked.acquire().await.expect("it is asked").forget();
    drop(impatient);
    let failed = [("error".to_owned(), 1)];
    until(async || ends(&proxy).await == failed).await;
}

/// So that the origin is asked before content is whole.
const STREAMED: [&str; 2] = ["--max-buffered-upload", "0B"];

/// For how many seconds calls have waited for the origin.
async fn silence(proxy: &Example) -> f64 {
    let metrics = get(proxy.admin(), "/metrics").await.text;
    let mut lines = metrics.lines();
    let line = lines.find(|line| line.starts_with("response_cache_origin_silent_seconds{"));
    let (_, value) = line
        .and_then(|line| line.rsplit_once(' '))
        .expect("a value");
    value.parse().expect("a number")
}

/// A client that is slow to send its content is waited for, not the origin. Once the origin has all of
/// it, that is.
#[tokio::test]
async fn a_slow_upload_does_not_make_an_origin_look_hung() {
    let asked = Arc::new(Semaphore::new(0));
    let upstream = origin(Arc::new(Semaphore::new(0)), asked.clone()).await;
    for (method, framing, rest) in [
        ("PUT", "content-length: 6", "def"),
        ("OPTIONS", "content-length: 6", "def"),
        ("POST", "transfer-encoding: chunked", "0\r\n\r\n"),
    ] {
        let proxy = proxy(&upstream, &STREAMED).await;
        let mut upload = begin_with(&proxy, method, "/1", framing).await;
        let part = match framing.contains("chunked") {
            true => "3\r\nabc\r\n",
            false => "abc",
        };
        upload.write_all(part.as_bytes()).await.expect("it is sent");
        asked.acquire().await.expect("it is asked").forget();
        // One that waits for the origin, so that there is a silence, and time passes.
        let impatient = begin(&proxy, "GET", "/2").await;
        asked.acquire().await.expect("it is asked").forget();
        until(async || silence(&proxy).await > 0.1).await;
        drop(impatient);
        until(async || stats(&proxy).await["in_flight"]["origin_calls"] == 0).await;
        let before = silence(&proxy).await;
        sleep(Duration::from_millis(200)).await;
        assert_eq!(silence(&proxy).await, before, "{method}");
        upload.write_all(rest.as_bytes()).await.expect("it is sent");
        until(async || silence(&proxy).await > before + 0.2).await;
    }
}

/// What the proxy answers a client that breaks its content off is no response of the origin: it says
/// nothing of that, ends no silence, and is not the impatience of a client that waits.
#[tokio::test]
async fn uploads_that_break_off_do_not_make_a_hung_origin_look_alive() {
    let asked = Arc::new(Semaphore::new(0));
    let upstream = origin(Arc::new(Semaphore::new(0)), asked.clone()).await;
    let options = [&STREAMED[..], &["--broken-upload-timeout", "100ms"]].concat();
    let proxy = proxy(&upstream, &options).await;
    let _waiting = begin(&proxy, "GET", "/1").await;
    asked.acquire().await.expect("it is asked").forget();
    until(async || silence(&proxy).await > 0.3).await;
    for (count, method) in ["PUT", "POST", "OPTIONS"].into_iter().enumerate() {
        let before = silence(&proxy).await;
        let mut upload = begin_with(&proxy, method, "/2", "content-length: 100").await;
        upload.write_all(b"abc").await.expect("it is sent");
        asked.acquire().await.expect("it is asked").forget();
        drop(upload);
        let broken = [("broken_upload".to_owned(), count as u64 + 1)];
        until(async || ends(&proxy).await == broken).await;
        let after = silence(&proxy).await;
        assert!(after >= before, "{method}: {before}, {after}");
    }
}

/// Neither writes nor what bypasses the cache are fills: each of them counts all the same.
#[tokio::test]
async fn a_dead_origin_is_seen_by_writes_and_by_bypasses_alone() {
    for (method, count) in [("PUT", 3), ("DELETE", 1), ("OPTIONS", 3), ("GET", 1)] {
        // Nothing listens there.
        let proxy = proxy("http://127.0.0.1:1", &[]).await;
        for number in 0..count {
            let path = format!("/{number}");
            let answer = send(proxy.base(), method, &path, &[], "").await;
            assert_eq!(answer.status, 502, "{method}");
        }
        assert_eq!(
            ends(&proxy).await,
            [("error".to_owned(), count)],
            "{method}"
        );
    }
}

/// Whether others answer in its place or not, operators see a server that nobody can connect to: how
/// many there are, and how many of them are down.
#[tokio::test]
async fn servers_that_cannot_be_connected_to_are_seen_until_they_are_back() {
    let answers = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
    let upstream = origin(answers, Arc::new(Semaphore::new(0))).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let other = listener.local_addr().expect("an address");
    // Nothing listens there until later.
    drop(listener);
    let both = format!("{upstream},http://{other}");
    let routed = format!("/api=http://{other}");
    for (flags, path) in [
        (&["--upstream", &*both][..], "/"),
        (&["--upstream", &*upstream, "--upstream", &*routed], "/api/"),
    ] {
        let arguments = [flags, &["--admin", "127.0.0.1:0"]].concat();
        let proxy = Example::start("proxy", &arguments).await;
        let servers = async || {
            let origin = stats(&proxy).await["origin"].clone();
            (origin["servers"].clone(), origin["servers_down"].clone())
        };
        assert_eq!(servers().await, (2.into(), 0.into()));
        let ask = async |number: usize| {
            let path = format!("{path}{number}");
            get(proxy.base(), &path).await;
        };
        for number in 0..10 {
            ask(number).await;
        }
        assert_eq!(servers().await, (2.into(), 1.into()), "{path}");
        let metrics = get(proxy.admin(), "/metrics").await.text;
        let series = "origin_servers_down{cache=\"tower-response-cache\"} 1";
        assert!(metrics.contains(series), "{metrics}");

        let listener = TcpListener::bind(other).await.expect("its port");
        let back = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                held.push(tokio::spawn(async move {
                    // It answers what it was asked, once for each connection.
                    let _ = stream.read(&mut [0; 1024]).await;
                    let answer =
                        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx";
                    let _ = stream.write_all(answer.as_bytes()).await;
                }));
            }
        });
        until(async || {
            ask(10).await;
            servers().await == (2.into(), 0.into())
        })
        .await;
        back.abort();
        let _ = back.await;
    }
}

/// A proxy with one place before its origin, and the request that has it until the origin answers.
async fn full(queue_timeout: &str, answers: &Arc<Semaphore>) -> (Example, JoinHandle<u16>) {
    let asked = Arc::new(Semaphore::new(0));
    let upstream = origin(answers.clone(), asked.clone()).await;
    let limits = ["--concurrency", "1", "--queue-timeout", queue_timeout];
    let proxy = proxy(&upstream, &limits).await;
    let base = proxy.base().to_owned();
    let first = tokio::spawn(async move { get(&base, "/first").await.status });
    asked.acquire().await.expect("it is asked").forget();
    (proxy, first)
}

/// A request that is refused for lack of a place has not reached the origin, which is well.
#[tokio::test]
async fn requests_without_a_place_in_the_proxy_are_no_failures_of_the_origin() {
    let answers = Arc::new(Semaphore::new(0));
    let (proxy, first) = full("300ms", &answers).await;
    for (method, content) in [
        ("GET", ""),
        ("PUT", ""),
        ("POST", "content"),
        ("OPTIONS", ""),
        ("OPTIONS", "content"),
    ] {
        let answer = send(proxy.base(), method, "/other", &[], content).await;
        assert_eq!(answer.status, 503, "{method}");
    }
    assert_eq!(ends(&proxy).await, []);
    answers.add_permits(1);
    assert_eq!(first.await.expect("an answer"), 200);
    assert_eq!(ends(&proxy).await, [("2xx".to_owned(), 1)]);
    assert_eq!(stats(&proxy).await["origin"]["refused"], 5);
}

/// A client that leaves while it waits for a place says nothing of the origin.
#[tokio::test]
async fn clients_that_leave_the_queue_of_the_proxy_have_not_called_the_origin() {
    let answers = Arc::new(Semaphore::new(0));
    let (proxy, first) = full("120s", &answers).await;
    for (method, canceled) in [("GET", 1), ("OPTIONS", 2)] {
        let impatient = begin(&proxy, method, "/left").await;
        until(async || stats(&proxy).await["origin"]["waiting"] == 1).await;
        drop(impatient);
        until(async || stats(&proxy).await["requests"]["canceled"] == canceled).await;
    }
    answers.add_permits(1);
    assert_eq!(first.await.expect("an answer"), 200);
    assert_eq!(ends(&proxy).await, [("2xx".to_owned(), 1)]);
}

/// An origin whose answers are longer than what it sends of them.
async fn cutting() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nx";
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://{address}")
}

/// Each call has a head with 200, and none brings its response.
#[tokio::test]
async fn an_origin_that_breaks_off_every_body_is_seen() {
    let upstream = cutting().await;
    for method in ["GET", "PUT", "OPTIONS"] {
        let proxy = proxy(&upstream, &[]).await;
        for path in ["/1", "/2", "/3"] {
            let mut client = begin(&proxy, method, path).await;
            let mut answer = Vec::new();
            let read = timeout(PATIENCE, client.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "{method}");
        }
        until(async || stats(&proxy).await["origin_bodies_failed"] == 3).await;
        assert_eq!(ends(&proxy).await, [("2xx".to_owned(), 3)], "{method}");
    }
}
