//! Forms beside what else a layer can do: groups, soft purge, write-through, stale use, parts,
//! explanations, shutdown.

use http::{Method, Request};
use tokio::time::advance;
use tower::Layer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::explain::Verdict;

use super::lives::{Versions, text};
use super::{CODINGS, Watched, accepting, fetch, page, watched};
use crate::support::origin::{Origin, OriginError, answer, fallible};
use crate::support::time::{SECOND, in_virtual_time, settled};
use crate::support::{in_memory, request, with};

/// Promise: what a program invalidates or expires is gone or validated in all forms.
#[tokio::test(start_paused = true)]
async fn groups_and_soft_purges_concern_forms_as_well() {
    let (layer, backend) = watched();
    let versions = Versions::new();
    let layer = layer.groups_by(|_, _| vec!["pages".to_owned()]);
    let handle = layer.handle();
    let service = layer.layer(versions.origin.clone());
    let asked = async |version: usize| {
        let got = fetch(&service, accepting("/a", "gzip")).await;
        got.assert_form("gzip", &text(version));
        settled().await;
    };
    asked(1).await;
    versions.change();
    handle.expire("/a").await.expect("acknowledged");
    asked(2).await;
    versions.change();
    let expired = handle.expire_group("", "pages").await;
    expired.expect("acknowledged");
    asked(3).await;
    versions.change();
    let removed = handle.invalidate_group("", "pages").await;
    removed.expect("acknowledged");
    asked(4).await;
    // It is confirmed by the origin, and the form with it.
    handle.expire("/a").await.expect("acknowledged");
    asked(4).await;
    assert_eq!((backend.forms(), versions.origin.calls()), (4, 5));
    versions.change();
    handle.clear().await.expect("acknowledged");
    asked(5).await;
}

/// Promise: the work that clients cause is bounded. Each confirmation makes the identity fresh for a
/// second more, and the form is that of the first one.
#[tokio::test(start_paused = true)]
async fn a_form_is_made_once_however_often_its_identity_is_confirmed() {
    let backend = Watched::new(MemoryBackend::default());
    let origin = Origin::at_once(|request: &Request<()>| {
        let lines = [("cache-control", "max-age=1"), ("etag", "\"a\"")];
        match request.headers().contains_key("if-none-match") {
            true => answer(304, &lines, ""),
            false => answer(200, &lines, page("a")),
        }
    });
    let layer = in_virtual_time(backend.clone()).compress(CODINGS);
    let service = layer.layer(origin.clone());
    for calls in 1..100 {
        let got = fetch(&service, accepting("/a", "gzip")).await;
        got.assert_form("gzip", &page("a"));
        settled().await;
        assert_eq!((origin.calls(), backend.forms()), (calls, 1));
        advance(2 * SECOND).await;
    }
}

/// RFC 5861 §4: a stale response has its forms, too.
#[tokio::test(start_paused = true)]
async fn a_form_is_made_once_of_a_response_that_is_stale() {
    let backend = Watched::new(MemoryBackend::default());
    let origin = fallible(|_, call| match call {
        1 => {
            let lines = [("cache-control", "max-age=1, stale-if-error=1000")];
            Ok(answer(200, &lines, page("a")))
        }
        _ => Err(OriginError("down")),
    });
    let layer = in_virtual_time(backend.clone()).compress(CODINGS);
    let service = layer.layer(origin);
    fetch(&service, accepting("/a", "identity")).await;
    settled().await;
    for _ in 0..5 {
        advance(20 * SECOND).await;
        let got = fetch(&service, accepting("/a", "gzip")).await;
        got.assert_form("gzip", &page("a"));
        settled().await;
    }
    assert_eq!(backend.forms(), 1);
}

