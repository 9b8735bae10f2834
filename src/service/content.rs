//! The content of an answer: what the inner service sends, or what is stored where it says that this is still right.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::body::BoxError;

pin_project! {
    /// The inner service's body, or stored bytes in its place (RFC 9111 §4.3.4).
    #[project = ContentProjection]
    pub(crate) enum Content<B> {
        Streaming {
            #[pin]
            body: B,
        },
        Stored {
            data: Bytes,
            // Boxed, as in every answer's body.
            trailers: Option<Box<HeaderMap>>,
        },
    }
}

impl<B> Content<B> {
    pub(super) fn streaming(body: B) -> Self {
        Self::Streaming { body }
    }

    pub(super) fn stored(data: Bytes, trailers: Option<HeaderMap>) -> Self {
        let trailers = trailers.map(Box::new);
        Self::Stored { data, trailers }
    }

    /// The stored bytes and trailers, if that is what it is.
    pub(super) fn as_stored(&self) -> Option<(Bytes, Option<HeaderMap>)> {
        match self {
            Self::Streaming { .. } => None,
            Self::Stored { data, trailers } => Some((data.clone(), trailers.as_deref().cloned())),
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
        match self.project() {
            ContentProjection::Streaming { body } => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            ContentProjection::Stored { data, .. } if !data.is_empty() => {
                Poll::Ready(Some(Ok(Frame::data(std::mem::take(data)))))
            }
            ContentProjection::Stored { trailers, .. } => {
                let trailers = trailers.take().map(|trailers| Frame::trailers(*trailers));
                Poll::Ready(trailers.map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Streaming { body } => body.is_end_stream(),
            Self::Stored { data, trailers } => data.is_empty() && trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Streaming { body } => body.size_hint(),
            Self::Stored {
                data,
                trailers: None,
            } => SizeHint::with_exact(data.len() as u64),
            // Servers that know a length send no trailers.
            Self::Stored { .. } => SizeHint::default(),
        }
    }
}
