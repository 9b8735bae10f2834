//! nginx as one of several proxies on the way.

use super::Nginx;
use super::files::curl;
use crate::example::Example;
use crate::origin::{Origin, Step, ok};
use crate::raw::{exchange, last_get};

/// Forwards to a port that the request names, by HTTP/1.0 as nginx does by default, or by HTTP/1.1.
const THROUGH: &str = "
    location /old { proxy_pass http://127.0.0.1:$arg_port; }
    location /new { proxy_http_version 1.1; proxy_pass http://127.0.0.1:$arg_port; }
";

/// RFC 9110 §7.6.3: a loop is found through nginx, which keeps `Via`, in the first round.
#[tokio::test]
async fn a_loop_through_nginx_is_answered_508() {
    let nginx = Nginx::with("loop", THROUGH, None).await;
    let (http1, http2) = (nginx.url(), nginx.http2_url());
    for options in [
        &["--upstream", &http1][..],
        &["--upstream", &http2, "--http2-upstream"],
    ] {
        let proxy = Example::start("proxy", options).await;
        for path in ["/old", "/new"] {
            let before = nginx.log().await.len();
            let target = format!("{path}?port={}", proxy.port());
            let said = exchange(proxy.port(), last_get(&target)).await;
            assert!(said.starts_with("HTTP/1.1 508 "), "{options:?}: {said}");
            assert_eq!(nginx.log().await.len(), before + 1, "{options:?} {path}");
        }
    }
}

/// RFC 9112 §2.3: nginx asks in HTTP/1.0. It gets no chunks, and upstreams are asked in HTTP/1.1
/// over a connection that is kept.
#[tokio::test]
async fn clients_of_nginx_get_whole_responses_by_http_1_0() {
    let chunked = "HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\ntransfer-encoding: chunked\r\n\r\n\
                   5\r\nhello\r\n0\r\n\r\n";
    let origin = Origin::start(move |heard| match heard.head.contains("length") {
        true => vec![Step::Say(
            ok("cache-control: max-age=60\r\n", "hello").into(),
        )],
        false => vec![Step::Say(chunked.into())],
    })
    .await;
    let nginx = Nginx::with("old", THROUGH, None).await;
    let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
    for path in ["/old/chunked", "/old/length", "/new/chunked"] {
        for is_hit in [false, true] {
            let url = format!("{}{path}?port={}", nginx.url(), proxy.port());
            let said = curl(&["-i", &url]).await;
            assert!(said.starts_with("HTTP/1.1 200 "), "{path}: {said}");
            assert!(said.ends_with("\r\n\r\nhello"), "{path}: {said}");
            assert_eq!(said.contains("; hit"), is_hit, "{path}: {said}");
        }
    }
    let heard = origin.heard();
    assert_eq!(heard.len(), 3);
    for request in &heard {
        assert!(request.request_line().ends_with(" HTTP/1.1"), "{request:?}");
        assert_eq!(request.connection, 0, "{request:?}");
    }
}

/// RFC 9112 §8, RFC 9113 §8.1: what breaks off behind nginx is neither told as whole nor stored.
#[tokio::test]
async fn a_response_that_breaks_off_behind_nginx_is_not_whole() {
    let cut = |framing: &str, content: &str| {
        let head = format!("HTTP/1.1 200 OK\r\ncache-control: max-age=60\r\n{framing}\r\n\r\n");
        format!("{head}{content}").into_bytes()
    };
    let chunked = cut("transfer-encoding: chunked", "3\r\nhel\r\n");
    let length = cut("content-length: 5", "hel");
    let origin = Origin::start(move |heard| {
        let said = match heard.head.contains("chunked") {
            true => chunked.clone(),
            false => length.clone(),
        };
        vec![Step::Say(said), Step::Close]
    })
    .await;
    let nginx = Nginx::with("cut", THROUGH, None).await;
    let (http1, http2) = (nginx.url(), nginx.http2_url());
    for options in [
        &["--upstream", &http1][..],
        &["--upstream", &http2, "--http2-upstream"],
    ] {
        let proxy = Example::start("proxy", options).await;
        for path in ["/new/chunked", "/new/length"] {
            let target = format!("{path}?port={}", origin.port);
            for _ in 0..2 {
                let said = exchange(proxy.port(), last_get(&target)).await;
                let is_error = said.starts_with("HTTP/1.1 502 ");
                let is_cut = !said.ends_with("0\r\n\r\n") && !said.contains("content-length: 3");
                assert!(is_error || is_cut, "{options:?} {path}: {said}");
                assert!(!said.contains("; hit"), "{options:?} {path}: {said}");
            }
        }
    }
    assert_eq!(origin.heard().len(), 8, "nothing was stored");
}
