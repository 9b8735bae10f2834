//! What the inner service is called for, and what it says of its own queue.

use std::any::Any;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, Request};
use tokio::time::{sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_response_cache::stats::RequestResult::{Bypass, Miss, Overload, Stale};
use tower_response_cache::stats::{
    CallEnd, OriginLoad, OriginMonitor, OriginRejection, Stats, WaitTimes,
};
use tower_response_cache::{CacheLayer, backend::Backend};

use crate::support::logs::Logs;
use crate::support::origin::{Origin, OriginError, answer, cacheable};
use crate::support::time::settled;
use crate::support::{get, put, request, send, with};
use crate::{counted_since, layer};

/// A monitor that knows the error of a full queue by its text.
struct Queue(Arc<WaitTimes>);

impl OriginMonitor for Queue {
    fn load(&self) -> OriginLoad {
        let mut load = OriginLoad::default();
        (load.in_flight, load.max_in_flight, load.waiting) = (7, Some(8), 3);
        (load.refused, load.repeated) = (5, 2);
        load.wait_durations = self.0.distribution();
        load
    }

    fn is_overload(&self, error: &dyn Any) -> bool {
        let error = error.downcast_ref::<OriginError>();
        error.is_some_and(|error| error.0 == "full")
    }

    fn as_error<'e>(&self, error: &'e dyn Any) -> Option<&'e (dyn Error + 'static)> {
        let error: &(dyn Error + 'static) = error.downcast_ref::<OriginError>()?;
        Some(error)
    }
}

/// An origin that fails under the path of each error, and answers others.
fn failing() -> Origin {
    Origin::new(async |request: Request<()>| match request.uri().path() {
        "/full" => Err(OriginError("full")),
        "/broken" => Err(OriginError("broken")),
        "/stale" if request.headers().contains_key("x-full") => Err(OriginError("full")),
        "/stale" => Ok(answer(200, &[("cache-control", "max-age=1")], "x")),
        _ => Ok(cacheable("x")),
    })
}

/// A request that the inner service has no place for is neither a miss nor a bypass.
#[tokio::test(start_paused = true)]
async fn a_request_that_the_origin_has_no_place_for_counts_as_overload() {
    let layer = layer().origin_monitor(Queue(Arc::default()));
    let service = layer.layer(failing());
    for (request, expected) in [
        (get("/full"), Overload),
        (put("/full"), Overload),
        (request(Method::OPTIONS, "/full"), Overload),
        (get("/broken"), Miss),
        (put("/broken"), Bypass),
        (request(Method::OPTIONS, "/broken"), Bypass),
        (get("/stale"), Miss),
    ] {
        let before = layer.handle().stats();
        let named = format!("{} {}", request.method(), request.uri());
        let _ = service.clone().oneshot(request).await;
        assert_eq!(counted_since(&before, &layer), [(expected, 1)], "{named}");
    }
    // It may still be answered with a stale response, and then counts as that.
    sleep(Duration::from_secs(3)).await;
    let before = layer.handle().stats();
    send(&service, with(get("/stale"), "x-full", "1")).await;
    assert_eq!(counted_since(&before, &layer), [(Stale, 1)]);
}

/// The queue of the inner service is in the statistics, and in all metrics that are made of them.
#[tokio::test(start_paused = true)]
async fn the_queue_of_the_origin_is_in_the_metrics() {
    let waits = Arc::new(WaitTimes::new());
    waits.observe(Duration::from_millis(30));
    let stats = layer().origin_monitor(Queue(waits)).handle().stats();
    let text = stats.to_openmetrics();
    for line in [
        "origin_requests_in_flight{cache=\"tower-response-cache\"} 7",
        "origin_requests_max{cache=\"tower-response-cache\"} 8",
        "origin_requests_waiting{cache=\"tower-response-cache\"} 3",
        "origin_refused_total{cache=\"tower-response-cache\"} 5",
        "origin_repeated_total{cache=\"tower-response-cache\"} 2",
        "wait_duration_seconds_sum{cache=\"tower-response-cache\",on=\"readiness\"} 0.03",
        "wait_duration_seconds_count{cache=\"tower-response-cache\",on=\"readiness\"} 1",
    ] {
        let line = format!("\nresponse_cache_{line}\n");
        assert!(text.contains(&line), "{line} in {text}");
    }
    // Without a monitor nothing is said of a queue.
    let text = layer().handle().stats().to_openmetrics();
    assert!(!text.contains("origin_requests"), "{text}");
    assert!(text.contains("response_cache_origin_calls_total"), "{text}");
}

/// A monitor that panics whenever it is asked.
struct Panicking(Arc<AtomicUsize>);

impl OriginMonitor for Panicking {
    fn load(&self) -> OriginLoad {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("on purpose")
    }

