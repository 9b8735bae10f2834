//! A body from the inner service, or the stored bytes that take its place: after a 304 all of it,
//! after a completed range the parts around the new one.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::error::BodyError;
use crate::semantics::stored::StoredContent;

use super::missing_range::Splice;
use super::resumed::Resumed;
use super::watched::WatchedBody;

pin_project! {
    /// The inner service's body, or stored bytes in its place (RFC 9111 §4.3.4).
    #[project = OriginBodyProjection]
    pub(crate) enum OriginBody<B> {
        Streaming {
            #[pin]
            body: WatchedBody<B>,
        },
        Stored {
            // Boxed, as few answers have one.
            content: Box<StoredContent>,
            is_read: bool,
            // Boxed, as in every answer's body.
            trailers: Option<Box<HeaderMap>>,
        },
        Spliced {
            // Boxed, as next to no answer is one.
            splice: Pin<Box<Splice<WatchedBody<B>>>>,
        },
        Resumed {
            // Boxed, as next to no answer is one.
            resumed: Box<Resumed<WatchedBody<B>>>,
        },
    }
}

impl<B> OriginBody<B> {
    /// The inner service's body.
    pub(crate) fn streaming(body: WatchedBody<B>) -> Self {
        Self::Streaming { body }
    }

    /// Stored content and trailers in place of the inner service's body.
    pub(crate) fn stored(content: StoredContent, trailers: Option<HeaderMap>) -> Self {
        Self::Stored {
            is_read: content.bytes().is_empty(),
            content: Box::new(content),
            trailers: trailers.map(Box::new),
        }
    }

    /// The inner service's body of `missing` bytes between stored ones.
    pub(crate) fn spliced([before, after]: [Bytes; 2], body: WatchedBody<B>, missing: u64) -> Self {
        Self::Spliced {
            splice: Box::pin(Splice::new([before, after], body, missing)),
        }
    }

    /// The inner service's body, of which the beginning was collected.
    pub(crate) fn resumed(resumed: Resumed<WatchedBody<B>>) -> Self {
        let resumed = Box::new(resumed);
        Self::Resumed { resumed }
    }

    /// The stored content and trailers, if these took the place of a body.
    pub(crate) fn as_stored(&self) -> Option<(StoredContent, Option<HeaderMap>)> {
        match self {
            Self::Streaming { .. } | Self::Spliced { .. } | Self::Resumed { .. } => None,
            Self::Stored {
                content, trailers, ..
            } => Some(((**content).clone(), trailers.as_deref().cloned())),
        }
    }
}

impl<B> Body for OriginBody<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError<B::Error>>>> {
        match self.project() {
            OriginBodyProjection::Streaming { body } => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(BodyError::inner))),
            OriginBodyProjection::Spliced { splice } => splice
                .as_mut()
                .poll_data(cx)
                .map(|data| data.map(|data| data.map(Frame::data))),
            OriginBodyProjection::Resumed { resumed } => resumed.poll_frame(cx),
            OriginBodyProjection::Stored {
                content, is_read, ..
            } if !*is_read => {
                *is_read = true;
                Poll::Ready(Some(Ok(Frame::data(content.bytes().clone()))))
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
            Self::Stored {
                trailers, is_read, ..
            } => *is_read && trailers.is_none(),
            Self::Spliced { splice } => splice.is_at_end(),
            Self::Resumed { resumed } => resumed.is_at_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Streaming { body } => body.size_hint(),
            Self::Stored {
                content,
                is_read,
                trailers: None,
            } => match is_read {
                true => SizeHint::with_exact(0),
                false => SizeHint::with_exact(content.bytes().len() as u64),
            },
            Self::Spliced { splice } => SizeHint::with_exact(splice.left()),
            Self::Resumed { resumed } => resumed.size_hint(),
            // Servers that know a length send no trailers.
            Self::Stored { .. } => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::BoxError;
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
            let mut body = OriginBody::spliced(
                around,
                WatchedBody::watched_elsewhere(Script(script.into())),
                4,
            );
            for (text, end) in expected {
                let (said, ended) = heard(&mut body);
                assert_eq!((said.as_str(), ended), (*text, *end), "{name}");
            }
            assert!(body.is_end_stream(), "{name}");
        }
    }
}
