//! RFC 9111 §3.3, §3.4: parts that an origin sends are stored as parts, put together, and never taken for the whole.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::both::{AnyBackend, both_backends, on_both_backends};
use crate::support::origin::{Origin, Response, answer, data, scripted};
use crate::support::{Answer, collect, get, put, request, send, with};
use bytes::Bytes;
use http::{Method, Request};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tokio::time::{advance, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::backend::{
    Backend, BackendError, CacheKey, DigestSeed, Lookup, MemoryBackend, Moment, Put, Resource,
    StoredResponse, Target,
};
use tower_response_cache::{BoxError, CacheLayer};

type Line = (&'static str, &'static str);
type Scripted = fn() -> Response;

const TAG: Line = ("etag", "\"a\"");
const OTHER_TAG: Line = ("etag", "\"b\"");
const MINUTE: Line = ("cache-control", "max-age=60");
const TEXT: Line = ("content-type", "text/plain");
const DIGITS: &str = "0123456789";
const LETTERS: &str = "abcdefghij";

/// An origin of ranges that notes which it was asked for, with their `If-Range`. A PUT makes letters of the digits.
#[derive(Clone)]
struct Library {
    origin: Origin,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Library {
    fn new(lines: &'static [Line]) -> Self {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let notes = asked.clone();
        let is_changed = Mutex::new(false);
        let origin = Origin::at_once(move |request| {
            let mut is_changed = is_changed.lock().expect("not poisoned");
            if request.method() == Method::PUT {
                *is_changed = true;
                return answer(204, &[], "");
            }
            let field = |name: &str| {
                let value = request.headers().get(name);
                value
                    .map_or("", |value| value.to_str().expect("text"))
                    .to_owned()
            };
            let (range, condition) = (field("range"), field("if-range"));
            let note = format!("{range} {condition}");
            notes
                .lock()
                .expect("not poisoned")
                .push(note.trim().to_owned());
            match *is_changed {
                false => library(DIGITS, TAG, lines, &range, &condition),
                true => library(LETTERS, OTHER_TAG, lines, &range, &condition),
            }
        });
        Self { origin, asked }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("not poisoned"))
    }
}

fn library(
    text: &'static str,
    tag: Line,
    lines: &[Line],
    range: &str,
    condition: &str,
) -> Response {
    let all = [lines, &[tag]].concat();
    let is_same = condition.is_empty() || condition == tag.1;
    match span(range, text).filter(|_| is_same) {
        Some(range) => part(text, range, &all),
        None => answer(200, &all, text),
    }
}

/// What a `Range` asks for of a text.
fn span(range: &str, text: &str) -> Option<Range<usize>> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let end = last.parse().map_or(text.len(), |last: usize| last + 1);
    Some(first.parse().expect("a number")..end)
}

fn part(text: &'static str, range: Range<usize>, lines: &[Line]) -> Response {
    let mut response = answer(206, lines, &text[range.clone()]);
    let value = format!("bytes {}-{}/{}", range.start, range.end - 1, text.len());
    response
        .headers_mut()
        .insert("content-range", value.parse().expect("a value"));
    response
        .headers_mut()
        .insert("content-length", range.len().into());
    response
}

fn asks(range: &str) -> Request<()> {
    with(get("/a"), "range", range)
}

/// `None` where the body fails.
async fn whole<S, B>(service: &S, request: Request<()>) -> Option<Answer>
where
    S: Service<Request<()>, Response = http::Response<B>> + Clone,
    S::Error: std::fmt::Debug,
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let response = service.clone().oneshot(request).await.expect("an answer");
    let (head, body) = response.into_parts();
    let body = body.collect().await.ok()?.to_bytes();
    let response = http::Response::from_parts(head, http_body_util::Full::new(body));
    Some(collect(response).await)
}

async fn settled() {
    sleep(Duration::from_millis(10)).await;
}

#[track_caller]
fn is_part(answer: &Answer, range: &str, body: &str, status: &str) {
    let got = (
        answer.header("content-range"),
        &*answer.body,
        answer.cache_status(),
    );
    assert_eq!(got, (format!("bytes {range}/10"), body, status.to_owned()));
    assert_eq!(answer.status, 206);
    assert_eq!(answer.header("content-length"), body.len().to_string());
}

