//! Promise: no stale read after a write. Here the write comes between the steps of a coded answer.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use tokio::sync::Semaphore;
use tokio::time::advance;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use super::lives::{Versions, text};
use super::{CODINGS, Watched, accepting, fetch, watched};
use crate::support::time::{SECOND, in_virtual_time, settle, settled};
use crate::support::{get, in_memory, put};

/// Polls a future until all that it has begun waits; whether it has ended.
async fn go_on<F: Future + Unpin>(future: &mut F) -> bool {
    let is_ready = poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_ready())).await;
    settled().await;
    is_ready
}

/// The form has been made of the old content, and is on its way into the store.
#[tokio::test(start_paused = true)]
async fn a_write_during_the_store_of_a_form_keeps_it_out() {
    let (layer, backend) = watched();
    let service = layer.layer(Versions::new().origin);
    fetch(&service, get("/a")).await;
    let stores = backend.stores.forget_permits(Semaphore::MAX_PERMITS);
    let old = fetch(&service, accepting("/a", "gzip")).await;
    old.assert_form("gzip", &text(1));
    settled().await;
    assert_eq!(backend.forms(), 1, "it is being stored");
    fetch(&service, put("/a")).await;
    for _ in 0..2 {
        let new = fetch(&service, accepting("/a", "br")).await;
        new.assert_form("br", &text(2));
    }
    backend.stores.add_permits(stores);
    settled().await;
    for coding in ["gzip", "br", "identity"] {
        fetch(&service, accepting("/a", coding))
            .await
            .assert_form(coding, &text(2));
    }
}

/// The form is being made of the old content. Those that wait for it asked before the write.
#[tokio::test(start_paused = true)]
async fn a_write_during_an_encoding_lets_no_later_request_have_it() {
    let (layer, _) = watched();
    let service = layer.layer(Versions::new().origin);
    fetch(&service, get("/a")).await;
    let mut before = Box::pin(fetch(&service, accepting("/a", "br")));
    let begun = poll_fn(|cx| Poll::Ready(before.as_mut().poll(cx).is_pending())).await;
    assert!(begun);
    fetch(&service, put("/a")).await;
    fetch(&service, accepting("/a", "br"))
        .await
        .assert_form("br", &text(2));
    before.await.assert_form("br", &text(1));
    settled().await;
    for coding in ["br", "identity"] {
        fetch(&service, accepting("/a", coding))
            .await
            .assert_form(coding, &text(2));
    }
}

/// The identity was found before the write, its form is looked up afterwards: under a fence that
/// holds. What is stored then is of other content than the next identity.
#[tokio::test(start_paused = true)]
async fn a_form_of_old_content_that_was_stored_after_the_write_is_not_used() {
    let mut backend = Watched::new(MemoryBackend::default());
    let lookups = Arc::new(Semaphore::new(1));
    backend.lookups = Some(lookups.clone());
    let service = CacheLayer::new(backend.clone())
        .compress(CODINGS)
        .layer(Versions::new().origin);
    fetch(&service, get("/a")).await;
    settled().await;
    lookups.add_permits(1);
    let mut old = Box::pin(fetch(&service, accepting("/a", "gzip")));
    assert!(!go_on(&mut old).await, "the form is to be looked up");
    fetch(&service, put("/a")).await;
    lookups.add_permits(1);
    old.await.assert_form("gzip", &text(1));
    settled().await;
    assert_eq!(backend.forms(), 1, "it is stored");
    lookups.add_permits(100);
    let miss = fetch(&service, accepting("/a", "gzip")).await;
    assert_eq!(miss.text, text(2));
    settled().await;
    for _ in 0..2 {
        let hit = fetch(&service, accepting("/a", "gzip")).await;
        hit.assert_form("gzip", &text(2));
        settled().await;
    }
    assert_eq!(backend.forms(), 2, "it has replaced the old one");
}

/// Polls a future; whether it has ended. No time passes: as long as a thread is blocked, none does by
/// itself.
async fn begun<F: Future + Unpin>(future: &mut F) -> bool {
    settle().await;
    poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx).is_ready())).await
}

/// Promise: a broken cache is a slow cache. The threads that may block are those of the application,
/// too, and it may have all of them wait: a hit does not wait for that.
#[test]
fn a_hit_waits_for_a_second_at_most_for_a_thread_that_may_block() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .max_blocking_threads(1)
        .build();
    runtime.expect("a runtime").block_on(async {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let blocked = tokio::task::spawn_blocking(move || released.recv());
        let layer = in_virtual_time(MemoryBackend::default()).compress(CODINGS);
        let service = layer.layer(Versions::new().origin);
        fetch(&service, get("/a")).await;
        settle().await;
        let mut first = Box::pin(fetch(&service, accepting("/a", "gzip")));
        assert!(!begun(&mut first).await, "it is to be made");
        advance(SECOND / 2).await;
        assert!(!begun(&mut first).await, "it may still be");
        advance(SECOND).await;
        settle().await;
        let got = poll_fn(|cx| Poll::Ready(first.as_mut().poll(cx))).await;
        let Poll::Ready(got) = got else {
            panic!("it waits for ever");
        };
        got.assert_form("identity", &text(1));
        // The others need not find that out.
        for _ in 0..3 {
            let mut other = Box::pin(fetch(&service, accepting("/a", "gzip")));
            assert!(begun(&mut other).await, "it does not wait");
        }
        drop(release);
        let _ = blocked.await;
        advance(11 * SECOND).await;
        let got = fetch(&service, accepting("/a", "gzip")).await;
        got.assert_form("gzip", &text(1));
    });
}

/// Readers and a writer on threads of their own: no reader gets less than was written before it
/// asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_form_is_older_than_the_last_write() {
    let written = Arc::new(AtomicUsize::new(1));
    let service = in_memory().compress(CODINGS).layer(Versions::new().origin);
    let readers: Vec<_> = ["gzip", "br", "zstd", "identity"]
        .into_iter()
        .map(|coding| {
            let (service, written) = (service.clone(), written.clone());
            tokio::spawn(async move {
                let mut reads = 0;
                while written.load(Ordering::SeqCst) < 200 {
                    let at_least = written.load(Ordering::SeqCst);
                    let got = fetch(&service, accepting("/a", coding)).await;
                    let version = got.text.split(':').next().expect("a version")[1..].parse();
                    let version: usize = version.expect("a number");
                    assert!(version >= at_least, "{coding}: {version} after {at_least}");
                    assert_eq!(got.text, text(version));
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for version in 2..=200 {
        fetch(&service, put("/a")).await;
        written.store(version, Ordering::SeqCst);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
    for reader in readers {
        assert!(reader.await.expect("no reader has failed") > 0);
    }
}
