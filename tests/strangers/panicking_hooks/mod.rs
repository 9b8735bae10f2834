//! Hooks and backends that panic: the request is answered by the inner service.

mod backends;
mod keys_of_writes;

use std::panic::panic_any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::Request;
use tokio::task::LocalSet;
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::key::QueryRules;
use tower_response_cache::stats::{Bypass, Refusal};
use tower_response_cache::{CacheLayer, WriteOutcome};

use crate::support::logs::Logs;
use crate::support::origin::{Origin, answer, slow, versions};
use crate::support::time::{SLOW, in_virtual_time, settled};
use crate::support::{get, in_memory, put, send, send_all, with};

/// Panics while it is lit.
#[derive(Clone, Default)]
pub struct Fuse(Arc<AtomicBool>);

impl Fuse {
    pub fn lit() -> Self {
        let fuse = Self::default();
        fuse.light(true);
        fuse
    }

    pub fn light(&self, is_lit: bool) {
        self.0.store(is_lit, Ordering::SeqCst);
    }

    pub fn burn(&self) {
        assert!(!self.0.load(Ordering::SeqCst), "on purpose");
    }
}

type Memory = CacheLayer<MemoryBackend>;

/// A layer whose hook of this name panics while the fuse is lit.
fn layer_with(hook: &str, fuse: &Fuse) -> Memory {
    let (layer, fuse) = (in_memory(), fuse.clone());
    match hook {
        "key_by" => layer.key_by(move |_, key| {
            fuse.burn();
            Some(key)
        }),
        "skip" => layer.skip(move |_| {
            fuse.burn();
            false
        }),
        "ttl_by" => layer.ttl(Duration::from_secs(60)).ttl_by(move |_, _| {
            fuse.burn();
            None
        }),
        "store_if" => layer.store_if(move |_, _| {
            fuse.burn();
            true
        }),
        "on_rewritten_target" => layer
            .query(QueryRules::all().ignoring(["utm"]))
            .on_rewritten_target(move |_, _| fuse.burn()),
        "also_invalidate" => layer.also_invalidate(move |_| {
            fuse.burn();
            None::<&str>
        }),
        "classify_writes" => layer.classify_writes(move |head| {
            fuse.burn();
            WriteOutcome::from_status(head.status)
        }),
        _ => unreachable!("no hook is called {hook}"),
    }
}

/// An origin that says nothing of freshness to a GET.
fn silent() -> Origin {
    Origin::at_once(|_| answer(200, &[], "fresh from the service"))
}

/// `key_by`, `skip`, `ttl_by` panic. One request is bypassed, or its response not stored;
/// the next one, for which the hook is sound, is cached as ever.
#[tokio::test(start_paused = true)]
async fn a_read_whose_hook_panics_is_answered_by_the_service() {
    for (hook, bypasses, refusals) in [
        ("key_by", 1, 0),
        ("skip", 1, 0),
        ("on_rewritten_target", 1, 0),
        ("ttl_by", 0, 1),
        ("store_if", 0, 1),
    ] {
        let fuse = Fuse::lit();
        let layer = layer_with(hook, &fuse).ttl(Duration::from_secs(60));
        let service = layer.layer(silent());
        let told = send(&service, get("/a?x&utm=1")).await;
        settled().await;
        assert_eq!(told.body, "fresh from the service", "{hook}");
        let stats = layer.handle().stats();
        let counted = (
            stats.bypasses.get(Bypass::HookPanicked),
            stats.refusals.get(Refusal::HookPanicked),
        );
        assert_eq!(counted, (bypasses, refusals), "{hook}");
        assert!(
            told.header("cache-status").contains("hook-panicked"),
            "{hook}: {told:?}"
        );
        assert_eq!((stats.stores, stats.in_flight.fills), (0, 0), "{hook}");

        fuse.light(false);
        send(&service, get("/a?x&utm=1")).await;
        settled().await;
        let later = send(&service, get("/a?x&utm=2")).await;
        let is_hit = later.is_hit();
        // The query that is ignored is in the key of all other layers.
        assert_eq!(is_hit, hook == "on_rewritten_target", "{hook}: {later:?}");
        assert!(send(&service, get("/a?x&utm=1")).await.is_hit(), "{hook}");
    }
}

/// The invalidation does not hang on a function that panics.
#[tokio::test(start_paused = true)]
async fn a_write_whose_hook_panics_is_answered_and_invalidates() {
    for hook in ["also_invalidate", "classify_writes"] {
        let fuse = Fuse::default();
        let layer = layer_with(hook, &fuse).write_grace_window(Duration::ZERO);
        let service = layer.layer(versions());
        send(&service, get("/a")).await;
        settled().await;
        assert!(send(&service, get("/a")).await.is_hit(), "{hook}");
        fuse.light(true);
        let written = send(&service, put("/a")).await;
        fuse.light(false);
        assert_eq!(written.body, "v2", "{hook}");
        let read = send(&service, get("/a")).await;
        assert_eq!((read.is_hit(), &*read.body), (false, "v2"), "{hook}");
    }
}

