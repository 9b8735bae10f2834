//! Clients that keep removed responses do not stop the storing of pages.

use std::time::Duration;

use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;

use super::{KIB, MIB, head_of};
use crate::support::origin::{Origin, cacheable};
use crate::support::time::{in_virtual_time, settled};
use crate::support::{get, is_stored, send};

/// Pages of the size in their path.
fn pages() -> Origin {
    Origin::at_once(|request| {
        let size = request.uri().path().rsplit('/').next().expect("a size");
        cacheable(vec![7; size.parse().expect("a number")])
    })
}

/// Promise: 66 connections cannot stop the storing of pages. Larger bodies are refused, as the
/// option says, until these connections end.
#[tokio::test(start_paused = true)]
async fn pages_are_stored_however_much_lingers() {
    for (count, size) in [(66, MIB), (700, 100 * KIB), (3000, 64 * KIB)] {
        let layer = in_virtual_time(MemoryBackend::default());
        let (service, handle) = (layer.layer(pages()), layer.handle());
        let mut stalled = Vec::new();
        for number in 0..count {
            let path = format!("/{number}/{size}");
            send(&service, get(&path)).await;
            settled().await;
            stalled.push(head_of(&service, get(&path)).await);
        }
        handle.clear().await.expect("cleared");
        sleep(Duration::from_secs(3600)).await;
        let lingering = handle.stats().in_flight.lingering_bytes / MIB as u64;
        let mut stored = Vec::new();
        for new in [1, 4 * KIB, 8 * KIB, 64 * KIB, 64 * KIB + 1, MIB] {
            let path = format!("/new/{new}");
            send(&service, get(&path)).await;
            settled().await;
            stored.push((new, is_stored(&service, get(&path)).await));
        }
        println!("{count} keep {lingering} MiB of {size}: {stored:?}");
        for (new, is_stored) in stored {
            assert_eq!(
                is_stored,
                new <= 64 * KIB,
                "{new} bytes beside {lingering} MiB"
            );
        }
        // The others are stored again as soon as they have read.
        drop(stalled);
        send(&service, get(&format!("/{MIB}"))).await;
        settled().await;
        assert!(is_stored(&service, get(&format!("/{MIB}"))).await);
    }
}
