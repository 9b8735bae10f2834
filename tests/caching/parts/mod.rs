//! RFC 9111 §3.3, §3.4: parts that an origin sends are stored as parts, put together, and never
//! taken for the whole.

mod completing;
mod merging;
mod only_if_cached;
mod storing;

use std::ops::Range;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request};
use http_body::Body;
use http_body_util::BodyExt;
use tower::{Service, ServiceExt};
use tower_response_cache::BoxError;

use crate::support::origin::{Origin, Response, answer};
use crate::support::{Answer, collect, get, with};

type Line = (&'static str, &'static str);

type Scripted = fn() -> Response;

const TAG: Line = ("etag", "\"a\"");

const OTHER_TAG: Line = ("etag", "\"b\"");

const MINUTE: Line = ("cache-control", "max-age=60");

const TEXT: Line = ("content-type", "text/plain");

const DIGITS: &str = "0123456789";

const LETTERS: &str = "abcdefghij";

/// An origin of ranges that notes which it was asked for, with their `If-Range`. A PUT makes
/// letters of the digits.
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

#[track_caller]
fn assert_part(answer: &Answer, range: &str, body: &str, status: &str) {
    let got = (
        answer.header("content-range"),
        &*answer.body,
        answer.cache_status(),
    );
    assert_eq!(got, (format!("bytes {range}/10"), body, status.to_owned()));
    assert_eq!(answer.status, 206);
    assert_eq!(answer.header("content-length"), body.len().to_string());
}

/// Digits whose fields a request is asked for, with the part that it wants, whatever its
/// `If-Range`.
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
