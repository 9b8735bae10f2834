//! The options of compression.

use tower::Layer;
use tower_response_cache::Coding;
use tower_response_cache::backend::MemoryBackend;

use super::{CODINGS, accepting, fetch, page};
use crate::support::get;
use crate::support::in_memory;
use crate::support::origin::{Origin, cacheable};

/// An origin whose pages are as long as their path says, in bytes.
fn lengths() -> Origin {
    Origin::at_once(|request| {
        let length = request.uri().path()[1..].parse().expect("a length");
        cacheable("x".repeat(length))
    })
}

#[tokio::test(start_paused = true)]
async fn the_smallest_and_the_largest_body_that_is_coded() {
    let memory = || {
        MemoryBackend::builder()
            .capacity(64 << 20)
            .max_response_size(16 << 20)
            .build()
    };
    let layer = || tower_response_cache::CacheLayer::new(memory()).max_body(16 << 20);
    let default = layer().compress(CODINGS).layer(lengths());
    let narrow = layer()
        .min_compressed_body(100)
        .max_compressed_body(200)
        .compress([Coding::Gzip])
        .layer(lengths());
    for (service, length, is_coded) in [
        (&default, 1023, false),
        (&default, 1024, true),
        (&default, 8 << 20, true),
        (&default, (8 << 20) + 1, false),
        (&narrow, 99, false),
        (&narrow, 100, true),
        (&narrow, 200, true),
        (&narrow, 201, false),
    ] {
        let got = fetch(service, accepting(&format!("/{length}"), "gzip")).await;
        assert_eq!(got.coding() == "gzip", is_coded, "{length}");
        assert_eq!(got.text.len(), length);
    }
}

#[tokio::test(start_paused = true)]
async fn without_codings_nothing_is_coded_and_the_origin_gets_what_the_client_sent() {
    for layer in [in_memory(), in_memory().compress(CODINGS).compress([])] {
        let origin = Origin::at_once(|request| {
            let accepted = request.headers()["accept-encoding"]
                .to_str()
                .expect("ASCII");
            cacheable(page(accepted))
        });
        let service = layer.layer(origin);
        for _ in 0..2 {
            let got = fetch(&service, accepting("/a", "gzip")).await;
            assert_eq!((got.coding(), got.header("vary")), ("identity", ""));
            assert_eq!(got.text, page("gzip"));
        }
    }
}

/// The first of the codings that a request wants alike.
#[tokio::test(start_paused = true)]
async fn the_order_of_the_codings_decides_where_the_request_does_not() {
    for (codings, expected) in [
        (vec![Coding::Gzip, Coding::Zstd], "gzip"),
        (vec![Coding::Zstd, Coding::Gzip, Coding::Zstd], "zstd"),
        (vec![Coding::Brotli], "br"),
    ] {
        let service = in_memory()
            .compress(codings)
            .layer(Origin::at_once(|_| cacheable(page("a"))));
        fetch(&service, get("/a")).await;
        let got = fetch(&service, accepting("/a", "zstd, gzip, br")).await;
        assert_eq!(got.coding(), expected);
    }
}
