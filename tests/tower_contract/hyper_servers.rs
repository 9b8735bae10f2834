//! Connections of hyper: HTTP/1.1 and HTTP/2, with clients that leave.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tower::{Layer, Service, ServiceBuilder};
use tower_response_cache::{BoxError, ResponseBody};

use crate::support::origin::{OriginBody, OriginError};
use crate::support::{Answer, collect, in_memory};
use crate::with_trailers;

const GUARD: Duration = Duration::from_secs(20);

/// One HTTP/1.1 connection to a service.
fn connect<S, B>(service: S) -> DuplexStream
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (client, server) = tokio::io::duplex(64 * 1024);
    let service = TowerToHyperService::new(service);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(server), service);
    tokio::spawn(connection);
    client
}

/// The head of the next response, and its body if it has a length.
async fn next_response(stream: &mut (impl AsyncRead + Unpin)) -> (String, String) {
    let reading = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a whole head"));
        }
        let head = String::from_utf8(head).expect("UTF-8");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("a whole body");
        (head, String::from_utf8(body).expect("UTF-8"))
    };
    tokio::time::timeout(GUARD, reading).await.expect("no hang")
}

async fn everything(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    let reading = stream.read_to_string(&mut text);
    let read = tokio::time::timeout(GUARD, reading).await.expect("no hang");
    read.expect("a clean end");
    text
}

async fn tell(stream: &mut (impl tokio::io::AsyncWrite + Unpin), text: &str) {
    stream.write_all(text.as_bytes()).await.expect("a listener");
}

/// The paths of the requests so far.
type Asked = Arc<Mutex<Vec<String>>>;

