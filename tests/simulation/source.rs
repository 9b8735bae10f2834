//! The origin: slow, sometimes failing, over a database with versions.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Sleep, sleep};
use tower_response_cache::BoxError;

use crate::history::{History, TEAM, resource_of};
use crate::luck::Luck;
use crate::plan::Plan;
use crate::support::origin::{Origin, OriginBody, OriginError, Response, answer, full};

/// The group of the team's members, as a field says it.
const GROUP: &str = "\"team\"";

/// What stands behind an instance.
pub fn origin(plan: Plan, instance: usize, history: Arc<History>, luck: Arc<Luck>) -> Origin {
    Origin::new(move |request| {
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
    })
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

/// What tells requests for one path apart: the query, and the language where that matters.
pub fn key_of(request: &Request<()>) -> String {
    let target = request
        .uri()
        .path_and_query()
        .map_or("/", |target| target.as_str());
    match request.uri().path() {
        // Weights and letter case mean nothing here.
        "/varies" => {
            let language = text(request.headers(), "accept-language").to_ascii_lowercase();
            let language = language.split([';', ',']).next().unwrap_or_default();
            format!("{target} {}", language.trim())
        }
        _ => target.to_owned(),
    }
}

/// The entity tag of what a call answers.
pub fn tag_of(call: usize) -> String {
    format!("\"c{call}\"")
}

fn call_of(tag: &str) -> Option<usize> {
    tag.strip_prefix("\"c")?.strip_suffix('"')?.parse().ok()
}

impl Source {
    async fn read(self, request: &Request<()>) -> Result<Response, OriginError> {
        let key = key_of(request);
        let since = text(request.headers(), "x-generation").parse().ok();
        let is_calm = !self.plan.is_stormy && !self.plan.loses;
        let since = since.filter(|_| is_calm);
        let is_calm = is_calm && self.plan.cut == 0;
        let call = self.history.calls(self.instance, &key, since, is_calm);
        if self.plan.is_away && !self.plan.is_stormy {
            // One, and another where the `Vary` was not known yet, or where a client left.
            let most = if self.plan.cut == 0 { 2 } else { 3 };
            let under_way = self.history.under_way(self.instance, &key);
            assert!(under_way <= most, "{under_way} calls at once for {key}");
        }
        let mut under = Under(Some((self.history.clone(), call)));
        self.luck.pause(20).await;
        let version = self.history.version(resource_of(&key));
        self.luck.pause(20).await;
        if self.plan.is_stormy {
            self.misfortune().await?;
        }
        let owner = if self.plan.cache_control.contains("must-revalidate") {
            // For all, then (RFC 9111 §3.5).
            String::new()
        } else {
            text(request.headers(), "authorization")
        };
        if let Some(response) = self.unchanged(request, &key, version, &owner) {
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
            return Ok(response.map(|_| full("")));
        }
        Ok(response)
    }

    /// 304, where the request names a response that this one would be the same as.
    fn unchanged(
        &self,
        request: &Request<()>,
        key: &str,
        version: u64,
        owner: &str,
    ) -> Option<Response> {
        let tag = request.headers().get("if-none-match")?;
        let call = call_of(tag.to_str().ok()?)?;
        if !self.history.is_still(call, key, owner, version) {
            return None;
        }
        let (tag, version) = (tag_of(call), version.to_string());
        let call = call.to_string();
        let mut lines = vec![
            ("cache-control", self.plan.cache_control),
            ("x-key", key),
            ("x-version", &version),
            ("x-call", &call),
            ("x-owner", owner),
        ];
        // Some say only that it is the same.
        if self.luck.chance(80) {
            lines.push(("etag", &tag));
        }
        Some(answer(304, &lines, ""))
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
        let mut chunks = VecDeque::new();
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
            chunks.push_back((wait, Bytes::from(chunk)));
        }
        let fails = self.plan.is_stormy && self.luck.chance(6);
        let length = whole.len() as u64;
        self.history.answers(call, whole, !fails);
        let body = Trickle {
            chunks,
            fails,
            length: (!fails && self.luck.chance(50)).then_some(length),
            timer: None,
        };
        let cache_control = if self.plan.is_stormy && self.luck.chance(6) {
            "no-store"
        } else {
            self.plan.cache_control
        };
        let mut response =
            answer(200, &[("cache-control", cache_control)], "").map(|_| body.boxed());
        let headers = response.headers_mut();
        for (name, value) in [
            ("x-key", key.to_owned()),
            ("x-version", version.to_string()),
            ("x-call", call.to_string()),
            ("x-owner", owner.to_owned()),
        ] {
            headers.insert(name, value.parse().expect("a field value"));
        }
        if self.plan.validates {
            headers.insert("etag", tag_of(call).parse().expect("a field value"));
        }
        if key.starts_with("/varies") {
            headers.insert("vary", "accept-language".parse().expect("a field value"));
        }
        if resource_of(key) == TEAM {
            headers.insert("cache-groups", GROUP.parse().expect("a field value"));
        }
        response
    }

    async fn write(self, request: &Request<()>) -> Result<Response, OriginError> {
        let resource = request.uri().path().to_owned();
        self.history.writes(&resource);
        self.luck.pause(20).await;
        if self.plan.is_stormy && self.luck.chance(10) {
            return Ok(answer(409, &[], "refused"));
        }
        let version = self.history.commit(&resource);
        self.luck.pause(20).await;
        if self.plan.is_stormy {
            match self.luck.below(20) {
                0 => return Err(OriginError("lost after the commit")),
                1 => return Ok(answer(500, &[], "failed after the commit")),
                2 => resume_unwind(Box::new("a write that panics")),
                _ => {}
            }
        }
        let mut response = if self.plan.write_through && resource == "/plain" {
            let call = self.history.calls(self.instance, &resource, None, false);
            let mut response = self.representation(&resource, version, call, "");
            let location = resource.parse().expect("a field value");
            response.headers_mut().insert("content-location", location);
            response
        } else {
            answer(204, &[], "").map(|_| full(""))
        };
        let version = version.to_string().parse().expect("a field value");
        let headers = response.headers_mut();
        headers.insert("x-version", version);
        if resource == TEAM {
            let group = GROUP.parse().expect("a field value");
            headers.insert("cache-group-invalidation", group);
        }
        Ok(response)
    }
}

/// A body that comes in pieces, each after a while.
struct Trickle {
    chunks: VecDeque<(Duration, Bytes)>,
    fails: bool,
    length: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Trickle {
    fn boxed(self) -> OriginBody {
        BodyExt::boxed_unsync(self)
    }
}

impl Body for Trickle {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some((wait, _)) = self.chunks.front() else {
            let failed = std::mem::take(&mut self.fails);
            return Poll::Ready(failed.then(|| Err("broken off".into())));
        };
        let wait = *wait;
        if !wait.is_zero() {
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(wait)));
            std::task::ready!(timer.as_mut().poll(cx));
            self.timer = None;
        }
        let chunk = self.chunks.pop_front().map(|(_, chunk)| chunk);
        self.length = self
            .length
            .map(|length| length - chunk.as_ref().map_or(0, Bytes::len) as u64);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
