//! The origin: slow, sometimes failing, over a database with versions.
//!
//! Its reads may be answered by a replica that lags behind the database. A replica has every write
//! that was answered, and of those under way as many as luck has it: two reads in a row may go
//! back in time. For the conditions of a request see [`validators`], for parts [`ranges`], for
//! writes [`writes`].

mod busy;
pub mod ranges;
pub mod validators;
mod writes;

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use tokio::time::sleep;

pub use busy::Busy;

use crate::history::{History, TEAM, resource_of};
use crate::luck::Luck;
use crate::names::authority_of;
use crate::plan::Plan;
use crate::support::origin::{Origin, OriginError, Response, answer, full};
use crate::support::trickle::{Step, Trickle};

/// The group of the team's members.
pub const TEAM_GROUP: &str = "team";

/// The same as a field says it.
const GROUP: &str = "\"team\"";

/// What stands behind an instance.
pub fn origin(plan: Plan, instance: usize, history: Arc<History>, luck: Arc<Luck>) -> Busy {
    let busy = if plan.is_busy { 20 } else { 0 };
    let waits = luck.clone();
    let origin = Origin::new(move |request| {
        let source = Source {
            plan,
            instance,
            history: history.clone(),
            luck: luck.clone(),
        };
        async move {
            if request.method() == Method::PUT {
                source.write(&request).await
            } else {
                source.read(&request).await
            }
        }
    });
    Busy::new(origin, busy, waits)
}

struct Source {
    plan: Plan,
    instance: usize,
    history: Arc<History>,
    luck: Arc<Luck>,
}

/// Tells the history when a call is dropped before its answer.
struct Under(Option<(Arc<History>, usize)>);

