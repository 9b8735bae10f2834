//! The fields by which an answer rules its storing and sharing, and the effect they must have.

use http::HeaderMap;

use super::{Known, field};
use crate::plan::{Plan, Validators};
use crate::support::luck::Luck;

/// A set of response fields.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    lines: &'static [(&'static str, &'static str)],
    /// Whether no other request may have it.
    is_for_one: bool,
    /// Whether it is for all although the request has `Authorization` (RFC 9111 §3.5).
    is_for_all: bool,
    /// Whether it states a lifetime.
    has_lifetime: bool,
}

const fn shared(lines: &'static [(&'static str, &'static str)]) -> Policy {
    Policy {
        lines,
        is_for_one: false,
        is_for_all: false,
        has_lifetime: true,
    }
}

const fn for_all(lines: &'static [(&'static str, &'static str)]) -> Policy {
    Policy {
        is_for_all: true,
        ..shared(lines)
    }
}

const fn for_one(lines: &'static [(&'static str, &'static str)]) -> Policy {
    Policy {
        is_for_one: true,
        ..shared(lines)
    }
}

const fn silent(lines: &'static [(&'static str, &'static str)]) -> Policy {
    Policy {
        has_lifetime: false,
        ..shared(lines)
    }
}

const CC: &str = "cache-control";
const CDN: &str = "cdn-cache-control";

const USUAL: &[Policy] = &[
    shared(&[(CC, "max-age=60")]),
    shared(&[(CC, "max-age=1000")]),
    shared(&[(CC, "max-age=1")]),
    shared(&[(CC, "max-age=0")]),
    shared(&[(CC, "max-age=1, stale-while-revalidate=2")]),
    shared(&[(CC, "max-age=0, stale-while-revalidate=5, stale-if-error=60")]),
    shared(&[(CC, "max-age=1000")]),
    silent(&[]),
    for_all(&[(CC, "public, max-age=60")]),
    for_all(&[(CC, "s-maxage=2")]),
    for_all(&[(CC, "max-age=2, must-revalidate")]),
];

const ODD: &[Policy] = &[
    shared(&[(CC, "no-cache")]),
    shared(&[(CC, "no-cache, max-age=60")]),
    shared(&[(CC, "max-age=60, immutable")]),
    shared(&[(CC, "MAX-AGE=60")]),
    shared(&[(CC, "max-age=1"), (CC, "max-age=5")]),
    for_all(&[(CC, "s-maxage=1, stale-while-revalidate=5")]),
    silent(&[]),
    // They state a lifetime, if one that is over (RFC 9111 §4.2.1, §5.3).
    shared(&[(CC, "max-age=abc")]),
    shared(&[(CC, "max-age=-1")]),
    shared(&[(CC, "max-age=99999999999999999999999")]),
    silent(&[(CC, ",, ,=;\"")]),
    silent(&[("pragma", "no-cache")]),
    shared(&[("expires", "Thu, 01 Jan 1970 01:00:00 GMT")]),
    shared(&[("expires", "0")]),
    shared(&[(CC, "no-store"), (CDN, "max-age=30")]),
    shared(&[(CC, "max-age=60"), (CDN, "max-age=\"x")]),
    for_one(&[(CC, "no-store")]),
    for_one(&[(CC, "private")]),
    for_one(&[(CC, "private, max-age=60")]),
    for_one(&[(CC, "max-age=60"), (CC, "No-Store")]),
    for_one(&[(CC, "max-age=60,,no-store,")]),
    for_one(&[(CC, "max-age=60, PRIVATE")]),
    for_one(&[(CC, "public, private, max-age=60")]),
    for_one(&[(CC, "max-age=60"), (CDN, "no-store")]),
    for_one(&[(CC, "public, max-age=60"), (CDN, "private, max-age=30")]),
    for_one(&[(CC, "public, max-age=60"), ("vary", "*")]),
    for_one(&[(CC, "public, max-age=60"), ("vary", "accept, *")]),
];

