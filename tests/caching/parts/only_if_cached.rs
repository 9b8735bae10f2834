//! RFC 9111 §5.2.1.7 with RFC 9110 §13 and §14: a request with `only-if-cached` gets what is stored
//! of a response, and a 504 only where a request without it would reach the origin.

use http::Method;
use tower::Layer;
use tower_response_cache::Rules;
use tower_response_cache::backend::Backend;
use tower_response_cache::{Cache, CacheLayer};

use super::{DIGITS, Line, MINUTE, TAG, part, span};
use crate::support::both::{both_backends, on_both_backends};
use crate::support::origin::{Origin, answer};
use crate::support::time::settled;
use crate::support::{get, request, send, with, with_lines};

const VARY: Line = ("vary", "accept-language");
const PRIVATE: Line = ("cache-control", "private, max-age=60");

/// Digits in each language: whole, or the part that is asked for. Below `/private` for one client.
fn digits() -> Origin {
    Origin::at_once(|request| {
        let control = match request.uri().path().starts_with("/private") {
            true => PRIVATE,
            false => MINUTE,
        };
        let lines = [TAG, VARY, control];
        let range = request.headers().get("range");
        let range = range.map_or("", |range| range.to_str().expect("text"));
        match span(range, DIGITS) {
            Some(range) => part(DIGITS, range, &lines),
            None => answer(200, &lines, DIGITS),
        }
    })
}

fn service<B: Backend>(layer: CacheLayer<B>, origin: &Origin) -> Cache<Origin, B> {
    let layer = layer
        .private_by(|request| Some(request.headers.get("x-client")?.as_bytes().to_vec()))
        .route("/live/{*rest}", Rules::new().bypass());
    layer.layer(origin.clone())
}

const FRENCH: Line = ("accept-language", "fr");
const GERMAN: Line = ("accept-language", "de");
const HELD: Line = ("range", "bytes=3-4");
const NOT_HELD: Line = ("range", "bytes=0-3");
const SAME: Line = ("if-none-match", "\"a\"");
const OTHER: Line = ("if-none-match", "\"b\"");
const IF_SAME: Line = ("if-range", "\"a\"");
const IF_OTHER: Line = ("if-range", "\"b\"");
const ALICE: Line = ("x-client", "alice");

/// The whole in German, a part in French, and a part of alice's.
async fn store<B: Backend>(service: &Cache<Origin, B>) {
    let piece = ("range", "bytes=2-5");
    for (path, lines) in [
        ("/a", &[GERMAN][..]),
        ("/a", &[FRENCH, piece]),
        ("/private/a", &[ALICE, FRENCH, piece]),
    ] {
        send(service, with_lines(get(path), lines)).await;
        settled().await;
    }
}

/// A response stored for another variant does not hide the parts of this one, and a condition is
/// answered from parts as it is without the directive.
#[tokio::test(start_paused = true)]
async fn only_if_cached_gets_what_is_stored_of_the_response() {
    #[rustfmt::skip]
    let rows: &[(&str, &[Line], u16)] = &[
        ("/a", &[GERMAN], 200),
        ("/a", &[GERMAN, HELD], 206),
        ("/a", &[GERMAN, HELD, IF_SAME], 206),
        ("/a", &[GERMAN, HELD, IF_OTHER], 200),
        ("/a", &[GERMAN, SAME], 304),
        ("/a", &[FRENCH], 504),
        ("/a", &[FRENCH, HELD], 206),
        ("/a", &[FRENCH, HELD, IF_SAME], 206),
        ("/a", &[FRENCH, HELD, IF_OTHER], 504),
        ("/a", &[FRENCH, HELD, SAME], 304),
        ("/a", &[FRENCH, NOT_HELD], 504),
        ("/a", &[FRENCH, SAME], 304),
        ("/a", &[FRENCH, OTHER], 504),
        ("/a", &[FRENCH, ALICE, HELD], 206),
        ("/private/a", &[FRENCH, HELD], 504),
        ("/private/a", &[FRENCH, ALICE, HELD], 206),
        ("/private/a", &[FRENCH, ALICE, HELD, IF_SAME], 206),
        ("/private/a", &[FRENCH, ALICE, SAME], 304),
        ("/private/a", &[FRENCH, ALICE, NOT_HELD], 504),
        ("/private/a", &[FRENCH, ALICE], 504),
    ];
    on_both_backends(async |layer| {
        let origin = digits();
        let service = service(layer, &origin);
        store(&service).await;
        let calls = origin.calls();
        for (path, lines, status) in rows {
            let only = with(get(path), "cache-control", "only-if-cached");
            let got = send(&service, with_lines(only, lines)).await;
            assert_eq!(
                got.status,
                *status,
                "{path} {lines:?}: {}",
                got.cache_status()
            );
            assert_eq!(got.is_hit(), *status != 504, "{path} {lines:?}");
        }
        assert_eq!(origin.calls(), calls, "nothing is asked for");
        // RFC 9110 §14.2: a range is for GET alone.
        for (lines, status) in [(&[GERMAN, HELD], 200), (&[FRENCH, HELD], 504)] {
            let only = with(
                request(Method::HEAD, "/a"),
                "cache-control",
                "only-if-cached",
            );
            assert_eq!(send(&service, with_lines(only, lines)).await.status, status);
        }
        // A rule has taken the cache out of the way: the request is none of its own.
        let only = with(get("/live/a"), "cache-control", "only-if-cached");
        let bypassed = send(&service, with_lines(only, &[HELD])).await;
        assert_eq!((bypassed.status.as_u16(), bypassed.is_hit()), (206, false));
    })
    .await;
}

/// Instances that share a backend find the parts of a client, whichever of them has stored them.
#[tokio::test(start_paused = true)]
async fn parts_of_one_client_answer_on_each_instance() {
    for backend in both_backends() {
        let origin = digits();
        let layers = [backend.clone(), backend].map(CacheLayer::new);
        let [first, second] = layers.map(|layer| service(layer, &origin));
        store(&first).await;
        let ask = |lines: &[Line]| with_lines(get("/private/a"), lines);
        let only = ("cache-control", "only-if-cached");
        for (lines, status) in [
            (&[FRENCH, ALICE, HELD, only][..], 206),
            (&[FRENCH, HELD, only], 504),
            (&[FRENCH, ("x-client", "bob"), HELD, only], 504),
            (&[FRENCH, ALICE, HELD], 206),
        ] {
            let got = send(&second, ask(lines)).await;
            assert_eq!(got.status, status, "{lines:?}: {}", got.cache_status());
            assert_eq!(got.is_hit(), status == 206, "{lines:?}");
        }
    }
}