/// H13
#[tokio::test(start_paused = true)]
async fn a_part_answers_what_lies_within_it() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE, TEXT]);
        let service = layer.layer(library.origin.clone());
        is_part(
            &send(&service, asks("bytes=2-7")).await,
            "2-7",
            "234567",
            "fwd=uri-miss; stored",
        );
        settled().await;
        advance(Duration::from_secs(5)).await;
        for (range, content_range, body) in [
            ("bytes=2-7", "2-7", "234567"),
            ("bytes=3-4", "3-4", "34"),
            ("bytes=7-7", "7-7", "7"),
        ] {
            let answer = send(&service, asks(range)).await;
            is_part(&answer, content_range, body, "hit; ttl=55");
            assert_eq!(answer.header("age"), "5");
            assert_eq!(answer.header("etag"), TAG.1);
            assert_eq!(answer.header("content-type"), TEXT.1);
        }
        let none = send(&service, asks("bytes=10-")).await;
        assert_eq!(
            (none.status.as_u16(), none.header("content-range")),
            (416, "bytes */10".into())
        );
        let several = send(&service, asks("bytes=2-3,6-7")).await;
        assert!(several.is_hit() && several.header("content-type").starts_with("multipart/"));
        for (range, status) in [("bytes=2-3", 206), ("bytes=0-3", 504)] {
            let only = with(asks(range), "cache-control", "only-if-cached");
            assert_eq!(send(&service, only).await.status, status, "{range}");
        }
        let same = send(&service, with(asks("bytes=2-3"), "if-none-match", TAG.1)).await;
        assert_eq!(same.status, 304);
        assert_eq!(library.asked(), ["bytes=2-7"]);
    })
    .await;
}

/// H13
#[tokio::test(start_paused = true)]
async fn parts_are_completed_and_put_together() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE, TEXT]);
        let service = layer.layer(library.origin.clone());
        for (range, content_range, body, status, asked) in [
            (
                "bytes=0-2",
                "0-2",
                "012",
                "fwd=uri-miss; stored",
                "bytes=0-2",
            ),
            (
                "bytes=6-7",
                "6-7",
                "67",
                "fwd=uri-miss; stored",
                "bytes=6-7",
            ),
            (
                "bytes=1-7",
                "1-7",
                "1234567",
                "fwd=partial; stored",
                "bytes=3-5 \"a\"",
            ),
            (
                "bytes=4-",
                "4-9",
                "456789",
                "fwd=partial; stored",
                "bytes=8-9 \"a\"",
            ),
        ] {
            let answer = send(&service, asks(range)).await;
            is_part(&answer, content_range, body, status);
            assert_eq!(answer.header("content-type"), TEXT.1, "{range}");
            assert_eq!(library.asked(), [asked], "{range}");
            settled().await;
        }
        let whole = send(&service, get("/a")).await;
        assert_eq!(
            (whole.status.as_u16(), &*whole.body),
            (200, DIGITS),
            "all of it is there"
        );
        assert_eq!(whole.cache_status(), "hit; ttl=60");
        assert_eq!(whole.header("content-range"), "");
        assert!(library.asked().is_empty());
    })
    .await;
}

/// §3.4: "MAY be combined": what is missing for the whole is one request for the rest of it, and everybody shares that.
#[tokio::test(start_paused = true)]
async fn the_whole_is_completed_by_what_is_missing() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE, TEXT]);
        let service = layer.layer(library.origin.clone());
        send(&service, asks("bytes=0-6")).await;
        settled().await;
        library.asked();
        let (one, other) = tokio::join!(send(&service, get("/a")), send(&service, get("/a")));
        assert_eq!((&*one.body, &*other.body), (DIGITS, DIGITS));
        assert_eq!((one.status.as_u16(), other.status.as_u16()), (200, 200));
        assert_eq!(one.cache_status(), "fwd=partial; fwd-status=206; stored");
        assert!(
            other.cache_status().contains("collapsed"),
            "{}",
            other.cache_status()
        );
        assert_eq!(one.header("content-range"), "");
        assert_eq!(one.header("content-length"), "10");
        assert_eq!(library.asked(), ["bytes=7-9 \"a\""]);
        settled().await;
        let whole = send(&service, get("/a")).await;
        assert!(whole.is_hit() && whole.body == DIGITS);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn parts_of_what_has_changed_are_not_combined() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE, TEXT]);
        let service = layer.layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        advance(Duration::from_secs(61)).await;
        // Behind the cache's back.
        send(&library.origin, put("/a")).await;
        let whole = send(&service, asks("bytes=3-7")).await;
        assert_eq!(
            (whole.status.as_u16(), &*whole.body),
            (200, LETTERS),
            "If-Range did not hold"
        );
        assert_eq!(library.asked(), ["bytes=0-4", "bytes=5-7 \"a\""]);
        settled().await;
        let hit = send(&service, asks("bytes=3-7")).await;
        is_part(&hit, "3-7", "defgh", "hit; ttl=60");
    })
    .await;
}

