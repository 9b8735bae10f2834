//! Writes whose clients leave before the answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{advance, sleep, timeout};
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::stats::WriteOutcome;

use super::origin;
use crate::support::origin::answer;
use crate::support::polling::poll_once;
use crate::support::time::settle;
use crate::support::yielding::yielding;
use crate::support::{get, in_memory, is_stored, put, send};

/// Dropped while the handler runs, whose commit lands long after.
#[tokio::test]
async fn a_blocking_commit_that_lands_after_the_client_left_invalidates() {
    let version = Arc::<AtomicU64>::default();
    let (begun, go_on) = (
        Arc::new(Notify::new()),
        Arc::new(std::sync::Barrier::new(2)),
    );
    let done = Arc::new(Notify::new());
    let service = in_memory().layer(origin(&version, {
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
    assert!(is_stored(&service, get("/a")).await, "nothing is known yet");
    go_on.wait();
    let ended = timeout(Duration::from_secs(10), done.notified()).await;
    ended.expect("the write runs to its end");
    settle().await;
    assert_eq!(send(&service, get("/a")).await.body, "/a v1");
}

/// At every point at which a client can leave.
#[tokio::test(start_paused = true)]
async fn a_write_left_at_any_point_leaves_nothing_old() {
    for polls in 0..12 {
        let version = Arc::<AtomicU64>::default();
        let writes = version.clone();
        let layer = CacheLayer::new(yielding(MemoryBackend::default())).write_through(true);
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
        let mut write = Box::pin(service.clone().oneshot(put("/a")));
        let mut ended = false;
        for _ in 0..polls {
            ended = ended || poll_once(&mut write).is_ready();
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

#[tokio::test(start_paused = true)]
async fn a_dropped_write_that_never_ends_is_given_up_and_leaves_a_grace() {
    let layer = in_memory()
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
    send(&service, get("/a")).await;
    let mut write = Box::pin(service.clone().oneshot(put("/a")));
    assert!(!poll_once(&mut write).is_ready());
    drop(write);
    assert_eq!(layer.handle().stats().in_flight.detached_writes, 1);
    advance(Duration::from_secs(29)).await;
    assert!(
        is_stored(&service, get("/a")).await,
        "it may still be running"
    );
    advance(Duration::from_secs(2)).await;
    gone.notified().await;
    settle().await;
    let stats = layer.handle().stats();
    assert_eq!((stats.detached_writes, stats.abandoned_writes), (1, 1));
    assert_eq!(stats.writes.get(WriteOutcome::Unknown), 1);
    assert_eq!(stats.in_flight.detached_writes, 0);
    assert!(!is_stored(&service, get("/a")).await);
    let within = send(&service, get("/a")).await;
    assert_eq!(within.cache_status(), "fwd=uri-miss; detail=write-grace");
}

#[test]
fn a_write_dropped_outside_of_any_runtime_still_invalidates() {
    let layer = in_memory();
    let service = layer.layer(origin(&Arc::default(), |_| std::future::pending()));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(send(&service, get("/a")));
    let mut write = Box::pin(service.clone().oneshot(put("/a")));
    assert!(!poll_once(&mut write).is_ready());
    drop(write);
    assert!(!runtime.block_on(is_stored(&service, get("/a"))));
}

/// A write whose client left is judged by its answer, although no client receives it.
#[tokio::test(start_paused = true)]
async fn a_dropped_write_that_ends_with_5xx_leaves_a_grace() {
    let version = Arc::<AtomicU64>::default();
    let commits = version.clone();
    let service = in_memory().layer(origin(&version, move |_| {
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
    let mut write = Box::pin(service.clone().oneshot(put("/a")));
    assert!(!poll_once(&mut write).is_ready());
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
        BackendError, ForwardBackend, GraceScope, InvalidationTarget,
    };

    #[derive(Clone)]
    pub struct Timed(pub MemoryBackend);

    impl ForwardBackend for Timed {
        type Inner = MemoryBackend;

        fn inner(&self) -> &MemoryBackend {
            &self.0
        }

        async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
            timeout(Duration::from_secs(1), self.0.invalidate(target))
                .await
                .map_err(BackendError::new)?
        }

        async fn invalidate_unknown(
            &self,
            target: &InvalidationTarget,
            _: Duration,
        ) -> Result<GraceScope, BackendError> {
            let done = ForwardBackend::invalidate(self, target).await;
            done.map(|()| GraceScope::OneCache)
        }
    }
}

#[test]
fn a_write_dropped_outside_of_its_runtime_is_settled_inside_of_it() {
    let layer = || CacheLayer::new(timed::Timed(MemoryBackend::default()));
    for (layer, status) in [(layer(), 204), (layer().max_detached_writes(0), 0)] {
        let service = layer.layer(origin(&Arc::default(), move |_| async move {
            match status {
                0 => std::future::pending().await,
                status => {
                    tokio::task::yield_now().await;
                    Ok(answer(status, &[], ""))
                }
            }
        }));
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(send(&service, get("/a")));
        let mut write = Box::pin(service.clone().oneshot(put("/a")));
        assert!(!runtime.block_on(async { poll_once(&mut write).is_ready() }));
        drop(write);
        runtime.block_on(async {
            while layer.handle().stats().invalidations == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(!runtime.block_on(is_stored(&service, get("/a"))));
    }
}
