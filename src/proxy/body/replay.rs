//! Content that can be sent again from its beginning, as long as little of it was sent.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::error::BoxError;

use super::upload::RequestBody;

/// The largest part of a request's content that is kept to be sent again, in bytes.
const MAX_KEPT: usize = 16 * 1024;

/// The content of a request, with its beginning of up to [`MAX_KEPT`] bytes.
#[derive(Debug)]
pub(in crate::proxy) struct ReplayableContent(Arc<Mutex<Content>>);

#[derive(Debug)]
struct Content {
    /// `None` once all of it was read.
    body: Option<RequestBody>,
    hint: SizeHint,
    /// A copy of the beginning: a frame may be a byte of a large buffer. `None` if too much was
    /// read to keep it.
    sent: Option<BytesMut>,
    /// The number of the reader that may read; earlier ones are cut off.
    reader: usize,
}

impl ReplayableContent {
    pub(in crate::proxy) fn new(body: RequestBody) -> Self {
        Self(Arc::new(Mutex::new(Content {
            hint: body.size_hint(),
            body: Some(body),
            sent: Some(BytesMut::new()),
            reader: 0,
        })))
    }

    /// The content for the first attempt.
    pub(in crate::proxy) fn start(&self) -> RequestBody {
        self.reader(0)
    }

    /// The content from its beginning; `None` if that is not kept. Readers before get an error.
    pub(in crate::proxy) fn restart(&self) -> Option<RequestBody> {
        let mut content = lock(&self.0);
        content.sent.as_ref()?;
        content.reader += 1;
        let number = content.reader;
        drop(content);
        Some(self.reader(number))
    }

    fn reader(&self, number: usize) -> RequestBody {
        let reader = Reader {
            content: self.0.clone(),
            number,
            read: 0,
        };
        reader.boxed_unsync()
    }
}

fn lock(content: &Mutex<Content>) -> MutexGuard<'_, Content> {
    // A body that panicked is not polled again: its request has failed.
    content.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Content {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            end => {
                self.body = None;
                if matches!(end, Some(Err(_))) {
                    // The rest of the content is missing: it cannot be sent again.
                    self.sent = None;
                }
                return Poll::Ready(end);
            }
        };
        match (frame.data_ref(), &mut self.sent) {
            (Some(data), Some(sent)) if sent.len() + data.len() <= MAX_KEPT => {
                sent.extend_from_slice(data);
            }
            // Trailers are not sent again.
            _ => self.sent = None,
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

/// One attempt to send the content.
struct Reader {
    content: Arc<Mutex<Content>>,
    number: usize,
    /// How much of the beginning it has read, in bytes.
    read: usize,
}

impl Body for Reader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let content = self.content.clone();
        let mut content = lock(&content);
        if content.reader != self.number {
            return Poll::Ready(Some(Err("the request is sent again".into())));
        }
        let kept = content.sent.as_ref().and_then(|sent| sent.get(self.read..));
        if let Some(kept) = kept.filter(|kept| !kept.is_empty()) {
            let kept = Bytes::copy_from_slice(kept);
            self.read += kept.len();
            return Poll::Ready(Some(Ok(Frame::data(kept))));
        }
        let polled = content.poll_next(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.read += frame.data_ref().map_or(0, Bytes::len);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let content = lock(&self.content);
        let sent = content.sent.as_ref().map_or(0, BytesMut::len);
        let is_read = |body: &RequestBody| body.is_end_stream();
        self.read >= sent && content.body.as_ref().is_none_or(is_read)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.content).hint
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Content in pieces of one byte, which are parts of a large buffer.
    struct Pieces {
        buffer: Bytes,
        left: usize,
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if self.left == 0 {
                return Poll::Ready(None);
            }
            self.left -= 1;
            let piece = self.buffer.slice(self.left..=self.left);
            Poll::Ready(Some(Ok(Frame::data(piece))))
        }
    }

    fn content(length: usize) -> (ReplayableContent, Bytes) {
        let buffer = Bytes::from(vec![b'x'; length]);
        let pieces = Pieces {
            buffer: buffer.clone(),
            left: length,
        };
        let body = pieces.map_err(|never| match never {}).boxed_unsync();
        (ReplayableContent::new(body), buffer)
    }

    #[tokio::test]
    async fn what_is_kept_is_no_larger_than_the_content() {
        let (content, buffer) = content(MAX_KEPT);
        let sent = content.start().collect().await.expect("whole").to_bytes();
        drop(sent);
        assert!(buffer.is_unique());
        let kept = lock(&content.0).sent.as_ref().map(BytesMut::capacity);
        assert!(kept.expect("it is kept") <= 2 * MAX_KEPT);
        for _ in 0..2 {
            let again = content.restart().expect("it is kept").collect().await;
            assert_eq!(again.expect("whole").to_bytes().len(), MAX_KEPT);
        }
    }

    #[tokio::test]
    async fn the_rest_follows_what_is_kept() {
        let (content, _) = content(1000);
        let mut first = content.start();
        for _ in 0..500 {
            first.frame().await.expect("a frame").expect("no error");
        }
        let again = content.restart().expect("it is kept").collect().await;
        assert_eq!(again.expect("whole").to_bytes().len(), 1000);
        assert!(first.frame().await.expect("an end").is_err());
    }

    #[tokio::test]
    async fn more_than_the_limit_is_not_kept() {
        let (content, _) = content(MAX_KEPT + 1);
        content.start().collect().await.expect("whole");
        assert!(content.restart().is_none());
    }
}
