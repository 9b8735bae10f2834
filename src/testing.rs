//! Tools to test a service with its cache, with the feature `test-util`.
//!
//! * [`ManualClock`] is the cache's time, which passes when a test says so.
//! * [`CacheStatus`] reads what the cache said about a response; [`assert_hit!`](crate::assert_hit)
//!   and [`assert_miss!`](crate::assert_miss) compare it.
//! * [`ScriptedOrigin`] is an inner service that answers by a function and counts its calls.
//!
//! ```
//! use std::time::Duration;
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt};
//! use tower_response_cache::testing::{ManualClock, ScriptedOrigin};
//! use tower_response_cache::{CacheLayer, assert_hit, assert_miss, backend::MemoryBackend};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let clock = ManualClock::new();
//! let origin = ScriptedOrigin::new(|_request| Response::new("hello".into()));
//! let cache = CacheLayer::new(MemoryBackend::default())
//!     .ttl(Duration::from_secs(60))
//!     .clock(clock.clone());
//! let service = cache.layer(origin.clone());
//! let ask = async || {
//!     let request = Request::get("/greeting").body(()).expect("a request");
//!     service.clone().oneshot(request).await.expect("a response")
//! };
//! assert_miss!(ask().await, "uri-miss");
//! assert_hit!(ask().await);
//! clock.advance(Duration::from_secs(61));
//! assert_miss!(ask().await, "stale");
//! assert_eq!(origin.calls(), 2);
//! # }
//! ```

use std::convert::Infallible;
use std::fmt;
use std::future::{Ready, ready};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, request};
use http_body_util::Full;
use sfv::{BareItem, Item, List, ListEntry, Parser};
use tower_service::Service;

use crate::clock::{Clock, Moment};
use crate::semantics::cache_status::CACHE_STATUS;

/// A clock that passes when a test says so, for [`CacheLayer::clock`](crate::CacheLayer::clock).
///
/// It has a monotonic reading, by which ages are computed, and a wall clock, by which dates are
/// read. Timeouts are tokio's: `tokio::time::pause` and `advance` control these. Clones show the
/// same time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<(Duration, SystemTime)>>);

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl ManualClock {
    /// Creates a clock whose wall clock shows the billionth second of 1970: a Sunday in September
    /// 2001.
    #[must_use]
    pub fn new() -> Self {
        Self::starting_at(UNIX_EPOCH + Duration::from_secs(1_000_000_000))
    }

    /// Creates a clock whose wall clock shows this time.
    #[must_use]
    pub fn starting_at(wall: SystemTime) -> Self {
        Self(Arc::new(Mutex::new((Duration::from_secs(86_400), wall))))
    }

    /// Lets time pass, on both clocks.
    pub fn advance(&self, time: Duration) {
        self.change(|(monotonic, wall)| {
            *monotonic += time;
            *wall += time;
        });
    }

    /// Sets the wall clock, as an administrator would. The monotonic clock goes on.
    pub fn set_wall(&self, time: SystemTime) {
        self.change(|(_, wall)| *wall = time);
    }

    fn change(&self, change: impl FnOnce(&mut (Duration, SystemTime))) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        let (monotonic, wall) = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Moment::new(monotonic, wall)
    }
}

/// What a cache says about a response, read from `Cache-Status` (RFC 9211).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStatus {
    /// The name of the cache.
    pub cache: String,
    /// Whether the response came from the store without the inner service.
    pub hit: bool,
    /// Why the inner service was asked: `uri-miss`, `vary-miss`, `stale`, `request`, `bypass`.
    pub fwd: Option<String>,
    /// The status that the inner service answered, if it is not that of the response.
    pub fwd_status: Option<i64>,
    /// The rest of the lifetime, in seconds; negative for a stale response.
    pub ttl: Option<i64>,
    /// Whether the response is stored.
    pub stored: bool,
    /// Whether the response is shared with a request that fetched it.
    pub collapsed: bool,
    /// What else the cache says, such as the reason why nothing is stored.
    pub detail: Option<String>,
}

impl CacheStatus {
    /// Reads the status of the cache nearest to the client, which is the last one in the field.
    /// `None` if there is none, or the field cannot be read.
    #[must_use]
    pub fn parse(headers: &HeaderMap) -> Option<Self> {
        let lines = headers.get_all(CACHE_STATUS).iter();
        let lines: Vec<&[u8]> = lines.map(|line| line.as_bytes()).collect();
        let whole = lines.join(&b", "[..]);
        let list: List = Parser::new(&whole).parse().ok()?;
        match list.last()? {
            ListEntry::Item(member) => Some(Self::of(member)),
            ListEntry::InnerList(_) => None,
        }
    }

    fn of(member: &Item) -> Self {
        let text = |item: &BareItem| match item {
            BareItem::Token(token) => token.as_str().to_owned(),
            BareItem::String(string) => string.as_str().to_owned(),
            _ => String::new(),
        };
        let parameter = |name: &str| {
            let mut all = member.params.iter();
            let found = all.find(|(key, _)| key.as_str() == name);
            found.map(|(_, value)| value)
        };
        let is_set = |name| matches!(parameter(name), Some(BareItem::Boolean(true)));
        let number = |name| match parameter(name) {
            Some(BareItem::Integer(number)) => Some(i64::from(*number)),
            _ => None,
        };
        Self {
            cache: text(&member.bare_item),
            hit: is_set("hit"),
            fwd: parameter("fwd").map(text),
            fwd_status: number("fwd-status"),
            ttl: number("ttl"),
            stored: is_set("stored"),
            collapsed: is_set("collapsed"),
            detail: parameter("detail").map(text),
        }
    }
}

