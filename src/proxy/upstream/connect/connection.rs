//! A connection that knows whether it has served before: what a lost one means for its request.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use hyper_util::client::legacy::connect::{Connected, Connection};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Something was received since the last request began.
const RECEIVED: u8 = 1;
/// Another request was answered before.
const REUSED: u8 = 2;

/// Up to this many bytes, copying slices into one buffer is faster than a vectored write.
const MAX_COPIED: usize = 2048;

/// The use of one HTTP/1.1 connection so far. Clones share it.
#[derive(Clone, Debug, Default)]
pub(in crate::proxy::upstream) struct ConnectionUse(Arc<AtomicU8>);

impl ConnectionUse {
    /// Whether the connection was lost before any byte of a response, after it had served other
    /// requests: servers close idle connections at any moment (RFC 9112 §9.3.1).
    pub(in crate::proxy::upstream) fn is_lost_while_idle(&self) -> bool {
        self.0.load(Ordering::Relaxed) == REUSED
    }

    fn received(&self) {
        self.0.fetch_or(RECEIVED, Ordering::Relaxed);
    }

    /// Something is sent: after something was received, it is the next request.
    fn sending(&self) {
        if self.0.load(Ordering::Relaxed) & RECEIVED != 0 {
            self.0.store(REUSED, Ordering::Relaxed);
        }
    }
}

/// Counts an open connection until it is dropped.
#[derive(Debug)]
struct OpenConnection(Arc<AtomicUsize>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// A connection to a server, with its use.
    #[derive(Debug)]
    pub(in crate::proxy::upstream) struct UpstreamConnection<T> {
        #[pin]
        stream: T,
        connection_use: ConnectionUse,
        // Whether it serves more than one request.
        is_kept: bool,
        open: OpenConnection,
    }
}

impl<T> UpstreamConnection<T> {
    /// A connection that, beyond `max_kept` open ones, serves a single request.
    pub(super) fn new(stream: T, open: Arc<AtomicUsize>, max_kept: usize) -> Self {
        let before = open.fetch_add(1, Ordering::Relaxed);
        Self {
            stream,
            connection_use: ConnectionUse::default(),
            is_kept: before < max_kept,
            open: OpenConnection(open),
        }
    }
}

impl<T: Connection> Connection for UpstreamConnection<T> {
    fn connected(&self) -> Connected {
        // hyper copies each extra into each response.
        let connected = Connected::new().extra(self.connection_use.clone());
        if !self.is_kept {
            connected.poison();
        }
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