impl Policy {
    pub fn any(luck: &Luck) -> Self {
        match luck.chance(75) {
            true => luck.pick(USUAL),
            false => luck.pick(ODD),
        }
    }

    /// One for writes, whose answers hold for all.
    pub fn of_write(luck: &Luck) -> Self {
        luck.pick(USUAL)
    }

    pub fn put_on(self, headers: &mut HeaderMap) {
        for (name, value) in self.lines {
            headers.append(*name, value.parse().expect("a field value"));
        }
    }

    /// Whether the answer to a request with these fields may reach no other request.
    pub fn is_for_one(self, request: &HeaderMap) -> bool {
        let has_credentials =
            request.contains_key("authorization") || request.contains_key("x-api-key");
        let has_cookie = request.contains_key("cookie");
        self.is_for_one || has_credentials && !self.is_for_all || has_cookie && !self.has_lifetime
    }
}

/// The lines of a `Vary` field, and the selecting fields in lower case.
const VARY: &[(&[&str], &[&str])] = &[
    (&["accept-language"], &["accept-language"]),
    (
        &["Accept-Language, X-Flavour"],
        &["accept-language", "x-flavour"],
    ),
    (
        &["accept-language", "x-flavour"],
        &["accept-language", "x-flavour"],
    ),
    (&["x-flavour,,x-flavour, "], &["x-flavour"]),
    (&["cookie"], &["cookie"]),
    (
        &["authorization, accept-language"],
        &["accept-language", "authorization"],
    ),
    (&["x-api-key"], &["x-api-key"]),
    (&[""], &[]),
];

/// Adds a `Vary` to some responses; returns the selecting fields of the request and their values.
pub fn put_vary(
    known: &Known,
    target: &str,
    headers: &mut HeaderMap,
    request: &HeaderMap,
) -> Vec<(&'static str, String)> {
    let (lines, names) = match known.plan.validators {
        Validators::None | Validators::Strong => match known.luck.chance(25) {
            true => known.luck.pick(VARY),
            false => return Vec::new(),
        },
        // A validator that does not tell variants apart confirms any, under what its 304 says: a
        // target has the same fields at all times.
        _ => {
            let sum: usize = target.bytes().map(usize::from).sum();
            match VARY.get(sum % (3 * VARY.len())) {
                Some(vary) => *vary,
                None => return Vec::new(),
            }
        }
    };
    for line in lines {
        headers.append("vary", line.parse().expect("a field value"));
    }
    if known.luck.chance(2) {
        let many: Vec<_> = (0..300).map(|number| format!("x-{number}")).collect();
        headers.append("vary", many.join(", ").parse().expect("a field value"));
    }
    selection(request, names)
}

/// The values of request fields as they select a variant: languages without letter case, weights
/// and empty members.
pub fn selection(request: &HeaderMap, names: &[&'static str]) -> Vec<(&'static str, String)> {
    let value = |name: &'static str| {
        let text = field(request, name);
        let text = match name {
            "accept-language" => text.to_ascii_lowercase().replace(";q=1.0", ""),
            _ => text,
        };
        let members = text
            .split(',')
            .map(str::trim)
            .filter(|member| !member.is_empty());
        (name, members.collect::<Vec<_>>().join(","))
    };
    names.iter().map(|name| value(name)).collect()
}

/// The user that a request names, by any field.
pub fn user_of(request: &HeaderMap) -> Option<String> {
    let names = ["authorization", "cookie", "x-api-key"];
    let given: Vec<_> = names.iter().map(|name| field(request, name)).collect();
    given
        .iter()
        .any(|value| !value.is_empty())
        .then(|| given.join("|"))
}

/// Whether `Set-Cookie` makes an answer one for its request alone.
pub fn set_cookie_is_for_one(plan: &Plan) -> bool {
    !plan.store_set_cookie
}
