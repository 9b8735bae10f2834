//! A connection to a server that records its use.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::body::in_flight::connection_use::ConnectionUse;

/// Up to this many bytes, copying slices into one buffer is faster than a vectored write.
const MAX_COPIED: usize = 2048;

pin_project! {
    /// A connection to a server, with its use.
    #[derive(Debug)]
    pub(in crate::proxy::upstream) struct UpstreamConnection<T> {
        #[pin]
        stream: T,
        connection_use: ConnectionUse,
    }
}

impl<T> UpstreamConnection<T> {
    pub(super) fn new(stream: T) -> Self {
        Self {
            stream,
            connection_use: ConnectionUse::default(),
        }
    }

    pub(in crate::proxy::upstream) fn connection_use(&self) -> &ConnectionUse {
        &self.connection_use
    }
}

impl<T: Connection> Connection for UpstreamConnection<T> {
    fn connected(&self) -> Connected {
        // hyper copies each extra into each response.
        let connected = Connected::new().extra(self.connection_use.clone());
        match self.stream.connected().is_negotiated_h2() {
            true => connected.negotiated_h2(),
            false => connected,
        }
    }
}

impl<T: AsyncRead> AsyncRead for UpstreamConnection<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.project();
        let before = buffer.filled().len();
        ready!(this.stream.poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            this.connection_use.received();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite> AsyncWrite for UpstreamConnection<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.project();
        this.connection_use.sending();
        this.stream.poll_write(cx, bytes)
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
        let this = self.project();
        this.connection_use.sending();
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if length > MAX_COPIED {
            return this.stream.poll_write_vectored(cx, slices);
        }
        let mut buffer = [0; MAX_COPIED];
        let mut at = 0;
        for slice in slices {
            buffer[at..at + slice.len()].copy_from_slice(slice);
            at += slice.len();
        }
        this.stream.poll_write(cx, &buffer[..length])
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
