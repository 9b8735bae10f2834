//! The stored response: everything a hit needs, precomputed (RFC 9111 §2, §3.1).

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{AGE, CONTENT_LENGTH, DATE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::groups::Group;
use super::parts::Parts;
use super::storing::{Freshness, Grant};
use super::vary::Selected;
use super::{conditional, date, hop_by_hop};

/// The field of RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// What `http`'s map spends on an entry and on a further value of one field, on a 64-bit machine.
const MAP_ENTRY: usize = 104;
const MAP_EXTRA_VALUE: usize = 72;
/// What one allocation costs beyond its size: the allocator's header and a shared buffer's reference count.
const SHARED_BUFFER: usize = 48;

/// A response as a backend keeps it: never changed once made.
///
/// Its header map holds no field of a connection, has a `Date`, a `Content-Length` that is the body's, and ready slots
/// for `Age` and `Cache-Status`, so that answering from it inserts nothing.
#[derive(Debug)]
pub struct StoredResponse {
    head: StoredHead,
    body: Bytes,
    trailers: Option<HeaderMap>,
    cost: Duration,
    /// Made when it is first wanted, which takes a validator; room for it is counted from the start.
    not_modified: Option<OnceLock<HeaderMap>>,
    companion: Option<Arc<dyn Companion>>,
}

/// A stored response without its body: what is known once the head has arrived.
#[derive(Debug)]
pub struct StoredHead {
    identity: Arc<[u8]>,
    status: StatusCode,
    headers: HeaderMap,
    grant: Grant,
    parts: Option<Parts>,
    has_upstream_status: bool,
}

impl StoredHead {
    /// A head that is to be stored under the full key `identity`.
    #[must_use]
    pub fn new(identity: Arc<[u8]>, status: StatusCode, headers: &HeaderMap, grant: Grant) -> Self {
        Self::owning(identity, status, headers.clone(), grant)
    }

    /// The same of header fields that nobody else needs.
    #[must_use]
    pub fn owning(
        identity: Arc<[u8]>,
        status: StatusCode,
        mut headers: HeaderMap,
        grant: Grant,
    ) -> Self {
        hop_by_hop::remove(&mut headers);
        for name in &grant.withheld {
            headers.remove(name);
        }
        headers
            .entry(DATE)
            .or_insert_with(|| date::format(grant.freshness.received.wall()));
        headers.insert(AGE, HeaderValue::from_static(""));
        let has_upstream_status = headers.contains_key(CACHE_STATUS);
        if !has_upstream_status {
            headers.insert(CACHE_STATUS, HeaderValue::from_static(""));
        }
        Self {
            identity,
            status,
            headers,
            grant,
            parts: None,
            has_upstream_status,
        }
    }

    /// The same as the head of parts, which the body will hold one behind the other (RFC 9111 §3.3).
    #[must_use]
    pub fn holding(mut self, parts: Parts) -> Self {
        self.parts = Some(parts);
        self
    }

    /// The same with an entity tag of the content, where that is whole and the origin gave it no validator.
    #[must_use]
    pub fn tagged(mut self, content: &[u8]) -> Self {
        let has = |name: &HeaderName| self.headers.contains_key(name);
        if self.parts.is_none() && ![ETAG, LAST_MODIFIED].iter().any(has) {
            self.headers.insert(ETAG, conditional::tag_of(content));
        }
        self
    }

    /// The response, once its body is whole; `cost` is the time it took to get it.
    #[must_use]
    pub fn with_body(
        self,
        body: Bytes,
        trailers: Option<HeaderMap>,
        cost: Duration,
    ) -> StoredResponse {
        let mut response = self.with_kept_body(body, trailers, cost);
        response.head.headers = compact(&response.head.headers);
        response.trailers = response.trailers.as_ref().map(compact);
        response
    }

    /// The same where fields and body are slices of one buffer already, which is kept as it is.
    #[must_use]
    pub fn with_kept_body(
        mut self,
        body: Bytes,
        trailers: Option<HeaderMap>,
        cost: Duration,
    ) -> StoredResponse {
        if trailers.is_some() {
            self.headers.remove(CONTENT_LENGTH);
        } else if self.status != StatusCode::NO_CONTENT {
            self.headers
                .insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let not_modified = conditional::has_validator(&self.headers).then(OnceLock::new);
        StoredResponse {
            head: self,
            body,
            trailers,
            cost,
            not_modified,
            companion: None,
        }
    }
}

/// Told when a stored response is gone from wherever it was.
pub trait Companion: fmt::Debug + Send + Sync + 'static {
    /// It is being dropped.
    fn is_left(&self);
}

impl Drop for StoredResponse {
    fn drop(&mut self) {
        if let Some(companion) = &self.companion {
            companion.is_left();
        }
    }
}

impl StoredResponse {
    /// The same with somebody who is told when it is dropped.
    #[must_use]
    pub fn with_companion(mut self, companion: Arc<dyn Companion>) -> Self {
        self.companion = Some(companion);
        self
    }

    /// The full key it was stored under.
    #[must_use]
    pub fn identity(&self) -> &[u8] {
        &self.head.identity
    }

    /// Its status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    /// Its header fields, with the slots described above.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The header fields of a 304 in its place (RFC 9110 §15.4.5), with the same slots.
    #[must_use]
    pub fn not_modified(&self) -> HeaderMap {
        let make = || conditional::not_modified(self.headers());
        match &self.not_modified {
            Some(made) => made.get_or_init(make).clone(),
            None => make(),
        }
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Its trailer fields, if it had any.
    #[must_use]
    pub fn trailers(&self) -> Option<&HeaderMap> {
        self.trailers.as_ref()
    }

    /// The time it took to get it, from the call to the body's end.
    #[must_use]
    pub fn cost(&self) -> Duration {
        self.cost
    }

    /// Its times.
    #[must_use]
    pub fn freshness(&self) -> &Freshness {
        &self.head.grant.freshness
    }

    /// The request fields that selected it, where it varies.
    #[must_use]
    pub fn selected(&self) -> Option<&Selected> {
        self.head.grant.selected.as_ref()
    }

    /// The groups it is invalidated with.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.head.grant.groups
    }

    /// What it holds, where that is not the whole.
    #[must_use]
    pub fn parts(&self) -> Option<&Parts> {
        self.head.parts.as_ref()
    }

    /// Whether the `Cache-Status` line in its headers is an upstream's, to be kept, rather than our slot.
    #[must_use]
    pub fn has_upstream_status(&self) -> bool {
        self.head.has_upstream_status
    }

    /// Bytes of memory it holds: key, headers, body, trailers and its own bookkeeping.
    #[must_use]
    pub fn weight(&self) -> usize {
        // Of its values there are no others than those of its headers.
        let not_modified = self.headers().keys_len() * (MAP_ENTRY + 6);
        size_of::<Self>()
            + self.identity().len()
            + map_weight(self.headers())
            + self.not_modified.as_ref().map_or(0, |_| not_modified)
            + self.trailers().map_or(0, map_weight)
            + self.selected().map_or(0, Selected::weight)
            + size_of_val(self.groups())
            + self.parts().map_or(0, Parts::weight)
            + self.body.len()
            + SHARED_BUFFER * 3
            + self.companion.as_ref().map_or(0, |_| SHARED_BUFFER + 32)
    }
}

/// The same fields with all values in one buffer of their own.
///
/// Values as they arrive are slices of the connection's read buffer: kept as they are, each stored response would hold
/// on to a whole one.
fn compact(headers: &HeaderMap) -> HeaderMap {
    let length = headers.values().map(HeaderValue::len).sum();
    let mut buffer = BytesMut::with_capacity(length);
    for value in headers.values() {
        buffer.extend_from_slice(value.as_bytes());
    }
    let mut buffer = buffer.freeze();
    let mut compact = HeaderMap::with_capacity(headers.keys_len());
    for (name, value) in headers {
        if name == AGE || value.is_empty() {
            // The slots: a static value is cloned, and replaced, without touching anything shared.
            buffer.advance(value.len());
            compact.append(name, HeaderValue::from_static(""));
            continue;
        }
        let own = buffer.split_to(value.len());
        let mut own = HeaderValue::from_maybe_shared(own).expect("bytes of a header value");
        own.set_sensitive(value.is_sensitive());
        compact.append(name, own);
    }
    compact
}

fn map_weight(headers: &HeaderMap) -> usize {
    let slots = headers.capacity();
    let extra = headers.len() - headers.keys_len();
    let text: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    slots * (MAP_ENTRY + 6) + extra * MAP_EXTRA_VALUE + text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::moment::Moment;
    use crate::semantics::staleness::Staleness;
    use std::time::UNIX_EPOCH;

    fn store(
        status: u16,
        lines: &[(&'static str, &'static str)],
        body: &'static str,
    ) -> StoredResponse {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a field value"));
        }
        let received = Moment::new(
            Duration::ZERO,
            UNIX_EPOCH + Duration::from_secs(784_111_777),
        );
        let grant = Grant {
            freshness: Freshness {
                received,
                initial_age: Duration::ZERO,
                lifetime: None,
                stale: Staleness::default(),
                immutable: false,
            },
            selected: None,
            groups: Box::default(),
            withheld: Box::default(),
        };
        let status = StatusCode::from_u16(status).expect("a status");
        StoredHead::new(Arc::default(), status, &headers, grant).with_body(
            body.into(),
            None,
            Duration::ZERO,
        )
    }

    #[test]
    fn the_head_is_completed() {
        let stored = store(
            200,
            &[("age", "7"), ("connection", "x"), ("x", "1")],
            "body",
        );
        let text = |name: &str| {
            stored
                .headers()
                .get(name)
                .and_then(|value| value.to_str().ok())
        };
        assert_eq!(text("date"), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(text("content-length"), Some("4"));
        assert_eq!(text("age"), Some(""));
        assert_eq!(text("cache-status"), Some(""));
        assert_eq!(text("x"), None);
    }

    /// B11
    #[test]
    fn no_content_has_no_length() {
        assert!(!store(204, &[], "").headers().contains_key(CONTENT_LENGTH));
        assert_eq!(store(200, &[], "").headers()[CONTENT_LENGTH], "0");
    }

    #[test]
    fn every_line_and_its_order_survive_compaction() {
        let stored = store(200, &[("via", "1.1 a"), ("x", ""), ("via", "1.1 b")], "");
        let via: Vec<_> = stored.headers().get_all("via").iter().collect();
        assert_eq!(via, ["1.1 a", "1.1 b"]);
        assert_eq!(stored.headers()["x"], "");
    }

    #[test]
    fn an_upstreams_status_is_kept() {
        let stored = store(200, &[("cache-status", "up; hit")], "");
        assert!(stored.has_upstream_status());
        assert_eq!(stored.headers()[CACHE_STATUS], "up; hit");
    }

    #[test]
    fn weight_grows_with_what_is_held() {
        let small = store(200, &[], "").weight();
        assert_eq!(
            store(200, &[], "12345678").weight(),
            small + 8 + "8".len() - "0".len()
        );
        assert!(store(200, &[("x-long", "0123456789")], "").weight() >= small + 16);
    }
}
