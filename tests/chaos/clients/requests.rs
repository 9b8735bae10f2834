//! Requests of any kind.

use std::cell::{Cell, RefCell};

use http::header::{ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use crate::origin::{Known, field};
use crate::support::luck::Luck;
use crate::support::names::{any_request as any_spelled, plain_request};

/// What all clients together have seen.
#[derive(Default)]
pub struct Memory {
    requests: Cell<u64>,
    tags: RefCell<Vec<String>>,
    dates: RefCell<Vec<String>>,
}

impl Memory {
    pub fn next_number(&self) -> u64 {
        self.requests.set(self.requests.get() + 1);
        self.requests.get()
    }

    /// Remembers the validators of a response.
    pub fn learn(&self, headers: &HeaderMap) {
        let known = [(ETAG, &self.tags), (LAST_MODIFIED, &self.dates)];
        for (name, seen) in known {
            let value = field(headers, name.as_str());
            if !value.is_empty() {
                seen.borrow_mut().push(value);
            }
        }
    }

    /// One of the last tags, or one in another form.
    fn tag(&self, luck: &Luck) -> String {
        let tags = self.tags.borrow();
        let recent = tags.len().saturating_sub(6);
        let seen = match tags[recent..] {
            [] => "\"none\"".to_owned(),
            ref some => some[luck.below(some.len() as u64) as usize].clone(),
        };
        match luck.below(12) {
            0 => format!("W/{}", seen.trim_start_matches("W/")),
            1 => seen.trim_start_matches("W/").to_owned(),
            2 => format!("\"x\", {seen}"),
            3 => "*".to_owned(),
            4 => seen.replace('"', ""),
            5 => format!("{seen},,"),
            _ => seen,
        }
    }

    fn date(&self, luck: &Luck) -> String {
        let dates = self.dates.borrow();
        match luck.below(6) {
            0 => "Thu, 01 Jan 1970 00:10:00 GMT".to_owned(),
            1 => "yesterday".to_owned(),
            _ => dates.last().cloned().unwrap_or_default(),
        }
    }
}

const WRITES: &[&str] = &[
    "PUT", "PUT", "PUT", "POST", "POST", "PATCH", "DELETE", "FROB", "get", "PURGE",
];

const DIRECTIVES: &[&[&str]] = &[
    &["no-cache"],
    &["no-store"],
    &["max-age=0"],
    &["max-age=1"],
    &["max-stale"],
    &["max-stale=5"],
    &["min-fresh=1"],
    &["only-if-cached"],
    &["stale-if-error=60"],
    &["no-cache, max-stale"],
    &["max-age=0, max-age=100"],
    &["max-age=1", "max-age=abc"],
    &["no-store, only-if-cached"],
    &["max-age=99999999999999999999"],
    &[",,;;=\"\\"],
    &["NO-CACHE"],
    &["no-cache=\"x\""],
];

const RANGES: &[&str] = &[
    "bytes=0-9",
    "bytes=0-0",
    "bytes=0-99",
    "bytes=20-",
    "bytes=50-199",
    "bytes=-5",
    "bytes=-0",
    "bytes=-99999999",
    "bytes=5-2",
    "bytes=100000000-",
    "bytes=0-18446744073709551616",
    "bytes=0-0,2-3",
    "bytes=0-9,20-29,50-",
    "bytes=0-9,5-14",
    "bytes=-5,0-4",
    "bytes= 0-9 , 20-29",
    "items=0-9",
    "bytes=a-b",
    "bytes",
    "BYTES=0-9",
];

const LANGUAGES: &[&str] = &["de", "DE", "de;q=1.0", "fr", "de, fr", " fr", ""];

const USERS: &[&[(&str, &str)]] = &[
    &[],
    &[],
    &[("authorization", "Bearer alice")],
    &[("authorization", "Bearer bob")],
    &[("cookie", "id=carol")],
    &[("cookie", "id=dave")],
    &[("authorization", "Bearer alice"), ("cookie", "id=dave")],
    &[("x-api-key", "erin")],
];

/// The number of different users.
pub fn users() -> u64 {
    USERS.len() as u64
}

pub fn any_request(known: &Known, memory: &Memory, user: usize) -> Request<()> {
    let (plan, luck) = (&known.plan, &known.luck);
    if luck.chance(plan.writes) {
        return any_write(known, memory, user);
    }
    let path = match luck.below(18) {
        0 => "/list".to_owned(),
        1 | 2 => "/b".to_owned(),
        3 => "/a?q=1".to_owned(),
        4 => "/team".to_owned(),
        5 => format!("/m/{}", luck.below(2)),
        6 => format!("/others/{}", luck.below(30)),
        _ => "/a".to_owned(),
    };
    let method = match luck.below(40) {
        0..3 => Method::HEAD,
        3 => Method::OPTIONS,
        4 => luck.pick(&["QUERY", "TRACE"]).parse().expect("a method"),
        _ => Method::GET,
    };
    let mut request = spelled(known, method, &path);
    let headers = request.headers_mut();
    identify(known, headers, user);
    if luck.chance(15) {
        for line in luck.pick(DIRECTIVES) {
            append(headers, "cache-control", line);
        }
    }
    if luck.chance(2) {
        append(headers, "pragma", "no-cache");
    }
    if luck.chance(plan.ranges) {
        any_range(headers, luck, memory);
    }
    if luck.chance(20) {
        any_condition(headers, luck, memory);
    }
    match luck.below(100) {
        0 => append(headers, "upgrade", "h2c"),
        1 => append(headers, "content-length", "3"),
        2 => append(headers, "connection", "close, x-flavour"),
        3 => append(headers, "expect", "100-continue"),
        _ => {}
    }
    request
}

fn any_write(known: &Known, memory: &Memory, user: usize) -> Request<()> {
    let luck = &known.luck;
    let path = luck.pick(&["/a", "/a", "/a", "/b", "/team", "/list", "/a?q=2"]);
    let method = luck.pick(WRITES).parse().expect("a method");
    let mut request = spelled(known, method, path);
    let headers = request.headers_mut();
    identify(known, headers, user);
    if luck.chance(10) {
        any_condition(headers, luck, memory);
    }
    if luck.chance(5) {
        append(headers, "cache-control", "no-store");
    }
    if luck.chance(5) {
        append(headers, "x-http-method-override", "DELETE");
    }
    request
}

fn spelled(known: &Known, method: Method, path: &str) -> Request<()> {
    match known.plan.has_names {
        true => any_spelled(&known.luck, method, path),
        false => plain_request(method, path),
    }
}

/// Adds who asks, and what content it wants.
fn identify(known: &Known, headers: &mut HeaderMap, user: usize) {
    let luck = &known.luck;
    if luck.chance(30) {
        for (name, value) in USERS[user] {
            append(headers, name, value);
        }
    }
    if luck.chance(50) {
        append(headers, "accept-language", luck.pick(LANGUAGES));
    }
    if luck.chance(20) {
        append(headers, "x-flavour", luck.pick(&["sweet", "sour"]));
    }
}

fn any_range(headers: &mut HeaderMap, luck: &Luck, memory: &Memory) {
    append(headers, "range", luck.pick(RANGES));
    match luck.below(20) {
        0 => append(headers, "range", "bytes=1-2"),
        1 => append(headers, "if-range", &memory.date(luck)),
        2..7 => append(headers, "if-range", &memory.tag(luck)),
        _ => {}
    }
}

fn any_condition(headers: &mut HeaderMap, luck: &Luck, memory: &Memory) {
    let (tag, date) = (memory.tag(luck), memory.date(luck));
    match luck.below(12) {
        0..6 => append(headers, "if-none-match", &tag),
        6 => {
            append(headers, "if-none-match", &tag);
            append(headers, "if-none-match", "\"second\"");
        }
        7 | 8 => append(headers, "if-modified-since", &date),
        9 => append(headers, "if-match", &tag),
        10 => append(headers, "if-unmodified-since", &date),
        _ => {
            append(headers, "if-none-match", &tag);
            append(headers, "if-match", "*");
            append(headers, "if-modified-since", &date);
        }
    }
}

fn append(headers: &mut HeaderMap, name: &'static str, value: &str) {
    let value = HeaderValue::try_from(value).expect("a field value");
    headers.append(HeaderName::from_static(name), value);
}