/// Answers with the path, and the content where `reads` says so; remembers its requests.
fn telling(
    asked: &Asked,
    reads: bool,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ use<> {
    let asked = asked.clone();
    tower::service_fn(move |request: Request<Incoming>| {
        let path = request.uri().path().to_owned();
        asked.lock().expect("no panic").push(path.clone());
        async move {
            let content = match reads {
                true => request
                    .into_body()
                    .collect()
                    .await
                    .expect("content")
                    .to_bytes(),
                false => Bytes::new(),
            };
            let text = [path.as_bytes(), &content].concat();
            let response = Response::builder().header("cache-control", "max-age=3600");
            Ok(response.body(Full::new(text.into())).expect("a response"))
        }
    })
}

const STORED: &str = "cache-status: tower-response-cache; fwd=uri-miss; stored\r\n";

const HIT: &str = "cache-status: tower-response-cache; hit; ttl=";

const HAS_CONTENT: &str =
    "cache-status: tower-response-cache; fwd=bypass; detail=request-content\r\n";

#[tokio::test(start_paused = true)]
async fn hits_and_misses_keep_the_connection_alive() {
    let asked = Asked::default();
    let service = telling(&asked, false);
    let mut stream = connect(in_memory().layer(service));
    for status in [STORED, HIT, HIT] {
        tell(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let (head, body) = next_response(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(head.contains(status), "{head}");
        assert_eq!(body, "/a");
    }
    assert_eq!(asked.lock().expect("no panic").len(), 1);
}

/// Without content there is nothing to wait for.
#[tokio::test(start_paused = true)]
async fn a_hit_is_not_held_up_by_an_expectation() {
    let service = telling(&Asked::default(), false);
    let mut stream = connect(in_memory().layer(service));
    tell(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
    next_response(&mut stream).await;
    let expecting = "GET /a HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n\r\n";
    tell(&mut stream, expecting).await;
    let (head, body) = next_response(&mut stream).await;
    assert!(head.contains(HIT), "{head}");
    assert_eq!(body, "/a");
}

/// With content it is the inner service's to say "continue", or not.
#[tokio::test(start_paused = true)]
async fn an_expectation_on_a_cached_path_reaches_the_inner_service() {
    for reads in [false, true] {
        let service = telling(&Asked::default(), reads);
        let mut stream = connect(in_memory().layer(service));
        tell(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
        next_response(&mut stream).await;
        let expecting =
            "GET /a HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
        tell(&mut stream, expecting).await;
        let (mut head, mut body) = next_response(&mut stream).await;
        if reads {
            assert_eq!(head, "HTTP/1.1 100 Continue\r\n\r\n");
            tell(&mut stream, " more").await;
            (head, body) = next_response(&mut stream).await;
        }
        assert!(head.contains(HAS_CONTENT), "{head}");
        assert_eq!(body, if reads { "/a more" } else { "/a" });
    }
}

#[tokio::test(start_paused = true)]
async fn content_of_a_get_on_a_cached_path_is_never_taken_for_a_request() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    let length = smuggled.len();
    let announced = format!("content-length: {length}\r\n\r\n{smuggled}");
    let chunked =
        format!("transfer-encoding: chunked\r\n\r\n{length:x}\r\n{smuggled}\r\n0\r\n\r\n");
    for content in [announced, chunked] {
        for reads in [true, false] {
            let asked = Asked::default();
            let service = telling(&asked, reads);
            let mut stream = connect(in_memory().layer(service));
            tell(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
            assert!(next_response(&mut stream).await.0.contains(STORED));
            let fat = format!("GET /a HTTP/1.1\r\nhost: h\r\n{content}");
            let next = "GET /b HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n";
            tell(&mut stream, &(fat + next)).await;
            let (head, body) = next_response(&mut stream).await;
            assert!(head.contains(HAS_CONTENT), "{head}");
            assert_eq!(
                body,
                if reads {
                    format!("/a{smuggled}")
                } else {
                    "/a".into()
                }
            );
            let (head, body) = next_response(&mut stream).await;
            assert!(head.contains(STORED), "{head}");
            assert!(body.starts_with("/b"), "{body}");
            assert_eq!(everything(&mut stream).await, "");
            assert_eq!(*asked.lock().expect("no panic"), ["/a", "/a", "/b"]);
        }
    }
}

/// Two lengths in one request are for the server to refuse, or to read as one.
#[tokio::test(start_paused = true)]
async fn a_get_of_two_lengths_on_a_cached_path_smuggles_nothing() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n";
    let asked = Asked::default();
    let service = telling(&asked, true);
    let mut stream = connect(in_memory().layer(service));
    tell(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
    next_response(&mut stream).await;
    let fat = format!(
        "GET /a HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 5\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
    );
    tell(&mut stream, &fat).await;
    let answers = everything(&mut stream).await;
    assert!(!answers.contains(HIT), "{answers}");
    let asked = asked.lock().expect("no panic");
    assert!(!asked.iter().any(|path| path == "/smuggled"), "{answers}");
}

fn trailing() -> impl Service<
    Request<Incoming>,
    Response = Response<ResponseBody<OriginBody>>,
    Error = OriginError,
    Future: Send,
> + Clone
+ Send
+ 'static {
    ServiceBuilder::new()
        .map_request(|request: Request<Incoming>| request.map(|_| ()))
        .layer(in_memory())
        .service(with_trailers())
}

#[tokio::test(start_paused = true)]
async fn trailers_of_misses_and_hits_reach_http_2_clients() {
    let (client, server) = tokio::io::duplex(64 * 1024);
    let service = TowerToHyperService::new(trailing());
    let server =
        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(server), service);
    tokio::spawn(server);
    let connecting = hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<Bytes>>(
        TokioExecutor::new(),
        TokioIo::new(client),
    );
    let (mut client, connection) = connecting.await.expect("a connection");
    tokio::spawn(connection);
    for is_hit in [false, true] {
        let request = Request::get("http://test.example/a").body(Default::default());
        let response = client.send_request(request.expect("a request")).await;
        let answer: Answer = collect(response.expect("an answer")).await;
        assert_eq!((answer.is_hit(), answer.body.as_str()), (is_hit, "data"));
        let trailers = answer.trailers.expect("trailers");
        assert_eq!(trailers.get_all("x-sum").iter().count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_of_misses_and_hits_reach_http_1_clients_that_ask_for_them() {
    let service = trailing();
    for status in [STORED, HIT] {
        let mut stream = connect(service.clone());
        let asking = "GET /a HTTP/1.1\r\nhost: h\r\nte: trailers\r\nconnection: close\r\n\r\n";
        tell(&mut stream, asking).await;
        let answer = everything(&mut stream).await;
        assert!(answer.contains(status), "{answer}");
        let end = "4\r\ndata\r\n0\r\nx-sum: 1\r\nx-sum: 2\r\n\r\n";
        assert!(answer.ends_with(end), "{answer}");
    }
}

/// Upgrades the connection on request, and echoes its bytes.
async fn echo(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if !request.headers().contains_key("upgrade") {
        let response = Response::builder().header("cache-control", "max-age=3600");
        return Ok(response.body(Full::from("plain")).expect("a response"));
    }
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgrading.await.expect("an upgrade"));
        let mut heard = [0; 4];
        while stream.read_exact(&mut heard).await.is_ok() {
            stream.write_all(&heard).await.expect("a listener");
        }
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "upgrade")
        .header("upgrade", "echo");
    Ok(response.body(Full::default()).expect("a response"))
}

/// On real sockets, in real time: nothing here waits for the clock.
#[tokio::test]
async fn upgrades_pass_also_where_the_path_is_cached() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let service = in_memory().layer(tower::service_fn(echo));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let service = TowerToHyperService::new(service.clone());
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            tokio::spawn(connection.with_upgrades());
        }
    });
    let mut stream = TcpStream::connect(address).await.expect("a server");
    for status in [STORED, HIT] {
        tell(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
        let (head, body) = next_response(&mut stream).await;
        assert!(head.contains(status), "{head}");
        assert_eq!(body, "plain");
    }
    let upgrade = "GET /a HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
    tell(&mut stream, upgrade).await;
    let (head, _) = next_response(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert!(head.contains("; fwd=bypass; detail=upgrade\r\n"), "{head}");
    for word in ["ping", "pong", "done"] {
        tell(&mut stream, word).await;
        let mut heard = [0; 4];
        let hearing = stream.read_exact(&mut heard);
        let heard_all = tokio::time::timeout(GUARD, hearing).await.expect("no hang");
        heard_all.expect("an echo");
        assert_eq!(heard, word.as_bytes());
    }
}
