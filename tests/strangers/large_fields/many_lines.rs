//! Responses with more field lines than a stored head may have.

use http::{HeaderName, HeaderValue};
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::Refusal;

use crate::support::origin::{self, Origin, cacheable};
use crate::support::time::{in_virtual_time, settled};
use crate::support::{get, send};

/// A response with so many field lines, of different names or of one.
fn with_lines(count: usize, is_one_name: bool) -> origin::Response {
    let mut response = cacheable("page");
    let headers = response.headers_mut();
    let before = headers.len();
    for number in before..count {
        let name = match is_one_name {
            true => "x-0".to_owned(),
            false => format!("x-{number}"),
        };
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
        headers.append(name, HeaderValue::from_static("1"));
    }
    response
}

/// Whatever `max_head` says: it panics nowhere, and reaches the client.
#[tokio::test(start_paused = true)]
async fn a_response_with_very_many_field_lines_is_answered_and_not_stored() {
    for (count, is_one_name, is_stored) in [
        (4096, false, true),
        (4096, true, true),
        (4097, false, false),
        (4097, true, false),
        (24_575, false, false),
        (24_576, false, false),
        (30_000, true, false),
    ] {
        let layer = in_virtual_time(MemoryBackend::default()).max_head(usize::MAX);
        let origin = Origin::at_once(move |_| with_lines(count, is_one_name));
        let (service, handle) = (layer.layer(origin), layer.handle());
        let got = send(&service, get("/a")).await;
        assert_eq!(got.status, 200, "{count}");
        assert!(got.headers.len() >= count, "{count}");
        settled().await;
        let refused = handle.stats().refusals.get(Refusal::HeadTooLarge);
        assert_eq!(refused == 0, is_stored, "{count}: {refused}");
        assert_eq!(
            send(&service, get("/a")).await.is_hit(),
            is_stored,
            "{count}"
        );
    }
}
