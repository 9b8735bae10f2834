//! What a write does to the store: every way it can end, everything it can name.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::support::origin::{Origin, OriginError, answer, cacheable, data, scripted};
use crate::support::yielding::Yielding;
use crate::support::{collect, get, put, request, send, with};
use futures_like::catch_unwind;
use http::{Method, Request, StatusCode};
use tokio::sync::Notify;
use tokio::time::{advance, sleep, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::key::Authority;
use tower_response_cache::stats::{Refusal, WriteOutcome};
use tower_response_cache::{Cache, CacheLayer};

mod futures_like {
    //! The one combinator these tests need.
    use std::future::{Future, poll_fn};
    use std::panic::{AssertUnwindSafe, catch_unwind as catch};
    use std::pin::pin;
    use std::task::Poll;

    pub async fn catch_unwind<F: Future>(
        future: AssertUnwindSafe<F>,
    ) -> std::thread::Result<F::Output> {
        let mut future = pin!(future.0);
        poll_fn(
            |cx| match catch(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
                Err(panic) => Poll::Ready(Err(panic)),
            },
        )
        .await
    }
}

/// GET answers with the version; what a write does is up to the test.
fn origin<F, Fut>(version: &Arc<AtomicU64>, write: F) -> Origin
where
    F: Fn(Request<()>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<crate::support::origin::Response, OriginError>> + Send + 'static,
{
    let version = version.clone();
    let write = Arc::new(write);
    Origin::new(move |request| {
        let version = version.clone();
        let write = write.clone();
        async move {
            if request.method() == Method::GET {
                let path = request.uri().path().to_owned();
                return Ok(cacheable(format!(
                    "{path} v{}",
                    version.load(Ordering::SeqCst)
                )));
            }
            write(request).await
        }
    })
}

fn layer() -> CacheLayer<MemoryBackend> {
    CacheLayer::new(MemoryBackend::default())
}

/// Lets spawned tasks run until they wait for time.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

async fn is_stored<B: Backend>(service: &Cache<Origin, B>, path: &str) -> bool {
    let only = with(get(path), "cache-control", "only-if-cached");
    send(service, only).await.status == StatusCode::OK
}

/// C12, C11, C13
#[tokio::test(start_paused = true)]
async fn what_a_write_answers_decides_what_it_invalidates() {
    for (status, outcome, stays) in [
        (200, WriteOutcome::Committed, false),
        (204, WriteOutcome::Committed, false),
        (303, WriteOutcome::Committed, false),
        (400, WriteOutcome::Rejected, true),
        (404, WriteOutcome::Rejected, true),
        (409, WriteOutcome::Rejected, true),
        (500, WriteOutcome::Unknown, false),
        (503, WriteOutcome::Unknown, false),
    ] {
        let layer = layer();
        let service = layer.layer(origin(&Arc::default(), move |_| async move {
            Ok(answer(status, &[], ""))
        }));
        send(&service, get("/a")).await;
        assert!(is_stored(&service, "/a").await);
        let written = send(&service, put("/a")).await;
        assert_eq!(
            written.cache_status(),
            format!("fwd=method; detail={outcome}"),
            "{status}"
        );
        assert_eq!(is_stored(&service, "/a").await, stays, "{status}");
        assert_eq!(layer.handle().stats().writes.get(outcome), 1, "{status}");
    }
}

/// C15
#[tokio::test(start_paused = true)]
async fn unsafe_and_unknown_methods_invalidate_and_safe_ones_do_not() {
    for (method, stays) in [
        ("POST", false),
        ("PUT", false),
        ("PATCH", false),
        ("DELETE", false),
        ("BREW", false),
        ("GET", true),
        ("HEAD", true),
        ("OPTIONS", true),
        ("TRACE", true),
        ("QUERY", true),
    ] {
        let service = layer().layer(Origin::at_once(|_| cacheable("x")));
        send(&service, get("/a")).await;
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        send(&service, request(method.clone(), "/a")).await;
        assert_eq!(is_stored(&service, "/a").await, stays, "{method}");
    }
}

/// C14
#[tokio::test(start_paused = true)]
async fn location_and_content_location_of_the_same_authority_are_invalidated() {
    let paths = ["/a", "/b", "/c", "/d/e", "/other"];
    for (lines, gone) in [
        (&[][..], &["/a"][..]),
        (
            &[("location", "/b"), ("content-location", "/c")],
            &["/a", "/b", "/c"],
        ),
        (&[("location", "http://test.example/b")], &["/a", "/b"]),
        (
            &[("location", "http://test.example:80/b?q#f")],
            &["/a", "/b"],
        ),
        (&[("location", "http://other.example/b")], &["/a"]),
        (&[("location", "//other.example/b")], &["/a"]),
        (&[("location", "d/e")], &["/a", "/d/e"]),
        (&[("location", "/x/../d/./e")], &["/a", "/d/e"]),
        (&[("location", "mailto:b")], &["/a"]),
    ] {
        let service = layer().layer(origin(&Arc::default(), move |_| async move {
            Ok(answer(201, lines, ""))
        }));
        for path in paths {
            send(&service, get(path)).await;
        }
        send(&service, request(Method::POST, "/a")).await;
        for path in paths {
            assert_eq!(
                is_stored(&service, path).await,
                !gone.contains(&path),
                "{path} {lines:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fixed_authority_is_one_site_under_all_its_names() {
    let layer = layer().authority(Authority::fixed("site"));
    let service = layer.layer(origin(&Arc::default(), |_| async {
        Ok(answer(201, &[("location", "http://127.0.0.1:3000/b")], ""))
    }));
    send(&service, get("/b")).await;
    let mut write = put("/a");
    let host = "127.0.0.1:3000".parse().expect("a field value");
    write.headers_mut().insert("host", host);
    send(&service, write).await;
    assert!(!is_stored(&service, "/b").await);
}

#[tokio::test(start_paused = true)]
async fn also_invalidate_names_what_else_a_write_concerns() {
    let layer = layer().also_invalidate(|write| {
        assert!(write.status().is_some() && write.response_headers().is_some());
        let path = write.uri().path();
        let parent = &path[..path.rfind('/').unwrap_or(0)];
        vec![
            parent.to_owned(),
            format!("{}?{}", write.method(), write.headers().len()),
        ]
    });
    let service = layer.layer(origin(&Arc::default(), |_| async {
        Ok(answer(200, &[], ""))
    }));
    for path in ["/items", "/items/1", "/items/2"] {
        send(&service, get(path)).await;
    }
    send(&service, put("/items/1")).await;
    assert!(!is_stored(&service, "/items").await);
    assert!(!is_stored(&service, "/items/1").await);
    assert!(is_stored(&service, "/items/2").await);
}

/// C16
#[tokio::test(start_paused = true)]
async fn all_queries_and_variants_vanish_together() {
    let origin = Origin::at_once(|request| match *request.method() {
        Method::GET => answer(
            200,
            &[("cache-control", "max-age=60"), ("vary", "accept-language")],
            "x",
        ),
        _ => answer(200, &[], ""),
    });
    let service = layer().layer(origin.clone());
    let asks = || {
        let paths = ["/a", "/a?q=1", "/a?q=2"].into_iter();
        paths.flat_map(|path| {
            ["de", "en"].map(|language| with(get(path), "accept-language", language))
        })
    };
    for ask in asks() {
        send(&service, ask).await;
    }
    for ask in asks() {
        assert!(send(&service, ask).await.is_hit());
    }
    send(&service, put("/a?anything")).await;
    let calls = origin.calls();
    for ask in asks() {
        assert!(!send(&service, ask).await.is_hit());
    }
    assert_eq!(origin.calls(), calls + 6);
}

/// C01: the fill's body goes to its own client and is not stored.
#[tokio::test(start_paused = true)]
async fn a_fill_that_a_write_overtakes_is_not_stored() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let origin = Origin::at_once(move |request| {
        let scripted = response.lock().expect("a lock").take();
        match (request.method(), scripted) {
            (&Method::GET, Some(body)) => {
                answer(200, &[("cache-control", "max-age=60")], "").map(|_| body)
            }
            (&Method::GET, None) => cacheable("new"),
            (_, scripted) => {
                assert!(scripted.is_none());
                answer(200, &[], "")
            }
        }
    });
    let layer = layer();
    let service = layer.layer(origin.clone());
    let slow = service.clone().oneshot(get("/a")).await.expect("a head");
    body.send(data("ol")).expect("a reader");
    send(&service, put("/a")).await;
    body.send(data("d")).expect("a reader");
    drop(body);
    assert_eq!(collect(slow).await.body, "old");
    assert_eq!(layer.handle().stats().refusals.get(Refusal::Superseded), 1);
    assert_eq!(send(&service, get("/a")).await.body, "new");
    assert_eq!(origin.calls(), 3);
}

/// C11
#[tokio::test(start_paused = true)]
async fn a_write_of_unknown_outcome_invalidates_and_refuses_stores_for_a_while() {
    type End = fn() -> Result<crate::support::origin::Response, OriginError>;
    let ends: [End; 3] = [
        || Ok(answer(502, &[], "")),
        || Err(OriginError("connection lost")),
        || panic!("the handler's own panic"),
    ];
    for end in ends {
        let layer = layer().write_grace_window(Duration::from_secs(7));
        let service = layer.layer(origin(&Arc::default(), move |_| async move {
            tokio::task::yield_now().await;
            end()
        }));
        send(&service, get("/a")).await;
        let written = catch_unwind(AssertUnwindSafe(service.clone().oneshot(put("/a")))).await;
        if let Ok(Err(error)) = written {
            assert_eq!(error, OriginError("connection lost"));
        }
        assert!(!is_stored(&service, "/a").await);
        assert_eq!(layer.handle().stats().writes.get(WriteOutcome::Unknown), 1);
        let within = send(&service, get("/a")).await;
        assert_eq!(within.cache_status(), "fwd=uri-miss; detail=write-grace");
        assert!(!is_stored(&service, "/a").await);
        advance(Duration::from_secs(8)).await;
        send(&service, get("/a")).await;
        assert!(is_stored(&service, "/a").await);
    }
}

/// A fill that begins within the grace and ends after it has read what a late commit changes.
#[tokio::test(start_paused = true)]
async fn the_grace_counts_for_fills_that_begin_in_it() {
    let service = layer().layer(origin(&Arc::default(), |_| async {
        Ok(answer(500, &[], ""))
    }));
    send(&service, put("/a")).await;
    let begun = service.clone().oneshot(get("/a")).await.expect("a head");
    advance(Duration::from_secs(60)).await;
    collect(begun).await;
    assert!(!is_stored(&service, "/a").await);
}

/// C10: dropped while the handler runs, whose commit lands long after.
#[tokio::test]
async fn a_blocking_commit_that_lands_after_the_client_left_invalidates() {
    let version = Arc::<AtomicU64>::default();
    let (begun, go_on) = (
        Arc::new(Notify::new()),
        Arc::new(std::sync::Barrier::new(2)),
    );
    let done = Arc::new(Notify::new());
    let service = layer().layer(origin(&version, {
        let (version, begun, go_on, done) =
            (version.clone(), begun.clone(), go_on.clone(), done.clone());
        move |_| {
            let (version, begun, go_on) = (version.clone(), begun.clone(), go_on.clone());
            let done = done.clone();
            async move {
                let commit = tokio::task::spawn_blocking(move || {
                    begun.notify_one();
                    go_on.wait();
                    version.fetch_add(1, Ordering::SeqCst);
                });
                commit.await.expect("a commit");
                done.notify_one();
                Ok(answer(200, &[], ""))
            }
        }
    }));
    assert_eq!(send(&service, get("/a")).await.body, "/a v0");
    let write = tokio::spawn(service.clone().oneshot(put("/a")));
    begun.notified().await;
    write.abort();
    assert!(write.await.is_err_and(|error| error.is_cancelled()));
    // Invalidated at once, filled anew with what is still the old version.
    assert!(!is_stored(&service, "/a").await);
    assert_eq!(send(&service, get("/a")).await.body, "/a v0");
    assert!(is_stored(&service, "/a").await);
    go_on.wait();
    let ended = timeout(Duration::from_secs(10), done.notified()).await;
    ended.expect("the write runs to its end");
    settle().await;
    assert_eq!(send(&service, get("/a")).await.body, "/a v1");
}

/// C10: at every point at which a client can leave.
#[tokio::test(start_paused = true)]
async fn a_write_left_at_any_point_leaves_nothing_old() {
    for polls in 0..12 {
        let version = Arc::<AtomicU64>::default();
        let writes = version.clone();
        let layer = CacheLayer::new(Yielding(MemoryBackend::default())).write_through(true);
        let service = layer.layer(origin(&version, move |_| {
            let version = writes.clone();
            async move {
                sleep(Duration::from_secs(1)).await;
                let now = version.fetch_add(1, Ordering::SeqCst) + 1;
                sleep(Duration::from_secs(1)).await;
                let lines = [("cache-control", "max-age=60"), ("content-location", "/a")];
                Ok(answer(200, &lines, format!("/a v{now}")))
            }
        }));
        send(&service, get("/a")).await;
        settle().await;
        let mut write = tokio_test_task::spawn(service.clone().oneshot(put("/a")));
        let mut ended = false;
        for _ in 0..polls {
            ended = ended || write.poll();
            advance(Duration::from_millis(500)).await;
        }
        drop(write);
        sleep(Duration::from_secs(10)).await;
        settle().await;
        let now = version.load(Ordering::SeqCst);
        assert_eq!(
            send(&service, get("/a")).await.body,
            format!("/a v{now}"),
            "after {polls} polls"
        );
        assert!(
            polls < 3 || now == 1,
            "what was begun is brought to its end"
        );
        assert!(polls < 11 || ended, "the last row reaches the end");
    }
}

mod tokio_test_task {
    //! A future that is polled by hand.
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Waker};

    pub struct Task<F>(Pin<Box<F>>);

    pub fn spawn<F: Future>(future: F) -> Task<F> {
        Task(Box::pin(future))
    }

    impl<F: Future> Task<F> {
        /// Whether it is ready; must not be called again then.
        pub fn poll(&mut self) -> bool {
            let mut cx = Context::from_waker(Waker::noop());
            self.0.as_mut().poll(&mut cx).is_ready()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_write_that_never_ends_is_given_up_and_leaves_a_grace() {
    let layer = layer()
        .detached_write_timeout(Duration::from_secs(30))
        .write_grace_window(Duration::from_secs(5));
    let gone = Arc::new(Notify::new());
    struct TellsWhenDropped(Arc<Notify>);
    impl Drop for TellsWhenDropped {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let service = layer.layer(origin(&Arc::default(), {
        let gone = gone.clone();
        move |_| {
            let held = TellsWhenDropped(gone.clone());
            async move {
                let _held = held;
                std::future::pending().await
            }
        }
    }));
    let mut write = tokio_test_task::spawn(service.clone().oneshot(put("/a")));
    assert!(!write.poll());
    drop(write);
    assert_eq!(layer.handle().stats().writes.get(WriteOutcome::Dropped), 1);
    advance(Duration::from_secs(29)).await;
    send(&service, get("/a")).await;
    assert!(
        is_stored(&service, "/a").await,
        "it may still be running: no grace yet"
    );
    advance(Duration::from_secs(2)).await;
    gone.notified().await;
    settle().await;
    assert!(!is_stored(&service, "/a").await);
    let within = send(&service, get("/a")).await;
    assert_eq!(within.cache_status(), "fwd=uri-miss; detail=write-grace");
}

/// X06
#[test]
fn a_write_dropped_outside_of_any_runtime_still_invalidates() {
    let layer = layer();
    let service = layer.layer(origin(&Arc::default(), |_| std::future::pending()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(send(&service, get("/a")));
    let mut write = tokio_test_task::spawn(service.clone().oneshot(put("/a")));
    assert!(!write.poll());
    drop(write);
    assert!(!runtime.block_on(is_stored(&service, "/a")));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_never_reached_the_service_invalidates_nothing() {
    let origin = Origin::at_once(|_| cacheable("x"));
    let layer = layer();
    let mut saturated = tower::limit::ConcurrencyLimit::new(origin.clone(), 1);
    std::future::poll_fn(|cx| saturated.poll_ready(cx))
        .await
        .expect("the only permit");
    let limited = saturated.clone();
    let service = layer.layer(limited);
    let mut write = tokio_test_task::spawn(service.clone().oneshot(put("/a")));
    assert!(!write.poll());
    drop(write);
    settle().await;
    assert_eq!(layer.handle().stats().invalidations, 0);
    assert_eq!(origin.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn write_through_stores_what_says_that_it_is_the_representation() {
    const FRESH: (&str, &str) = ("cache-control", "max-age=60");
    const NAMED: (&str, &str) = ("content-location", "/a");
    for (case, method, status, lines, asked, stored) in [
        ("PUT", "PUT", 200, &[FRESH, NAMED][..], &[][..], "/a"),
        ("PATCH", "PATCH", 200, &[FRESH, NAMED], &[], "/a"),
        (
            "POST makes another",
            "POST",
            201,
            &[FRESH, ("location", "/new"), ("content-location", "/new")],
            &[],
            "/new",
        ),
        (
            "a query",
            "POST",
            200,
            &[FRESH, ("content-location", "/a?q=1")],
            &[],
            "/a?q=1",
        ),
        (
            "absolute",
            "PUT",
            200,
            &[FRESH, ("content-location", "http://test.example/a")],
            &[],
            "/a",
        ),
        (
            "cookie, explicit",
            "PUT",
            200,
            &[FRESH, NAMED],
            &[("cookie", "id=1")],
            "/a",
        ),
        (
            "other authority",
            "PUT",
            200,
            &[FRESH, ("content-location", "http://x.example/a")],
            &[],
            "",
        ),
        (
            "other resource than PUT's",
            "PUT",
            200,
            &[FRESH, ("content-location", "/b")],
            &[],
            "",
        ),
        ("unnamed", "PUT", 200, &[FRESH], &[], ""),
        ("NAMED twice", "PUT", 200, &[FRESH, NAMED, NAMED], &[], ""),
        ("202", "PUT", 202, &[FRESH, NAMED], &[], ""),
        ("204", "PUT", 204, &[FRESH, NAMED], &[], ""),
        ("DELETE", "DELETE", 200, &[FRESH, NAMED], &[], ""),
        ("no lifetime", "PUT", 200, &[NAMED], &[], ""),
        (
            "no-store",
            "PUT",
            200,
            &[("cache-control", "no-store"), NAMED],
            &[],
            "",
        ),
        (
            "private",
            "PUT",
            200,
            &[("cache-control", "private, max-age=60"), NAMED],
            &[],
            "",
        ),
        (
            "set-cookie",
            "PUT",
            200,
            &[FRESH, NAMED, ("set-cookie", "a=b")],
            &[],
            "",
        ),
        (
            "authorization",
            "PUT",
            200,
            &[FRESH, NAMED],
            &[("authorization", "x")],
            "",
        ),
        (
            "vary: *",
            "PUT",
            200,
            &[FRESH, NAMED, ("vary", "*")],
            &[],
            "",
        ),
        (
            "request no-store",
            "PUT",
            200,
            &[FRESH, NAMED],
            &[("cache-control", "no-store")],
            "",
        ),
    ] {
        let layer = layer().write_through(true);
        let service = layer.layer(Origin::at_once(move |_| answer(status, lines, "text")));
        let mut write = request(method.parse().expect("a method"), "/a");
        for (name, value) in asked {
            write = with(write, name, value);
        }
        let written = send(&service, write).await;
        assert_eq!(written.body, "text", "{case}");
        assert_eq!(
            written.cache_status().contains("; stored"),
            !stored.is_empty(),
            "{case}"
        );
        assert_eq!(
            written.header("location").is_empty(),
            method != "POST" || status != 201,
            "{case}"
        );
        for path in ["/a", "/b", "/new", "/a?q=1"] {
            assert_eq!(
                is_stored(&service, path).await,
                path == stored,
                "{case}: {path}"
            );
        }
        if !stored.is_empty() {
            let hit = send(&service, get(stored)).await;
            assert_eq!(
                (hit.status, hit.body.as_str()),
                (StatusCode::OK, "text"),
                "{case}"
            );
            assert_eq!(hit.header("location"), "", "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn write_through_varies_by_the_writes_own_fields() {
    let lines = [
        ("cache-control", "max-age=60"),
        ("content-location", "/a"),
        ("vary", "accept-language"),
    ];
    let service = layer()
        .write_through(true)
        .layer(Origin::at_once(move |_| answer(200, &lines, "text")));
    send(&service, with(put("/a"), "accept-language", "de")).await;
    let german = with(get("/a"), "accept-language", "de");
    assert!(send(&service, german).await.is_hit());
    let english = with(get("/a"), "accept-language", "en");
    assert_eq!(
        send(&service, english).await.cache_status(),
        "fwd=vary-miss; stored"
    );
}

/// B01
#[tokio::test(start_paused = true)]
async fn a_write_through_body_that_fails_reaches_the_client_as_an_error_and_is_not_stored() {
    let (body, response) = scripted();
    let response = std::sync::Mutex::new(Some(response));
    let service = layer().write_through(true).layer(Origin::at_once(move |_| {
        let lines = [
            ("cache-control", "max-age=60"),
            ("content-location", "/a"),
            ("content-length", "4"),
        ];
        let body = response.lock().expect("a lock").take().expect("one call");
        answer(200, &lines, "").map(|_| body)
    }));
    body.send(data("te")).expect("a reader");
    body.send(Err("connection lost".into())).expect("a reader");
    let response = service.clone().oneshot(put("/a")).await.expect("a head");
    let failed = http_body_util::BodyExt::collect(response.into_body()).await;
    assert_eq!(failed.expect_err("an error").to_string(), "connection lost");
    assert!(!is_stored(&service, "/a").await);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_unknown_or_too_large_size_is_not_collected_for_write_through() {
    for announced in [None, Some("2000000")] {
        let (body, response) = scripted();
        let response = std::sync::Mutex::new(Some(response));
        let service = layer().write_through(true).layer(Origin::at_once(move |_| {
            let mut lines = vec![("cache-control", "max-age=60"), ("content-location", "/a")];
            lines.extend(announced.map(|length| ("content-length", length)));
            let body = response.lock().expect("a lock").take().expect("one call");
            answer(200, &lines, "").map(|_| body)
        }));
        // The head comes although the body has not begun.
        let response = service.clone().oneshot(put("/a")).await.expect("a head");
        drop(body);
        drop(response);
        assert!(!is_stored(&service, "/a").await);
    }
}

#[tokio::test(start_paused = true)]
async fn the_handle_invalidates_and_clears() {
    let layer = layer();
    let service = layer.layer(Origin::at_once(|_| cacheable("x")));
    for path in ["/a", "/a?q", "/b"] {
        send(&service, get(path)).await;
    }
    let handle = layer.handle();
    handle
        .invalidate("http://test.example/a")
        .await
        .expect("acknowledged");
    assert!(!is_stored(&service, "/a").await && !is_stored(&service, "/a?q").await);
    assert!(is_stored(&service, "/b").await);
    for wrong in ["/a", "not a uri", ""] {
        let error = handle
            .invalidate(wrong)
            .await
            .expect_err("names no resource");
        assert!(error.is_invalid_uri(), "{wrong}");
    }
    handle.clear().await.expect("acknowledged");
    assert!(!is_stored(&service, "/b").await);
}

/// An origin whose call itself, not its future, panics after it has committed.
#[derive(Clone)]
struct PanicsWhenCalled(Origin, Arc<AtomicU64>);

impl Service<Request<()>> for PanicsWhenCalled {
    type Response = crate::support::origin::Response;
    type Error = OriginError;
    type Future = crate::support::origin::OriginFuture;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), OriginError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        if request.method() == Method::PUT {
            self.1.fetch_add(1, Ordering::SeqCst);
            panic!("the service's own panic");
        }
        self.0.call(request)
    }
}

/// C11
#[tokio::test(start_paused = true)]
async fn a_service_that_panics_when_called_invalidates() {
    let version = Arc::<AtomicU64>::default();
    let inner = PanicsWhenCalled(
        origin(&version, |_| std::future::pending()),
        version.clone(),
    );
    let service = layer().layer(inner);
    assert_eq!(send(&service, get("/a")).await.body, "/a v0");
    let written = catch_unwind(AssertUnwindSafe(service.clone().oneshot(put("/a")))).await;
    assert!(written.is_err());
    assert_eq!(send(&service, get("/a")).await.body, "/a v1");
}

/// C11: a write whose client left counts for what it answers, although nobody hears it.
#[tokio::test(start_paused = true)]
async fn a_dropped_write_that_ends_with_5xx_leaves_a_grace() {
    let version = Arc::<AtomicU64>::default();
    let commits = version.clone();
    let service = layer().layer(origin(&version, move |_| {
        let version = commits.clone();
        async move {
            sleep(Duration::from_secs(1)).await;
            tokio::spawn(async move {
                sleep(Duration::from_secs(2)).await;
                version.fetch_add(1, Ordering::SeqCst);
            });
            Ok(answer(504, &[], ""))
        }
    }));
    let mut write = tokio_test_task::spawn(service.clone().oneshot(put("/a")));
    assert!(!write.poll());
    drop(write);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "fwd=uri-miss; detail=write-grace"
    );
    sleep(Duration::from_secs(60)).await;
    assert_eq!(send(&service, get("/a")).await.body, "/a v1");
}

/// A backend that needs the runtime's timers for every invalidation.
mod timed {
    use super::*;
    use tower_response_cache::backend::{
        BackendError, CacheKey, Lookup, MemoryFence, Moment, Put, Resource, StoredResponse, Target,
    };

    #[derive(Clone)]
    pub struct Timed(pub MemoryBackend);

    impl Backend for Timed {
        type Fence = MemoryFence;

        async fn get(
            &self,
            key: &CacheKey,
            now: Moment,
        ) -> Result<Lookup<MemoryFence>, BackendError> {
            self.0.get(key, now).await
        }

        async fn fence(
            &self,
            resource: Option<&Resource>,
        ) -> Result<Option<MemoryFence>, BackendError> {
            self.0.fence(resource).await
        }

        async fn put(
            &self,
            key: &CacheKey,
            fence: MemoryFence,
            response: Arc<StoredResponse>,
            now: Moment,
        ) -> Result<Put, BackendError> {
            self.0.put(key, fence, response, now).await
        }

        async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
            timeout(Duration::from_secs(1), self.0.invalidate(target))
                .await
                .map_err(BackendError::new)?
        }

        async fn clear(&self) -> Result<(), BackendError> {
            self.0.clear().await
        }
    }
}

/// X06
#[test]
fn a_write_dropped_outside_of_its_runtime_is_settled_inside_of_it() {
    let service = CacheLayer::new(timed::Timed(MemoryBackend::default()))
        .layer(origin(&Arc::default(), |_| std::future::pending()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(send(&service, get("/a")));
    let mut write = tokio_test_task::spawn(service.clone().oneshot(put("/a")));
    assert!(!runtime.block_on(async { write.poll() }));
    drop(write);
    assert!(!runtime.block_on(is_stored(&service, "/a")));
}

/// A write-through that begins within the grace of an earlier write may answer with what that one's late commit changes.
#[tokio::test(start_paused = true)]
async fn a_write_through_that_begins_in_a_grace_is_not_stored() {
    let service =
        layer()
            .write_through(true)
            .layer(Origin::new(|request: Request<()>| async move {
                if request.headers().contains_key("x-fails") {
                    return Ok(answer(504, &[], ""));
                }
                sleep(Duration::from_secs(6)).await;
                let lines = [("cache-control", "max-age=60"), ("content-location", "/a")];
                Ok(answer(200, &lines, "text"))
            }));
    send(&service, with(put("/a"), "x-fails", "1")).await;
    let written = send(&service, put("/a")).await;
    assert_eq!(written.cache_status(), "fwd=method; detail=invalidated");
    assert!(!is_stored(&service, "/a").await);
    send(&service, put("/a")).await;
    assert!(is_stored(&service, "/a").await);
}

/// What the key hook makes of the target holds for what the write names, too.
#[tokio::test(start_paused = true)]
async fn what_a_write_names_is_named_with_its_own_authority() {
    let layer = layer()
        .also_invalidate(|_| ["/list"])
        .key_by(|request, key| {
            let tenant = request.headers.get("x-tenant")?.to_str().ok()?;
            let authority = format!("{tenant}@{}", key.authority());
            Some(key.with_authority(authority))
        });
    let service = layer.layer(origin(&Arc::default(), |_| async {
        Ok(answer(
            201,
            &[
                ("location", "/other"),
                ("content-location", "http://test.example/third"),
            ],
            "",
        ))
    }));
    let mine = |ask| with(ask, "x-tenant", "t1");
    let stored = async |path: &str| {
        let only = with(mine(get(path)), "cache-control", "only-if-cached");
        send(&service, only).await.status == StatusCode::OK
    };
    let paths = ["/a", "/list", "/other", "/third", "/fourth"];
    for path in paths {
        send(&service, mine(get(path))).await;
    }
    send(&service, mine(put("/a"))).await;
    for path in paths {
        assert_eq!(stored(path).await, path == "/fourth", "{path}");
    }
    let handle = layer.handle();
    handle
        .invalidate_key("t1@test.example", "/fourth")
        .await
        .expect("acknowledged");
    assert!(!stored("/fourth").await);
}

/// The hook is the operator's: it may name other hosts of the same cache. Its panic costs only what it would have named.
#[tokio::test(start_paused = true)]
async fn the_hook_may_name_other_hosts_and_may_fail() {
    let to_other = || {
        let mut ask = get("/list");
        let other = "other.example".parse().expect("a field value");
        ask.headers_mut().insert("host", other);
        ask
    };
    let named = layer().also_invalidate(|_| ["http://other.example/list"]);
    let service = named.layer(origin(&Arc::default(), |_| async {
        Ok(answer(200, &[], ""))
    }));
    send(&service, to_other()).await;
    send(&service, put("/a")).await;
    assert!(!send(&service, to_other()).await.is_hit());

    let fails = layer().also_invalidate(|write| [write.status().expect("an answer").to_string()]);
    let service = fails.layer(origin(&Arc::default(), |_| std::future::pending()));
    send(&service, get("/a")).await;
    let mut write = tokio_test_task::spawn(service.clone().oneshot(put("/a")));
    assert!(!write.poll());
    drop(write);
    assert!(!is_stored(&service, "/a").await);
}

/// Hooks that decide by extensions see those of the write when its answer is to be stored.
#[tokio::test(start_paused = true)]
async fn write_through_asks_the_hooks_with_the_writes_extensions() {
    #[derive(Clone)]
    struct User;
    let layer = layer()
        .write_through(true)
        .skip(|request| request.extensions.get::<User>().is_some());
    let lines = [
        ("cache-control", "max-age=60"),
        ("content-location", "/profile"),
    ];
    let service = layer.layer(Origin::at_once(move |_| answer(200, &lines, "secret")));
    let mut write = put("/profile");
    write.extensions_mut().insert(User);
    send(&service, write).await;
    assert!(!is_stored(&service, "/profile").await);
}

#[tokio::test(start_paused = true)]
async fn a_refetch_is_no_eviction() {
    let layer = layer();
    let service = layer.layer(Origin::at_once(|_| {
        answer(200, &[("cache-control", "max-age=1")], "x")
    }));
    for _ in 0..10 {
        send(&service, get("/a")).await;
        advance(Duration::from_secs(2)).await;
    }
    let stats = layer.handle().stats();
    assert_eq!(
        (stats.stores, stats.usage.expect("it tells").evictions),
        (10, 0)
    );
}
