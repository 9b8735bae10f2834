//! Log lines: how many a stranger can cause, and what each says.

use std::time::Duration;

use http::{Method, Request};
use tokio::time::{advance, sleep, timeout};
use tower::{Layer, Service};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{CacheLayer, WriteOutcome};
use tracing::{Instrument, Level, info_span};

use crate::support::logs::Logs;
use crate::support::origin::{Origin, Response, answer, cacheable, slow};
use crate::support::time::{SECOND, SLOW, in_virtual_time, settle};
use crate::support::{get, gets, put, request, send, send_all};

const CAUSES: usize = 10_000;

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

/// One line for ten thousand causes of a kind within a second; the next one counts the others.
async fn assert_told_once<S>(service: &S, line: &str, cause: impl Fn(usize) -> Request<()>)
where
    S: Service<Request<()>, Response = http::Response<Body>> + Clone,
    S::Error: std::fmt::Debug,
{
    let logs = Logs::new();
    for number in 0..CAUSES {
        send(service, cause(number)).await;
    }
    let lines = logs.lines(line);
    assert_eq!(lines.len(), 1, "{line}");
    assert!(lines[0].contains("suppressed=0"), "{}", lines[0]);
    advance(SECOND).await;
    send(service, cause(CAUSES)).await;
    let lines = logs.lines(line);
    assert_eq!(lines.len(), 2, "{line}");
    let counted = format!("suppressed={}", CAUSES - 1);
    assert!(lines[1].contains(&counted), "{}", lines[1]);
}

type Body = tower_response_cache::ResponseBody<crate::support::origin::OriginBody>;

fn origin(lines: &'static [(&'static str, &'static str)], status: u16) -> Origin {
    Origin::at_once(move |_| answer(status, lines, ""))
}

#[tokio::test(start_paused = true)]
async fn writes_without_a_key_are_told_once_a_second() {
    let service = layer().key_by(|_, _| None).layer(origin(&[], 200));
    let line = "a write without a key invalidates nothing";
    assert_told_once(&service, line, |number| put(&format!("/{number}"))).await;
}

#[tokio::test(start_paused = true)]
async fn references_that_name_nothing_are_told_once_a_second() {
    let layer = layer().also_invalidate(|_| vec!["http://[".to_owned()]);
    let service = layer.layer(origin(&[], 200));
    let line = "also_invalidate named no resource";
    assert_told_once(&service, line, |number| put(&format!("/{number}"))).await;
}

#[tokio::test(start_paused = true)]
async fn useless_responses_are_told_once_a_second() {
    let service = layer().layer(Origin::at_once(|_| answer(304, &[], "")));
    let line = "response of no use; repeating the request";
    assert_told_once(&service, line, |number| get(&format!("/{number}"))).await;
}

#[tokio::test(start_paused = true)]
async fn too_many_groups_are_told_once_a_second() {
    let names: Vec<String> = (0..300).map(|number| format!("\"g{number}\"")).collect();
    let names = names.join(", ");
    let service = layer().layer(Origin::at_once(move |_| {
        answer(200, &[("cache-group-invalidation", &names)], "")
    }));
    let line = "names too many groups; everything is cleared";
    let logs = Logs::new();
    for _ in 0..1000 {
        send(&service, put("/a")).await;
    }
    assert_eq!(logs.lines(line).len(), 1);
}

/// Requests that find the queue for a busy inner service full.
#[tokio::test(start_paused = true)]
async fn a_full_queue_is_told_once_a_second() {
    let one = tower::limit::ConcurrencyLimitLayer::new(1);
    let busy = one.layer(slow(|_, _| cacheable("x")));
    let service = layer().max_waiting_fills(1).layer(busy);
    let logs = Logs::new();
    let requests = (0..500).map(|number| get(&format!("/{number}")));
    let answers = send_all(&service, requests).await;
    let refused = answers.iter().filter(|answer| answer.status == 503).count();
    assert!(refused > 400, "{refused}");
    assert_eq!(
        logs.lines("too many fills wait for the inner service")
            .len(),
        1
    );
}

