//! What the requests of one client's connection do: whose turn it is, and what they keep in memory.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::sync::Notify;

use crate::stream_timeout::{self, InPieces, Turn};
use crate::unread::{Unread, kept_bytes};

/// How far the requests of one connection are. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Activity(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Requests without the end of their response.
    open: AtomicUsize,
    /// Those of them that wait for the service, not for the client.
    waiting: AtomicUsize,
    /// Those of them that have no content.
    without_content: AtomicUsize,
    /// Whether a request has come, or a part of a response was taken, since the last look.
    has_progress: AtomicBool,
    /// Whether there was any request.
    has_request: AtomicBool,
    /// Told of the first request.
    first_request: Notify,
    /// Whether a write waits for the client: responses that have ended are not sent whole yet.
    is_writing: AtomicBool,
    /// Whether the connection is served: it does not wait for that, nor was it upgraded.
    is_served: AtomicBool,
    /// Whether the connection is to end, as it is idle and others have come.
    is_ending: AtomicBool,
    /// Told of that.
    ending: Notify,
    /// The bytes of stored responses that it may keep in memory.
    unread: Unread,
    /// Whether the connection ends now, whatever it does, as it is one of too many slow readers.
    is_cut_off: AtomicBool,
    /// Told of that.
    cut_off: Notify,
}

/// What a connection has done since the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on, or waits for the service.
    Some,
    /// It has no request under way.
    Idle,
    /// Its client takes nothing of its responses.
    Stalled,
}

impl Activity {
    /// Counts a request until the returned value is dropped.
    pub fn begin(&self, has_content: bool) -> OpenRequest {
        let counts = &self.0;
        counts.open.fetch_add(1, Ordering::Relaxed);
        counts
            .without_content
            .fetch_add(usize::from(!has_content), Ordering::Relaxed);
        counts.waiting.fetch_add(1, Ordering::Relaxed);
        counts.has_progress.store(true, Ordering::Relaxed);
        if !counts.has_request.load(Ordering::Relaxed) {
            counts.has_request.store(true, Ordering::Relaxed);
            counts.first_request.notify_one();
        }
        OpenRequest {
            counts: counts.clone(),
            is_waiting: true,
            has_content,
            kept: 0,
            is_stream: false,
        }
    }

    /// Whether all that is awaited is the service's response: a client that closes its half of the
    /// connection may still read.
    pub fn awaits_response(&self) -> bool {
        self.0.without_content.load(Ordering::Relaxed) > 0
    }

    /// Whether the connection has no request under way, and may end for others.
    pub fn is_idle(&self) -> bool {
        let counts = &self.0;
        counts.is_served.load(Ordering::Relaxed) && !self.has_open_request()
    }

    /// Whether it has a request without the end of its response, or a response that waits to be
    /// sent.
    fn has_open_request(&self) -> bool {
        let counts = &self.0;
        counts.open.load(Ordering::Relaxed) > 0 || counts.is_writing.load(Ordering::Relaxed)
    }

    /// Ends the connection, unless a request has come.
    pub fn end_if_idle(&self) {
        self.0.is_ending.store(true, Ordering::Relaxed);
        self.0.ending.notify_one();
    }

    /// Whether the connection was told to end for others.
    pub fn is_ending(&self) -> bool {
        self.0.is_ending.load(Ordering::Relaxed)
    }

    /// Waits until the connection is to end for others.
    pub async fn ended_for_others(&self) {
        self.0.ending.notified().await;
    }

    /// The bytes of stored responses that it may keep because its client does not read, and since
    /// when; `None` if it keeps none, or ends already.
    pub fn unread(&self) -> Option<(u64, std::time::Instant)> {
        let is_cut_off = self.0.is_cut_off.load(Ordering::Relaxed);
        self.0.unread.get().filter(|_| !is_cut_off)
    }

    /// Ends the connection, whatever it does.
    pub fn cut_off(&self) {
        self.0.is_cut_off.store(true, Ordering::Relaxed);
        self.0.cut_off.notify_one();
    }

    /// Waits until the connection is to be cut off.
    pub async fn until_cut_off(&self) {
        self.0.cut_off.notified().await;
    }

    /// Everything that was given to the connection is written.
    pub fn set_flushed(&self) {
        self.0.unread.set_flushed();
    }

    /// Whether a write waits for the client to read. One that no longer does is progress.
    pub fn set_writing(&self, is_writing: bool) {
        let counts = &self.0;
        counts.is_writing.store(is_writing, Ordering::Relaxed);
        if !is_writing {
            counts.has_progress.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the connection is served from now on. What it was upgraded to may go on after that.
    pub fn set_served(&self, is_served: bool) {
        self.0.is_served.store(is_served, Ordering::Relaxed);
    }

    /// Whether there was any request.
    pub fn has_request(&self) -> bool {
        self.0.has_request.load(Ordering::Relaxed)
    }

    /// Waits until there was a request.
    pub async fn first_request(&self) {
        if !self.has_request() {
            self.0.first_request.notified().await;
        }
    }

    /// What it has done since the last look.
    pub fn look(&self) -> Progress {
        let counts = &self.0;
        let has_progress = counts.has_progress.swap(false, Ordering::Relaxed);
        if has_progress || counts.waiting.load(Ordering::Relaxed) > 0 {
            return Progress::Some;
        }
        match self.has_open_request() {
            false => Progress::Idle,
            true => Progress::Stalled,
        }
    }
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub struct OpenRequest {
    counts: Arc<Counts>,
    is_waiting: bool,
    has_content: bool,
    /// The bytes of a stored response that it may keep while its client is waited for.
    kept: u64,
    /// Whether it is a stream of HTTP/2.
    is_stream: bool,
}

impl OpenRequest {
    /// Whether the service, not the client, is waited for.
    fn set_waiting(&mut self, is_waiting: bool) {
        match (self.is_waiting, is_waiting) {
            (true, false) => {
                self.counts.waiting.fetch_sub(1, Ordering::Relaxed);
                self.counts.unread.add(self.kept);
            }
            (false, true) => {
                self.counts.waiting.fetch_add(1, Ordering::Relaxed);
                self.counts.unread.release(self.kept);
            }
            _ => return,
        }
        self.is_waiting = is_waiting;
    }

    /// Attaches itself to a response, to end with that. Bodies of more than `max_body` bytes are
    /// not stored.
    pub fn attach<B: Body>(
        mut self,
        response: Response<B>,
        max_body: u64,
    ) -> Response<ServedBody<B>> {
        self.kept = kept_bytes(&response, max_body);
        self.set_waiting(false);
        self.is_stream = stream_timeout::set_turn(Turn::Client);
        response.map(|body| ServedBody {
            body: InPieces::new(body, self.is_stream),
            request: self,
        })
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.set_waiting(false);
        match self.is_stream {
            // What HTTP/2 still has of it is a copy.
            true => self.counts.unread.release(self.kept),
            false => self.counts.unread.release_when_flushed(self.kept),
        }
        let content = usize::from(!self.has_content);
        self.counts
            .without_content
            .fetch_sub(content, Ordering::Relaxed);
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// A response's body on its way to the client.
    pub struct ServedBody<B> {
        #[pin]
        body: InPieces<B>,
        request: OpenRequest,
    }
}

impl<B: Body<Data = Bytes>> Body for ServedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        let polled = this.body.poll_frame(cx);
        this.request.set_waiting(polled.is_pending());
        stream_timeout::set_turn(match polled.is_pending() {
            true => Turn::Service,
            false => Turn::Client,
        });
        if polled.is_ready() {
            this.request
                .counts
                .has_progress
                .store(true, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
