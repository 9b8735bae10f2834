//! The answer to a read: from the current version, by the conditions and the range of the request.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{
    ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED,
    RANGE,
};
use http::{HeaderMap, HeaderName, Method, Request, Response as HttpResponse};

use super::policies::{Policy, put_vary, selection, set_cookie_is_for_one, user_of};
use super::{CALL, Known, REPRESENTATION, field, number_of, target_of};
use crate::checks::ranges::one_range;
use crate::database::{Identity, Representation, TEAM, resource_of};
use crate::plan::Validators;
use crate::support::origin::{OriginError, Response, full};

/// An answer in the making.
pub(super) struct Draft {
    pub call: usize,
    pub headers: HeaderMap,
    pub representation: Arc<Representation>,
    /// Whether no other request may have it.
    pub is_for_one: bool,
}

pub(super) async fn read(known: &Known, request: &Request<()>) -> Result<Response, OriginError> {
    let call = known.database.calls(number_of(request.headers()));
    known.pauses().await;
    let version = known.database.version(resource_of(request.uri().path()));
    known.pauses().await;
    known.misfortune().await?;
    if known.chance(100) && known.database.is_in_burst() {
        return failing(known, request, call);
    }
    let draft = draft(known, request, version, call);
    if known.chance(known.plan.lies) {
        return Ok(known.lie(request, draft));
    }
    Ok(known.truth(request, draft))
}

/// What a read gets while all fail.
fn failing(known: &Known, request: &Request<()>, call: usize) -> Result<Response, OriginError> {
    known.database.fails();
    if known.luck.chance(20) {
        return Err(OriginError("out of order"));
    }
    let mut head = HttpResponse::new(());
    let status = known.luck.pick(&[500, 502, 503, 504, 429]);
    known.set_status(&mut head, call, status);
    if known.luck.chance(10) {
        let brief = "max-age=1".parse().expect("a field value");
        head.headers_mut().insert("cache-control", brief);
    }
    let content = match *request.method() {
        Method::HEAD => "",
        _ => "an error",
    };
    Ok(head.map(|()| full(content)))
}

/// The representation that answers a request, and the fields that go with it.
fn draft(known: &Known, request: &Request<()>, version: u64, call: usize) -> Draft {
    let resource = resource_of(request.uri().path());
    let mut headers = HeaderMap::new();
    let policy = Policy::any(&known.luck);
    policy.put_on(&mut headers);
    let mut is_for_one = policy.is_for_one(request.headers());
    if known.luck.chance(3) {
        let cookie = "session=secret".parse().expect("a field value");
        headers.insert("set-cookie", cookie);
        is_for_one |= set_cookie_is_for_one(&known.plan);
    }
    let representation = match known.named(request, version) {
        Some(named) => {
            let names = named.identity.selected_by.iter().map(|(name, _)| *name);
            let names: Vec<_> = names.collect();
            if !names.is_empty() {
                headers.append("vary", names.join(", ").parse().expect("a field value"));
            }
            named
        }
        None => {
            let target = target_of(request);
            let selected_by = put_vary(known, &target, &mut headers, request.headers());
            let is_personal = is_for_one && known.luck.chance(70);
            let identity = Identity {
                target,
                resource,
                version,
                audience: user_of(request.headers()).filter(|_| is_personal),
                selected_by,
            };
            known.database.representation(identity, &known.luck)
        }
    };
    if resource == TEAM {
        let groups = known.luck.pick(&["\"team\"", "\"x\", \"team\""]);
        headers.insert("cache-groups", groups.parse().expect("a field value"));
    }
    known.put_validators(&mut headers, &representation);
    if known.luck.chance(80) {
        headers.insert("date", date(known.second()).parse().expect("a field value"));
    }
    if known.luck.chance(3) {
        let long = "x".repeat(150);
        headers.insert("x-long", long.parse().expect("a field value"));
    }
    Draft {
        call,
        headers,
        representation,
        is_for_one,
    }
}

pub(super) fn date(second: u64) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(second))
}

impl Known {
    /// The second of the layer's clock.
    pub(super) fn second(&self) -> u64 {
        self.report.begun().elapsed().as_secs() + 1
    }

    pub(super) fn set_status(&self, head: &mut HttpResponse<()>, call: usize, status: u16) {
        *head.status_mut() = status.try_into().expect("a status");
        head.headers_mut().insert(CALL, call.into());
        self.database.answers(call, |call| call.status = status);
    }

    pub(super) fn put_validators(&self, headers: &mut HeaderMap, named: &Representation) {
        use Validators::{Any, Dates, None, Strong, WeakTags};
        let validators = match self.plan.validators {
            Any => self.luck.pick(&[None, Strong, Dates, WeakTags]),
            given => given,
        };
        let mut insert = |name: HeaderName, value: String| {
            headers.insert(name, value.parse().expect("a field value"));
        };
        if validators == Strong {
            insert(ETAG, named.strong_tag());
        }
        if validators == WeakTags {
            insert(ETAG, named.weak_tag());
        }
        if matches!(validators, Dates | WeakTags) {
            insert(LAST_MODIFIED, date(named.written_in));
        }
    }

