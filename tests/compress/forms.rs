//! The form that a request gets.

use std::sync::{Arc, Mutex};

use http::{Method, Request};
use tower::Layer;

use super::{CODINGS, accepting, fetch, page, watched};
use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer, cacheable, data, scripted};
use crate::support::time::settled;
use crate::support::{get, in_memory, request, with};

/// An origin whose page may be stored, with a validator.
fn pages() -> Origin {
    Origin::at_once(|request| {
        let lines = [("cache-control", "max-age=3600"), ("etag", "\"a\"")];
        answer(200, &lines, page(request.uri().path()))
    })
}

/// RFC 9110 §12.5.3.
#[tokio::test(start_paused = true)]
async fn each_request_gets_the_form_that_it_prefers() {
    on_both_backends(async |layer| {
        let origin = pages();
        let service = layer.compress(CODINGS).layer(origin.clone());
        fetch(&service, get("/a"))
            .await
            .assert_form("identity", &page("/a"));
        settled().await;
        for (accepted, coding) in [
            (None, "identity"),
            (Some(""), "identity"),
            (Some("identity"), "identity"),
            (Some("deflate"), "identity"),
            (Some("gzip;q=0"), "identity"),
            (Some("gzip;q=0.5, identity"), "identity"),
            (Some("gzip"), "gzip"),
            (Some("x-gzip"), "gzip"),
            (Some("br"), "br"),
            (Some("zstd"), "zstd"),
            (Some("gzip, deflate, br, zstd"), "zstd"),
            (Some("gzip, deflate, br"), "br"),
            (Some("br;q=0.5, gzip"), "gzip"),
            (Some("*"), "zstd"),
            (Some("*, zstd;q=0"), "br"),
            (Some("identity;q=0, gzip;q=0.1"), "gzip"),
            // No form is acceptable: the identity is better than none.
            (Some("identity;q=0"), "identity"),
        ] {
            let request = accepted.map_or_else(|| get("/a"), |accepted| accepting("/a", accepted));
            // The form is made for the first one, and stored for the second one.
            for _ in 0..2 {
                let got = fetch(&service, request.clone()).await;
                assert!(got.is_hit(), "{accepted:?}");
                got.assert_form(coding, &page("/a"));
                settled().await;
            }
        }
        assert_eq!(origin.calls(), 1);
    })
    .await;
}

/// The inner service sees no client's codings, so that its `Vary` selects one response for all.
#[tokio::test(start_paused = true)]
async fn the_inner_service_is_asked_for_the_identity_once_for_all() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let origin = Origin::at_once(move |request: &Request<()>| {
        let asked = request.headers().get_all("accept-encoding").iter().cloned();
        noted.lock().expect("no panic").extend(asked);
        let lines = [
            ("cache-control", "max-age=3600"),
            ("vary", "Accept-Encoding"),
        ];
        answer(200, &lines, page("a"))
    });
    let service = in_memory().compress(CODINGS).layer(origin.clone());
    for accepted in ["gzip", "br, gzip", "identity", "*;q=0"] {
        let got = fetch(&service, accepting("/a", accepted)).await;
        assert_eq!(got.header("vary"), "Accept-Encoding");
        assert_eq!(got.text, page("a"));
    }
    fetch(&service, get("/a")).await;
    assert_eq!(*seen.lock().expect("no panic"), ["identity"]);
}

/// What the cache does not answer is none of its business.
#[tokio::test(start_paused = true)]
async fn what_bypasses_the_cache_has_its_own_accept_encoding() {
    let origin = Origin::at_once(|request| {
        let lines = request.headers().get_all("accept-encoding").iter();
        let lines: Vec<_> = lines.map(|line| line.to_str().expect("ASCII")).collect();
        answer(200, &[("cache-control", "max-age=3600")], lines.join("|"))
    });
    let layer = in_memory().compress(CODINGS);
    let skipping = layer.clone().skip(|_| true).layer(origin.clone());
    let two = with(accepting("/a", "gzip"), "accept-encoding", "br;q=0.5");
    let got = fetch(&skipping, two.clone()).await;
    assert_eq!(got.text, "gzip|br;q=0.5");
    assert_eq!(got.header("vary"), "");
    let mut write = two;
    *write.method_mut() = Method::PUT;
    assert_eq!(
        fetch(&layer.layer(origin), write).await.text,
        "gzip|br;q=0.5"
    );
}

/// RFC 9111 §5.2.1.6, §5.2.2.6; and where a coding is of no use.
#[tokio::test(start_paused = true)]
async fn what_may_not_be_coded_is_sent_as_it_is() {
    let long = page("a");
    let letters = "x".repeat(1023);
    let rows = [
        (&[][..], &*long, true),
        (&[("content-type", "image/svg+xml")], &long, true),
        (&[], &letters, false),
        (&[("cache-control", "no-transform")], &long, false),
        (&[("content-encoding", "identity")], &long, false),
        (&[("content-encoding", "x-own")], &long, false),
        (&[("content-type", "image/png")], &long, false),
        (&[("content-type", "video/mp4")], &long, false),
        (&[("content-type", "font/woff2")], &long, false),
    ];
    for (lines, text, is_coded) in rows {
        let owned: Vec<_> = lines
            .iter()
            .map(|(name, value)| (*name, value.to_string()))
            .collect();
        let body = text.to_owned();
        let origin = Origin::at_once(move |_| {
            let mut lines = vec![("cache-control", "max-age=3600")];
            lines.extend(owned.iter().map(|(name, value)| (*name, value.as_str())));
            answer(200, &lines, body.clone())
        });
        let service = in_memory().compress(CODINGS).layer(origin);
        for _ in 0..2 {
            let got = fetch(&service, accepting("/a", "gzip")).await;
            assert_eq!(got.coding() == "gzip", is_coded, "{lines:?}");
            assert_eq!(
                got.header("vary") == "accept-encoding",
                is_coded,
                "{lines:?}"
            );
            assert_eq!(got.text, text, "{lines:?}");
        }
        let untouched = with(accepting("/a", "gzip"), "cache-control", "no-transform");
        assert_ne!(
            fetch(&service, untouched).await.coding(),
            "gzip",
            "{lines:?}"
        );
    }
}

