//! The bytes of stored responses that one connection may keep in memory, because its client has not
//! read them yet.
//!
//! Nothing tells which of them the store still has. So all responses count that could be stored,
//! each with its whole body: the last byte of it keeps all. Start at [`Unread`].

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::header::CONTENT_RANGE;
use http::{Response, StatusCode};
use http_body::Body;

/// Bodies below this many bytes are not counted among the lingering ones of the cache.
const COUNTED_FROM: u64 = 4096;

/// The bytes that a connection may keep.
#[derive(Debug, Default)]
pub struct Unread(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bytes: u64,
    /// Those of them that are released once everything is written.
    until_flushed: u64,
    /// Since when there have been any. A client that reads a byte now and then does not change it.
    since: Option<Instant>,
}

impl Unread {
    /// Adds the bytes of a response.
    pub fn add(&self, bytes: u64) {
        if bytes > 0 {
            let mut state = self.lock();
            state.bytes += bytes;
            state.since.get_or_insert_with(Instant::now);
        }
    }

    /// Releases the bytes of a response.
    pub fn release(&self, bytes: u64) {
        if bytes > 0 {
            self.lock().release(bytes);
        }
    }

    /// Releases the bytes of a response as soon as everything is written. HTTP/1.1 takes a whole
    /// body at once, and keeps it until then.
    pub fn release_when_flushed(&self, bytes: u64) {
        if bytes > 0 {
            self.lock().until_flushed += bytes;
        }
    }

    /// Everything is written.
    pub fn set_flushed(&self) {
        let mut state = self.lock();
        let bytes = std::mem::take(&mut state.until_flushed);
        if bytes > 0 {
            state.release(bytes);
        }
    }

    /// The bytes, and since when there have been any; `None` if there are none.
    pub fn get(&self) -> Option<(u64, Instant)> {
        let state = self.lock();
        state.since.map(|since| (state.bytes, since))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn release(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if self.bytes == 0 {
            self.since = None;
        }
    }
}

/// The most bytes of a stored response that this one may keep; 0 if it cannot be one that counts.
/// Bodies of more than `max_body` bytes are not stored.
pub fn kept_bytes<B: Body>(response: &Response<B>, max_body: u64) -> u64 {
    if response.status() == StatusCode::PARTIAL_CONTENT {
        // A part keeps the whole. Several parts do not say how long that is.
        return complete_length(response).map_or(max_body, |length| length.min(max_body));
    }
    match response.body().size_hint().exact() {
        Some(length) if length < COUNTED_FROM || length > max_body => 0,
        Some(length) => length,
        None => max_body,
    }
}

/// The length of the whole of which a response is one part.
fn complete_length<B>(response: &Response<B>) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.rsplit_once('/')?.1.trim().parse().ok()
}
