//! What a request whose response cannot be stored does to those whose response can: it neither ends
//! the sharing of their calls, nor their refreshes.

mod awaited_refreshes;
mod cold_keys;
mod cookies;
mod ended_pages;
mod exempt;
mod failures;
mod faulty_refreshes;
mod floods;
mod hanging_refreshes;
mod kinds;
mod odd_requests;
mod own_fields;
mod refreshes;
mod rejections;
mod scarce_refreshes;
mod slow_outages;
mod slow_pages;
mod strangers_first;

use std::time::Duration;

use http::Request;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::{Cache, CacheLayer};

use crate::support::origin::{Origin, answer, slow};
use crate::support::time::{in_virtual_time, settle};
use crate::support::{Answer, gets, send_all};

/// Fresh for ten seconds, and for one more minute while it is refreshed.
const FOR_ALL: &str = "public, max-age=10, stale-while-revalidate=60";

fn layer() -> CacheLayer<MemoryBackend> {
    in_virtual_time(MemoryBackend::default())
}

/// An origin with one page for all, and another one for clients that send a field.
fn personal(name: &'static str, lines: &'static [(&'static str, &'static str)]) -> Origin {
    slow(move |request, call| match request.headers().get(name) {
        Some(_) => answer(200, lines, "personal"),
        None => answer(200, &[("cache-control", FOR_ALL)], format!("call {call}")),
    })
}

/// An origin with a page for all, and a response that is refused for requests with a field.
fn refusing<const N: usize>(
    name: &'static str,
    (status, lines): (u16, [(&'static str, &'static str); N]),
    directives: &'static str,
) -> Origin {
    slow(
        move |request, _| match request.headers().contains_key(name) {
            true => answer(status, &lines, "odd"),
            false => answer(200, &[("cache-control", directives)], "page"),
        },
    )
}

/// The requests of clients with a field, followed by those of a hundred clients without.
fn mixed(own: impl IntoIterator<Item = Request<()>>) -> Vec<Request<()>> {
    own.into_iter().chain(gets(100)).collect()
}

/// How many calls a burst of requests costs, with its answers.
async fn burst(
    service: &Cache<Origin, MemoryBackend>,
    origin: &Origin,
    requests: Vec<Request<()>>,
) -> (usize, Vec<Answer>) {
    let before = origin.calls();
    let answers = send_all(service, requests).await;
    settle().await;
    (origin.calls() - before, answers)
}

/// A pseudo-random pause around `mean` milliseconds (half to one and a half of it), so that no
/// request is in step with others.
fn around(mean: u64, state: &mut u64) -> Duration {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    Duration::from_micros(mean * (500 + (*state >> 33) % 1000))
}
