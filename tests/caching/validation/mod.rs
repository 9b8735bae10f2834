//! RFC 9111 §4.3: stored responses are validated, and updated by a confirmation; a client's own
//! conditions are answered from it, and never reach the store.

mod conditions;
mod head;
mod not_modified;
mod repeating;
mod unrepeatable;
mod validating;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Method, Request};
use tokio::time::sleep;

use crate::support::origin::{Origin, OriginError, Response, answer};
use crate::support::{get, with};

type Line = (&'static str, &'static str);

/// An origin with one page, which can be changed, and a log of its requests.
#[derive(Clone)]
struct Site {
    origin: Origin,
    page: Arc<Mutex<Page>>,
    log: Arc<Mutex<Vec<HeaderMap>>>,
}

#[derive(Clone)]
struct Page {
    lines: Vec<Line>,
    text: &'static str,
    /// What a 304 carries.
    unchanged: Vec<Line>,
    /// The answer while it is failing.
    status: Option<u16>,
}

impl Site {
    fn new(lines: &[Line], text: &'static str) -> Self {
        let page = Arc::new(Mutex::new(Page {
            lines: lines.to_vec(),
            text,
            unchanged: Vec::new(),
            status: None,
        }));
        let log = Arc::<Mutex<Vec<HeaderMap>>>::default();
        let (current, asked) = (page.clone(), log.clone());
        let origin = Origin::new(move |request: Request<()>| {
            asked.lock().expect("a log").push(request.headers().clone());
            let page = current.lock().expect("a page").clone();
            async move {
                sleep(Duration::from_millis(10)).await;
                page.answer(&request)
            }
        });
        Self { origin, page, log }
    }

    fn change(&self, change: impl FnOnce(&mut Page)) {
        change(&mut self.page.lock().expect("a page"));
    }

    /// A field of the last request.
    fn saw(&self, name: &str) -> Option<String> {
        let log = self.log.lock().expect("a log");
        let value = log.last().expect("it was asked").get(name)?;
        Some(value.to_str().expect("text").to_owned())
    }

    fn calls(&self) -> usize {
        self.origin.calls()
    }
}

impl Page {
    fn answer(&self, request: &Request<()>) -> Result<Response, OriginError> {
        match self.status {
            Some(0) => return Err(OriginError("nobody there")),
            Some(status) => return Ok(answer(status, &self.unchanged, "an error")),
            None => {}
        }
        if request.method() == Method::PUT {
            return Ok(answer(204, &[], ""));
        }
        let own = |name: &str| self.lines.iter().find(|line| line.0 == name);
        let asked = |name: &str| request.headers().get(name);
        let is_same = |condition: &str, validator: &str| {
            asked(condition).is_some_and(|value| own(validator).is_some_and(|own| value == own.1))
        };
        let is_unmodified = if asked("if-none-match").is_some() {
            is_same("if-none-match", "etag")
        } else {
            is_same("if-modified-since", "last-modified")
        };
        if is_unmodified {
            return Ok(answer(304, &self.unchanged, ""));
        }
        if request.method() == Method::HEAD {
            return Ok(answer(200, &self.lines, ""));
        }
        Ok(answer(200, &self.lines, self.text))
    }
}

/// Lets what goes on in the background come to its end.
async fn settled() {
    sleep(Duration::from_millis(100)).await;
}

const TAG: Line = ("etag", "\"a\"");

const MINUTE: Line = ("cache-control", "max-age=60");

const MODIFIED: Line = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");

fn asks(tag: &str) -> Request<()> {
    with(get("/a"), "if-none-match", tag)
}
