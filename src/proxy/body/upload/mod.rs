//! A request's content on its way to an upstream.
//!
//! ```text
//!  content of a known, small length --collected--> whole --------------.
//!                                                                      v
//!  longer content --its beginning has come--> a place for uploads --> a place --> upstream
//!  content of unknown length -----------------^
//! ```
//!
//! Start at [`with_upload`].

mod body;
mod collected;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_LENGTH;
use http_body::Body;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};

use crate::error::BoxError;
use crate::proxy::error::{ProxyError, ProxyErrorKind};
use crate::semantics::invalidation::is_safe;
use crate::stats::CallProgress;

use self::body::UploadBody;
use super::bounded_waits::ClientNetwork;
use super::broken_upload::{BrokenUploads, UploadFate};
use super::expect_continue::expectation_of;
use super::pace::LowestRate;
use super::places::{ClientPlace, Places};
use super::response_progress::{ResponseInProgress, ResponseProgress};
use super::stall_watch::StallWatch;
use super::timers::head_clock::HeadClock;
use super::timers::idle_timer::{IdleTimer, StalledBody};

/// The body of every outgoing request, whatever type the client's body has.
pub(in crate::proxy) type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// The body of a request without content.
pub(in crate::proxy) fn empty() -> RequestBody {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// The content of a request that has any, seen from the side of its response.
#[derive(Debug)]
pub(in crate::proxy) struct Upload {
    fate: UploadFate,
    place: ClientPlace,
    clock: HeadClock,
}

impl Upload {
    /// The place of the request before its upstream.
    pub(in crate::proxy) fn place(&self) -> &ClientPlace {
        &self.place
    }

    /// The clock, which runs while the upstream has got all content that was sent so far.
    pub(in crate::proxy) fn clock(&self) -> &HeadClock {
        &self.clock
    }

    /// The error that the client has caused by breaking its content off; `None` if that is whole,
    /// or on its way.
    pub(in crate::proxy) fn broken(&self) -> Option<ProxyErrorKind> {
        self.fate.broken()
    }

    /// Waits for the outcome of sending the request. Meanwhile `progress` says whether the content is
    /// on its way: the upstream is not silent while its clients are slow.
    pub(in crate::proxy) async fn follow<T>(
        &self,
        progress: &CallProgress,
        sending: impl Future<Output = T>,
    ) -> T {
        progress.set_awaits_content(true);
        let mut sending = pin!(sending);
        tokio::select! {
            biased;
            sent = &mut sending => return sent,
            () = self.fate.response().wait_for_content() => {}
        }
        progress.set_awaits_content(false);
        sending.await
    }

    /// Records that the response's head has arrived. Content that was not requested by then is not
    /// sent, and content that breaks off later stays unfinished until the response has ended.
    pub(in crate::proxy) fn response_started(&self) -> ResponseInProgress {
        self.place.take_again();
        self.fate.response().start()
    }
}

/// The limits of uploads.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct UploadLimits<'l> {
    pub(in crate::proxy) idle_timeout: Duration,
    pub(in crate::proxy) lowest_rate: LowestRate,
    /// In bytes.
    pub(in crate::proxy) max_buffered: u64,
    pub(in crate::proxy) broken_uploads: &'l BrokenUploads,
    pub(in crate::proxy) places: &'l Places,
    pub(in crate::proxy) client: ClientNetwork,
}

/// Wraps the content of a request for the way to the upstream.
///
/// Waits for all content of a known length up to `max_buffered`, and for the beginning of longer
/// one, unless the client waits, too: the first frame of other content waits for
/// `Expect: 100-continue`, if the request has that. A client that pauses for longer than
/// `idle_timeout` breaks its content off. Content that is not whole then needs a place for uploads.
///
/// # Errors
///
/// When content that is waited for breaks off, pauses for too long or is too slow. Others that
/// wait so end the wait, if there are too many. When there is no place for uploads in time.
pub(in crate::proxy) async fn with_upload<B>(
    mut request: Request<B>,
    limits: UploadLimits<'_>,
) -> Result<(Request<RequestBody>, Upload), ProxyError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let response = ResponseProgress::awaited();
    let requested = expectation_of(&mut request, &response);
    let is_write = !is_safe(request.method());
    let broken_uploads = is_write.then(|| limits.broken_uploads.clone());
    let upload = Upload {
        fate: UploadFate::new(response, broken_uploads, limits.client),
        place: ClientPlace::new(limits.places, limits.client),
        clock: HeadClock::started(),
    };
    let (head, body) = request.into_parts();
    let is_awaited = requested.is_none() && head.headers.contains_key(CONTENT_LENGTH);
    let length = body.size_hint().exact();
    let idle = IdleTimer::new(limits.idle_timeout);
    let stall = StallWatch::new(upload.place.clone(), limits.lowest_rate);
    let (clock, fate) = (upload.clock.clone(), upload.fate.clone());
    let body = UploadBody::new(body, requested, idle, stall, clock, fate);
    let mut body = Box::pin(body);
    if is_awaited {
        let is_small = length.is_some_and(|length| length <= limits.max_buffered);
        collect(body.as_mut(), is_small, limits).await?;
    }
    if !body.is_whole() {
        let place = limits.places.take_for_upload(limits.client).await?;
        body.as_mut().begin(place);
    }
    Ok((Request::from_parts(head, UnsyncBoxBody::new(body)), upload))
}

/// Waits for the first frame of content, or for all of it. Of these waits there is a bounded number.
async fn collect<B>(
    mut body: Pin<&mut UploadBody<B>>,
    until_whole: bool,
    limits: UploadLimits<'_>,
) -> Result<(), ProxyError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let at_once = poll_fn(|cx| Poll::Ready(body.as_mut().poll_collected(until_whole, cx))).await;
    if let Poll::Ready(collected) = at_once {
        return collected;
    }
    let wait = limits.places.await_content(limits.client);
    tokio::select! {
        collected = poll_fn(|cx| body.as_mut().poll_collected(until_whole, cx)) => collected,
        () = wait.ended().cancelled() => {
            Err(ProxyErrorKind::RequestTimeout.caused_by(StalledBody::Client))
        }
    }
}
