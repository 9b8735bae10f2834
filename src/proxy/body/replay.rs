//! Content that can be sent again from its beginning, as long as little of it was sent.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
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
    /// The beginning; `None` if too much was read to keep it.
    sent: Option<Vec<Bytes>>,
    kept: usize,
    /// The number of the reader that may read; earlier ones are cut off.
    reader: usize,
}

impl ReplayableContent {
    pub(in crate::proxy) fn new(body: RequestBody) -> Self {
        Self(Arc::new(Mutex::new(Content {
            hint: body.size_hint(),
            body: Some(body),
            sent: Some(Vec::new()),
            kept: 0,
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
            next: 0,
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
        let data = frame.data_ref();
        self.kept += data.map_or(MAX_KEPT, Bytes::len);
        match (data, &mut self.sent) {
            (Some(data), Some(sent)) if self.kept <= MAX_KEPT => sent.push(data.clone()),
            _ => self.sent = None,
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

/// One attempt to send the content.
struct Reader {
    content: Arc<Mutex<Content>>,
    number: usize,
    /// The next of the pieces that are kept.
    next: usize,
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
        let kept = content.sent.as_ref().and_then(|sent| sent.get(self.next));
        self.next += 1;
        if let Some(data) = kept {
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        let polled = content.poll_next(cx);
        if polled.is_pending() {
            self.next -= 1;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        let content = lock(&self.content);
        let sent = content.sent.as_ref().map_or(0, Vec::len);
        let is_read = |body: &RequestBody| body.is_end_stream();
        self.next >= sent && content.body.as_ref().is_none_or(is_read)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.content).hint
    }
}
