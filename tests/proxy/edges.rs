//! What clients and origins do at the edge of what is allowed, and what it must not cause.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tower_response_cache::proxy::ReverseProxy;

use crate::call::{call, get};
use crate::clients::http2_client::Http2Client;
use crate::example::Example;
use crate::folder::Folder;
use crate::origin::{Nobody, Origin, Step, fresh, ok};
use crate::raw::{Raw, exchange, last_get};

#[tokio::test]
async fn a_write_that_was_sent_twice_is_no_rejected_one() {
    for (method, lines, second) in [
        (
            "DELETE",
            "",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "PUT",
            "if-match: \"1\"\r\ncontent-length: 3\r\n",
            "HTTP/1.1 412 Precondition Failed\r\ncontent-length: 0\r\n\r\n",
        ),
    ] {
        let writes = AtomicUsize::new(0);
        let origin = Origin::start(move |heard| {
            if heard.head.starts_with("GET") {
                return match writes.load(Ordering::SeqCst) {
                    0 => vec![Step::Say(fresh("old").into_bytes())],
                    _ => vec![Step::Say(fresh("new").into_bytes())],
                };
            }
            match writes.fetch_add(1, Ordering::SeqCst) {
                // It acts on it, and its worker dies before it answers.
                0 => vec![Step::Content, Step::Close],
                _ => vec![Step::Content, Step::Say(second.into())],
            }
        })
        .await;
        let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
        exchange(proxy.port(), last_get("/x")).await;
        let content = if method == "PUT" { "abc" } else { "" };
        exchange(proxy.port(), format!("{method} /x HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\n{lines}\r\n{content}")).await;
        let after = exchange(proxy.port(), last_get("/x")).await;
        assert!(after.ends_with("new"), "{method}: STALE: {after}");
    }
}

async fn reading() -> Origin {
    Origin::start(|_| vec![Step::Content, Step::Say(ok("", "hello").into_bytes())]).await
}

#[tokio::test]
async fn trickling_uploads_hold_up_no_other() {
    let origin = reading().await;
    let options = [
        "--upstream",
        &origin.url(),
        "--concurrency",
        "4",
        "--queue-timeout",
        "500ms",
        "--idle-timeout",
        "1s",
    ];
    let proxy = Example::start("proxy", &options).await;
    let mut client = Http2Client::connect(proxy.port(), 65_535).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(client.request("POST", "/up", Some(100_000)).await);
    }
    let (mut ok, mut failed) = (0, 0);
    let trickle = async {
        for _ in 0..200 {
            for stream in &streams {
                client.data(*stream, b"x").await;
            }
            sleep(Duration::from_millis(25)).await;
        }
    };
    let port = proxy.port();
    let others = async {
        sleep(Duration::from_millis(500)).await;
        for number in 0..5 {
            let said = exchange(port, last_get(&format!("/{number}"))).await;
            match said.starts_with("HTTP/1.1 200") {
                true => ok += 1,
                false => failed += 1,
            }
        }
    };
    tokio::join!(trickle, others);
    assert_eq!(failed, 0);
}

#[tokio::test]
async fn an_empty_segment_with_parameters_is_no_segment() {
    let origin = Origin::saying(ok("", "secret")).await;
    let proxy = ReverseProxy::new(&format!("{}/public", origin.url())).expect("a URL");
    for path in [
        "/;x/../private",
        "/a/;/;/../../../private",
        "/;/%2e%2e/private",
    ] {
        let answer = call(&proxy, get(path)).await.expect("an answer");
        for heard in origin.heard() {
            eprintln!("{path}: {} -> {}", answer.status, heard.request_line());
        }
        assert_eq!(answer.status, 400, "{path}");
    }
}

#[tokio::test]
async fn all_schemes_of_forwarded_are_in_the_key() {
    for forwarding in ["forwarded", "both", "none"] {
        let origin = Origin::start(|heard| match heard.head.to_lowercase().contains("proto=https") {
            false => vec![Step::Say("HTTP/1.1 301 Moved\r\nlocation: https://test.example/\r\ncache-control: max-age=60\r\ncontent-length: 0\r\n\r\n".into())],
            true => vec![Step::Say(fresh("page").into_bytes())],
        }).await;
        let proxy = Example::start(
            "proxy",
            &[
                "--upstream",
                &origin.url(),
                "--trust-forwarded",
                "--forwarding",
                forwarding,
            ],
        )
        .await;
        let ask = |proto: &str| {
            format!(
                "GET / HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\nforwarded: for=192.0.2.1;proto={proto}\r\n\r\n"
            )
        };
        exchange(proxy.port(), ask("http")).await;
        let said = exchange(proxy.port(), ask("https")).await;
        assert!(said.ends_with("page"), "{forwarding}: {said}");
    }
}

#[tokio::test]
async fn a_short_restart_under_load_ejects_for_seconds() {
    let nobody = Nobody::new();
    let url = nobody.url();
    let slow = Origin::start(|_| {
        vec![
            Step::Pause(Duration::from_millis(50)),
            Step::Say(ok("", "other").into_bytes()),
        ]
    })
    .await;
    let proxy = ReverseProxy::new(&format!("{url},{}", slow.url())).expect("URLs");
    let mut set = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let proxy = proxy.clone();
        set.spawn(async move { call(&proxy, get("/")).await.expect("an answer") });
    }
    while set.join_next().await.is_some() {}
    drop(nobody);
    let port = url
        .rsplit(':')
        .next()
        .expect("a port")
        .parse()
        .expect("a port");
    let back = Origin::saying_at("127.0.0.1", port, ok("", "back")).await;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(11) {
        call(&proxy, get("/")).await.expect("an answer");
        if !back.heard().is_empty() {
            return;
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("not asked for 11 s after it was back");
}

#[tokio::test]
async fn a_silent_tls_client_does_not_delay_the_end() {
    let origin = Origin::saying(fresh("hello")).await;
    let folder = Folder::new("rev19-tls");
    let made =
        rcgen::generate_simple_self_signed(["test.example".to_owned()]).expect("a certificate");
    folder.write("cert.pem", made.cert.pem());
    folder.write("key.pem", made.signing_key.serialize_pem());
    let proxy = Example::start(
        "proxy",
        &[
            "--upstream",
            &origin.url(),
            "--tls-cert",
            &folder.file("cert.pem"),
            "--tls-key",
            &folder.file("key.pem"),
        ],
    )
    .await;
    let _silent = Raw::connect(proxy.port()).await;
    sleep(Duration::from_millis(200)).await;
    let begin = Instant::now();
    proxy.signal("TERM").await;
    proxy.exit().await;
    assert!(begin.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn prefixes_match_in_any_spelling() {
    let (main, api) = (
        Origin::saying(ok("", "main")).await,
        Origin::saying(ok("", "api")).await,
    );
    let mut wrong = Vec::new();
    for prefix in [
        "/%61pi",
        "/api//",
        "//api",
        "/./api",
        "/x/../api",
        "/a;b",
        "/\u{e4}",
    ] {
        let proxy = ReverseProxy::new(&main.url()).expect("a URL");
        let Ok(proxy) = proxy.upstream(prefix, &api.url()) else {
            continue;
        };
        let path = match prefix {
            "/a;b" => "/a;b/x",
            "/\u{e4}" => "/%c3%a4/x",
            _ => "/api/x",
        };
        let answer = call(&proxy, get(path)).await.expect("an answer");
        if answer.content.as_deref() != Ok("api") {
            wrong.push(prefix);
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