    fn is_overload(&self, _: &dyn Any) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("on purpose")
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_monitor_is_no_answer() {
    let asked = Arc::new(AtomicUsize::new(0));
    let layer = layer().origin_monitor(Panicking(asked.clone()));
    let before = layer.handle().stats();
    assert_eq!(before.origin, None);
    let failed = layer.layer(failing()).oneshot(get("/full")).await;
    assert!(failed.is_err_and(|error| error.0 == "full"));
    assert_eq!(counted_since(&before, &layer), [(Miss, 1)]);
    assert!(asked.load(Ordering::Relaxed) >= 2);
}

/// How the calls have ended since: ends without any are left out.
fn ended_since<B: Backend>(before: &Stats, layer: &CacheLayer<B>) -> Vec<(CallEnd, u64)> {
    let now = layer.handle().stats();
    let ends = now.origin_calls.iter();
    let ends = ends.map(|(end, count)| (end, count - before.origin_calls.get(end)));
    ends.filter(|(_, count)| *count > 0).collect()
}

/// An origin that does what the path says.
fn by_path() -> Origin {
    Origin::new(async |request: Request<()>| {
        let path = request.uri().path();
        match path.trim_start_matches('/').parse() {
            Ok(status) => Ok(answer(status, &[], "")),
            Err(_) if path == "/hang" => std::future::pending().await,
            Err(_) if path == "/panic" => panic!("on purpose"),
            Err(_) if path == "/full" => Err(OriginError("full")),
            Err(_) => Err(OriginError("broken")),
        }
    })
}

/// Whatever a call is for: a fill, a write, or a request past the cache.
#[tokio::test(start_paused = true)]
async fn every_call_counts_by_its_end_whatever_it_is_for() {
    use CallEnd::{Canceled, ClientError, Redirection, ServerError, Success};
    let layer = layer()
        .origin_monitor(Queue(Arc::default()))
        .detached_write_timeout(Duration::from_secs(5));
    let service = layer.layer(by_path());
    for (path, end) in [
        ("/200", Some(Success)),
        ("/307", Some(Redirection)),
        ("/404", Some(ClientError)),
        ("/503", Some(ServerError)),
        ("/broken", Some(CallEnd::Error)),
        ("/panic", Some(CallEnd::Error)),
        ("/hang", Some(Canceled)),
        // The origin refuses it, and is not called as far as its figures go.
        ("/full", None),
    ] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
            let (before, named) = (layer.handle().stats(), format!("{method} {path}"));
            let client = timeout(
                Duration::from_secs(1),
                service.clone().oneshot(request(method, path)),
            );
            // One that leaves lets a write run on for a while. A panic ends its task alone.
            let _ = tokio::spawn(client).await;
            sleep(Duration::from_secs(10)).await;
            let expected: Vec<_> = end.into_iter().map(|end| (end, 1)).collect();
            assert_eq!(ended_since(&before, &layer), expected, "{named}");
        }
    }
}

/// An expired credential, or a limit of the origin's, is told apart from what is not there. Each counts
/// as a call with 4xx as well, whatever it is for.
#[tokio::test(start_paused = true)]
async fn rejections_of_the_origin_count_by_what_they_are_for() {
    use OriginRejection::{Credentials, Rate};
    let layer = layer();
    let service = layer.layer(by_path());
    for (path, expected) in [
        ("/401", Some(Credentials)),
        ("/403", Some(Credentials)),
        ("/407", Some(Credentials)),
        ("/429", Some(Rate)),
        ("/200", None),
        ("/304", None),
        ("/400", None),
        ("/404", None),
        ("/410", None),
        ("/503", None),
        ("/broken", None),
    ] {
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::OPTIONS] {
            let (before, named) = (layer.handle().stats(), format!("{method} {path}"));
            let _ = service.clone().oneshot(request(method, path)).await;
            let now = layer.handle().stats();
            let since = |now: u64, before: u64| now - before;
            for reason in [Credentials, Rate] {
                let counts = (&now.origin_rejections, &before.origin_rejections);
                let counted = since(counts.0.get(reason), counts.1.get(reason));
                assert_eq!(counted > 0, expected == Some(reason), "{named} {reason}");
                assert!(counted <= 1, "{named}");
            }
            let calls = (&now.origin_calls, &before.origin_calls);
            let rejected = CallEnd::ClientError;
            let counted = since(calls.0.get(rejected), calls.1.get(rejected));
            assert!(expected.is_none() || counted == 1, "{named}");
        }
    }
    let text = layer.handle().stats().to_openmetrics();
    for line in [
        "rejections_total{cache=\"tower-response-cache\",reason=\"credentials\"} 12\n",
        "rejections_total{cache=\"tower-response-cache\",reason=\"rate\"} 4\n",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}

