//! A `Vary` that names very much, and clients that ask for very many variants.

use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::stats::Refusal;

use crate::support::origin::{Origin, answer, cacheable};
use crate::support::time::settled;
use crate::support::{get, in_memory, send, with};

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("x-{number}")).collect()
}

/// An origin that answers with these lines of `Vary`.
fn varying(lines: Vec<String>) -> Origin {
    Origin::at_once(move |_| {
        let fields = lines.iter().map(|line| ("vary", line.as_str()));
        let fields: Vec<_> = [("cache-control", "max-age=3600")]
            .into_iter()
            .chain(fields)
            .collect();
        answer(200, &fields, "body")
    })
}

/// `Vary` with 1,000 names is not stored, and is counted. One name said often is one name.
#[tokio::test(start_paused = true)]
async fn a_response_that_names_too_many_fields_in_vary_is_not_stored() {
    for (told, lines, is_stored) in [
        ("1,000 names", vec![names(1000).join(", ")], false),
        ("1,000 lines", names(1000), false),
        ("33 names", vec![names(33).join(", ")], false),
        ("32 names", vec![names(32).join(", ")], true),
        ("32 lines", names(32), true),
        (
            "one name 1,000 times",
            vec![vec!["x-1"; 1000].join(",")],
            true,
        ),
        (
            "1,000 lines of one name",
            vec!["x-1".to_owned(); 1000],
            true,
        ),
    ] {
        let layer = in_memory();
        let service = layer.layer(varying(lines));
        send(&service, get("/a")).await;
        settled().await;
        assert_eq!(
            send(&service, get("/a")).await.is_hit(),
            is_stored,
            "{told}"
        );
        settled().await;
        let refused = layer.handle().stats().refusals.get(Refusal::Vary);
        assert_eq!(refused, if is_stored { 0 } else { 2 }, "{told}");
    }
}

/// A 304 that brings such a `Vary` does not get it into the store either (RFC 9111 §3.2).
#[tokio::test(start_paused = true)]
async fn a_304_that_names_too_many_fields_in_vary_is_not_stored() {
    let many = names(1000).join(", ");
    let origin = Origin::at_once(move |request| {
        let lines = [
            ("cache-control", "max-age=3600"),
            ("etag", "\"a\""),
            ("vary", &*many),
        ];
        match request.headers().contains_key("if-none-match") {
            true => answer(304, &lines, ""),
            false => answer(200, &lines[..2], "body"),
        }
    });
    let layer = in_memory();
    let service = layer.layer(origin);
    send(&service, get("/a")).await;
    settled().await;
    let validated = send(&service, with(get("/a"), "cache-control", "no-cache")).await;
    settled().await;
    assert_eq!((validated.status.as_u16(), &*validated.body), (200, "body"));
    let stats = layer.handle().stats();
    assert_eq!((stats.refusals.get(Refusal::Vary), stats.stores), (1, 1));
}

/// One client asks for very many variants: a bounded number is kept of that resource, and the
/// responses of other resources stay.
#[tokio::test(start_paused = true)]
async fn a_flood_of_variants_takes_bounded_memory_and_evicts_nothing_of_others() {
    let backend = MemoryBackend::builder().capacity(1 << 20).build();
    let layer = CacheLayer::new(backend);
    let origin = Origin::at_once(|request| match request.uri().path() {
        "/flooded" => {
            let lines = [("cache-control", "max-age=3600"), ("vary", "x-foo")];
            answer(200, &lines, vec![b'x'; 1024])
        }
        _ => cacheable("others"),
    });
    let service = layer.layer(origin);
    let others: Vec<_> = (0..100).map(|number| format!("/{number}")).collect();
    for path in &others {
        send(&service, get(path)).await;
    }
    settled().await;
    let before = layer.handle().stats().usage.expect("memory knows it");
    for number in 0..5_000 {
        send(
            &service,
            with(get("/flooded"), "x-foo", &number.to_string()),
        )
        .await;
    }
    settled().await;
    let after = layer.handle().stats().usage.expect("memory knows it");
    println!("{before:?} {after:?}");
    assert!(
        after.bytes < before.bytes + 128 * 1024,
        "{before:?} {after:?}"
    );
    for path in &others {
        assert!(send(&service, get(path)).await.is_hit(), "{path}");
    }
}
