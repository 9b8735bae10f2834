//! Conditions with the tags of forms (RFC 9110 §8.8.3, §13.1.2, §15.4.5).

use std::sync::{Arc, Mutex};

use http::Request;
use tower::Layer;

use super::lives::Versions;
use super::{CODINGS, accepting, fetch};
use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, answer};
use crate::support::time::settled;
use crate::support::{get, in_memory, with};

/// A GET with a condition.
fn unless(path: &str, codings: &str, tags: &str) -> Request<()> {
    with(accepting(path, codings), "if-none-match", tags)
}

/// A 304 names the form that the client has, so that no cache takes it for another one.
#[tokio::test(start_paused = true)]
async fn a_304_confirms_the_form_whose_tag_the_client_has() {
    on_both_backends(async |layer| {
        let service = layer.compress(CODINGS).layer(Versions::new().origin);
        fetch(&service, get("/a")).await;
        settled().await;
        for (codings, tags, confirmed) in [
            ("br", "W/\"v1~br\"", Some("W/\"v1~br\"")),
            ("br", "W/\"v1~br\", \"v0\"", Some("W/\"v1~br\"")),
            ("gzip, br", "W/\"v1~gzip\"", Some("W/\"v1~gzip\"")),
            (
                "gzip, br",
                "W/\"v1~gzip\", W/\"v1~br\"",
                Some("W/\"v1~br\""),
            ),
            // The identity's tag keeps working.
            ("br", "\"v1\"", Some("\"v1\"")),
            ("identity", "\"v1\"", Some("\"v1\"")),
            ("br", "\"v1\", W/\"v1~br\"", Some("W/\"v1~br\"")),
            ("br", "*", Some("W/\"v1~br\"")),
            ("identity", "*", Some("\"v1\"")),
            // A coding that the request does not accept.
            ("gzip", "W/\"v1~br\"", None),
            ("identity", "W/\"v1~br\"", None),
            ("br;q=0, *", "W/\"v1~br\"", None),
            // Other content.
            ("br", "W/\"v0~br\"", None),
            ("br", "\"v1~br\"", None),
            ("br", "W/\"v1br\"", None),
        ] {
            let got = fetch(&service, unless("/a", codings, tags)).await;
            let case = format!("{codings}: {tags}");
            match confirmed {
                Some(tag) => {
                    assert_eq!(
                        (got.status.as_u16(), got.header("etag")),
                        (304, tag),
                        "{case}"
                    );
                    assert_eq!(
                        (got.sent, got.header("content-encoding")),
                        (0, ""),
                        "{case}"
                    );
                }
                None => assert_eq!(got.status, 200, "{case}"),
            }
            assert_eq!(got.header("vary"), "accept-encoding", "{case}");
        }
    })
    .await;
}

/// Each form is confirmed by the tag it came with.
#[tokio::test(start_paused = true)]
async fn the_tag_of_a_form_is_good_for_a_304() {
    let service = in_memory().compress(CODINGS).layer(Versions::new().origin);
    for coding in ["gzip", "br", "zstd", "identity"] {
        let whole = fetch(&service, accepting("/a", coding)).await;
        let tag = whole.header("etag").to_owned();
        let weak = coding != "identity";
        assert_eq!(tag.starts_with("W/"), weak, "{tag}");
        let confirmed = fetch(&service, unless("/a", coding, &tag)).await;
        assert_eq!(confirmed.status, 304, "{coding}");
        assert_eq!(confirmed.header("etag"), tag);
    }
}

/// An origin that makes the cache validate gets its own tag, and the client's are known to be those
/// of its forms.
#[tokio::test(start_paused = true)]
async fn the_origin_gets_the_tag_of_the_identity() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    let origin = Origin::at_once(move |request: &Request<()>| {
        let named = request.headers().get("if-none-match");
        let named = named.map(|named| named.to_str().expect("ASCII").to_owned());
        noted.lock().expect("no panic").push(named.clone());
        let lines = [("cache-control", "no-store"), ("etag", "\"a\"")];
        // As a server that compares weakly does.
        match named.is_some_and(|named| named.split(", ").any(|tag| tag.ends_with("\"a\""))) {
            true => answer(304, &lines, ""),
            false => answer(200, &lines, "x"),
        }
    });
    let layer = in_memory().compress(CODINGS);
    let service = layer.layer(origin);
    // A condition that the cache leaves to the origin.
    let request = with(unless("/a", "br", "W/\"a~br\""), "if-match", "*");
    let got = fetch(&service, request).await;
    assert_eq!(
        (got.status.as_u16(), got.header("etag")),
        (304, "W/\"a~br\"")
    );
    let seen = seen.lock().expect("no panic");
    assert_eq!(seen[0].as_deref(), Some("W/\"a~br\", W/\"a\""));
}

/// RFC 9110 §8.8.3: without a tag of the origin's there is none of a form. Dates work as ever.
#[tokio::test(start_paused = true)]
async fn a_form_without_a_tag_is_confirmed_by_its_date() {
    const MODIFIED: &str = "Mon, 01 Jan 2024 00:00:00 GMT";
    let origin = Origin::at_once(|_| {
        let lines = [("cache-control", "max-age=60"), ("last-modified", MODIFIED)];
        answer(200, &lines, super::page("a"))
    });
    let service = in_memory().compress(CODINGS).layer(origin);
    let whole = fetch(&service, accepting("/a", "gzip")).await;
    assert_eq!(
        (whole.header("etag"), whole.header("last-modified")),
        ("", MODIFIED)
    );
    let since = with(accepting("/a", "gzip"), "if-modified-since", MODIFIED);
    let got = fetch(&service, since).await;
    assert_eq!(
        (got.status.as_u16(), got.header("vary")),
        (304, "accept-encoding")
    );
}