/// The same where nothing is completed.
#[tokio::test(start_paused = true)]
async fn parts_of_two_representations_are_not_put_together() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE, TEXT]);
        let service = layer.layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        send(&library.origin, put("/a")).await;
        send(&service, asks("bytes=6-9")).await;
        settled().await;
        let hit = send(&service, asks("bytes=6-9")).await;
        is_part(&hit, "6-9", "ghij", "hit; ttl=60");
        let part = send(&service, asks("bytes=0-4")).await;
        assert_eq!((&*part.body, part.is_hit()), ("abcde", false));
    })
    .await;
}

/// C16
#[tokio::test(start_paused = true)]
async fn a_write_takes_the_parts_along() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE, TEXT]);
        let service = layer.layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        send(&service, put("/a")).await;
        library.asked();
        let part = send(&service, asks("bytes=0-4")).await;
        is_part(&part, "0-4", "abcde", "fwd=uri-miss; stored");
        assert_eq!(library.asked(), ["bytes=0-4"]);
    })
    .await;
}

/// C01
#[tokio::test(start_paused = true)]
async fn a_part_that_a_write_overtook_is_not_stored() {
    on_both_backends(async |layer| {
        let (sender, body) = scripted();
        let body = Mutex::new(Some(body));
        let origin = Origin::at_once(move |request| match request.method() {
            &Method::PUT => answer(204, &[], ""),
            _ => {
                let mut response = part(DIGITS, 0..5, &[TAG, MINUTE]);
                if let Some(body) = body.lock().expect("not poisoned").take() {
                    *response.body_mut() = body;
                    response.headers_mut().remove("content-length");
                }
                response
            }
        });
        let service = layer.layer(origin.clone());
        let slow = send(&service, asks("bytes=0-4"));
        let write = async {
            settled().await;
            send(&service, put("/a")).await;
            sender.send(data("01234")).expect("it reads");
            drop(sender);
        };
        let (slow, ()) = tokio::join!(slow, write);
        assert_eq!(slow.body, "01234");
        settled().await;
        let again = send(&service, asks("bytes=0-4")).await;
        assert_eq!(again.cache_status(), "fwd=uri-miss; stored");
    })
    .await;
}

/// Each answer to a request for bytes 3 to 9 of which 0 to 4 are held, of the tag `"a"`.
#[tokio::test(start_paused = true)]
async fn what_is_not_the_missing_part_is_not_taken_for_it() {
    let answers: [(&str, Scripted, u16, &str); 8] = [
        (
            "the part",
            || part(DIGITS, 5..10, &[TAG, MINUTE]),
            206,
            "3456789",
        ),
        ("another", || part(DIGITS, 4..10, &[TAG, MINUTE]), 502, ""),
        ("shorter", || part(DIGITS, 5..9, &[TAG, MINUTE]), 502, ""),
        (
            "of another",
            || part(DIGITS, 5..10, &[OTHER_TAG, MINUTE]),
            502,
            "",
        ),
        (
            "weak",
            || part(DIGITS, 5..10, &[("etag", "W/\"a\""), MINUTE]),
            502,
            "",
        ),
        ("without tag", || part(DIGITS, 5..10, &[MINUTE]), 502, ""),
        (
            "no such part",
            || answer(416, &[("content-range", "bytes */5")], ""),
            502,
            "",
        ),
        ("an error", || answer(503, &[], "down"), 503, "down"),
    ];
    for (case, second, status, body) in answers {
        on_both_backends(async |layer| {
            let origin = Origin::at_once(move |request| {
                match request
                    .headers()
                    .get("range")
                    .map(http::HeaderValue::as_bytes)
                {
                    Some(b"bytes=0-4") => part(DIGITS, 0..5, &[TAG, MINUTE]),
                    Some(b"bytes=3-9") => part(DIGITS, 3..10, &[TAG, MINUTE]),
                    _ => second(),
                }
            });
            let service = layer.layer(origin.clone());
            send(&service, asks("bytes=0-4")).await;
            settled().await;
            let answer = send(&service, asks("bytes=3-9")).await;
            assert_eq!(
                (answer.status.as_u16(), &*answer.body),
                (status, body),
                "{case}"
            );
            if status == 502 {
                let told = answer.cache_status();
                assert!(
                    told.starts_with("fwd=partial; fwd-status="),
                    "{case}: {told}"
                );
                assert!(told.ends_with("detail=part-is-another"), "{case}: {told}");
                let next = send(&service, asks("bytes=3-9")).await;
                assert_eq!(
                    &*next.body, "3456789",
                    "{case}: the next is asked for as it is"
                );
            }
        })
        .await;
    }
}

