//! RFC 9111 §4.1, RFC 9110 §12.5.4: a stored response in the language that a request prefers to all
//! others.

use std::time::Instant;

use http::Request;
use tower::Layer;

use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer};
use crate::support::time::settled;
use crate::support::{get, in_memory, put, send, with};

/// An origin that has one language, and says so.
fn only_in(language: &'static str) -> Origin {
    Origin::at_once(move |_| {
        let lines = [
            ("cache-control", "max-age=60"),
            ("vary", "accept-language, x-other"),
            ("content-language", language),
        ];
        answer(200, &lines, language)
    })
}

fn asks(languages: &str) -> Request<()> {
    with(get("/a"), "accept-language", languages)
}

#[tokio::test(start_paused = true)]
async fn a_request_selects_the_language_it_prefers() {
    for (stored, has, asked, is_hit) in [
        ("de", "de", "fr;q=0.5, de", true),
        ("en, de", "de", "fr;q=0.5, de;q=1.0", true),
        ("en;q=0.3, de", "DE", "De, *;q=0.1", true),
        ("de-CH", "de-CH", "de-ch, de;q=0.9, en;q=0.8", true),
        ("*", "de", "de;q=0.7, en;q=0.6", true),
        // It prefers another one, or none to the others.
        ("de", "de", "de;q=0.5, fr", false),
        ("de", "de", "fr, de", false),
        ("de", "de", "de, fr", false),
        ("de", "de", "*, de;q=0.5", false),
        ("de", "de", "de;q=0, *", false),
        ("de", "de", "de;q=0", false),
        ("de", "de", "de;q=x, fr;q=0.5", false),
        ("de", "de", "", false),
        // The response is in none, in another or in several.
        ("de", "", "fr;q=0.5, de", false),
        ("de", "en", "fr;q=0.5, de", false),
        ("de", "de, en", "fr;q=0.5, de", false),
        ("de", "de-CH", "fr;q=0.5, de", false),
        ("de-CH", "de", "de-CH, fr;q=0.5", false),
    ] {
        on_both_backends(async |layer| {
            let origin = only_in(has);
            let service = layer.layer(origin.clone());
            send(&service, asks(stored)).await;
            settled().await;
            let got = send(&service, asks(asked)).await;
            assert_eq!(got.is_hit(), is_hit, "{stored}: {has}: {asked}");
            // Another selecting field still has to match.
            let other = with(asks(asked), "x-other", "1");
            assert!(!send(&service, other).await.is_hit());
        })
        .await;
    }
}

/// Without the field there is no preference, and no match with a request that has one.
#[tokio::test(start_paused = true)]
async fn a_request_without_languages_selects_none() {
    let service = in_memory().layer(only_in("de"));
    send(&service, asks("de")).await;
    assert!(!send(&service, get("/a")).await.is_hit());
}

/// What a request gets by its preference is invalidated like anything else.
#[tokio::test(start_paused = true)]
async fn a_preferred_response_is_never_older_than_a_write() {
    on_both_backends(async |layer| {
        let service = layer.layer(only_in("de"));
        send(&service, asks("de")).await;
        settled().await;
        assert!(send(&service, asks("de, en;q=0.5")).await.is_hit());
        send(&service, put("/a")).await;
        assert!(!send(&service, asks("de, en;q=0.5")).await.is_hit());
    })
    .await;
}

/// A field of any length costs time in proportion to its length at most, and a small one of it.
#[tokio::test]
async fn a_long_list_costs_little() {
    for name in [
        "accept-language",
        "accept-encoding",
        "accept",
        "accept-charset",
    ] {
        let origin = Origin::at_once(move |_| {
            answer(200, &[("cache-control", "max-age=60"), ("vary", name)], "")
        });
        let service = in_memory().layer(origin);
        let long = (0..50_000)
            .map(|n| format!("{n};q=0.5,"))
            .collect::<String>();
        let ask = |length| with(get("/a"), name, &long[..length]);
        send(&service, ask(15 * 1024)).await;
        let began = Instant::now();
        for _ in 0..10 {
            assert!(send(&service, ask(15 * 1024)).await.is_hit());
            // Nothing that is selected by so much is stored.
            assert!(!send(&service, ask(300 * 1024)).await.is_hit());
        }
        // A debug build; sorting the members takes some hundred milliseconds.
        assert!(
            began.elapsed().as_millis() < 500,
            "{name}: {:?}",
            began.elapsed()
        );
    }
}