/// Followers of a response whose hook panics get their answers, and no flight hangs.
#[tokio::test(start_paused = true)]
async fn followers_of_a_response_whose_hook_panics_are_answered() {
    let fuse = Fuse::lit();
    let burning = fuse.clone();
    let layer = in_virtual_time(MemoryBackend::default()).ttl_by(move |_, _| {
        burning.burn();
        Some(Duration::from_secs(60).into())
    });
    let origin = slow(|_, call| answer(200, &[], format!("answer {call}")));
    let service = layer.layer(origin.clone());
    let answers = send_all(&service, (0..20).map(|_| get("/a"))).await;
    settled().await;
    assert!(answers.iter().all(|told| told.status == 200));
    let stats = layer.handle().stats();
    assert_eq!((stats.in_flight.fills, stats.in_flight.tasks), (0, 0));
    assert_eq!((stats.stores, stats.in_flight.bytes), (0, 0));

    // Those that were the fourth to panic are known, until a response is stored again.
    fuse.light(false);
    let calls = origin.calls();
    send_all(&service, (0..20).map(|_| get("/a"))).await;
    assert_eq!(origin.calls() - calls, 20, "each for itself");
    for expected in [0, 1] {
        let calls = origin.calls();
        send_all(&service, (0..20).map(|_| get("/a"))).await;
        assert_eq!(
            origin.calls() - calls,
            expected,
            "coalesced and stored as ever"
        );
        tokio::time::sleep(Duration::from_secs(61)).await;
    }
}

/// A stale response is served though the refresh cannot be sent, and is refreshed later.
#[tokio::test(start_paused = true)]
async fn a_stale_response_is_served_though_the_hook_of_its_refresh_panics() {
    let fuse = Fuse::default();
    let burning = fuse.clone();
    let layer = in_virtual_time(MemoryBackend::default())
        .stale_while_revalidate(Duration::from_secs(3600))
        .ttl(Duration::from_secs(1))
        .on_rewritten_target(move |_, _| burning.burn());
    let origin = slow(|_, call| answer(200, &[], format!("answer {call}")));
    let service = layer.layer(origin.clone());
    let absolute = || {
        let request = Request::get("http://test.example/a");
        request.body(()).expect("a request")
    };
    send(&service, absolute()).await;
    settled().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    fuse.light(true);
    assert_eq!(send(&service, absolute()).await.body, "answer 1");
    settled().await;
    assert_eq!(origin.calls(), 1);
    fuse.light(false);
    assert_eq!(send(&service, absolute()).await.body, "answer 1");
    tokio::time::sleep(2 * SLOW).await;
    assert_eq!(send(&service, absolute()).await.body, "answer 2");
}

/// The value that a hook panics with is foreign, too.
#[tokio::test(start_paused = true)]
async fn a_panic_with_a_value_that_panics_when_dropped_ends_there() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("on purpose, when the value of a panic is dropped")
        }
    }
    let layer = in_memory().skip(|_| panic_any(Bomb));
    let service = layer.layer(silent());
    for _ in 0..3 {
        assert_eq!(send(&service, get("/a")).await.status, 200);
    }
    let stats = layer.handle().stats();
    assert_eq!(stats.bypasses.get(Bypass::HookPanicked), 3);
}

/// The log names the option, the method and the path, and a client cannot fill it.
#[tokio::test(start_paused = true)]
async fn panics_of_a_hook_are_logged_once_a_second_with_method_and_path() {
    let logs = Logs::new();
    let layer = in_memory().skip(|_| panic!("on purpose"));
    let service = layer.layer(silent());
    for number in 0..100 {
        send(&service, get(&format!("/a/{number}?secret"))).await;
    }
    let lines = logs.lines("the function of an option panicked");
    assert!((1..=2).contains(&lines.len()), "{lines:?}");
    for part in ["option=\"skip\"", "method=GET", "path=\"/a/0\""] {
        assert!(lines[0].contains(part), "{part}: {}", lines[0]);
    }
    assert!(!lines[0].contains("secret"), "{}", lines[0]);
}

/// A layer further inside hands its options outwards; its `skip` is called there.
#[tokio::test(start_paused = true)]
async fn a_hook_of_an_inner_layer_that_panics_exempts_the_request() {
    let layer = in_memory().ttl(Duration::from_secs(60));
    let inner = layer.clone().skip(|_| panic!("on purpose"));
    let service = layer.layer(inner.layer(silent()));
    for _ in 0..2 {
        let told = send(&service, get("/a")).await;
        settled().await;
        assert_eq!((told.is_hit(), told.status.as_u16()), (false, 200));
    }
    assert_eq!(layer.handle().stats().stores, 0);
}

/// A panic of the service itself is its own, and reaches the caller as without a cache.
#[tokio::test(start_paused = true)]
async fn a_panic_of_the_service_reaches_the_caller() {
    let layer = in_memory();
    let service = layer.layer(Origin::at_once(|_| panic!("of the service")));
    for request in [get("/a"), put("/a"), with(get("/a"), "upgrade", "x")] {
        let method = request.method().clone();
        let service = service.clone();
        let local = LocalSet::new();
        let call = local.spawn_local(async move { send(&service, request).await });
        let called = local.run_until(call).await;
        assert!(called.expect_err("a panic").is_panic(), "{method}");
    }
    assert_eq!(layer.handle().stats().writes.total(), 1);
    assert_eq!(layer.handle().stats().in_flight.fills, 0);
}