/// Whoever waited for an answer that contradicts itself asks for the whole.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_completed_is_found_out_once() {
    on_both_backends(async |layer| {
        let origin = Origin::new(|request| async move {
            sleep(Duration::from_millis(50)).await;
            let range = request.headers().get("range");
            Ok(match range.map(http::HeaderValue::as_bytes) {
                Some(b"bytes=0-4") => part(DIGITS, 0..5, &[TAG, MINUTE]),
                Some(_) => part(DIGITS, 5..9, &[TAG, MINUTE]),
                None => answer(200, &[TAG, MINUTE], DIGITS),
            })
        });
        let service = layer.layer(origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        let asks_all = || send(&service, get("/a"));
        let (one, two, three) = tokio::join!(asks_all(), asks_all(), asks_all());
        let failed = [one, two, three].map(|answer| answer.status == 502);
        assert_eq!(
            failed.iter().filter(|failed| **failed).count(),
            1,
            "{failed:?}"
        );
        assert_eq!(origin.calls(), 3);
    })
    .await;
}

/// P3: a part that ends early is an error at its end, not a shorter one with the wrong bytes behind it.
#[tokio::test(start_paused = true)]
async fn a_missing_part_that_ends_early_fails() {
    for (frames, is_whole) in [
        (&["56", "789"][..], true),
        (&["56", "78"], false),
        (&["5", "67890"], false),
        (&["56789", "0"], false),
        (&["56", "789", "", "0"], false),
        (&[], false),
    ] {
        on_both_backends(async |layer| {
            let origin = Origin::at_once(move |request| {
                if request.headers()["range"] == "bytes=0-4" {
                    return part(DIGITS, 0..5, &[TAG, MINUTE]);
                }
                let mut response = part(DIGITS, 5..10, &[TAG, MINUTE]);
                let (sender, body) = scripted();
                for frame in frames {
                    sender
                        .send(Ok(Frame::data(Bytes::from_static(frame.as_bytes()))))
                        .expect("open");
                }
                *response.body_mut() = body;
                response.headers_mut().remove("content-length");
                response
            });
            let service = layer.layer(origin.clone());
            send(&service, asks("bytes=0-4")).await;
            settled().await;
            let answer = whole(&service, asks("bytes=3-9")).await;
            let expected = is_whole.then_some("3456789");
            let got = answer.as_ref().map(|answer| &*answer.body);
            assert_eq!(got, expected, "{frames:?}");
            settled().await;
            let next = whole(&service, asks("bytes=3-9")).await;
            assert_eq!(
                next.is_some_and(|next| next.is_hit()),
                is_whole,
                "{frames:?}"
            );
        })
        .await;
    }
}

