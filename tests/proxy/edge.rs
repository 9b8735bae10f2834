//! The example as a program: its options, its errors, its log and its end.

use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::example::{Example, PATIENCE, example};
use crate::origin::{Nobody, Origin, Step, fresh, ok};
use crate::raw::{Raw, exchange, last_get};

#[tokio::test]
async fn wrong_options_are_explained() {
    for (arguments, message) in [
        (&[][..], "--upstream"),
        (&["--upstream", "localhost:8000"], "the scheme is missing"),
        (
            &["--upstream", "/api=http://a"],
            "expected exactly one --upstream URL",
        ),
        (
            &["--upstream", "http://a", "--upstream", "http://b"],
            "expected exactly one --upstream URL",
        ),
        (
            &["--upstream", "http://a", "--ttl", "60"],
            "units ms, s, m, h, d",
        ),
        (
            &["--upstream", "http://a", "--concurrency", "0"],
            "a whole number from 1",
        ),
        (
            &["--upstream", "http://a", "--ignore-cookies", "_ga,a=b"],
            "options of the cache: ignore_request_cookies must be given cookie names, not \"a=b\"",
        ),
        (
            &["--upstream", "http://a", "--credential-fields", "x-a,"],
            "options of the cache: credential_fields must be given field names, not \"\"",
        ),
        (
            &["--upstream", "http://a", "--host", "b"],
            "[possible values: preserve, upstream]",
        ),
        (
            &["--upstream", "http://a", "--backend", "tiered"],
            "--backend tiered is not supported yet",
        ),
        (
            &["--upstream", "http://a", "--listen", "127.0.0.1:99999"],
            "cannot listen on",
        ),
        #[cfg(not(feature = "proxy-tls"))]
        (
            &["--upstream", "https://a"],
            "https:// needs the feature proxy-tls",
        ),
        #[cfg(not(feature = "redis"))]
        (
            &["--upstream", "http://a", "--backend", "redis"],
            "needs the feature",
        ),
    ] {
        let mut command = example("proxy", &[]);
        if arguments.contains(&"--listen") {
            command = tokio::process::Command::new(command.as_std().get_program());
        }
        let output = command.args(arguments).output().await.expect("an output");
        assert!(!output.status.success(), "{arguments:?}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("error: "), "{arguments:?}: {said}");
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
}

/// What a start would find out is found out by `--check`, too.
#[tokio::test]
async fn a_check_finds_what_a_start_would() {
    for (arguments, message) in [
        (["--backend", "tiered"], "--backend tiered is not supported"),
        (["--listen", "nonsense"], "--listen nonsense: "),
        (["--max-head-fields", "20000"], "--max-head-fields: "),
        (["--health-path", "up"], "--health-path: "),
        #[cfg(feature = "redis")]
        (["--redis-url", "nonsense"], "--redis-url: "),
    ] {
        let mut command = example("proxy", &["--check", "--upstream", "http://a"]);
        if arguments[0] == "--listen" {
            command = tokio::process::Command::new(command.as_std().get_program());
            command.args(["--check", "--upstream", "http://a"]);
        }
        if arguments[0] == "--redis-url" {
            command.args(["--backend", "redis"]);
        }
        let output = command.args(arguments).output().await.expect("an output");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
}

/// Requests and responses with many header fields pass where that is wanted (N46).
#[tokio::test]
async fn the_number_of_header_fields_is_an_option() {
    let lines: String = (0..150)
        .map(|number| format!("x-{number}: y\r\n"))
        .collect();
    let origin = Origin::saying(ok(&lines, "hello")).await;
    let small = Origin::saying(ok("", "hello")).await;
    for (most, is_enough) in [("100", false), ("200", true)] {
        let urls = [origin.url(), format!("/small={}", small.url())];
        let options = ["--upstream", &urls[0], "--upstream", &urls[1]];
        let options = [&options[..], &["--max-head-fields", most]].concat();
        let proxy = Example::start("proxy", &options).await;
        let large = format!("{lines}connection:");
        let request = last_get("/small").replacen("connection:", &large, 1);
        let said = exchange(proxy.port(), request).await;
        let status = if is_enough { "200" } else { "431" };
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        let heard = small.heard();
        assert_eq!(heard.len(), usize::from(is_enough));
        assert!(heard.iter().all(|heard| heard.field("x-149") == "y"));
        let said = exchange(proxy.port(), last_get("/")).await;
        let status = if is_enough { "200" } else { "502" };
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{said}");
        assert_eq!(said.contains("x-149: y"), is_enough);
    }
}

#[tokio::test]
async fn help_opens_with_an_example_and_names_rust_log() {
    let output = example("proxy", &["--help"]).output().await;
    let help = String::from_utf8_lossy(&output.expect("an output").stdout).into_owned();
    assert!(help.starts_with("A caching reverse proxy"), "{help}");
    for part in ["Example:\n  proxy --upstream", "RUST_LOG", "[default: 30s]"] {
        assert!(help.contains(part), "{part}: {help}");
    }
    assert!(!help.contains("tiered"), "{help}");
}

#[tokio::test]
async fn a_failing_origin_is_answered_with_the_reason() {
    let nobody = Nobody::new();
    let hangs = Origin::start(|_| vec![Step::Hang]).await;
    let closes = Origin::start(|_| vec![Step::Close]).await;
    let talks = Origin::saying("nonsense\r\n\r\n").await;
    for (url, head_timeout, status, reason) in [
        (nobody.url(), "1h", "502 Bad Gateway", "connection_refused"),
        (
            hangs.url(),
            "100ms",
            "504 Gateway Timeout",
            "http_response_timeout",
        ),
        (
            closes.url(),
            "1h",
            "502 Bad Gateway",
            "connection_terminated",
        ),
        (talks.url(), "1h", "502 Bad Gateway", "http_protocol_error"),
    ] {
        let options = ["--upstream", &url, "--head-timeout", head_timeout];
        let proxy = Example::start("proxy", &options).await;
        let said = exchange(proxy.port(), last_get("/")).await;
        assert!(
            said.starts_with(&format!("HTTP/1.1 {status}\r\n")),
            "{said}"
        );
        for line in [
            format!("proxy-status: tower-response-cache; error={reason}\r\n"),
            format!("cache-status: tower-response-cache; detail={reason}\r\n"),
            "cache-control: no-store\r\n".to_owned(),
            format!("\r\n\r\n{status}: "),
        ] {
            assert!(said.contains(&line), "{line}: {said}");
        }
    }
}

#[tokio::test]
async fn several_upstreams_by_prefix() {
    let (one, two) = (
        Origin::saying(fresh("one")).await,
        Origin::saying(fresh("two")).await,
    );
    let prefixed = format!("/two={}", two.url());
    let proxy = Example::start(
        "proxy",
        &["--upstream", &one.url(), "--upstream", &prefixed],
    )
    .await;
    for (path, content) in [
        ("/", "one"),
        ("/two", "two"),
        ("/two/x", "two"),
        ("/twofold", "one"),
    ] {
        let said = exchange(proxy.port(), last_get(path)).await;
        assert!(said.ends_with(content), "{path}: {said}");
    }
}

#[tokio::test]
async fn options_reach_what_they_are_about() {
    let origin = Origin::saying(ok("", "hello")).await;
    let url = origin.url();
    let options = [
        "--upstream",
        &url,
        "--ttl",
        "1m",
        "--host",
        "upstream",
        "--forwarding",
        "both",
    ];
    let proxy = Example::start("proxy", &options).await;
    let said = exchange(proxy.port(), last_get("/")).await;
    assert!(
        said.contains("cache-status: tower-response-cache; fwd=uri-miss; stored"),
        "{said}"
    );
    let heard = origin.heard_one();
    assert_eq!(heard.field("host"), format!("127.0.0.1:{}", origin.port));
    assert_eq!(
        heard.field("forwarded"),
        "for=127.0.0.1;host=\"test.example\";proto=http"
    );
    assert_eq!(heard.field("x-forwarded-for"), "127.0.0.1");
    // Its responses may depend on the host that it was told.
    assert!(
        exchange(proxy.port(), last_get("/"))
            .await
            .contains("; hit")
    );
    let other = || last_get("/").replace("test.example", "other.example");
    let said = exchange(proxy.port(), other()).await;
    assert!(said.contains("; fwd=uri-miss; stored"), "{said}");
    // All hosts are one that it is not told.
    let proxy = Example::start("proxy", &options[..6]).await;
    exchange(proxy.port(), last_get("/")).await;
    assert!(exchange(proxy.port(), other()).await.contains("; hit"));
    assert_eq!(heard.content, b"");
}

#[tokio::test]
async fn requests_are_logged_where_that_is_wanted() {
    let origin = Origin::saying(fresh("hello")).await;
    let mut command = example(
        "proxy",
        &["--upstream", &origin.url(), "--access-log", "--log-query"],
    );
    let command = command.env_remove("RUST_LOG").stderr(Stdio::piped());
    let mut proxy = Example::run(command).await;
    let mut lines = BufReader::new(proxy.stderr()).lines();
    exchange(proxy.port(), last_get("/logged?q")).await;
    let logged = async {
        loop {
            let line = lines.next_line().await.expect("a pipe").expect("a line");
            if line.contains("access") {
                return line;
            }
        }
    };
    let line = tokio::time::timeout(PATIENCE, logged)
        .await
        .expect("it is logged");
    for part in [
        "client=127.0.0.1:",
        "method=GET",
        "uri=/logged?q",
        "version=HTTP/1.1",
        "status=200",
        "length=\"5\"",
        "bytes=5",
        "is_whole=true",
        "fwd=uri-miss; stored",
        "upstream_ms=",
        "head_ms=",
        "elapsed_ms=",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[tokio::test]
async fn a_signal_ends_it_after_the_requests_in_flight() {
    for signal in ["TERM", "INT"] {
        let go = Arc::new(Notify::new());
        let steps = [
            Step::Wait(go.clone()),
            Step::Say(ok("", "done").into_bytes()),
        ];
        let origin = Origin::start(move |_| steps.to_vec()).await;
        let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
        let mut idle = Raw::connect(proxy.port()).await;
        let mut raw = Raw::connect(proxy.port()).await;
        raw.say("GET / HTTP/1.1\r\nhost: test.example\r\n\r\n")
            .await;
        while origin.heard().is_empty() {
            tokio::task::yield_now().await;
        }
        proxy.signal(signal).await;
        while TcpStream::connect(("127.0.0.1", proxy.port()))
            .await
            .is_ok()
        {
            tokio::task::yield_now().await;
        }
        go.notify_one();
        let said = raw.hear_all().await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{signal}: {said}");
        assert!(said.ends_with("done"), "{signal}: {said}");
        idle.say("").await;
        drop(idle);
        assert_eq!(proxy.exit().await.code(), Some(0), "{signal}");
    }
}