/// The response to a write that is stored is the identity of the next forms.
#[tokio::test(start_paused = true)]
async fn a_write_through_gives_forms_of_what_was_written() {
    let (layer, backend) = watched();
    let origin = Origin::at_once(|request: &Request<()>| {
        let lines = [("cache-control", "max-age=60"), ("content-location", "/a")];
        answer(200, &lines, page(request.method().as_str()))
    });
    let service = layer.write_through(true).layer(origin.clone());
    let got = fetch(&service, accepting("/a", "gzip")).await;
    assert_eq!((got.coding(), &got.text), ("gzip", &page("GET")));
    settled().await;
    let mut write = accepting("/a", "gzip");
    *write.method_mut() = Method::PUT;
    assert_eq!(fetch(&service, write).await.coding(), "identity");
    let got = fetch(&service, accepting("/a", "gzip")).await;
    assert_eq!((got.coding(), &got.text), ("gzip", &page("PUT")));
    settled().await;
    assert_eq!((origin.calls(), backend.forms()), (2, 2));
}

/// RFC 9111 §3.4: a response that was put together of parts is a whole one.
#[tokio::test(start_paused = true)]
async fn a_response_made_of_parts_has_forms() {
    let origin = Origin::at_once(|request: &Request<()>| {
        let whole = page("a");
        let (first, last) = match request.headers().get("range").map(|range| range.as_bytes()) {
            Some(b"bytes=0-999") => (0, 1000),
            Some(_) => (1000, whole.len()),
            None => return answer(500, &[], "the rest is enough"),
        };
        let range = format!("bytes {first}-{}/{}", last - 1, whole.len());
        let lines = [
            ("cache-control", "max-age=60"),
            ("etag", "\"a\""),
            ("content-range", &*range),
        ];
        answer(206, &lines, whole[first..last].to_owned())
    });
    let service = in_memory().compress(CODINGS).layer(origin.clone());
    let part = with(accepting("/a", "gzip"), "range", "bytes=0-999");
    assert_eq!(fetch(&service, part).await.coding(), "identity");
    settled().await;
    // It streams from the origin, and is put together.
    let joined = fetch(&service, accepting("/a", "gzip")).await;
    assert_eq!((joined.coding(), &joined.text), ("identity", &page("a")));
    settled().await;
    let got = fetch(&service, accepting("/a", "gzip")).await;
    got.assert_form("gzip", &page("a"));
    assert_eq!((got.header("etag"), origin.calls()), ("W/\"a~gzip\"", 2));
    let head = with(request(Method::HEAD, "/a"), "accept-encoding", "gzip");
    settled().await;
    assert_eq!(fetch(&service, head).await.coding(), "gzip");
}

/// Promise: explanations are by the code that serves requests.
#[tokio::test(start_paused = true)]
async fn explanations_know_that_one_response_is_for_all_codings() {
    let origin = Origin::at_once(|_| {
        let lines = [
            ("cache-control", "max-age=60"),
            ("vary", "Accept-Encoding"),
            ("etag", "\"a\""),
        ];
        answer(200, &lines, page("a"))
    });
    let layer = in_memory().compress(CODINGS);
    let service = layer.layer(origin);
    fetch(&service, accepting("/a", "gzip")).await;
    settled().await;
    for (codings, tag, status) in [
        ("gzip", "\"b\"", 200),
        ("br", "\"b\"", 200),
        ("deflate", "\"b\"", 200),
        ("br", "W/\"a~br\"", 304),
        ("gzip", "W/\"a~br\"", 200),
    ] {
        let asked = with(accepting("/a", codings), "if-none-match", tag);
        let (parts, ()) = asked.clone().into_parts();
        let explained = layer.handle().explain(&parts).await;
        assert_eq!(explained.verdict, Verdict::Hit, "{codings} {tag}");
        let got = fetch(&service, asked).await.status;
        assert_eq!(explained.status, Some(got), "{codings} {tag}");
        assert_eq!(got, status, "{codings} {tag}");
    }
}

/// No background work begins any more; what is stored is of use still.
#[tokio::test(start_paused = true)]
async fn after_a_shutdown_forms_are_used_and_none_is_made() {
    let (layer, backend) = watched();
    let handle = layer.handle();
    let service = layer.layer(Versions::new().origin);
    fetch(&service, accepting("/a", "gzip")).await;
    settled().await;
    handle.shutdown(SECOND).await;
    for coding in ["gzip", "identity"] {
        let wanted = if coding == "identity" { "br" } else { coding };
        let got = fetch(&service, accepting("/a", wanted)).await;
        got.assert_form(coding, &text(1));
    }
    assert_eq!(backend.forms(), 1);
}