/// Nothing of these is stored, and nothing is combined with what is stored without a strong validator.
#[tokio::test(start_paused = true)]
async fn what_is_no_single_part_is_not_stored() {
    const MULTIPART: Line = ("content-type", "multipart/byteranges; boundary=x");
    let answers: [(&str, Scripted); 8] = [
        ("several parts", || {
            answer(206, &[TAG, MINUTE, MULTIPART], "--x--")
        }),
        ("unknown length", || {
            answer(
                206,
                &[TAG, MINUTE, ("content-range", "bytes 0-4/*")],
                "01234",
            )
        }),
        ("nonsense", || {
            answer(
                206,
                &[TAG, MINUTE, ("content-range", "bytes 4-0/10")],
                "01234",
            )
        }),
        ("too short", || {
            answer(
                206,
                &[TAG, MINUTE, ("content-range", "bytes 0-9/10")],
                "01234",
            )
        }),
        ("too long", || {
            answer(
                206,
                &[TAG, MINUTE, ("content-range", "bytes 0-1/10")],
                "01234",
            )
        }),
        ("no-store", || {
            part(DIGITS, 0..5, &[TAG, ("cache-control", "no-store")])
        }),
        ("no lifetime", || part(DIGITS, 0..5, &[TAG])),
        ("a cookie", || {
            part(DIGITS, 0..5, &[TAG, MINUTE, ("set-cookie", "a=b")])
        }),
    ];
    for (case, first) in answers {
        on_both_backends(async |layer| {
            let origin = Origin::at_once(move |_| first());
            let service = layer.layer(origin.clone());
            for _ in 0..2 {
                let answer = send(&service, asks("bytes=0-4")).await;
                assert!(!answer.is_hit(), "{case}");
                settled().await;
            }
            let whole = send(&service, get("/a")).await;
            assert!(!whole.is_hit(), "{case}");
            assert_eq!(origin.calls(), 3, "{case}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unasked_part_is_stored_for_nobody() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|_| part(DIGITS, 0..5, &[TAG, MINUTE]));
        let service = layer.layer(origin.clone());
        for _ in 0..2 {
            let answer = send(&service, get("/a")).await;
            assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=status");
        }
        assert_eq!(origin.calls(), 2);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn parts_belong_to_their_variant() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|request| {
            let lines = [TAG, MINUTE, ("vary", "accept-language")];
            match request
                .headers()
                .get("accept-language")
                .map(http::HeaderValue::as_bytes)
            {
                Some(b"de") => part(LETTERS, 0..5, &lines),
                _ => part(DIGITS, 0..5, &lines),
            }
        });
        let service = layer.layer(origin.clone());
        let german = || with(asks("bytes=0-4"), "accept-language", "de");
        for (request, body, is_hit) in [
            (asks("bytes=0-4"), "01234", false),
            (german(), "abcde", false),
            (asks("bytes=0-4"), "01234", true),
            (german(), "abcde", true),
        ] {
            let answer = send(&service, request).await;
            assert_eq!((&*answer.body, answer.is_hit()), (body, is_hit));
            settled().await;
        }
    })
    .await;
}

/// A seeker leaves at most as many parts as are kept; then it begins anew.
#[tokio::test(start_paused = true)]
async fn parts_of_one_response_are_bounded() {
    let text: &'static str = Box::leak("x".repeat(1000).into_boxed_str());
    let origin = Origin::at_once(move |request| {
        let range = request.headers()["range"].to_str().expect("text");
        let (first, last) = range["bytes=".len()..].split_once('-').expect("one part");
        part(
            text,
            first.parse().expect("a number")..last.parse::<usize>().expect("one") + 1,
            &[TAG, MINUTE],
        )
    });
    let service = CacheLayer::new(MemoryBackend::default()).layer(origin.clone());
    let ask = async |number: usize| {
        let range = format!("bytes={0}-{0}", 10 * number);
        let answer = send(&service, asks(&range)).await;
        settled().await;
        answer.is_hit()
    };
    for number in 0..16 {
        assert!(!ask(number).await);
    }
    for number in 0..16 {
        assert!(ask(number).await, "{number} is kept");
    }
    assert!(!ask(16).await);
    assert!(ask(16).await, "the latest is kept");
    assert!(!ask(0).await, "the others are gone");
}

#[tokio::test(start_paused = true)]
async fn an_option_stores_no_parts() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE]);
        let service = layer.store_parts(false).layer(library.origin.clone());
        for _ in 0..2 {
            let answer = send(&service, asks("bytes=0-4")).await;
            is_part(&answer, "0-4", "01234", "fwd=uri-miss; detail=status");
            settled().await;
        }
        assert_eq!(library.asked(), ["bytes=0-4", "bytes=0-4"]);
    })
    .await;
}

