//! Public pages whose clients have partitions of their own: a request that is refused for its own
//! fields sends none of the others there, where each would call.

use http::Request;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use crate::support::origin::{Origin, answer};
use crate::support::time::{SECOND, in_virtual_time};
use crate::support::{get, put, send, send_all, with};

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default()).private_by(|request| {
        let id = request.headers.get("x-user")?;
        Some(id.as_bytes().to_vec())
    })
}

/// A public page, which takes a second. Requests with `x-odd` are refused in this way.
fn page(status: u16, directives: &'static str) -> Origin {
    Origin::new(move |request: Request<()>| async move {
        tokio::time::sleep(SECOND).await;
        Ok(match request.headers().contains_key("x-odd") {
            true => answer(status, &[("cache-control", directives)], "odd"),
            false => answer(200, &[("cache-control", "public, max-age=10")], "page"),
        })
    })
}

/// 200 clients, each with a partition.
fn honest() -> impl Iterator<Item = Request<()>> {
    (0..200).map(|number| with(get("/a"), "x-user", &number.to_string()))
}

fn odd(number: usize) -> Request<()> {
    with(get("/a"), "x-odd", &number.to_string())
}

const REFUSALS: [(u16, &str); 4] = [
    (400, "no-cache"),
    (200, "no-store"),
    (200, "private"),
    (403, "private"),
];

#[tokio::test(start_paused = true)]
async fn a_refused_leader_sends_none_of_the_others_there() {
    for (status, directives) in REFUSALS {
        for is_stale in [false, true] {
            let origin = page(status, directives);
            let service = layer().layer(origin.clone());
            if is_stale {
                send(&service, get("/a")).await;
                tokio::time::sleep(SECOND * 11).await;
            }
            let before = origin.calls();
            let answers = send_all(&service, [odd(1)].into_iter().chain(honest())).await;
            assert!(answers[1..].iter().all(|answer| answer.body == "page"));
            assert_eq!(
                origin.calls() - before,
                2,
                "{status} {directives} {is_stale}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_refused_requests_send_none_of_the_others_there() {
    for (status, directives) in REFUSALS {
        for refused in [1, 7, 8, 20] {
            let origin = page(status, directives);
            let service = layer().layer(origin.clone());
            send_all(&service, (0..refused).map(odd)).await;
            for _ in 0..3 {
                let before = origin.calls();
                let answers = send_all(&service, honest()).await;
                assert!(answers.iter().all(|answer| answer.body == "page"));
                let calls = origin.calls() - before;
                assert_eq!(calls, 1, "{status} {directives} {refused}");
                send(&service, put("/a")).await;
            }
        }
    }
}
