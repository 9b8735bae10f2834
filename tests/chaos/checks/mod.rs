//! What every answer must be like, whatever was asked and whatever the origin did.

mod content;
pub mod ranges;

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, response};
use tokio::time::Instant;

pub use self::content::{Content, check_content};

use crate::database::{Call, Representation};
use crate::origin::policies::{selection, user_of};
use crate::origin::{CALL, Known, REPRESENTATION, field, id_of, is_write};
use crate::support::origin::OriginError;

/// A request, and the promises that held when it began.
pub struct Asked {
    pub number: u64,
    pub method: Method,
    pub resource: &'static str,
    pub target: String,
    pub headers: HeaderMap,
    /// The oldest version that it may be answered with.
    pub promised: u64,
    pub begun: Instant,
}

impl Asked {
    pub fn has(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    fn broke(&self, known: &Known, how: &str) {
        let Self {
            number,
            method,
            target,
            ..
        } = self;
        known
            .report
            .broke(self.resource, format!("#{number} {method} {target}: {how}"));
    }
}

/// An error must be the origin's, and of a call that was not over before the request.
pub fn check_error(known: &Known, asked: &Asked, error: &OriginError) {
    if !known.database.has_failed_since(asked.begun) {
        asked.broke(
            known,
            &format!("an error that the origin did not give: {error}"),
        );
    }
}

pub fn check_head(known: &Known, asked: &Asked, head: &response::Parts) {
    let call = field(&head.headers, CALL).parse().ok();
    let call = call.and_then(|number| known.database.call(number));
    check_time(known, asked);
    check_status(known, asked, head, call.as_ref());
    if let Some(call) = &call {
        check_sharing(known, asked, head, call);
    }
    if head.status == StatusCode::NOT_MODIFIED {
        check_not_modified(known, asked, &head.headers);
    }
    let id = field(&head.headers, REPRESENTATION).parse().ok();
    let named = id.and_then(|id| known.database.representation_of_id(id));
    if let Some(named) = named {
        check_representation(known, asked, head, &named);
    }
}

/// A request waits for others as long as the layer says, and for its own calls.
fn check_time(known: &Known, asked: &Asked) {
    let plan = &known.plan;
    if plan.has_silence {
        return;
    }
    // Two calls, each with its readiness, two pauses and a misfortune.
    let call = Duration::from_millis(plan.busy + 3 * plan.slow) + Duration::from_secs(15);
    let longest = plan.coalesce_timeout + 2 * call + Duration::from_secs(1);
    let took = asked.begun.elapsed();
    if took > longest {
        asked.broke(
            known,
            &format!("{took:?} for a head, more than {longest:?}"),
        );
    }
}

fn check_status(known: &Known, asked: &Asked, head: &response::Parts, call: Option<&Call>) {
    let status = head.status.as_u16();
    let is_read = matches!(asked.method, Method::GET | Method::HEAD);
    let is_range = asked.method == Method::GET && asked.has("range");
    let is_given = call.is_some_and(|call| call.status == status && (call.is_lie || !is_read));
    let is_asked = match status {
        // The only lie that does not pass, unless the request bypasses the cache.
        304 => {
            let is_condition = asked.has("if-none-match") || asked.has("if-modified-since");
            is_condition || asked.has("content-length") || asked.has("upgrade") || !is_read
        }
        206 => is_range || is_given,
        416 => is_range || is_given,
        412 => asked.has("if-match") || asked.has("if-unmodified-since") || is_given,
        502..=504 if call.is_none() => is_documented(known, asked, status),
        500.. => call.is_some_and(|call| call.status == status),
        _ => true,
    };
    if !is_asked {
        asked.broke(known, &format!("{status} out of nowhere, call {call:?}"));
    }
}

/// Whether an answer of the layer's own is one that is documented.
fn is_documented(known: &Known, asked: &Asked, status: u16) -> bool {
    match status {
        502 => known.database.has_lied_since(asked.begun),
        503 => known.plan.max_waiting_fills < 10,
        _ => field(&asked.headers, "cache-control").contains("only-if-cached"),
    }
}

/// What may not be shared reaches only its own request.
fn check_sharing(known: &Known, asked: &Asked, head: &response::Parts, call: &Call) {
    if call.is_for_one && call.request != asked.number {
        let how = format!("an answer that is for #{} alone", call.request);
        asked.broke(known, &how);
    }
    let is_hit = field(&head.headers, "cache-status").contains("; hit");
    let age: u64 = field(&head.headers, "age").parse().unwrap_or(0);
    if head.status == StatusCode::OK && call.is_lone_part && asked.method == Method::GET {
        asked.broke(known, "a whole that is made of a part of something else");
    }
    // A request that joins a fill at its announced end is a hit, though more bytes may follow. The
    // store has no such body.
    if is_hit && call.is_cut && age > 0 {
        asked.broke(
            known,
            "a hit of a body of another length than was announced",
        );
    }
    let directives = field(&head.headers, "cache-control");
    if is_hit && directives == "max-age=2, must-revalidate" && age > 2 {
        asked.broke(known, "a hit that is stale and must be validated");
    }
    let asked_for = field(&asked.headers, "cache-control");
    let is_forced = matches!(&*asked_for, "no-cache" | "NO-CACHE");
    if is_hit && is_forced && !known.plan.ignores_freshness && !is_write(&asked.method) {
        asked.broke(known, "a hit in spite of no-cache");
    }
}

/// A 304 is about something that the client has, and that is still so.
fn check_not_modified(known: &Known, asked: &Asked, headers: &HeaderMap) {
    let tag = field(headers, "etag");
    let list = field(&asked.headers, "if-none-match");
    let Some(id) = id_of(&tag) else {
        return;
    };
    if asked.has("if-none-match") && !list.contains('*') && !list.contains(tag.trim_matches('"')) {
        asked.broke(
            known,
            &format!("a 304 about {tag}, which was not asked about"),
        );
    }
    if let Some(named) = known.database.representation_of_id(id) {
        check_identity(known, asked, &named);
    }
}

fn check_representation(
    known: &Known,
    asked: &Asked,
    head: &response::Parts,
    named: &Representation,
) {
    check_identity(known, asked, named);
    let status = head.status.as_u16();
    let is_cut = matches!(status, 206 | 304 | 412 | 416);
    if status != named.status && !is_cut && !is_write(&asked.method) {
        asked.broke(
            known,
            &format!("{status} with the content of a {}", named.status),
        );
    }
}

/// The target, version, user and variant of a representation must fit the request.
fn check_identity(known: &Known, asked: &Asked, named: &Representation) {
    let identity = &named.identity;
    if is_write(&asked.method) {
        return;
    }
    if identity.target != asked.target {
        asked.broke(known, &format!("the content of {}", identity.target));
    }
    if identity.version < asked.promised {
        let (version, promised) = (identity.version, asked.promised);
        let how = format!("version {version} after {promised} was promised");
        asked.broke(known, &how);
    }
    if identity.audience.is_some() && identity.audience != user_of(&asked.headers) {
        asked.broke(known, &format!("content for {:?}", identity.audience));
    }
    let names: Vec<_> = identity.selected_by.iter().map(|(name, _)| *name).collect();
    let selects = selection(&asked.headers, &names);
    if selects != identity.selected_by {
        let how = format!("a variant for {:?}, not {selects:?}", identity.selected_by);
        asked.broke(known, &how);
    }
}