/// Conditions on parts that do not hold are the origin's to answer.
#[tokio::test(start_paused = true)]
async fn if_range_is_compared_strongly_with_the_parts() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE]);
        let service = layer.layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        let asks_if = |tag: &str| with(asks("bytes=0-3"), "if-range", tag);
        assert!(send(&service, asks_if("\"a\"")).await.is_hit());
        library.asked();
        let other = send(&service, asks_if("\"b\"")).await;
        assert_eq!((other.status.as_u16(), &*other.body), (200, DIGITS));
        assert_eq!(library.asked(), ["bytes=0-3 \"b\""]);
    })
    .await;
}

const MODIFIED: Line = ("last-modified", "Sat, 01 Jan 2000 00:00:00 GMT");

/// Digits whose fields a request is asked for, with the part that it wants, whatever its `If-Range`.
fn ranges(fields: impl Fn(&Request<()>) -> Vec<Line> + Send + Sync + 'static) -> Origin {
    Origin::at_once(move |request| {
        let lines = fields(request);
        let range = request.headers().get("range");
        let range = range.and_then(|range| span(range.to_str().expect("text"), DIGITS));
        match range {
            Some(range) => part(DIGITS, range, &lines),
            None => answer(200, &lines, DIGITS),
        }
    })
}

/// A file server's answers: `Last-Modified`, no `ETag`, and no `Date` before hyper adds one.
#[tokio::test(start_paused = true)]
async fn parts_are_put_together_by_when_they_were_modified() {
    on_both_backends(async |layer| {
        let service = layer.layer(ranges(|_| vec![MODIFIED, MINUTE]));
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        let more = send(&service, asks("bytes=3-7")).await;
        is_part(&more, "3-7", "34567", "fwd=partial; stored");
        settled().await;
        let all = send(&service, asks("bytes=0-7")).await;
        is_part(&all, "0-7", "01234567", "hit; ttl=60");
    })
    .await;
}

/// What has changed, and is too large to be stored, is fetched whole once, and not for every part that is wanted of it.
#[tokio::test(start_paused = true)]
async fn a_part_is_not_completed_again_by_the_whole() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE]);
        let service = layer.max_body(6).layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        send(&library.origin, put("/a")).await;
        let sizes = [10, 5, 5, 5];
        for (request, size) in sizes.into_iter().enumerate() {
            let answer = send(&service, asks("bytes=3-7")).await;
            assert_eq!(answer.body.len(), size, "request {request}");
            settled().await;
        }
        let asked = library.asked();
        assert_eq!(asked[1..], ["bytes=5-7 \"a\"", "bytes=3-7"], "then hits");
    })
    .await;
}

/// That everybody may have the part that is held is no permission to show them one that came for a client.
#[tokio::test(start_paused = true)]
async fn what_a_part_may_be_stored_for_it_says_itself() {
    const PUBLIC: Line = ("cache-control", "public, max-age=60");
    const CDN: Line = ("cdn-cache-control", "max-age=60");
    let cases: [(&str, Line, Line, &[Line]); 5] = [
        (
            "authorization",
            ("authorization", "Basic YQ=="),
            PUBLIC,
            &[TAG],
        ),
        ("cookie", ("cookie", "a=b"), MINUTE, &[TAG]),
        (
            "private",
            ("accept", "*/*"),
            CDN,
            &[TAG, ("cache-control", "private")],
        ),
        (
            "no-store",
            ("accept", "*/*"),
            CDN,
            &[TAG, ("cache-control", "no-store")],
        ),
        (
            "a cookie",
            ("accept", "*/*"),
            MINUTE,
            &[TAG, MINUTE, ("set-cookie", "a=b")],
        ),
    ];
    for (case, asked, first, own) in cases {
        for wants in [Some("bytes=3-7"), Some("bytes=7-9"), None] {
            on_both_backends(async |layer| {
                let service = layer.layer(ranges(move |request| {
                    let is_first = request.headers()["range"] == "bytes=0-4";
                    match is_first {
                        true => vec![TAG, first],
                        false => [own, &[("x-user", "alice")]].concat(),
                    }
                }));
                send(&service, asks("bytes=0-4")).await;
                settled().await;
                let request = wants.map_or_else(|| get("/a"), asks);
                let own = send(&service, with(request, asked.0, asked.1)).await;
                assert_eq!(own.header("x-user"), "alice", "{case} {wants:?}");
                settled().await;
                let others = send(&service, wants.map_or_else(|| get("/a"), asks)).await;
                assert!(
                    !others.is_hit(),
                    "{case} {wants:?}: {}",
                    others.cache_status()
                );
                let held = send(&service, asks("bytes=0-4")).await;
                assert!(held.is_hit() && held.header("x-user").is_empty(), "{case}");
            })
            .await;
        }
    }
}