/// Every line about a request says its method and path; its query only with `log_query`.
#[tokio::test(start_paused = true)]
async fn lines_about_a_request_say_its_method_and_path() {
    for logs_query in [false, true] {
        let layer = layer()
            .log_query(logs_query)
            .stale_while_revalidate(60 * SECOND);
        let layer = layer.skip(|request| request.uri.path() == "/skipped");
        let service = layer.layer(Origin::at_once(|request| match request.uri().path() {
            "/refused" => answer(200, &[("cache-control", "no-store")], ""),
            _ => answer(200, &[("cache-control", "max-age=1")], "x"),
        }));
        let logs = Logs::from_level(Level::DEBUG);
        for path in ["/stored?q=secret", "/refused?q=secret", "/skipped?q=secret"] {
            for wait in [Duration::ZERO, Duration::ZERO, 2 * SECOND] {
                advance(wait).await;
                send(&service, get(path)).await;
                settle().await;
            }
            let lines = logs.lines("");
            let path = path.trim_end_matches("?q=secret");
            let new: Vec<_> = lines.iter().filter(|line| line.contains(path)).collect();
            assert!(new.len() >= 3, "{new:?}");
        }
        send(&service, put("/written?q=secret")).await;
        for line in logs.lines("") {
            let says = line.contains("method=GET path=\"/") || line.contains("method=PUT path=\"/");
            assert!(says, "{line}");
            assert_eq!(line.contains("secret"), logs_query, "{line}");
        }
        for event in [
            "fetch",
            "stored",
            "hit",
            "refresh",
            "not stored",
            "bypass",
            "invalidated",
        ] {
            assert!(!logs.lines(event).is_empty(), "{event}");
        }
    }
}

/// What a task does for a request is logged in the span of the client whose request it was.
#[tokio::test(start_paused = true)]
async fn tasks_go_on_in_the_span_of_their_client() {
    let telling = |request: &Request<()>, _| -> Response {
        tracing::info!(path = request.uri().path(), "called");
        answer(200, &[("cache-control", "max-age=1")], "x")
    };
    let calls = || {
        let origin = slow(telling);
        layer().stale_while_revalidate(60 * SECOND).layer(origin)
    };
    let logs = Logs::from_level(Level::INFO);
    let is_in = |span: &str, calls: usize| {
        let lines = logs.lines("called");
        assert_eq!(lines.len(), calls, "{lines:?}");
        assert!(
            lines[calls - 1].contains(span),
            "{span}: {}",
            lines[calls - 1]
        );
    };
    // A refresh.
    let service = calls();
    send(&service, get("/a")).await;
    advance(2 * SECOND).await;
    send(&service, get("/a"))
        .instrument(info_span!("refreshing"))
        .await;
    sleep(2 * SLOW).await;
    is_in("refreshing", 2);
    // A call that its followers have moved into a task.
    let service = calls();
    let leader = send(&service, get("/a")).instrument(info_span!("leading"));
    let followers = async {
        sleep(SLOW / 4).await;
        send_all(&service, gets(3))
            .instrument(info_span!("following"))
            .await;
    };
    let _ = tokio::join!(timeout(SLOW / 2, leader), followers);
    is_in("leading", 3);
    // A write whose client has left.
    let service = calls();
    let write = send(&service, put("/a")).instrument(info_span!("writing"));
    assert!(timeout(SLOW / 2, write).await.is_err());
    sleep(2 * SLOW).await;
    is_in("writing", 4);
}

/// Also where no request says it.
#[tokio::test(start_paused = true)]
async fn lines_about_an_invalidation_say_what_it_was_for() {
    let lines: &[(&str, &str)] = &[("location", "/other")];
    let layer = layer().classify_writes(|_| WriteOutcome::Committed);
    let service = layer.layer(Origin::at_once(move |_| answer(201, lines, "")));
    let logs = Logs::from_level(Level::DEBUG);
    let handle = layer.handle();
    handle.invalidate("/products/7").await.expect("memory");
    handle
        .invalidate_group("test.example", "shoes")
        .await
        .expect("memory");
    send(&service, request(Method::POST, "/made")).await;
    let told = logs.lines(" invalidated target");
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[0].contains("path=\"/products/7\""), "{}", told[0]);
    assert!(told[1].contains("group=\"shoes\""), "{}", told[1]);
    assert!(
        told[2].contains("method=POST path=\"/made\""),
        "{}",
        told[2]
    );
    assert!(logs.lines("reference=/other")[0].contains("/made"));
}
