//! What clients can do to others by writes that fail: nothing that their answers do not vouch for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use tokio::time::sleep;
use tower::{Layer, ServiceExt};
use tower_response_cache::stats::WriteOutcome;

use crate::support::origin::{Origin, answer, cacheable};
use crate::support::polling::poll_once;
use crate::support::time::{SLOW, settle};
use crate::support::{get, in_memory, is_stored, request, send, send_all};

const MILLISECOND: Duration = Duration::from_millis(1);

/// GET is cacheable; any other method is answered with a status and fields after 20 ms.
fn refusing(status: u16, fields: &'static [(&'static str, &'static str)]) -> Origin {
    Origin::new(move |request| async move {
        if request.method() == Method::GET {
            return Ok(cacheable("x"));
        }
        sleep(20 * MILLISECOND).await;
        Ok(answer(status, fields, ""))
    })
}

/// The pages of `count` paths are stored after their first request.
macro_rules! assert_stores {
    ($service:expr, $name:literal, $count:expr) => {{
        let mut stored = 0;
        for number in 0..$count {
            let path = format!("/{}/{number}", $name);
            send(&$service, get(&path)).await;
            settle().await;
            stored += usize::from(is_stored(&$service, get(&path)).await);
        }
        assert_eq!(stored, $count, "pages of others are stored");
    }};
}

/// Promise: no request flushes a page unless its answer vouches for it.
#[tokio::test(start_paused = true)]
async fn writes_that_are_refused_after_their_client_left_cost_no_call() {
    for (status, fields) in [
        (401, &[][..]),
        (422, &[("content-location", "/hot"), ("location", "/hot")]),
        (501, &[]),
    ] {
        let origin = refusing(status, fields);
        let layer = in_memory();
        let service = layer.layer(origin.clone());
        send(&service, get("/hot")).await;
        for _ in 0..20 {
            let mut write = Box::pin(service.clone().oneshot(request(Method::DELETE, "/hot")));
            assert!(!poll_once(&mut write).is_ready());
            sleep(5 * MILLISECOND).await;
            drop(write);
            settle().await;
            assert!(send(&service, get("/hot")).await.is_hit(), "{status}");
        }
        sleep(Duration::from_secs(1)).await;
        assert!(send(&service, get("/hot")).await.is_hit(), "{status}");
        assert_eq!(origin.calls(), 21, "{status}");
        let stats = layer.handle().stats();
        assert_eq!(stats.writes.get(WriteOutcome::Rejected), 20, "{status}");
        assert_eq!(stats.invalidations, 0, "{status}");
    }
}

/// Promise: no request stops storing for others.
#[tokio::test(start_paused = true)]
async fn thousands_of_writes_whose_clients_leave_stop_no_store_of_other_pages() {
    let origin = Origin::new(|request| async move {
        sleep(SLOW).await;
        match *request.method() {
            Method::GET => Ok(cacheable("x")),
            _ => Ok(answer(401, &[], "")),
        }
    });
    let layer = in_memory();
    let service = layer.layer(origin);
    let paths = |name: &'static str| (0..).map(move |number| format!("/{name}/{number}"));
    let cold: Vec<_> = paths("cold").take(50).collect();
    let writes = async {
        for path in paths("flood").take(4000) {
            let mut write = Box::pin(service.clone().oneshot(request(Method::DELETE, &path)));
            assert!(!poll_once(&mut write).is_ready());
        }
        settle().await;
        assert_eq!(layer.handle().stats().in_flight.detached_writes, 4000);
    };
    tokio::join!(
        send_all(&service, cold.iter().map(|path| get(path))),
        writes
    );
    settle().await;
    let mut stored = 0;
    for path in &cold {
        stored += usize::from(is_stored(&service, get(path)).await);
    }
    assert_eq!(stored, cold.len());
    sleep(2 * SLOW).await;
    assert_eq!(layer.handle().stats().in_flight.detached_writes, 0);
}