/// A tag of a part's bytes would be none of the whole's.
#[tokio::test(start_paused = true)]
async fn parts_get_no_tag_of_their_own() {
    on_both_backends(async |layer| {
        let service = layer.generate_etags(true).layer(ranges(|_| vec![MINUTE]));
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        let part = send(&service, asks("bytes=1-3")).await;
        assert!(part.is_hit() && part.header("etag").is_empty());
        let other = send(&service, asks("bytes=3-7")).await;
        assert_eq!((&*other.body, other.status.as_u16()), ("34567", 206));
    })
    .await;
}

/// A backend that has evicted all that is whole.
#[derive(Clone)]
struct WithoutWhole(AnyBackend);

impl Backend for WithoutWhole {
    type Fence = <AnyBackend as Backend>::Fence;

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<Self::Fence>, BackendError> {
        Ok(match self.0.get(key, now).await? {
            Lookup::Found(response, fence) if response.body().len() == DIGITS.len() => {
                Lookup::Miss(fence)
            }
            lookup => lookup,
        })
    }

    async fn fence(
        &self,
        resource: Option<&Resource>,
    ) -> Result<Option<Self::Fence>, BackendError> {
        self.0.fence(resource).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        self.0.put(key, fence, response, now).await
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
        self.0.invalidate(target).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.0.clear().await
    }

    fn seed(&self) -> DigestSeed {
        self.0.seed()
    }
}

/// RFC 9111 §4: what was stored after them counts, also once it is gone.
#[tokio::test(start_paused = true)]
async fn older_parts_do_not_outlive_the_whole() {
    const HOUR: Line = ("cache-control", "max-age=3600");
    for backend in both_backends() {
        let library = Library::new(&[HOUR]);
        let service = CacheLayer::new(backend.clone()).layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        send(&library.origin, put("/a")).await;
        let whole = send(&service, get("/a")).await;
        assert_eq!(whole.body, LETTERS);
        settled().await;
        let service = CacheLayer::new(WithoutWhole(backend)).layer(library.origin.clone());
        let part = send(&service, asks("bytes=0-3")).await;
        assert_eq!((&*part.body, part.is_hit()), ("abcd", false));
    }
}

/// RFC 9111 §4.3.5
#[tokio::test(start_paused = true)]
async fn what_head_tells_is_told_of_parts() {
    on_both_backends(async |layer| {
        let library = Library::new(&[MINUTE]);
        let service = layer.layer(library.origin.clone());
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        send(&service, request(Method::HEAD, "/a")).await;
        let same = send(&service, asks("bytes=0-4")).await;
        assert!(same.is_hit(), "it is the same still");
        send(&library.origin, put("/a")).await;
        send(&service, request(Method::HEAD, "/a")).await;
        let part = send(&service, asks("bytes=0-4")).await;
        assert_eq!((&*part.body, part.is_hit()), ("abcde", false));
    })
    .await;
}

/// As the whole would be.
#[tokio::test(start_paused = true)]
async fn parts_have_the_lifetime_that_the_options_give() {
    on_both_backends(async |layer| {
        let layer = layer.ttl(Duration::from_secs(7));
        let service = layer.layer(ranges(|_| vec![TAG]));
        send(&service, asks("bytes=0-4")).await;
        settled().await;
        let hit = send(&service, asks("bytes=0-4")).await;
        is_part(&hit, "0-4", "01234", "hit; ttl=7");
    })
    .await;
}

/// P7: what is held counts too while it becomes one with what came.
#[tokio::test(start_paused = true)]
async fn putting_together_is_within_the_budget() {
    for (budget, is_stored) in [(12, true), (7, false)] {
        on_both_backends(async |layer| {
            let layer = layer.max_buffered_bytes(budget);
            let service = layer.layer(ranges(|_| vec![TAG, MINUTE]));
            send(&service, asks("bytes=0-4")).await;
            settled().await;
            let more = send(&service, asks("bytes=5-7")).await;
            assert_eq!(more.body, "567");
            settled().await;
            let both = send(&service, asks("bytes=0-7")).await;
            assert_eq!(both.is_hit(), is_stored, "{budget}");
        })
        .await;
    }
}
