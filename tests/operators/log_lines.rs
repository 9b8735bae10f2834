//! What an operator reads in the log when something goes wrong, and what it must not tell.

use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::example::{Example, PATIENCE, example};
use crate::http_client::{get, send};
use crate::programs::{TOKEN, TokenFile};
use crate::terminal::log_until;

/// A program with its log as JSON.
async fn start(program: &str, flags: &[&str]) -> Example {
    let flags = [flags, &["--log-format", "json"]].concat();
    let mut command = example(program, &flags);
    let command = command.env_remove("RUST_LOG").stderr(Stdio::piped());
    Example::run(command).await
}

fn with_message<'l>(log: &'l [Value], message: &str) -> Vec<&'l Value> {
    let has_message = |line: &&Value| line["message"] == message;
    log.iter().filter(has_message).collect()
}

/// Which circuit breaker has opened, why an operation has failed, and that invalidations are lost
/// with the program that could not deliver them.
#[tokio::test]
async fn the_log_says_which_breaker_opens_why_and_what_is_never_delivered() {
    // Nothing listens there.
    let redis = ["--backend", "redis", "--redis-url", "redis://127.0.0.1:1/"];
    let mut server = start("products", &redis).await;
    for number in 0..30 {
        let path = format!("/products/{number}");
        get(server.base(), &path).await;
        send(server.base(), "DELETE", "/products", &[], "").await;
        send(server.base(), "PUT", &path, &[], "").await;
        send(server.base(), "POST", "/products", &[], "{}").await;
    }
    let json = [("content-type", "application/json")];
    let lamp = r#"{"name":"Lamp","price":1}"#;
    for _ in 0..15 {
        let made = send(server.base(), "POST", "/products", &json, lamp).await;
        assert_eq!(made.status, 201);
    }
    server.signal("TERM").await;
    let log = log_until(&mut server, |line| {
        let message = line["message"].as_str().unwrap_or_default();
        message.starts_with("undelivered invalidations lost")
    });
    let log = log.await;
    let mut opened: Vec<_> = with_message(&log, "circuit breaker opened")
        .iter()
        .map(|line| line["breaker"].as_str().expect("a name"))
        .collect();
    opened.sort_unstable();
    opened.dedup();
    assert_eq!(opened, ["invalidations", "lookups"], "{log:#?}");
    let failed = with_message(&log, "backend lookup failed");
    let error = failed.first().expect("a line")["error"].to_string();
    assert!(error.contains("refused") && error.contains(": "), "{error}");
    let lost = log.last().expect("a line");
    assert!(lost["targets"].as_u64() > Some(0), "{lost}");
}