/// A form that is no smaller is of no use, and is not made again for each request.
#[tokio::test(start_paused = true)]
async fn content_that_does_not_get_smaller_stays_as_it_is() {
    const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";
    let (layer, backend) = watched();
    let origin = Origin::at_once(|_| cacheable(LETTERS));
    let service = layer.min_compressed_body(0).layer(origin);
    for coding in ["zstd", "gzip", "br"] {
        for _ in 0..3 {
            let got = fetch(&service, accepting("/a", coding)).await;
            assert_eq!((got.coding(), &*got.text), ("identity", LETTERS));
            assert_eq!(got.header("vary"), "accept-encoding");
            settled().await;
        }
    }
    assert_eq!(backend.forms(), 3, "each was made once");
}

/// RFC 9110 §14.2: a part is one of the identity, as its `ETag` says.
#[tokio::test(start_paused = true)]
async fn a_range_is_cut_from_the_identity() {
    on_both_backends(async |layer| {
        let service = layer.compress(CODINGS).layer(pages());
        fetch(&service, get("/a")).await;
        settled().await;
        let coded = fetch(&service, accepting("/a", "gzip")).await;
        assert_eq!(coded.header("accept-ranges"), "none");
        let part = with(accepting("/a", "gzip"), "range", "bytes=0-1");
        let got = fetch(&service, part.clone()).await;
        assert_eq!((got.status.as_u16(), &*got.text), (206, "/a"));
        assert_eq!((got.coding(), got.header("etag")), ("identity", "\"a\""));
        assert_eq!(got.header("vary"), "accept-encoding");
        // A weak tag never matches (§13.1.5): the whole identity.
        let tag = coded.header("etag").to_owned();
        assert_eq!(tag, "W/\"a~gzip\"");
        let got = fetch(&service, with(part, "if-range", &tag)).await;
        assert_eq!(got.status, 200);
        got.assert_form("identity", &page("/a"));
    })
    .await;
}

/// RFC 9110 §9.3.2.
#[tokio::test(start_paused = true)]
async fn the_head_of_a_form_is_the_same_for_head_and_get() {
    on_both_backends(async |layer| {
        let service = layer.compress(CODINGS).layer(pages());
        fetch(&service, get("/a")).await;
        settled().await;
        let head = || with(request(Method::HEAD, "/a"), "accept-encoding", "br");
        // Nothing is made for it.
        let before = fetch(&service, head()).await;
        assert_eq!(before.header("content-length"), "");
        let whole = fetch(&service, accepting("/a", "br")).await;
        settled().await;
        let after = fetch(&service, head()).await;
        assert_eq!((before.text.as_str(), after.text.as_str()), ("", ""));
        for name in [
            "content-encoding",
            "etag",
            "vary",
            "accept-ranges",
            "content-type",
        ] {
            assert_eq!(before.header(name), whole.header(name), "{name}");
            assert_eq!(after.header(name), whole.header(name), "{name}");
        }
        assert_eq!(
            after.header("content-length"),
            whole.header("content-length")
        );
        let identity = fetch(&service, request(Method::HEAD, "/a")).await;
        let length = page("/a").len().to_string();
        assert_eq!(identity.header("content-length"), length);
    })
    .await;
}

/// A client waits for no body that is still to come.
#[tokio::test(start_paused = true)]
async fn a_response_that_streams_is_sent_as_it_is_and_coded_once_it_is_stored() {
    let (sender, body) = scripted();
    let body = Mutex::new(Some(body));
    let origin = Origin::at_once(move |_| {
        let body = body.lock().expect("no panic").take().expect("one call");
        let response = http::Response::builder().header("cache-control", "max-age=60");
        response.body(body).expect("a response")
    });
    let service = in_memory()
        .compress(CODINGS)
        .min_compressed_body(3)
        .layer(origin);
    let first = tokio::spawn({
        let service = service.clone();
        async move { fetch(&service, accepting("/a", "gzip")).await }
    });
    settled().await;
    for _ in 0..100 {
        sender.send(data("abcdefgh")).expect("a reader");
    }
    drop(sender);
    let first = first.await.expect("an answer");
    assert_eq!(
        (first.coding(), first.header("vary")),
        ("identity", "accept-encoding")
    );
    settled().await;
    let second = fetch(&service, accepting("/a", "gzip")).await;
    second.assert_form("gzip", &"abcdefgh".repeat(100));
}