/// Asserts that a response is a hit. Its argument is a response, or a reference to one.
///
/// # Panics
/// If the response is no hit, or its `Cache-Status` is missing. The message shows the field.
#[macro_export]
macro_rules! assert_hit {
    ($response:expr $(,)?) => {
        $crate::testing::expect_hit(&$response)
    };
}

/// Asserts that a response is no hit: that the inner service was asked. With a second argument, also
/// why (`fwd` of `Cache-Status`).
///
/// # Panics
/// If the response is a hit, was fetched for another reason, or its `Cache-Status` is missing. The
/// message shows the field.
#[macro_export]
macro_rules! assert_miss {
    ($response:expr $(,)?) => {
        $crate::testing::expect_miss(&$response, None)
    };
    ($response:expr, $fwd:expr $(,)?) => {
        $crate::testing::expect_miss(&$response, Some($fwd))
    };
}

#[doc(hidden)]
#[track_caller]
pub fn expect_hit<B>(response: &Response<B>) {
    let status = status_of(response);
    assert!(status.hit, "expected a hit: {}", shown(response));
}

#[doc(hidden)]
#[track_caller]
pub fn expect_miss<B>(response: &Response<B>, fwd: Option<&str>) {
    let status = status_of(response);
    let is_expected = fwd.is_none_or(|fwd| status.fwd.as_deref() == Some(fwd));
    let expected = fwd.unwrap_or("any reason");
    assert!(
        !status.hit && is_expected,
        "expected a miss ({expected}): {}",
        shown(response)
    );
}

#[track_caller]
fn status_of<B>(response: &Response<B>) -> CacheStatus {
    match CacheStatus::parse(response.headers()) {
        Some(status) => status,
        None => panic!("no readable Cache-Status: {}", shown(response)),
    }
}

fn shown<B>(response: &Response<B>) -> String {
    let lines = response.headers().get_all(CACHE_STATUS);
    format!("{} {lines:?}", response.status())
}

type Script = dyn Fn(&request::Parts) -> Response<Full<Bytes>> + Send + Sync;

/// An inner service that answers at once by a function, and counts its calls. It is always ready,
/// takes requests with any body, and clones share the count.
#[derive(Clone)]
pub struct ScriptedOrigin {
    script: Arc<Script>,
    calls: Arc<AtomicUsize>,
}

impl fmt::Debug for ScriptedOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedOrigin")
            .field("calls", &self.calls())
            .finish_non_exhaustive()
    }
}

impl ScriptedOrigin {
    /// Creates a service that answers what a function makes of the head of a request.
    #[must_use]
    pub fn new(
        script: impl Fn(&request::Parts) -> Response<Full<Bytes>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            script: Arc::new(script),
            calls: Arc::default(),
        }
    }

    /// Returns how often the service was called.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl<B> Service<Request<B>> for ScriptedOrigin {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (parts, _) = request.into_parts();
        ready(Ok((self.script)(&parts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_the_nearest_cache_is_read() {
        let status = |lines: &[&'static str]| {
            let lines = lines
                .iter()
                .map(|line| (CACHE_STATUS, http::HeaderValue::from_static(line)));
            CacheStatus::parse(&lines.collect())
        };
        let hit = CacheStatus {
            cache: "own".to_owned(),
            hit: true,
            ttl: Some(-3),
            ..CacheStatus::default()
        };
        assert_eq!(status(&["own; hit; ttl=-3"]), Some(hit.clone()));
        let two = ["origin; fwd=uri-miss; stored", "\"own\"; hit; ttl=-3"];
        assert_eq!(status(&two), Some(hit.clone()));
        assert_eq!(status(&["a; hit, own; hit; ttl=-3"]), Some(hit));
        let miss = CacheStatus {
            cache: "own".to_owned(),
            fwd: Some("stale".to_owned()),
            fwd_status: Some(304),
            stored: true,
            collapsed: true,
            detail: Some("why".to_owned()),
            ..CacheStatus::default()
        };
        let line = "own; fwd=stale; fwd-status=304; stored; collapsed; detail=why";
        assert_eq!(status(&[line]), Some(miss));
        for unreadable in [&[][..], &[""], &["own; hit;;"], &["(a b)"], &["\u{1}"; 0]] {
            assert_eq!(status(unreadable), None, "{unreadable:?}");
        }
    }

    #[test]
    fn time_passes_when_a_test_says_so() {
        let clock = ManualClock::new();
        let (before, other) = (clock.now(), clock.clone());
        other.advance(Duration::from_secs(5));
        assert_eq!(clock.now().since(before), Duration::from_secs(5));
        clock.set_wall(UNIX_EPOCH);
        assert_eq!(clock.now().wall(), UNIX_EPOCH);
        assert_eq!(clock.now().monotonic(), other.now().monotonic());
    }

    #[test]
    #[should_panic(expected = "expected a hit: 200 OK")]
    fn a_miss_is_no_hit() {
        let response = Response::builder().header(CACHE_STATUS, "own; fwd=uri-miss");
        crate::assert_hit!(response.body(()).expect("a response"));
    }

    #[test]
    #[should_panic(expected = "expected a miss (stale)")]
    fn a_miss_has_its_reason() {
        let response = Response::builder().header(CACHE_STATUS, "own; fwd=uri-miss");
        crate::assert_miss!(response.body(()).expect("a response"), "stale");
    }

    #[test]
    #[should_panic(expected = "no readable Cache-Status")]
    fn a_response_of_no_cache_is_neither() {
        crate::assert_miss!(Response::new(()));
    }
}
