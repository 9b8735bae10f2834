//! Which part of a query tells responses apart, and reaches the inner service.

use std::sync::{Arc, Mutex};

use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::key::QueryRules;

use crate::support::origin::{Origin, cacheable};
use crate::support::yielding::yielding;
use crate::support::{get, put, send};

/// An origin that answers with its target, and a log of the requests.
fn origin() -> (Origin, Arc<Mutex<Vec<String>>>) {
    let log = Arc::<Mutex<Vec<String>>>::default();
    let asked = log.clone();
    let origin = Origin::at_once(move |request| {
        let target = request.uri().to_string();
        asked.lock().expect("a log").push(target.clone());
        cacheable(target)
    });
    (origin, log)
}

/// Asks for one after the other; what the origin saw.
async fn asked<B: Backend>(backend: B, rules: QueryRules, targets: &[&str]) -> Vec<String> {
    let (origin, log) = origin();
    let service = CacheLayer::new(backend).query(rules).layer(origin);
    for target in targets {
        send(&service, get(target)).await;
    }
    std::mem::take(&mut *log.lock().expect("a log"))
}

#[tokio::test(start_paused = true)]
async fn query_parameters_outside_the_key_do_not_reach_the_origin() {
    for (rules, targets, expected) in [
        (
            QueryRules::all(),
            &["/a?b=1&a=2", "/a?a=2&b=1", "/a?b=1&a=2"][..],
            &["/a?b=1&a=2", "/a?a=2&b=1"][..],
        ),
        (
            QueryRules::all(),
            &["/a", "/a?", "/a?x", "/a?x="],
            &["/a", "/a?", "/a?x", "/a?x="],
        ),
        (
            QueryRules::all().ignoring(["utm_*"]),
            &["/a?utm_source=evil", "/a", "/a?x=1&utm_a=2", "/a?x=1"],
            &["/a", "/a?x=1"],
        ),
        (
            QueryRules::all().ignoring(["x"]),
            &["/a?a=1;x=2", "/a?a=1"],
            &["/a?a=1;x=2", "/a?a=1"],
        ),
        (
            QueryRules::only(["id"]),
            &["/a?id=1&x=2", "/a?id=1", "/a?y"],
            &["/a?id=1", "/a"],
        ),
        (
            QueryRules::all().sorted(),
            &["/a?b=1&a=2", "/a?a=2&b=1", "/a?a=1&a=2", "/a?a=2&a=1"],
            &["/a?a=2&b=1", "/a?a=1&a=2", "/a?a=2&a=1"],
        ),
    ] {
        let seen = asked(MemoryBackend::default(), rules.clone(), targets).await;
        assert_eq!(seen, expected, "{rules:?}");
        let seen = asked(yielding(MemoryBackend::default()), rules.clone(), targets).await;
        assert_eq!(seen, expected, "{rules:?}, yielding");
    }
}

/// What goes past the cache, and every write, is as it was sent.
#[tokio::test(start_paused = true)]
async fn requests_without_a_lookup_leave_the_store_untouched() {
    let (origin, log) = origin();
    let layer = CacheLayer::new(MemoryBackend::default())
        .query(QueryRules::only([]))
        .skip(|request| request.uri.path() == "/skipped");
    let service = layer.layer(origin);
    send(&service, get("/skipped?x=1")).await;
    send(&service, put("/a?x=1")).await;
    send(&service, get("/a?x=1")).await;
    assert_eq!(
        *log.lock().expect("a log"),
        ["/skipped?x=1", "/a?x=1", "/a"]
    );
}
