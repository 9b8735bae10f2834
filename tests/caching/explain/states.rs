//! What is stored and remembered of one path before a request is explained.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, Request};
use tokio::time::advance;
use tower_response_cache::backend::Backend;
use tower_response_cache::{Cache, CacheHandle};

use crate::support::origin::{Origin, Response, answer};
use crate::support::time::settled;
use crate::support::{get, put, send, with_lines};

type Lines = &'static [(&'static str, &'static str)];

const DIGITS: &str = "0123456789";

const MINUTE: Lines = &[("cache-control", "max-age=60")];
const WITH_WINDOW: Lines = &[("cache-control", "max-age=60, stale-while-revalidate=60")];
const IF_ERROR: Lines = &[("cache-control", "max-age=60, stale-if-error=600")];
const PRIVATE: Lines = &[("cache-control", "private, max-age=60")];
const PRIVATE_WITH_WINDOW: Lines = &[(
    "cache-control",
    "private, max-age=60, stale-while-revalidate=60",
)];
const VARIES: Lines = &[("cache-control", "max-age=60"), ("vary", "accept-language")];
const REFUSED: Lines = &[("cache-control", "no-store")];
const MUST_REVALIDATE: Lines = &[("cache-control", "no-cache")];

/// What an origin answers with: digits, whole or a part, with these lines.
#[derive(Clone, Default)]
pub(super) struct Script(Arc<Mutex<(u16, Lines, usize)>>);

impl Script {
    pub(super) fn calls(&self) -> usize {
        self.0.lock().expect("not poisoned").2
    }

    fn set(&self, status: u16, lines: Lines) {
        let mut script = self.0.lock().expect("not poisoned");
        (script.0, script.1) = (status, lines);
    }

    pub(super) fn origin(&self) -> Origin {
        self.set(200, MINUTE);
        let script = self.0.clone();
        Origin::at_once(move |request| {
            let mut script = script.lock().expect("not poisoned");
            script.2 += 1;
            scripted(request, script.0, script.1)
        })
    }
}

fn scripted(request: &Request<()>, status: u16, lines: Lines) -> Response {
    if status != 200 {
        return answer(status, lines, "");
    }
    let lines = [lines, &[("etag", "\"a\"")]].concat();
    let range = request.headers().get("range");
    let ends = range.and_then(|range| {
        let (first, last) = range
            .to_str()
            .ok()?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
    });
    match ends {
        Some((first, last)) if *request.method() == Method::GET && last < DIGITS.len() => {
            let content_range = format!("bytes {first}-{last}/10");
            let lines = [&lines[..], &[("content-range", &content_range)]].concat();
            answer(206, &lines, &DIGITS[first..=last])
        }
        _ => answer(200, &lines, DIGITS),
    }
}

/// One step towards a state.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// From now on the origin answers like this.
    Origin(u16, Lines),
    /// A GET with these lines.
    Get(Lines),
    /// A PUT.
    Put,
    /// This many seconds pass.
    Pass(u64),
    /// A soft purge.
    Expire,
    Invalidate,
}

impl Step {
    pub(super) async fn take<B: Backend>(
        self,
        service: &Cache<Origin, B>,
        handle: &CacheHandle<B>,
        script: &Script,
    ) {
        match self {
            Self::Origin(status, lines) => script.set(status, lines),
            Self::Get(lines) => {
                send(service, with_lines(get("/a"), lines)).await;
                settled().await;
            }
            Self::Put => {
                send(service, put("/a")).await;
            }
            Self::Pass(seconds) => advance(Duration::from_secs(seconds)).await,
            Self::Expire => handle.expire("/a").await.expect("in memory"),
            Self::Invalidate => handle.invalidate("/a").await.expect("in memory"),
        }
    }
}

pub(super) struct State {
    pub(super) name: &'static str,
    pub(super) prepare: &'static [Step],
}

const WHOLE: Step = Step::Get(&[]);
const PART: Step = Step::Get(&[("range", "bytes=2-5")]);
const OF_ALICE: Step = Step::Get(&[("x-client", "alice")]);
const PART_OF_ALICE: Step = Step::Get(&[("x-client", "alice"), ("range", "bytes=2-5")]);
const GERMAN: Step = Step::Get(&[("accept-language", "de")]);
const FRENCH_PART: Step = Step::Get(&[("accept-language", "fr"), ("range", "bytes=2-5")]);

#[rustfmt::skip]
pub(super) fn states() -> Vec<State> {
    use Step::{Expire, Invalidate, Origin, Pass, Put};
    let state = |name, prepare| State { name, prepare };
    vec![
        state("empty", &[]),
        state("fresh", &[WHOLE, Pass(10)]),
        state("stale", &[WHOLE, Pass(61)]),
        state("stale, with a window", &[Origin(200, WITH_WINDOW), WHOLE, Pass(61)]),
        state("stale, and the origin fails", &[Origin(200, IF_ERROR), WHOLE, Pass(61), Origin(500, &[]), WHOLE, Pass(1)]),
        state("stale, with a window, and the origin fails", &[Origin(200, WITH_WINDOW), WHOLE, Pass(61), Origin(500, &[]), WHOLE, Pass(1)]),
        state("needs validation", &[Origin(200, MUST_REVALIDATE), WHOLE]),
        state("a part", &[PART, Pass(10)]),
        state("a stale part", &[PART, Pass(61)]),
        state("private", &[Origin(200, PRIVATE), OF_ALICE, Pass(10)]),
        state("private, public elsewhere", &[Origin(200, PRIVATE), OF_ALICE, Origin(200, MINUTE), WHOLE]),
        state("private, stale, with a window", &[Origin(200, PRIVATE_WITH_WINDOW), OF_ALICE, Pass(61)]),
        state("a private part", &[Origin(200, PRIVATE), PART_OF_ALICE, Pass(10)]),
        state("a private part and a public one", &[Origin(200, PRIVATE), PART_OF_ALICE, Origin(200, MINUTE), PART]),
        state("stale, and private", &[Origin(200, MINUTE), WHOLE, Pass(61), Origin(200, PRIVATE), OF_ALICE]),
        state("refused", &[Origin(200, REFUSED), WHOLE, Step::Get(&[("x-client", "alice")])]),
        state("expired softly", &[WHOLE, Pass(1), Expire, Pass(1)]),
        state("expired softly, with a window", &[Origin(200, WITH_WINDOW), WHOLE, Pass(1), Expire, Pass(1)]),
        state("invalidated", &[WHOLE, PART, OF_ALICE, Invalidate]),
        state("written with an unknown outcome", &[WHOLE, Origin(500, &[]), Put, Origin(200, MINUTE)]),
        state("variants", &[Origin(200, VARIES), GERMAN, Pass(10)]),
        state("variants, and a part of another", &[Origin(200, VARIES), GERMAN, FRENCH_PART, Pass(10)]),
        state("a refusal of credentials", &[Origin(403, MINUTE), WHOLE, Origin(200, MINUTE)]),
    ]
}
