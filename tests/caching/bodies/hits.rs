//! Bodies of stored responses.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::{Cache, CacheLayer};

use super::{Stream, clock, connect, memory, next_data, on_both_backends, open};
use crate::support::origin::{Origin, cacheable};
use crate::support::time::settled;
use crate::support::{get, put, send};

async fn stored(
    layer: &CacheLayer<impl Backend>,
    text: &'static str,
) -> Cache<Origin, impl Backend> {
    let service = layer.layer(Origin::at_once(move |_| cacheable(text)));
    send(&service, get("/a")).await;
    settled().await;
    service
}

async fn read(body: Stream) -> Bytes {
    body.collect().await.expect("a whole body").to_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_a_hit_leaves_it_intact() {
    on_both_backends(async |layer| {
        let service = stored(&layer, "whole").await;
        drop(open(&service, "/a").await);
        let mut halfway = open(&service, "/a").await.into_body();
        next_data(&mut halfway).await;
        drop(halfway);
        let never_answered = service.clone().call(get("/a"));
        drop(never_answered);
        let hit = send(&service, get("/a")).await;
        assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "whole"));
    })
    .await;
}

/// With real frames on a connection that is cut.
#[tokio::test(start_paused = true)]
async fn a_connection_cut_in_the_middle_of_a_hit_leaves_it_intact() {
    let text: &'static str = "0123456789".repeat(50_000).leak();
    let service = stored(&memory(), text).await;
    let mut stream = connect(service.clone());
    let asking = "GET /a HTTP/1.1\r\nhost: test.example\r\n\r\n";
    stream.write_all(asking.as_bytes()).await.expect("a server");
    let mut first = [0; 1000];
    stream.read_exact(&mut first).await.expect("some of it");
    drop(stream);
    let hit = send(&service, get("/a")).await;
    assert!(hit.is_hit() && hit.body == text);
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_of_a_hit_delays_no_other() {
    on_both_backends(async |layer| {
        let service = stored(&layer, "whole").await;
        let slow = open(&service, "/a").await.into_body();
        sleep(Duration::from_secs(3000)).await;
        assert_eq!(send(&service, get("/a")).await.body, "whole");
        sleep(Duration::from_secs(3000)).await;
        assert!(!send(&service, get("/a")).await.is_hit(), "expired");
        assert_eq!(read(slow).await, "whole");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_response_invalidated_while_a_client_reads_it_stays_whole_for_that_client() {
    on_both_backends(async |layer| {
        let handle = layer.handle();
        let service = stored(&layer, "whole").await;
        let slow = open(&service, "/a").await.into_body();
        send(&service, put("/a")).await;
        assert!(!send(&service, get("/a")).await.is_hit());
        settled().await;
        let slower = open(&service, "/a").await.into_body();
        handle.clear().await.expect("cleared");
        assert_eq!(read(slow).await, "whole");
        assert_eq!(read(slower).await, "whole");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_response_evicted_while_a_client_reads_it_stays_whole_for_that_client() {
    const SIZE: usize = 4000;
    let backend = MemoryBackend::new(16 * SIZE as u64);
    let layer = CacheLayer::new(backend).clock(clock());
    let origin = Origin::at_once(|request| {
        let letter = request.uri().path().as_bytes()[1];
        cacheable(vec![letter; SIZE])
    });
    let service = layer.layer(origin);
    send(&service, get("/a")).await;
    let response = open(&service, "/a").await;
    assert!(response.headers().contains_key("age"), "a hit");
    // Each is requested twice, or a store that resists scans would keep the older entries.
    for n in 0..1000 {
        send(&service, get(&format!("/b?{n}"))).await;
        send(&service, get(&format!("/b?{n}"))).await;
    }
    assert!(!send(&service, get("/a")).await.is_hit(), "evicted");
    assert_eq!(read(response.into_body()).await, vec![b'a'; SIZE]);
}

#[tokio::test(start_paused = true)]
async fn response_extensions_stay_with_the_request_they_answered() {
    #[derive(Clone, Debug, PartialEq)]
    struct User(&'static str);

    on_both_backends(async |layer| {
        let origin = Origin::at_once(|request| {
            let mut response = cacheable("shared");
            let user = request.extensions().get::<User>().cloned();
            response.extensions_mut().insert(user.expect("a user"));
            response
        });
        let service = layer.layer(origin);
        let send_as = async |user| {
            let mut request = get("/a");
            request.extensions_mut().insert(User(user));
            let response = service.clone().oneshot(request).await.expect("an answer");
            let user = response.extensions().get::<User>().cloned();
            read(response.into_body()).await;
            settled().await;
            user
        };
        assert_eq!(send_as("one").await, Some(User("one")));
        assert_eq!(send_as("two").await, None);
        assert_eq!(layer.handle().stats().hits, 1);
    })
    .await;
}
