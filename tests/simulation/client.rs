//! Clients: readers that come, wait, leave and compare; writers that remember their promised
//! versions.

use std::sync::Arc;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;
use tower::ServiceExt;
use tower_response_cache::backend::Backend;
use tower_response_cache::{BoxError, Cache};

use crate::history::{History, TEAM, resource_of};
use crate::luck::{Ended, Luck, tossed};
use crate::names::{any_request, plain_request};
use crate::plan::Plan;
use crate::source::ranges::expected_part;
use crate::source::validators::Validators;
use crate::source::{Busy, key_of, owner_of};
use crate::support::with;

#[derive(Clone)]
pub struct Client<B: Backend> {
    /// One of each instance.
    pub services: Vec<Cache<Busy, B>>,
    pub plan: Plan,
    pub history: Arc<History>,
    pub luck: Arc<Luck>,
}

/// What a finished read was like.
pub struct Got {
    pub version: u64,
}

impl<B: Backend> Client<B> {
    pub async fn reads(self) {
        let most = if self.plan.is_narrow { 8 } else { 4 };
        for _ in 0..=self.luck.below(most) {
            self.luck.pause(self.plan.interval).await;
            let request = self.any_get();
            self.read(self.any_instance(), request, self.plan.cut).await;
        }
    }

    pub async fn writes(self) {
        for _ in 0..=self.luck.below(2) {
            self.luck.pause(self.plan.interval).await;
            self.write().await;
        }
    }

    fn any_instance(&self) -> usize {
        match self.services.len() {
            1 => 0,
            instances => self.luck.below(instances as u64) as usize,
        }
    }

    /// A GET of a path, by any of its names.
    pub fn get(&self, path: &str) -> Request<()> {
        self.request(Method::GET, path)
    }

    fn request(&self, method: Method, path: &str) -> Request<()> {
        match self.plan.has_names {
            true => any_request(&self.luck, method, path),
            false => plain_request(method, path),
        }
    }

    fn any_get(&self) -> Request<()> {
        let luck = &self.luck;
        let which = if self.plan.is_narrow { 20 } else { 7 };
        let mut request = match luck.below(which) {
            0 => self.get("/plain?q=1"),
            1 => {
                let spelled = luck.pick(&["de", "DE", "de;q=1.0", "de , "]);
                with(self.get("/varies"), "accept-language", spelled)
            }
            2 => with(self.get("/varies"), "accept-language", "fr"),
            3 => self.get(&format!("/member/{}", 1 + luck.below(2))),
            4 if self.plan.is_stormy => self.get(&format!("/other/{}", luck.below(20))),
            _ => self.get("/plain"),
        };
        if self.plan.has_kinds {
            request = self.of_any_kind(request);
        }
        if self.plan.is_extended && luck.chance(40) {
            request = self.query(request);
        }
        if !self.plan.is_stormy {
            return request;
        }
        if luck.chance(self.plan.ranges) {
            let range = luck.pick(&["bytes=0-9", "bytes=0-99", "bytes=20-", "bytes=50-199"]);
            return with(request, "range", range);
        }
        match luck.below(20) {
            0 => *request.method_mut() = Method::HEAD,
            1 => request = with(request, "cache-control", "no-cache"),
            2 => request = with(request, "cache-control", "max-age=1"),
            3 => request = with(request, "cache-control", "only-if-cached"),
            4..7 if self.plan.has_kinds => {}
            4 => request = with(request, "authorization", "alice"),
            5 => request = with(request, "authorization", "bob"),
            6 => request = with(request, "cookie", "id=1"),
            7 => request = with(request, "if-none-match", "\"x\""),
            8..10 => {
                let tag = self.plan.validators.any_tag(luck);
                request = with(request, "if-none-match", &tag);
            }
            _ => {}
        }
        request
    }

    /// One of two questions about the target of a GET.
    pub fn query(&self, request: Request<()>) -> Request<()> {
        let content_type = self.luck.pick(&["text/a", "text/b"]);
        let mut query = with(request, "content-type", content_type);
        *query.method_mut() = Method::from_bytes(b"QUERY").expect("a method");
        query
    }

    /// Half of the requests with cookies, credentials or both, of one of two clients.
    fn of_any_kind(&self, request: Request<()>) -> Request<()> {
        let client = self.luck.pick(&["alice", "bob"]);
        let cookies = |request| with(request, "cookie", client);
        let credentials = |request| with(request, "authorization", client);
        match self.luck.below(6) {
            0 => cookies(request),
            1 => credentials(request),
            2 => credentials(cookies(request)),
            _ => request,
        }
    }

