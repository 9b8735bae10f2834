//! The name in TLS handshakes with upstreams (SNI).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ClientConfig;
use tower_response_cache::proxy::{HostPolicy, ProxyErrorKind, ReverseProxy};

use crate::call::{call, to};
use crate::certificate::{presenting, self_signed, trusting};

/// A TLS server for some names, and the names it was asked by for each connection.
struct TlsOrigin {
    port: u16,
    names: Arc<Mutex<Vec<String>>>,
    open: Arc<AtomicUsize>,
    trusting: ClientConfig,
}

async fn serve(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static) {
    let answer = |_: Request<hyper::body::Incoming>| async {
        let body = http_body_util::Full::new(bytes::Bytes::from("hello"));
        Ok::<_, std::convert::Infallible>(http::Response::new(body))
    };
    let http = hyper::server::conn::http1::Builder::new();
    let service = hyper::service::service_fn(answer);
    let _ = http.serve_connection(TokioIo::new(stream), service).await;
}

async fn start(names: &[&str]) -> TlsOrigin {
    let made = self_signed(names);
    let acceptor = TlsAcceptor::from(Arc::new(presenting(&made)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let asked = seen.clone();
    let open = Arc::new(AtomicUsize::new(0));
    let counted = open.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(stream) = acceptor.accept(stream).await else {
                continue;
            };
            let name = stream
                .get_ref()
                .1
                .server_name()
                .unwrap_or_default()
                .to_owned();
            asked
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(name);
            let counted = counted.clone();
            tokio::spawn(async move {
                counted.fetch_add(1, Ordering::SeqCst);
                serve(stream).await;
                counted.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    TlsOrigin {
        port,
        names: seen,
        open,
        trusting: trusting(&made),
    }
}

/// The requests for these hosts, and the names of the handshakes.
async fn names(proxy: &ReverseProxy, origin: &TlsOrigin, hosts: &[&str]) -> Vec<String> {
    for host in hosts {
        let request = to(Method::GET, "/", &[("host", host)]);
        let answer = call(proxy, request).await.expect("an answer");
        assert_eq!(answer.content.as_deref(), Ok("hello"));
    }
    std::mem::take(&mut *origin.names.lock().unwrap_or_else(PoisonError::into_inner))
}

#[tokio::test]
async fn the_host_that_upstreams_receive_is_named_in_the_handshake() {
    let origin = start(&["localhost", "one.test", "two.test"]).await;
    let url = format!("https://localhost:{}", origin.port);
    let proxy = ReverseProxy::new(&url)
        .expect("a URL")
        .tls(origin.trusting.clone());
    let hosts = ["one.test", "two.test:8443", "one.test", "ONE.test."];
    // Each host has a connection of its own.
    let asked = names(&proxy, &origin, &hosts).await;
    assert_eq!(asked, ["one.test", "two.test"]);
    let by_upstream = proxy.clone().tls_by_host(false);
    assert_eq!(names(&by_upstream, &origin, &hosts).await, ["localhost"]);
    let told = proxy.clone().host(HostPolicy::Upstream);
    assert_eq!(names(&told, &origin, &hosts).await, ["localhost"]);
}

/// A host for which the upstream has no certificate is no name of it.
#[tokio::test]
async fn a_host_without_a_certificate_is_not_trusted() {
    let origin = start(&["localhost", "one.test"]).await;
    let url = format!("https://localhost:{}", origin.port);
    let proxy = ReverseProxy::new(&url)
        .expect("a URL")
        .tls(origin.trusting.clone());
    for host in ["other.test", "127.0.0.1", "[::1]:80"] {
        let request = to(Method::GET, "/", &[("host", host)]);
        let failed = call(&proxy, request).await.expect_err("it has none");
        assert_eq!(failed.kind(), ProxyErrorKind::Tls, "{host}");
    }
    assert_eq!(names(&proxy, &origin, &["one.test"]).await, ["one.test"]);
}

/// A port that leads to another one, and how often it was connected to.
async fn way_to(port: u16) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let own = listener.local_addr().expect("an address").port();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let to = TcpStream::connect(("127.0.0.1", port)).await;
                let mut to = to.expect("it listens");
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut to).await;
            });
        }
    });
    (own, count)
}

/// Hosts that a client makes up eject no server.
#[tokio::test]
async fn hosts_without_certificates_eject_no_server() {
    let long = format!("{}.test", "a".repeat(70));
    for bad in ["other.test", &*long] {
        let origin = start(&["localhost", "one.test"]).await;
        let (one, two) = (way_to(origin.port).await, way_to(origin.port).await);
        let urls = format!("https://localhost:{},https://localhost:{}", one.0, two.0);
        let proxy = ReverseProxy::new(&urls)
            .expect("URLs")
            .tls(origin.trusting.clone())
            .max_idle_connections(0);
        for _ in 0..12 {
            let request = to(Method::GET, "/", &[("host", bad)]);
            call(&proxy, request).await.expect_err("it has none");
        }
        let counts = || [&one.1, &two.1].map(|count| count.swap(0, Ordering::SeqCst));
        counts();
        names(&proxy, &origin, &["one.test"; 20]).await;
        let used = counts();
        assert!(used.iter().all(|used| *used >= 5), "{bad}: {used:?}");
    }
}

/// P9: a client that makes up hosts, for which the upstream has a certificate, does not close the
/// connections of hosts that are asked for again and again.
#[tokio::test]
async fn made_up_hosts_close_no_connections_of_others() {
    let origin = start(&["localhost", "*.site.test"]).await;
    let url = format!("https://localhost:{}", origin.port);
    let proxy = ReverseProxy::new(&url)
        .expect("a URL")
        .tls(origin.trusting.clone())
        .max_connection_age(Duration::MAX)
        .pool_idle_timeout(Duration::MAX);
    names(&proxy, &origin, &["honest.site.test"; 2]).await;
    let mut handshakes = 0;
    // More than are kept.
    for round in 0..12 {
        let made_up: Vec<_> = (0..100)
            .map(|number| format!("{round}-{number}.site.test"))
            .collect();
        let hosts: Vec<_> = made_up.iter().map(String::as_str).collect();
        names(&proxy, &origin, &hosts).await;
        handshakes += names(&proxy, &origin, &["honest.site.test"]).await.len();
    }
    assert_eq!(handshakes, 0);
    // One that begins to be asked for now has its connection kept, too.
    let later = names(&proxy, &origin, &["later.site.test"; 5]).await;
    assert_eq!(later, ["later.site.test"]);
    assert!(origin.open.load(Ordering::SeqCst) <= 1024 + 8);
}
