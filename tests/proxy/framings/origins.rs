//! The origins of these tests: hyper and nginx. Both answer each request with its line.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::example::Example;
use crate::nginx::Nginx;
use crate::raw::exchange;

/// A hyper server that answers each request with its line in `x-saw`.
struct HyperOrigin {
    port: u16,
    /// The request lines so far.
    seen: Arc<Mutex<Vec<String>>>,
    _serving: JoinSet<()>,
}

impl HyperOrigin {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, seen.clone()));
        Self {
            port,
            seen,
            _serving: serving,
        }
    }
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        let seen = seen.clone();
        let answer = service_fn(move |request: Request<Incoming>| answer(request, seen.clone()));
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), answer);
        connections.spawn(async move {
            // A syntax error ends the connection.
            let _ = connection.await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<String>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let line = format!("{} {} HTTP/1.1", request.method(), request.uri());
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(line.clone());
    let is_whole = request.into_body().collect().await.is_ok();
    let mut response = Response::new(Full::new(Bytes::from("saw\n")));
    let line = if is_whole { line } else { "broken".to_owned() };
    let headers = response.headers_mut();
    headers.insert("x-saw", line.parse().expect("a field value"));
    headers.insert("cache-control", "no-store".parse().expect("a field value"));
    Ok(response)
}

/// One of the origins, and a proxy before it.
pub struct Pair {
    pub name: &'static str,
    pub proxy: Example,
    origin: Kind,
}

enum Kind {
    Hyper(HyperOrigin),
    Nginx(Nginx),
}

impl Pair {
    pub async fn both(name: &str) -> [Self; 2] {
        let hyper = HyperOrigin::start().await;
        let nginx = Nginx::start(name).await;
        let (of_hyper, of_nginx) = (format!("http://127.0.0.1:{}", hyper.port), nginx.url());
        [
            Self::new("hyper", Kind::Hyper(hyper), &of_hyper).await,
            Self::new("nginx", Kind::Nginx(nginx), &of_nginx).await,
        ]
    }

    async fn new(name: &'static str, origin: Kind, url: &str) -> Self {
        let options = ["--upstream", url, "--broken-upload-timeout", "50ms"];
        let proxy = Example::start("proxy", &options).await;
        Self {
            name,
            proxy,
            origin,
        }
    }

    /// All request lines that the origin has seen.
    async fn seen(&self) -> Vec<String> {
        match &self.origin {
            Kind::Hyper(hyper) => {
                let seen = hyper.seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.clone()
            }
            Kind::Nginx(nginx) => {
                let lines = nginx.log().await.into_iter();
                let line = |line: String| line.rsplit_once(' ').map(|(line, _)| line.to_owned());
                lines.filter_map(line).collect()
            }
        }
    }

    /// The request lines that the origin has seen of each of the first cases, and those of none.
    ///
    /// Whether a request that breaks off is seen, and when, is a matter of time: it may be after
    /// the requests of the next cases. So this is to be asked at the end.
    pub async fn seen_of(&self, cases: usize) -> (Vec<Vec<String>>, Vec<String>) {
        let (mut of_cases, mut others) = (vec![Vec::new(); cases], Vec::new());
        for line in self.seen().await {
            match case_of(&line).and_then(|number| of_cases.get_mut(number)) {
                Some(lines) => lines.push(line),
                None => others.push(line),
            }
        }
        for (number, lines) in of_cases.iter_mut().enumerate() {
            let before = lines.len();
            lines.retain(|line| *line != last_of(number));
            assert_eq!(before - lines.len(), 1, "{}, {number}", self.name);
        }
        (of_cases, others)
    }

    /// Sends a request of another client, the last one of a case. It gets its own response, by
    /// whatever connection the one before has left.
    pub async fn assert_next_client_is_answered(&self, case: &str, number: usize) {
        let line = last_of(number);
        let request = format!("{line}\r\nhost: test.example\r\nconnection: close\r\n\r\n");
        let said = exchange(self.proxy.port(), request).await;
        assert_eq!(saw(&said), [line.as_str()], "{case}, {}: {said}", self.name);
    }
}

/// The line of the request that ends the case with this number.
fn last_of(number: usize) -> String {
    format!("GET /saw/last-{number} HTTP/1.1")
}

/// What a case sends, with its number in the paths of its requests.
pub fn numbered(sent: &str, number: usize) -> String {
    ["first", "next"]
        .iter()
        .fold(sent.to_owned(), |sent, name| {
            let path = format!("/saw/{name}");
            sent.replace(&path, &format!("{path}-{number}"))
        })
}

/// The number in a request line that an origin has seen.
fn case_of(line: &str) -> Option<usize> {
    let path = line.split(' ').nth(1)?;
    let (name, number) = path.strip_prefix("/saw/")?.split_once('-')?;
    let is_known = ["first", "next", "last"].contains(&name);
    number.parse().ok().filter(|_| is_known)
}

/// The request lines that the responses of an origin tell.
pub fn saw(said: &str) -> Vec<&str> {
    let lines = said.lines();
    lines
        .filter_map(|line| line.strip_prefix("x-saw: "))
        .collect()
}