    /// The representation that the request names by a strong tag, if it would be the answer.
    fn named(&self, request: &Request<()>, version: u64) -> Option<Arc<Representation>> {
        let headers = request.headers();
        let tags =
            field(headers, IF_NONE_MATCH.as_str()) + "," + &field(headers, IF_RANGE.as_str());
        let ids = tags.split(',').filter_map(id_of);
        let target = target_of(request);
        let mut named = ids.filter_map(|id| self.database.representation_of_id(id));
        named.find(|named| {
            let identity = &named.identity;
            let names: Vec<_> = identity.selected_by.iter().map(|(name, _)| *name).collect();
            (&identity.target, identity.version, &identity.audience) == (&target, version, &None)
                && selection(headers, &names) == identity.selected_by
        })
    }

    /// What an honest origin answers.
    pub(super) fn truth(&self, request: &Request<()>, draft: Draft) -> Response {
        let Draft {
            call,
            mut headers,
            representation,
            is_for_one,
        } = draft;
        let mut head = HttpResponse::new(());
        let status = conditional_status(request, &headers);
        if status == Some(304) {
            *head.status_mut() = http::StatusCode::NOT_MODIFIED;
            if self.luck.chance(20) {
                headers.remove(ETAG);
            }
            *head.headers_mut() = headers;
            return head.map(|()| full(""));
        }
        *head.headers_mut() = headers;
        if status == Some(412) {
            self.set_status(&mut head, call, 412);
            return head.map(|()| full(""));
        }
        self.set_status(&mut head, call, representation.status);
        self.database.answers(call, |call| {
            call.is_for_one = is_for_one;
            call.representation = Some(representation.id);
        });
        head.headers_mut()
            .insert(REPRESENTATION, representation.id.into());
        if request.method() == Method::HEAD {
            // It may describe a stored response that another call has answered.
            if representation.status == 200 {
                head.headers_mut().remove(CALL);
            }
            head.headers_mut().remove(REPRESENTATION);
            return head.map(|()| full(""));
        }
        let length = representation.length();
        let range = field(request.headers(), RANGE.as_str());
        let applies = request.method() == Method::GET
            && representation.status == 200
            && if_range_holds(request, head.headers())
            && !self.chance(10);
        match one_range(&range, length).filter(|_| applies) {
            None => self.with_body(head, representation.content.clone()),
            Some(None) => {
                let unsatisfied = format!("bytes */{length}").parse().expect("a value");
                head.headers_mut().remove(REPRESENTATION);
                head.headers_mut().insert("content-range", unsatisfied);
                self.set_status(&mut head, call, 416);
                head.map(|()| full(""))
            }
            Some(Some(range)) => {
                let sent = format!("bytes {}-{}/{length}", range.start, range.end - 1);
                head.headers_mut()
                    .insert("content-range", sent.parse().expect("a value"));
                self.set_status(&mut head, call, 206);
                self.with_body(head, representation.content.slice(range))
            }
        }
    }
}

/// The number of the representation that a strong tag names.
pub fn id_of(tag: &str) -> Option<usize> {
    tag.trim()
        .strip_prefix("\"r")?
        .strip_suffix('"')?
        .parse()
        .ok()
}

/// 304 or 412, if the conditions of a request have this result (RFC 9110 §13.2.2).
fn conditional_status(request: &Request<()>, current: &HeaderMap) -> Option<u16> {
    let asked = |name: HeaderName| {
        let text = field(request.headers(), name.as_str());
        (!text.is_empty()).then_some(text)
    };
    let tag = field(current, "etag");
    let modified = httpdate::parse_http_date(&field(current, "last-modified")).ok();
    let names = |list: &str, is_strong: bool| {
        let opaque = tag.trim_start_matches("W/");
        let is_weak = tag.starts_with("W/");
        list.trim() == "*"
            || !tag.is_empty()
                && list.split(',').map(str::trim).any(|one| match is_strong {
                    true => !is_weak && one == tag,
                    false => one.trim_start_matches("W/") == opaque,
                })
    };
    let since = |text: &str| httpdate::parse_http_date(text).ok();
    if let Some(list) = asked(IF_MATCH) {
        if !names(&list, true) {
            return Some(412);
        }
    } else if let Some(date) = asked(IF_UNMODIFIED_SINCE)
        && since(&date)
            .zip(modified)
            .is_some_and(|(date, modified)| modified > date)
    {
        return Some(412);
    }
    if let Some(list) = asked(IF_NONE_MATCH) {
        return names(&list, false).then_some(304);
    }
    let date = asked(IF_MODIFIED_SINCE)?;
    let is_same = since(&date)
        .zip(modified)
        .is_some_and(|(date, modified)| modified <= date);
    is_same.then_some(304)
}

/// Whether a range applies to the current representation.
fn if_range_holds(request: &Request<()>, current: &HeaderMap) -> bool {
    let named = field(request.headers(), "if-range");
    let tag = field(current, "etag");
    named.is_empty() || named == tag && !tag.starts_with("W/")
}
