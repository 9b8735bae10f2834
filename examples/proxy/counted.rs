//! A client's connection: it counts until it is closed, as what it was upgraded to, too, and is given up when nobody reads.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

/// What is cheaper to copy than to hand to the kernel piece by piece.
const SMALL: usize = 2048;

pin_project! {
    pub struct Counted<T> {
        #[pin]
        stream: T,
        permit: OwnedSemaphorePermit,
        // How long the client may leave unread what is there for it.
        limit: Duration,
        unread: Option<Pin<Box<Sleep>>>,
    }
}

impl<T> Counted<T> {
    pub fn new(stream: T, permit: OwnedSemaphorePermit, limit: Duration) -> Self {
        Self {
            stream,
            permit,
            limit,
            unread: None,
        }
    }
}

/// What came of writing, or an error where nothing could be written for too long.
fn in_time<R>(
    written: Poll<io::Result<R>>,
    unread: &mut Option<Pin<Box<Sleep>>>,
    limit: Duration,
    cx: &mut Context<'_>,
) -> Poll<io::Result<R>> {
    if written.is_ready() {
        *unread = None;
        return written;
    }
    let timer = unread.get_or_insert_with(|| Box::pin(sleep(limit)));
    timer
        .as_mut()
        .poll(cx)
        .map(|()| Err(io::ErrorKind::TimedOut.into()))
}

impl<T: AsyncRead> AsyncRead for Counted<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.project().stream.poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite> AsyncWrite for Counted<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let counted = self.project();
        let written = counted.stream.poll_write(cx, bytes);
        in_time(written, counted.unread, *counted.limit, cx)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.project().stream.poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let counted = self.project();
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        let written = if length <= SMALL {
            let mut small = [0; SMALL];
            let mut at = 0;
            for slice in slices {
                small[at..at + slice.len()].copy_from_slice(slice);
                at += slice.len();
            }
            counted.stream.poll_write(cx, &small[..length])
        } else {
            counted.stream.poll_write_vectored(cx, slices)
        };
        in_time(written, counted.unread, *counted.limit, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
