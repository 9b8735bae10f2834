//! What frames a body on the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::StatusCode;
use tower::Layer;
use tower_response_cache::stats::Refusal;

use super::{CACHEABLE, ask, connect, memory, on_both_backends};
use crate::support::origin::{Origin, answer, cacheable};
use crate::support::time::settled;
use crate::support::{get, send, with};

fn text_after(head: &str, name: &str) -> Option<String> {
    let line = head.lines().find_map(|line| line.strip_prefix(name));
    line.map(|value| value.trim_start_matches(": ").to_owned())
}

/// What follows on the same connection shows whether both sides agree on where each answer ends.
#[tokio::test(start_paused = true)]
async fn empty_answers_are_framed_right_on_misses_and_hits() {
    let origin = Origin::at_once(|request| {
        let status = match request.uri().path() {
            "/none" => 204,
            "/same" => 304,
            _ => 200,
        };
        let body = match request.uri().path() {
            "/text" => "text",
            _ => "",
        };
        answer(status, CACHEABLE, body)
    });
    let mut stream = connect(memory().layer(origin));
    for (asked, status, length, body, is_hit) in [
        ("GET /empty", "200 OK", Some("0"), "", false),
        ("GET /empty", "200 OK", Some("0"), "", true),
        ("HEAD /empty", "200 OK", Some("0"), "", true),
        ("GET /none", "204 No Content", None, "", false),
        ("GET /none", "204 No Content", None, "", true),
        ("HEAD /none", "204 No Content", None, "", true),
        ("GET /same", "304 Not Modified", None, "", false),
        ("GET /same", "304 Not Modified", None, "", false),
        ("GET /text", "200 OK", Some("4"), "text", false),
        ("GET /text", "200 OK", Some("4"), "text", true),
        ("HEAD /text", "200 OK", Some("4"), "", true),
        ("GET /text", "200 OK", Some("4"), "text", true),
    ] {
        // Only a client that asks for a 304 gets one.
        let condition = match asked {
            "GET /same" => "if-none-match: *\r\n",
            _ => "",
        };
        let request = format!("{asked} HTTP/1.1\r\nhost: h\r\n{condition}\r\n");
        let heard = ask(&mut stream, &request).await;
        let (head, rest) = heard.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{asked}: {head}"
        );
        assert_eq!(
            text_after(head, "content-length").as_deref(),
            length,
            "{asked}"
        );
        assert_eq!(text_after(head, "transfer-encoding"), None, "{asked}");
        assert_eq!(head.contains("cache; hit;"), is_hit, "{asked}: {head}");
        assert_eq!(rest, body, "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_304_to_a_request_past_the_store_passes_and_is_not_stored() {
    on_both_backends(async |layer| {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let origin = Origin::at_once(move |request| {
            counted.fetch_add(1, Ordering::SeqCst);
            match request.headers().contains_key("if-none-match") {
                true => answer(304, &[("cache-control", "max-age=3600")], ""),
                false => cacheable("text"),
            }
        });
        let service = layer.layer(origin);
        let asked = with(get("/a"), "if-none-match", "\"1\"");
        let asked = with(asked, "cache-control", "no-store");
        let not_modified = send(&service, asked).await;
        assert_eq!(not_modified.status, StatusCode::NOT_MODIFIED);
        assert_eq!(not_modified.cache_status(), "fwd=uri-miss; detail=status");
        settled().await;
        let other = send(&service, get("/a")).await;
        assert_eq!(
            (other.status, other.body.as_str()),
            (StatusCode::OK, "text")
        );
        assert_eq!(calls.load(Ordering::SeqCst), 2);
        let refusals = layer.handle().stats().refusals;
        assert_eq!(refusals.get(Refusal::Status), 1);
    })
    .await;
}