    /// Sends a GET to an instance and checks the answer; `None` where it did not end.
    pub async fn read(&self, instance: usize, request: Request<()>, cut: u64) -> Option<Got> {
        let resource = resource_of(&key_of(&request));
        let promised = self.history.promised(&resource, instance);
        let asked = request.clone();
        let generation = self.history.settled_generation(&resource);
        let is_personal = !owner_of(self.plan, &request).is_empty();
        let request = match generation.filter(|_| !is_personal) {
            Some(generation) => with(request, "x-generation", &generation.to_string()),
            None => request,
        };
        let call = self.services[instance].clone().oneshot(request);
        let begun = Instant::now();
        let response = match tossed(call, cut, &self.luck).await {
            Ended::With(Ok(response)) => response,
            Ended::With(Err(_)) | Ended::Panicked => {
                assert!(self.plan.is_stormy, "an error out of nowhere");
                return None;
            }
            Ended::Cut => return None,
        };
        // Three calls one after the other, with all their pauses, and not one of the cache's limits
        // but those of a backend that fails.
        let longest = Duration::from_millis(if self.plan.loses { 600 } else { 300 });
        assert!(
            self.plan.is_stormy || begun.elapsed() < longest,
            "{:?} for a head",
            begun.elapsed()
        );
        if response.status() == 304 && self.plan.validators != Validators::None {
            // Without a version it is the origin's own answer to the client's condition.
            if response.headers().contains_key("x-version") {
                self.check_head(&asked, promised, response.headers());
            }
            return None;
        }
        if !matches!(response.status().as_u16(), 200 | 206) {
            assert!(self.plan.is_stormy, "{} out of nowhere", response.status());
            return None;
        }
        if asked.method() == Method::HEAD && !response.headers().contains_key("x-version") {
            return None;
        }
        self.check(&asked, promised, response, cut).await
    }

    /// The version and the call it is from.
    fn check_head(&self, asked: &Request<()>, promised: u64, head: &HeaderMap) -> (u64, usize) {
        let field = |name: &str| head.get(name).and_then(|value| value.to_str().ok());
        let number = |name: &str| {
            field(name)
                .and_then(|text| text.parse().ok())
                .unwrap_or(u64::MAX)
        };
        let (version, call) = (number("x-version"), number("x-call") as usize);
        let key = key_of(asked);
        assert!(
            version >= promised,
            "{key}: version {version} after {promised} was promised"
        );
        assert_eq!(field("x-key"), Some(&*key), "another key's answer");
        let theirs = field("x-owner").unwrap_or_default();
        assert!(
            theirs.is_empty() || theirs == owner_of(self.plan, asked),
            "an answer for {theirs}"
        );
        (version, call)
    }

    async fn check<R>(
        &self,
        asked: &Request<()>,
        promised: u64,
        response: Response<R>,
        cut: u64,
    ) -> Option<Got>
    where
        R: Body<Data = Bytes> + Unpin,
        R::Error: Into<BoxError>,
    {
        let (head, mut body) = response.into_parts();
        let (version, call) = self.check_head(asked, promised, &head.headers);
        let key = key_of(asked);
        let (text, is_whole) = self.history.text(call);
        let text = expected_part(&head, &text).expect("a part of the body");
        let mut read = Vec::new();
        let mut frames = self.luck.chance(cut).then(|| self.luck.below(3));
        while let Some(frame) = body.frame().await {
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => read.extend_from_slice(&data),
                Ok(Err(_)) => {}
                Err(error) => {
                    let error = error.into();
                    assert!(
                        !is_whole || self.plan.is_stormy,
                        "{key}: {error} out of nowhere"
                    );
                    assert!(text.as_bytes().starts_with(&read), "{key}: other bytes");
                    return None;
                }
            }
            match &mut frames {
                Some(0) => return None,
                Some(left) => *left -= 1,
                None => {}
            }
            if self.luck.chance(30) {
                self.luck.pause(self.plan.interval).await;
            }
        }
        if asked.method() == Method::HEAD {
            assert!(read.is_empty());
            return Some(Got { version });
        }
        let is_whole = self.history.text(call).1;
        let is_part = head.status == StatusCode::PARTIAL_CONTENT;
        assert!(is_whole || is_part, "{key}: a clean end of a broken body");
        assert_eq!(String::from_utf8_lossy(&read), text, "{key}: other bytes");
        Some(Got { version })
    }

    async fn write(&self) {
        let resource = match self.plan.is_narrow {
            true => "/plain",
            false => self.luck.pick(&["/plain", "/varies", TEAM]),
        };
        let instance = self.any_instance();
        let request = self.request(Method::PUT, resource);
        let call = self.services[instance].clone().oneshot(request);
        let Ended::With(Ok(response)) = tossed(call, self.plan.cut_writes, &self.luck).await else {
            return;
        };
        // A write that was rejected has no number.
        let Some(write) = response.headers().get("x-write") else {
            return;
        };
        let write = write.to_str().ok().and_then(|text| text.parse().ok());
        let write = write.expect("a number");
        let said = response.headers().get("cache-status");
        let said = said
            .and_then(|said| said.to_str().ok())
            .expect("what became of it");
        let is_acknowledged = !said.contains("invalidation-failed");
        assert!(
            is_acknowledged || self.plan.loses,
            "a backend that is well: {said}"
        );
        let is_success = response.status().is_success();
        if !is_success && resource == TEAM {
            // The calls of a group's members go on beside such a write, and only their stores are
            // refused.
            return;
        }
        self.history.told(write, instance, is_acknowledged);
        if is_success {
            // The targets of a write are invalidated once more at the end of its response.
            let _ = response.into_body().collect().await;
            self.history.settled(write);
        }
    }
}