impl Drop for Under {
    fn drop(&mut self) {
        if let Some((history, call)) = self.0.take() {
            history.dropped(call);
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// What tells requests apart: the authority, the path as it was sent, the query, and the language
/// where that matters.
pub fn key_of(request: &Request<()>) -> String {
    let target = request.uri().path_and_query();
    let target = target.map_or("/", |target| target.as_str());
    let mut key = authority_of(request) + target;
    if resource_of(&key) == "/varies" {
        // Weights and letter case mean nothing here.
        let language = text(request.headers(), "accept-language").to_ascii_lowercase();
        let language = language.split([';', ',']).next().unwrap_or_default();
        key = format!("{key} {}", language.trim());
    }
    if request.method().as_str() == "QUERY" {
        // Without content in these worlds: what its fields say of it tells questions apart.
        key = format!("{key} QUERY {}", text(request.headers(), "content-type"));
    }
    key
}

/// The client whose answer a request gets, if it may be one for that client alone.
pub fn owner_of(plan: Plan, request: &Request<()>) -> String {
    owner_of_fields(plan, request.headers())
}

pub fn owner_of_fields(plan: Plan, headers: &HeaderMap) -> String {
    let credentials = text(headers, "authorization");
    match plan.has_kinds {
        true => format!("{}{credentials}", text(headers, "cookie")),
        false => credentials,
    }
}

impl Source {
    async fn read(self, request: &Request<()>) -> Result<Response, OriginError> {
        let key = key_of(request);
        let since = text(request.headers(), "x-generation").parse().ok();
        let is_calm = !self.plan.is_stormy && !self.plan.loses;
        let since = since.filter(|_| is_calm);
        let is_calm = is_calm && self.plan.cut == 0 && !self.plan.is_unsure;
        let owner = owner_of(self.plan, request);
        let call = match self.plan.has_kinds && !owner.is_empty() {
            true => {
                let own = format!("{key} of {owner}");
                self.history.calls(self.instance, &own, None, false)
            }
            false => self.history.calls(self.instance, &key, since, is_calm),
        };
        if self.plan.is_away && !self.plan.is_stormy {
            // One, and another where the `Vary` was not known yet, or where a client left.
            let most = if self.plan.cut == 0 { 2 } else { 3 };
            let under_way = self.history.under_way(self.instance, &key);
            assert!(under_way <= most, "{under_way} calls at once for {key}");
        }
        let mut under = Under(Some((self.history.clone(), call)));
        self.luck.pause(20).await;
        let version = self.sampled_version(&key);
        self.luck.pause(20).await;
        if self.plan.is_stormy {
            self.misfortune().await?;
        }
        let is_for_all = self.plan.cache_control.contains("must-revalidate");
        let owner = match is_for_all && !self.plan.has_kinds {
            // RFC 9111 §3.5.
            true => String::new(),
            false => owner,
        };
        if let Some(response) = self.unchanged(request, &key, version, &owner) {
            self.history.answers(call, String::new(), true);
            under.0 = None;
            return Ok(response);
        }
        if let Some(response) = self.rest_of(request, &key, version, &owner) {
            self.history.answers(call, String::new(), true);
            under.0 = None;
            return Ok(response);
        }
        self.history.samples(call, &owner, version);
        let response = self.representation(&key, version, call, &owner);
        under.0 = None;
        if self.plan.is_stormy && self.luck.chance(5) {
            return Ok(answer(503, &[], "an error"));
        }
        if request.method() == Method::HEAD {
            let mut response = response.map(|_| full(""));
            if self.plan.validators.are_coarse() {
                // It may describe a stored response that another call has answered.
                for name in ["x-key", "x-version", "x-call", "x-owner"] {
                    response.headers_mut().remove(name);
                }
            }
            return Ok(response);
        }
        let Some(mut part) = self.part(request, call) else {
            return Ok(response);
        };
        self.describe(part.headers_mut(), &key, version, call, &owner);
        Ok(part)
    }

    /// The version that a read finds.
    fn sampled_version(&self, key: &str) -> u64 {
        let (answered, current) = self.history.versions(&resource_of(key));
        if self.plan.lags {
            answered + self.luck.below(current - answered + 1)
        } else {
            current
        }
    }

    async fn misfortune(&self) -> Result<(), OriginError> {
        match self.luck.below(40) {
            0 => Err(OriginError("nobody there")),
            1 => resume_unwind(Box::new("a call that panics")),
            2 => {
                sleep(Duration::from_secs(15)).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn representation(&self, key: &str, version: u64, call: usize, owner: &str) -> Response {
        let pieces = 1 + self.luck.below(4);
        let mut steps = VecDeque::new();
        let mut whole = String::new();
        for piece in 0..pieces {
            let size = if self.plan.is_stormy && self.luck.chance(1) {
                // More than lies between a source and its slowest reader.
                100_000
            } else {
                self.luck.pick(&[0, 10, 300])
            };
            let chunk = format!(
                "{key} v{version} c{call} {owner} #{piece} {}",
                "x".repeat(size)
            );
            whole.push_str(&chunk);
            let wait = Duration::from_millis(self.luck.pick(&[0, 0, 1, 10]));
            steps.push_back((wait, Step::Data(Bytes::from(chunk))));
        }
        let fails = self.plan.is_stormy && self.luck.chance(6);
        let length = whole.len() as u64;
        self.history.answers(call, whole, !fails);
        if fails {
            steps.push_back((Duration::ZERO, Step::Error));
        }
        let length = (!fails && self.luck.chance(50)).then_some(length);
        let body = Trickle::new(steps, length);
        let cache_control = if self.plan.has_kinds && !owner.is_empty() {
            self.luck
                .pick(&["private", "no-store", "max-age=60, private"])
        } else if self.plan.is_stormy && self.luck.chance(6) {
            "no-store"
        } else {
            self.plan.cache_control
        };
        let mut response =
            answer(200, &[("cache-control", cache_control)], "").map(|_| body.boxed());
        self.describe(response.headers_mut(), key, version, call, owner);
        response
    }

    /// Adds the fields of what a call answers.
    fn describe(&self, headers: &mut HeaderMap, key: &str, version: u64, call: usize, owner: &str) {
        for (name, value) in [
            ("x-key", key.to_owned()),
            ("x-version", version.to_string()),
            ("x-call", call.to_string()),
            ("x-owner", owner.to_owned()),
        ] {
            headers.insert(name, value.parse().expect("a field value"));
        }
        let second = self.history.written_in(key, version);
        self.plan.validators.put_on(headers, call, second);
        if resource_of(key) == "/varies" {
            headers.insert("vary", "accept-language".parse().expect("a field value"));
        }
        if resource_of(key) == TEAM && !self.plan.is_extended {
            headers.insert("cache-groups", GROUP.parse().expect("a field value"));
        }
    }
}
