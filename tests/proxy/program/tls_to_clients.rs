//! `--tls-cert` and `--tls-key`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::call::Http2;
use crate::certificate::{self_signed, trusting};
use crate::example::{Example, PATIENCE, example};
use crate::folder::Folder;
use crate::origin::{Origin, fresh, ok};
use crate::raw::{Raw, exchange, last_get};

pub fn write(folder: &Folder, made: &CertifiedKey<KeyPair>) {
    folder.write("cert.pem", made.cert.pem());
    folder.write("key.pem", made.signing_key.serialize_pem());
}

/// A connection of a client that trusts a certificate.
pub async fn connect(
    port: u16,
    made: &CertifiedKey<KeyPair>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = trusting(made);
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    handshake(stream, config).await
}

async fn handshake(
    stream: TcpStream,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("test.example").expect("a name");
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

pub async fn get(mut stream: TlsStream<TcpStream>) -> String {
    stream
        .write_all(last_get("/").as_bytes())
        .await
        .expect("it listens");
    let mut said = Vec::new();
    // How it ends makes no difference.
    let _ = stream.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

pub async fn start(folder: &Folder, origin: &Origin, options: &[&str]) -> Example {
    let (url, cert, key) = (
        origin.url(),
        folder.file("cert.pem"),
        folder.file("key.pem"),
    );
    let all = ["--upstream", &url, "--tls-cert", &cert, "--tls-key", &key];
    Example::start("proxy", &[&all, options].concat()).await
}

#[tokio::test]
async fn clients_choose_the_version_by_alpn_and_upstreams_are_told_https() {
    let origin = Origin::saying(fresh("hello")).await;
    let (folder, made) = (Folder::new("tls"), self_signed(&["test.example"]));
    write(&folder, &made);
    let proxy = start(&folder, &origin, &["--forwarding", "x-forwarded"]).await;
    assert!(proxy.base().starts_with("https://"), "{}", proxy.base());
    for protocols in [&[][..], &["http/1.1"]] {
        let stream = connect(proxy.port(), &made, protocols)
            .await
            .expect("a handshake");
        assert!(get(stream).await.ends_with("hello"));
    }
    assert_eq!(origin.heard_one().field("x-forwarded-proto"), "https");
    let stream = connect(proxy.port(), &made, &["h2", "http/1.1"])
        .await
        .expect("a handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let http = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = http.await.expect("a connection");
    tokio::spawn(connection);
    let request = Request::get("https://test.example/").body(Empty::<Bytes>::new());
    let response = sender
        .send_request(request.expect("a request"))
        .await
        .expect("an answer");
    assert_eq!(response.version(), Version::HTTP_2);
    let cache = response.headers()["cache-status"]
        .to_str()
        .expect("ASCII")
        .to_owned();
    assert!(cache.contains("; hit"), "{cache}");
    let content = response
        .into_body()
        .collect()
        .await
        .expect("content")
        .to_bytes();
    assert_eq!(content, "hello");
}

/// A client without a handshake is let go, and holds up no other.
#[tokio::test]
async fn a_handshake_that_does_not_come_is_given_up() {
    let origin = Origin::saying(fresh("hello")).await;
    let (folder, made) = (Folder::new("tls-slow"), self_signed(&["test.example"]));
    write(&folder, &made);
    let proxy = start(&folder, &origin, &["--client-timeout", "2s"]).await;
    let silent = Raw::connect(proxy.port()).await;
    let stream = connect(proxy.port(), &made, &[])
        .await
        .expect("a handshake");
    assert!(get(stream).await.ends_with("hello"));
    assert_eq!(silent.hear_all().await, "");
    let plain = exchange(proxy.port(), last_get("/")).await;
    assert!(!plain.contains("hello"), "{plain}");
}

#[tokio::test]
async fn a_hang_up_reads_the_certificate_again() {
    let origin = Origin::saying(fresh("hello")).await;
    let (folder, old, new) = (
        Folder::new("tls-reload"),
        self_signed(&["test.example"]),
        self_signed(&["test.example"]),
    );
    write(&folder, &old);
    let proxy = start(&folder, &origin, &[]).await;
    let kept = connect(proxy.port(), &old, &[]).await.expect("a handshake");
    // One that is not valid changes nothing.
    folder.write("cert.pem", "nonsense");
    proxy.signal("HUP").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(connect(proxy.port(), &old, &[]).await.is_ok());
    write(&folder, &new);
    proxy.signal("HUP").await;
    let begin = Instant::now();
    while connect(proxy.port(), &new, &[]).await.is_err() {
        assert!(begin.elapsed() < PATIENCE, "it is not read again");
    }
    assert!(connect(proxy.port(), &old, &[]).await.is_err());
    assert!(get(kept).await.ends_with("hello"));
    proxy.signal("TERM").await;
    assert_eq!(proxy.exit().await.code(), Some(0));
}

/// A handshake that has begun goes on when options are read again.
#[tokio::test]
async fn a_hang_up_breaks_off_no_handshake() {
    let origin = Origin::saying(ok("", "hello")).await;
    let (folder, made) = (Folder::new("tls-options"), self_signed(&["test.example"]));
    write(&folder, &made);
    folder.write("proxy.toml", "");
    let file = folder.file("proxy.toml");
    let proxy = start(&folder, &origin, &["--config", &file]).await;
    let ask = async || {
        let stream = connect(proxy.port(), &made, &[]).await;
        get(stream.expect("a handshake")).await
    };
    let early = TcpStream::connect(("127.0.0.1", proxy.port())).await;
    // This one is accepted after the other.
    assert!(!ask().await.contains("; hit"));
    folder.write("proxy.toml", "ttl = \"60s\"\n");
    proxy.signal("HUP").await;
    let begin = Instant::now();
    while !ask().await.contains("; hit") {
        assert!(begin.elapsed() < PATIENCE, "it is not read again");
    }
    let late = handshake(early.expect("it listens"), trusting(&made)).await;
    assert!(get(late.expect("a handshake")).await.ends_with("hello"));
}

#[tokio::test]
async fn clients_without_tls_are_redirected() {
    let origin = Origin::saying(fresh("hello")).await;
    let (folder, made) = (Folder::new("tls-redirect"), self_signed(&["test.example"]));
    write(&folder, &made);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let plain = listener.local_addr().expect("an address").port();
    drop(listener);
    let address = format!("127.0.0.1:{plain}");
    let proxy = start(
        &folder,
        &origin,
        &["--redirect-listen", &address, "--admin", "127.0.0.1:0"],
    )
    .await;
    let port = proxy.port();
    for (target, host, expected) in [
        (
            "/a?b",
            "test.example",
            format!("https://test.example:{port}/a?b"),
        ),
        (
            "/",
            "test.example:80",
            format!("https://test.example:{port}/"),
        ),
        (
            "http://o.example/x",
            "a",
            format!("https://o.example:{port}/x"),
        ),
        ("/", "[::1]:80", format!("https://[::1]:{port}/")),
    ] {
        let said = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let said = exchange(plain, said).await;
        assert!(said.starts_with("HTTP/1.1 308 "), "{said}");
        assert!(
            said.contains(&format!("location: {expected}\r\n")),
            "{said}"
        );
    }
    let said = exchange(plain, "GET / HTTP/1.0\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.0 400 "), "{said}");
    // RFC 9112 §3.2: two lines are no request, whatever the target names.
    for target in ["/", "http://a/"] {
        let said =
            format!("GET {target} HTTP/1.1\r\nhost: a\r\nhost: a\r\nconnection: close\r\n\r\n");
        let said = exchange(plain, said).await;
        assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    }
    // P9: a head has the same limit as one for the upstream, whatever the version.
    let mut client = Http2::connect(plain).await;
    let long = "x".repeat(22 * 1024);
    for (count, status) in [(2, 308), (3, 431)] {
        let lines = ["x-1", "x-2", "x-3"].map(|name| (name, long.as_str()));
        assert_eq!(client.get("/", &lines[..count]).await.status, status);
    }
    // It is counted as one that the cache never gets.
    let rejected =
        r#"response_cache_outside_total{cache="tower-response-cache",status_class="4xx"} "#;
    let (_, admin) = proxy.admin().rsplit_once(':').expect("a port");
    let metrics = last_get("/metrics").replace("test.example", "127.0.0.1");
    let metrics = exchange(admin.parse().expect("a port"), metrics).await;
    let count = metrics.lines().find_map(|line| line.strip_prefix(rejected));
    assert_eq!(count, Some("4"), "{metrics}");
    assert_eq!(origin.heard().len(), 0);
    proxy.signal("TERM").await;
    assert_eq!(proxy.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_certificate_that_is_none_is_explained() {
    let (folder, made) = (Folder::new("tls-errors"), self_signed(&["test.example"]));
    write(&folder, &made);
    folder.write("nonsense.pem", "nonsense");
    folder.write(
        "other.pem",
        self_signed(&["test.example"]).signing_key.serialize_pem(),
    );
    let file = |name: &str| folder.file(name);
    for (cert, key, message) in [
        ("none.pem", "key.pem", "--tls-cert"),
        ("nonsense.pem", "key.pem", "--tls-cert"),
        ("cert.pem", "nonsense.pem", "--tls-key"),
        ("cert.pem", "other.pem", "--tls-cert"),
    ] {
        let (cert, key) = (file(cert), file(key));
        let options = [
            "--upstream",
            "http://a",
            "--check",
            "--tls-cert",
            &cert,
            "--tls-key",
            &key,
        ];
        let output = example("proxy", &options)
            .output()
            .await
            .expect("an output");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(message), "{said}");
    }
    let output = example("proxy", &["--upstream", "http://a", "--tls-cert", "x"])
        .output()
        .await;
    let said = String::from_utf8_lossy(&output.expect("an output").stderr).into_owned();
    assert!(said.contains("--tls-key"), "{said}");
}

/// A graceful stop waits for requests in flight, not for handshakes.
#[tokio::test]
async fn a_handshake_that_does_not_come_does_not_delay_the_exit() {
    let origin = Origin::saying(fresh("hello")).await;
    let (folder, made) = (Folder::new("tls-exit"), self_signed(&["test.example"]));
    write(&folder, &made);
    let proxy = start(&folder, &origin, &[]).await;
    let _silent = Raw::connect(proxy.port()).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begin = Instant::now();
    proxy.signal("TERM").await;
    proxy.exit().await;
    assert!(begin.elapsed() < Duration::from_secs(8));
}
