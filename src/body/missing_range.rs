//! A missing range from the inner service between stored bytes (RFC 9111 §3.4). It is an error if
//! it is shorter or longer than its `Content-Range`.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use pin_project_lite::pin_project;

use crate::error::BodyError;

pin_project! {
    /// A body between stored bytes (RFC 9111 §3.4).
    pub(crate) struct Splice<B> {
        before: Bytes,
        #[pin]
        body: B,
        // Bytes that the inner service's body is still to bring.
        missing: u64,
        // The last chunk, kept back until the body has ended: a client that has all announced
        // bytes stops reading, and would not see an error at the end.
        last: Bytes,
        after: Bytes,
        has_ended: bool,
    }
}

/// The error of a part whose length differs from its `Content-Range`.
#[derive(Debug)]
struct WrongLength;

impl fmt::Display for WrongLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a part is not as long as its Content-Range says")
    }
}

impl std::error::Error for WrongLength {}

impl<B> Splice<B> {
    /// A body of `missing` bytes between stored ones.
    pub(crate) fn new([before, after]: [Bytes; 2], body: B, missing: u64) -> Self {
        Self {
            before,
            body,
            missing,
            last: Bytes::new(),
            after,
            has_ended: false,
        }
    }

    /// Whether all bytes have been read, and the missing range has ended as it should.
    pub(crate) fn is_at_end(&self) -> bool {
        self.has_ended && self.left() == 0
    }

    /// Bytes that are still to be read.
    pub(crate) fn left(&self) -> u64 {
        [&self.before, &self.last, &self.after]
            .iter()
            .fold(self.missing, |left, bytes| left + bytes.len() as u64)
    }
}

impl<B> Splice<B>
where
    B: Body<Data = Bytes>,
{
    /// The next chunk: the bytes before, the body, the bytes after.
    pub(crate) fn poll_data(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError<B::Error>>>> {
        if !self.before.is_empty() {
            return Poll::Ready(Some(Ok(std::mem::take(self.project().before))));
        }
        if !self.has_ended {
            let next = ready!(self.as_mut().poll_missing(cx));
            let splice = self.project();
            if let Some(Err(_)) = &next {
                *splice.missing = 0;
                (*splice.last, *splice.after) = (Bytes::new(), Bytes::new());
            }
            *splice.has_ended = !matches!(next, Some(Ok(_)));
            if next.is_some() {
                return Poll::Ready(next);
            }
            let last = std::mem::take(splice.last);
            return Poll::Ready(Some(Ok(last)));
        }
        let after = std::mem::take(self.project().after);
        Poll::Ready(Some(after).filter(|after| !after.is_empty()).map(Ok))
    }

    /// The next chunk of the inner service's body, except for the last one. The trailers of a part
    /// describe that part alone and are dropped.
    fn poll_missing(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError<B::Error>>>> {
        let mut splice = self.project();
        loop {
            let data = match ready!(splice.body.as_mut().poll_frame(cx)) {
                None if *splice.missing == 0 => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err(BodyError::cache(WrongLength)))),
                Some(Err(error)) => return Poll::Ready(Some(Err(BodyError::inner(error)))),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            match splice.missing.checked_sub(data.len() as u64) {
                None => return Poll::Ready(Some(Err(BodyError::cache(WrongLength)))),
                Some(_) if data.is_empty() => {}
                Some(0) => {
                    *splice.missing = 0;
                    *splice.last = data;
                }
                Some(left) => {
                    *splice.missing = left;
                    return Poll::Ready(Some(Ok(data)));
                }
            }
        }
    }
}