/// The figure of calls is what the inner service has seen, whatever the requests were for.
#[tokio::test(start_paused = true)]
async fn every_call_of_the_origin_is_counted_once() {
    let origin = Origin::at_once(|request| match request.uri().path() {
        // A 304 to a condition that the client did not send: the request is repeated.
        "/useless" if request.headers().contains_key("if-none-match") => {
            answer(304, &[("etag", "\"other\"")], "")
        }
        "/useless" => answer(
            200,
            &[("cache-control", "max-age=1"), ("etag", "\"a\"")],
            "x",
        ),
        "/swr" => answer(
            200,
            &[("cache-control", "max-age=1, stale-while-revalidate=60")],
            "x",
        ),
        "/no-store" => answer(200, &[("cache-control", "no-store")], "x"),
        _ => cacheable("x"),
    });
    let layer = layer();
    let service = layer.layer(origin.clone());
    let calls = || layer.handle().stats().origin_calls.total();
    let repeated = || layer.handle().stats().repetitions;
    for (request, expected) in [
        (get("/a"), 1),
        (get("/a"), 0),
        (request(Method::HEAD, "/a"), 0),
        (get("/no-store"), 1),
        (put("/a"), 1),
        (request(Method::OPTIONS, "/a"), 1),
        (with(get("/a"), "content-length", "3"), 1),
        (with(get("/none"), "cache-control", "only-if-cached"), 0),
        (get("/swr"), 1),
        (get("/useless"), 1),
    ] {
        let (before, named) = (calls(), format!("{} {}", request.method(), request.uri()));
        send(&service, request).await;
        assert_eq!(calls() - before, expected, "{named}");
        assert_eq!(calls(), origin.calls() as u64, "{named}");
    }
    sleep(Duration::from_secs(3)).await;
    // One for the refresh in the background; two for a response of no use.
    for (path, expected) in [("/swr", 1), ("/useless", 2)] {
        let before = calls();
        send(&service, get(path)).await;
        settled().await;
        assert_eq!(calls() - before, expected, "{path}");
        assert_eq!(calls(), origin.calls() as u64, "{path}");
    }
    assert_eq!(repeated(), 1);
    // A cache that is met twice on the way calls once.
    let stacked = layer.layer(layer.clone().layer(origin.clone()));
    let before = calls();
    send(&stacked, get("/stacked")).await;
    assert_eq!(calls() - before, 1);
}

/// The client gets a stale response: the log alone says why there is no newer one.
#[tokio::test(start_paused = true)]
async fn a_failure_that_a_stale_response_hides_is_logged_with_its_cause() {
    let is_dead = Arc::new(AtomicBool::new(false));
    let dead = is_dead.clone();
    let origin = Origin::new(move |request: Request<()>| {
        let lives = match request.uri().path() {
            "/refreshed" | "/refreshed-503" => "max-age=1, stale-while-revalidate=600",
            "/visible" => "no-store",
            _ => "max-age=1, stale-if-error=600",
        };
        std::future::ready(match dead.load(Ordering::Relaxed) {
            false => Ok(answer(200, &[("cache-control", lives)], "x")),
            true if request.uri().path().ends_with("503") => Ok(answer(503, &[], "")),
            true => Err(OriginError("it is gone")),
        })
    });
    let layer = layer().origin_monitor(Queue(Arc::default()));
    let service = layer.layer(origin);
    let cases = [
        ("/hidden", Some("error=\"it is gone\"")),
        ("/refreshed", Some("error=\"it is gone\"")),
        ("/hidden-503", Some("status=503")),
        ("/refreshed-503", Some("status=503")),
        // Whoever answers the client logs it.
        ("/visible", None),
    ];
    for (path, _) in cases {
        send(&service, get(&format!("{path}?secret"))).await;
    }
    is_dead.store(true, Ordering::Relaxed);
    for (path, cause) in cases {
        sleep(Duration::from_secs(10)).await;
        let logs = Logs::new();
        let _ = service
            .clone()
            .oneshot(get(&format!("{path}?secret")))
            .await;
        settled().await;
        let lines = logs.lines("a stale response hides it");
        assert_eq!(
            lines.len(),
            usize::from(cause.is_some()),
            "{path}: {lines:?}"
        );
        if let Some(cause) = cause {
            assert!(
                lines[0].contains("WARN") && lines[0].contains(cause),
                "{path}: {lines:?}"
            );
            // P8: which request it was, without its query.
            let named = format!("method=\"GET\" path=\"{path}\"");
            assert!(lines[0].contains(&named), "{path}: {lines:?}");
            assert!(!lines[0].contains("secret"), "{path}: {lines:?}");
        }
    }
}