/// RFC 9110 §4.2.4: a URI may hold a user and a password, whatever is answered.
#[tokio::test]
async fn no_user_or_password_of_a_uri_is_logged() {
    for more in [&[][..], &["--log-query"]] {
        let flags = ["--upstream", "http://127.0.0.1:1", "--access-log"];
        let mut proxy = start("proxy", &[&flags[..], more].concat()).await;
        let address = proxy
            .base()
            .strip_prefix("http://")
            .expect("a base")
            .to_owned();
        for head in [
            "GET http://user:secret@a.example/path HTTP/1.1\r\nhost: a.example",
            "OPTIONS http://secret@a.example HTTP/1.1\r\nhost: a.example",
            "CONNECT user:secret@a.example:80 HTTP/1.1\r\nhost: a.example:80",
            "GET /last HTTP/1.1\r\nhost: user:secret@a.example",
        ] {
            let mut stream = TcpStream::connect(&address).await.expect("a connection");
            let request = format!("{head}\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = Vec::new();
            let read = timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
            read.expect("in time").expect("an answer");
        }
        let log = log_until(&mut proxy, |line| line["uri"] == "/last").await;
        let text = log.iter().map(Value::to_string).collect::<String>();
        assert!(
            !text.contains("secret") && !text.contains("user:"),
            "{text}"
        );
        assert!(text.contains("http://a.example/path"), "{text}");
    }
}

/// Clients that leave before there is a response are those of an outage.
#[tokio::test]
async fn the_access_log_has_clients_that_leave_before_the_response() {
    // It accepts, and answers nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = format!("http://{}", listener.local_addr().expect("an address"));
    let mut proxy = start("proxy", &["--upstream", &upstream, "--access-log"]).await;
    let address = proxy.base().strip_prefix("http://").expect("a base");
    // While its connections are open, no call fails.
    let mut calls = Vec::new();
    for head in ["GET /left", "HEAD /left", "OPTIONS /left"] {
        let mut client = TcpStream::connect(address).await.expect("a connection");
        let request = format!("{head} HTTP/1.1\r\nhost: a\r\n\r\n");
        client.write_all(request.as_bytes()).await.expect("sent");
        let call = timeout(PATIENCE, listener.accept()).await;
        calls.push(call.expect("in time").expect("a call"));
        // At once, as one that is closed by its process: half a connection might still be read.
        client.set_zero_linger().expect("an option");
    }
    let mut left = 0;
    let log = log_until(&mut proxy, |line| {
        left += u64::from(line["uri"] == "/left");
        left == 3
    });
    for line in log.await.iter().filter(|line| line["uri"] == "/left") {
        assert!(
            line["status"].is_null() && line["head_ms"].is_null(),
            "{line}"
        );
        assert_eq!(
            (&line["bytes"], &line["is_whole"]),
            (&0.into(), &false.into())
        );
        assert!(line["elapsed_ms"].is_number() && line["id"].is_string());
    }
}

/// Promise: a line of an invalidation says what it was for.
#[tokio::test]
async fn the_log_says_what_an_operator_has_invalidated() {
    let token = TokenFile::new(TOKEN);
    let flags = ["--admin", "127.0.0.1:0", "--admin-token-file", token.path()];
    let mut server = start("products", &flags).await;
    let bearer = format!("Bearer {TOKEN}");
    let fields = [
        ("authorization", &*bearer),
        ("content-type", "application/json"),
    ];
    let admin = server.admin().to_owned();
    for (method, path, content) in [
        (
            "POST",
            "/invalidate",
            r#"{"type":"uri","selectors":["http://user:secret@a.example/products/7?secret"]}"#,
        ),
        (
            "POST",
            "/invalidate",
            r#"{"type":"group","selectors":["lamps"],"authority":"b.example","purge":false}"#,
        ),
        ("POST", "/invalidate", r#"{"type":"all"}"#),
        ("PURGE", "/products/8", ""),
    ] {
        assert_eq!(
            send(&admin, method, path, &fields, content).await.status,
            200,
            "{content}"
        );
    }
    let log = log_until(&mut server, |line| line["first"] == "/products/8").await;
    let said: Vec<_> = with_message(&log, "invalidated by an operator")
        .iter()
        .map(|line| (line["first"].as_str(), line["authority"].as_str()))
        .collect();
    assert_eq!(
        said,
        [
            (Some("a.example/products/7"), None),
            (Some("lamps"), Some("b.example")),
            (None, None),
            (Some("/products/8"), None),
        ]
    );
}

/// Clients see none of its failures.
#[tokio::test]
async fn the_log_says_why_an_origin_fails_behind_stale_responses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let upstream = format!("http://{}", listener.local_addr().expect("an address"));
    let mut proxy = start("proxy", &["--upstream", &upstream]).await;
    // It answers once, and is gone.
    let once = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = [0; 4096];
        let read = stream.read(&mut head).await.expect("a request");
        assert_ne!(read, 0, "the proxy has left");
        let answer = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\
                      cache-control: max-age=0, stale-while-revalidate=60\r\n\r\nx";
        stream.write_all(answer.as_bytes()).await.expect("sent");
    });
    for _ in 0..2 {
        let answer = get(proxy.base(), "/page?secret").await;
        assert_eq!((answer.status, answer.text.as_str()), (200, "x"));
    }
    once.await.expect("it has answered");
    let message = "inner service failed; a stale response hides it";
    let log = log_until(&mut proxy, |line| line["message"] == message).await;
    let line = log.last().expect("a line");
    let error = line["error"].to_string();
    assert!(error.contains("refused") && error.contains(": "), "{error}");
    assert_eq!(
        (&line["method"], &line["path"]),
        (&"GET".into(), &"/page".into())
    );
}