/// RFC 9110 §15.6.2 and §15.6.6: the server does not support the method, or the version.
#[tokio::test(start_paused = true)]
async fn a_method_that_the_service_does_not_implement_changes_nothing() {
    for (status, method) in [(501, "FOO"), (505, "FOO"), (501, "PATCH")] {
        let origin = refusing(status, &[]);
        let service = in_memory().layer(origin.clone());
        send(&service, get("/hot")).await;
        for _ in 0..4 {
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            send(&service, request(method, "/hot")).await;
            assert!(send(&service, get("/hot")).await.is_hit(), "{status}");
            sleep(Duration::from_secs(5)).await;
        }
        assert_eq!(origin.calls(), 5, "{status}");
    }
}

/// Promise: a write of unknown outcome stops stores of exactly the resources that it names.
#[tokio::test(start_paused = true)]
async fn thousands_of_failing_writes_stop_no_store_of_other_pages() {
    let service = in_memory().layer(Origin::at_once(|request| match *request.method() {
        Method::GET => cacheable("x"),
        _ => answer(503, &[], ""),
    }));
    for number in 0..8000 {
        send(&service, request(Method::PUT, &format!("/flood/{number}"))).await;
    }
    assert_stores!(service, "cold", 200);
    for number in [0, 1, 4000, 7999] {
        let path = format!("/flood/{number}");
        send(&service, get(&path)).await;
        assert!(!is_stored(&service, get(&path)).await, "it may yet commit");
    }
}

/// Groups of failing writes (RFC 9875 §3) and pages in other groups.
#[tokio::test(start_paused = true)]
async fn failing_writes_that_name_groups_stop_no_store_in_other_groups() {
    let number = Arc::<AtomicU64>::default();
    let service = in_memory().layer(Origin::at_once(move |request| {
        let next = number.fetch_add(1, Ordering::SeqCst);
        let name = format!("\"{}-{next}\"", request.method());
        match *request.method() {
            Method::GET => answer(
                200,
                &[("cache-control", "max-age=60"), ("cache-groups", &*name)],
                "x",
            ),
            _ => answer(500, &[("cache-group-invalidation", &*name)], ""),
        }
    }));
    for number in 0..8000 {
        send(&service, request(Method::PUT, &format!("/flood/{number}"))).await;
    }
    assert_stores!(service, "cold", 100);
}

/// Promise: what one client can cause is bounded.
#[tokio::test(start_paused = true)]
async fn writes_whose_clients_leave_hold_a_bounded_number_of_tasks() {
    let origin = Origin::new(|request| async move {
        if request.method() == Method::GET {
            return Ok(cacheable("x"));
        }
        sleep(Duration::from_secs(10)).await;
        Ok(answer(204, &[], ""))
    });
    for (layer, limit) in [
        (in_memory(), 4096),
        (in_memory().max_detached_writes(10), 10),
        (in_memory().max_detached_writes(0), 0),
    ] {
        let service = layer.layer(origin.clone());
        for number in 0..5000 {
            let write = request(Method::PUT, &format!("/flood/{number}"));
            let mut write = Box::pin(service.clone().oneshot(write));
            assert!(!poll_once(&mut write).is_ready());
        }
        settle().await;
        let stats = layer.handle().stats();
        let tasks = (stats.in_flight.detached_writes, stats.in_flight.tasks);
        assert_eq!(tasks, (limit, limit));
        let beyond = 5000 - limit as u64;
        assert_eq!(
            (stats.detached_writes, stats.abandoned_writes),
            (limit as u64, beyond)
        );
        assert_eq!(stats.writes.get(WriteOutcome::Unknown), beyond);
        assert_eq!(stats.invalidations, beyond, "these may have been committed");
        let last = get("/flood/4999");
        assert_eq!(
            send(&service, last).await.cache_status(),
            "fwd=uri-miss; detail=write-grace"
        );
        sleep(Duration::from_secs(11)).await;
        let stats = layer.handle().stats();
        assert_eq!(stats.in_flight, Default::default());
        assert_eq!(stats.writes.get(WriteOutcome::Committed), limit as u64);
        assert_eq!(stats.invalidations, 5000);
    }
}
