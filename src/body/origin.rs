//! A body from the inner service, or the stored bytes that take its place: after a 304 all of it,
//! after a completed range the parts around the new one.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::error::BoxError;

pin_project! {
    /// The inner service's body, or stored bytes in its place (RFC 9111 §4.3.4).
    #[project = OriginBodyProjection]
    pub(crate) enum OriginBody<B> {
        Streaming {
            #[pin]
            body: B,
        },
        Stored {
            data: Bytes,
            // Boxed, as in every answer's body.
            trailers: Option<Box<HeaderMap>>,
        },
        Spliced {
            // Boxed, as next to no answer is one.
            splice: Pin<Box<Splice<B>>>,
        },
    }
}

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
    /// Bytes that are still to be read.
    fn left(&self) -> u64 {
        [&self.before, &self.last, &self.after]
            .iter()
            .fold(self.missing, |left, bytes| left + bytes.len() as u64)
    }
}

impl<B> Splice<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    /// The next chunk: the bytes before, the body, the bytes after.
    fn poll_data(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BoxError>>> {
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
    ) -> Poll<Option<Result<Bytes, BoxError>>> {
        let mut splice = self.project();
        loop {
            let data = match ready!(splice.body.as_mut().poll_frame(cx)) {
                None if *splice.missing == 0 => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err(WrongLength.into()))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            match splice.missing.checked_sub(data.len() as u64) {
                None => return Poll::Ready(Some(Err(WrongLength.into()))),
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

impl<B> OriginBody<B> {
    /// The inner service's body.
    pub(crate) fn streaming(body: B) -> Self {
        Self::Streaming { body }
    }

    /// Stored bytes and trailers in place of the inner service's body.
    pub(crate) fn stored(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        let trailers = trailers.map(Box::new);
        Self::Stored { data, trailers }
    }

    /// The inner service's body of `missing` bytes between stored ones.
    pub(crate) fn spliced([before, after]: [Bytes; 2], body: B, missing: u64) -> Self {
        Self::Spliced {
            splice: Box::pin(Splice {
                before,
                body,
                missing,
                last: Bytes::new(),
                after,
                has_ended: false,
            }),
        }
    }

    /// The stored bytes and trailers, if these took the place of a body.
    pub(crate) fn as_stored(&self) -> Option<(Bytes, Option<HeaderMap>)> {
        match self {
            Self::Streaming { .. } | Self::Spliced { .. } => None,
            Self::Stored { data, trailers } => Some((data.clone(), trailers.as_deref().cloned())),
        }
    }
}

impl<B> Body for OriginBody<B>
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
        match self.project() {
            OriginBodyProjection::Streaming { body } => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            OriginBodyProjection::Spliced { splice } => splice
                .as_mut()
                .poll_data(cx)
                .map(|data| data.map(|data| data.map(Frame::data))),
            OriginBodyProjection::Stored { data, .. } if !data.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(data)))))
            }
            OriginBodyProjection::Stored { trailers, .. } => {
                let trailers = trailers.take().map(|trailers| Frame::trailers(*trailers));
                Poll::Ready(trailers.map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Streaming { body } => body.is_end_stream(),
            Self::Stored { data, trailers } => data.is_empty() && trailers.is_none(),
            Self::Spliced { splice } => splice.has_ended && splice.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Streaming { body } => body.size_hint(),
            Self::Stored {
                data,
                trailers: None,
            } => SizeHint::with_exact(data.len() as u64),
            Self::Spliced { splice } => SizeHint::with_exact(splice.left()),
            // Servers that know a length send no trailers.
            Self::Stored { .. } => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::task::Waker;

    /// What a body does each time it is polled, then nothing more.
    struct Script(VecDeque<Poll<Result<&'static str, &'static str>>>);

    impl Body for Script {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            match self.0.pop_front() {
                None => Poll::Ready(None),
                Some(Poll::Pending) => Poll::Pending,
                Some(Poll::Ready(piece)) => Poll::Ready(Some(
                    piece
                        .map(|piece| Frame::data(Bytes::from(piece)))
                        .map_err(Into::into),
                )),
            }
        }
    }

    /// All that a body says until it ends, waits or fails, and how that was.
    fn heard(body: &mut OriginBody<Script>) -> (String, &'static str) {
        let mut all = String::new();
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match Pin::new(&mut *body).poll_frame(&mut context) {
                Poll::Pending => return (all, "waits"),
                Poll::Ready(None) => return (all, "ends"),
                Poll::Ready(Some(Err(_))) => return (all, "fails"),
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    all.push_str(&String::from_utf8_lossy(&data));
                }
            }
        }
    }

    /// A client that has all announced bytes stops reading, so it must not get the last one before
    /// the missing part has ended.
    #[test]
    fn rfc_9111_section_3_4_the_last_of_a_part_waits_for_its_end() {
        use Poll::{Pending, Ready};
        for (script, expected) in [
            (
                vec![Ready(Ok("cd")), Ready(Ok("ef"))],
                &[("abcdefgh", "ends")][..],
            ),
            (vec![Ready(Ok("cdef"))], &[("abcdefgh", "ends")]),
            (
                vec![Ready(Ok("cdef")), Pending],
                &[("ab", "waits"), ("cdefgh", "ends")],
            ),
            (
                vec![Ready(Ok("cd")), Pending, Ready(Ok("ef"))],
                &[("abcd", "waits"), ("efgh", "ends")],
            ),
            (
                vec![Ready(Ok("cdef")), Ready(Err("broken"))],
                &[("ab", "fails")],
            ),
            (vec![Ready(Ok("cdef")), Ready(Ok("g"))], &[("ab", "fails")]),
            (vec![Ready(Ok("cdefg"))], &[("ab", "fails")]),
            (vec![Ready(Ok("cd"))], &[("abcd", "fails")]),
        ] {
            let name = format!("{script:?}");
            let around = [Bytes::from("ab"), Bytes::from("gh")];
            let mut body = OriginBody::spliced(around, Script(script.into()), 4);
            for (text, end) in expected {
                let (said, ended) = heard(&mut body);
                assert_eq!((said.as_str(), ended), (*text, *end), "{name}");
            }
            assert!(body.is_end_stream(), "{name}");
        }
    }
}
