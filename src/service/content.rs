//! The content of an answer that the inner service gave, wholly or in part.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::body::BoxError;

pin_project! {
    /// The inner service's body, or stored bytes in its place (RFC 9111 §4.3.4), or both (§3.4): what is stored before it,
    /// then what it brings, then what is stored behind it.
    ///
    /// Trailers that the body brings end it, so that stored bytes never stand behind them.
    pub(crate) struct Content<B> {
        before: Bytes,
        #[pin]
        body: Option<B>,
        behind: Bytes,
        trailers: Option<HeaderMap>,
    }
}

impl<B> Content<B> {
    /// The body as it comes.
    pub(super) fn streaming(body: B) -> Self {
        Self::spliced(Bytes::new(), body, Bytes::new())
    }

    /// Stored bytes only.
    pub(super) fn stored(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        Self {
            before: data,
            body: None,
            behind: Bytes::new(),
            trailers,
        }
    }

    /// The stored bytes, if there is nothing else.
    pub(super) fn into_stored(self) -> Result<(Bytes, Option<HeaderMap>), Self> {
        match self.body {
            None => Ok((self.before, self.trailers)),
            Some(_) => Err(self),
        }
    }

    /// Stored bytes around a body.
    pub(super) fn spliced(before: Bytes, body: B, behind: Bytes) -> Self {
        Self {
            before,
            body: Some(body),
            behind,
            trailers: None,
        }
    }
}

impl<B> Body for Content<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        if !this.before.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(this.before)))));
        }
        if let Some(body) = this.body.as_mut().as_pin_mut() {
            match ready!(body.poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_trailers() && !this.behind.is_empty() => {
                    *this.trailers = frame.into_trailers().ok();
                    this.body.set(None);
                }
                Some(frame) => return Poll::Ready(Some(frame.map_err(Into::into))),
                None => this.body.set(None),
            }
        }
        if !this.behind.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(this.behind)))));
        }
        let trailers = this.trailers.take().map(Frame::trailers);
        Poll::Ready(trailers.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        let has_ended = |body: &B| body.is_end_stream();
        self.before.is_empty()
            && self.behind.is_empty()
            && self.trailers.is_none()
            && self.body.as_ref().is_none_or(has_ended)
    }

    fn size_hint(&self) -> SizeHint {
        let stored = (self.before.len() + self.behind.len()) as u64;
        let of_body = match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        };
        let mut whole = SizeHint::default();
        whole.set_lower(of_body.lower().saturating_add(stored));
        if let Some(upper) = of_body.upper().and_then(|upper| upper.checked_add(stored)) {
            whole.set_upper(upper);
        }
        whole
    }
}
