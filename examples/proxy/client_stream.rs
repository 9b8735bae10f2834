//! A client's connection: it is counted until it is closed, and fails when the client does not read
//! for too long.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::activity::Activity;
use crate::client_limits::ClientPermit;

/// How long the response to a client that has closed its half of the connection may take. A client
/// that has left is noticed only then.
const HALF_CLOSED: Duration = Duration::from_secs(5);

/// Up to this many bytes, copying slices into one buffer is faster than a vectored write.
const MAX_COPIED: usize = 2048;

pin_project! {
    /// A stream with a permit and a timeout for writes. A WebSocket keeps both after its upgrade.
    pub struct ClientStream<T> {
        #[pin]
        stream: T,
        permit: ClientPermit,
        activity: Activity,
        // Runs since the client has closed its half.
        half_closed: Option<Pin<Box<Sleep>>>,
        write_timer: WriteTimer,
    }
}

/// The time of a write that waits for the client to read.
struct WriteTimer {
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl WriteTimer {
    /// Turns a pending write into an error once the timeout has passed. Tells the connection of
    /// waits, and of their end.
    fn check<R>(
        &mut self,
        written: Poll<io::Result<R>>,
        activity: &Activity,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<R>> {
        if written.is_ready() {
            if self.timer.take().is_some() {
                activity.set_writing(false);
            }
            return written;
        }
        let timer = self.timer.get_or_insert_with(|| {
            activity.set_writing(true);
            Box::pin(sleep(self.timeout))
        });
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T> ClientStream<T> {
    pub fn new(
        stream: T,
        permit: ClientPermit,
        activity: Activity,
        write_timeout: Duration,
    ) -> Self {
        Self {
            stream,
            permit,
            activity,
            half_closed: None,
            write_timer: WriteTimer {
                timeout: write_timeout,
                timer: None,
            },
        }
    }
}

impl<T: AsyncRead> AsyncRead for ClientStream<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buffer.filled().len();
        ready!(this.stream.poll_read(cx, buffer))?;
        let is_end = buffer.filled().len() == before && buffer.remaining() > 0;
        if is_end && this.activity.awaits_response() {
            // hyper takes the end for that of the whole connection.
            let timer = this
                .half_closed
                .get_or_insert_with(|| Box::pin(sleep(HALF_CLOSED)));
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite> AsyncWrite for ClientStream<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let written = this.stream.poll_write(cx, bytes);
        this.write_timer.check(written, this.activity, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.project();
        // The server flushes what it has written whole.
        this.activity.set_flushed();
        this.stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = if length <= MAX_COPIED {
            let mut buffer = [0; MAX_COPIED];
            let mut at = 0;
            for slice in slices {
                buffer[at..at + slice.len()].copy_from_slice(slice);
                at += slice.len();
            }
            this.stream.poll_write(cx, &buffer[..length])
        } else {
            this.stream.poll_write_vectored(cx, slices)
        };
        this.write_timer.check(written, this.activity, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
