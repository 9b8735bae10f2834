//! A connection to a server that records its use, and the limit of connections that are kept open.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper_util::client::legacy::connect::{Connected, Connection};
use pin_project_lite::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::proxy::body::in_flight::connection_use::ConnectionUse;

/// Up to this many bytes, copying slices into one buffer is faster than a vectored write.
const MAX_COPIED: usize = 2048;

/// A connection that was used more recently than this is not closed to make room.
const MIN_IDLE: Duration = Duration::from_millis(100);

/// A bounded number of connections that serve more than one request.
///
/// One more closes an idle one: one that has served only once if there is any, and of these the one
/// that is idle for longest. A client that makes hosts up does not close the connections of hosts
/// that are asked for again.
#[derive(Debug)]
pub(super) struct KeptConnections {
    max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<u64, ConnectionUse>,
    next: u64,
}

/// One of the connections that are kept, until it is dropped.
#[derive(Debug)]
struct KeptConnection {
    number: u64,
    all: Arc<KeptConnections>,
}

impl KeptConnections {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            open: Mutex::default(),
        }
    }

    /// Adds a connection; `None` if there are too many, none of which is idle.
    fn add(self: &Arc<Self>, connection: &ConnectionUse) -> Option<KeptConnection> {
        let mut open = self.lock();
        let mut given_up = None;
        if open.connections.len() >= self.max {
            let number = open.least_used()?;
            given_up = open.connections.remove(&number);
        }
        let number = open.next;
        open.next += 1;
        open.connections.insert(number, connection.clone());
        drop(open);
        if let Some(other) = given_up {
            other.give_up();
        }
        let all = self.clone();
        Some(KeptConnection { number, all })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // No critical section panics.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// The idle connection that the next one replaces.
    fn least_used(&self) -> Option<u64> {
        let rank = |(number, connection): (&u64, &ConnectionUse)| {
            let (since, has_served_again) = connection.idle_since()?;
            let is_idle = since.elapsed() >= MIN_IDLE;
            is_idle.then_some((has_served_again, since, *number))
        };
        let least = self.connections.iter().filter_map(rank).min();
        least.map(|(_, _, number)| number)
    }
}

impl Drop for KeptConnection {
    fn drop(&mut self) {
        let removed = self.all.lock().connections.remove(&self.number);
        drop(removed);
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
        // `None` if there is no limit for it.
        kept: Option<KeptConnection>,
    }
}

impl<T> UpstreamConnection<T> {
    /// A connection that serves a single request if `all` are too many. `None` for no limit.
    pub(super) fn new(stream: T, all: Option<&Arc<KeptConnections>>) -> Self {
        let connection_use = ConnectionUse::default();
        let kept = all.map(|all| all.add(&connection_use));
        Self {
            stream,
            is_kept: !matches!(kept, Some(None)),
            kept: kept.flatten(),
            connection_use,
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
        if this.kept.is_some() && this.connection_use.is_over(cx) {
            // As if the server had closed it: hyper sends an unsent request elsewhere.
            return Poll::Ready(Ok(()));
        }
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

#[cfg(test)]
mod tests {
    use tokio::time::{advance, sleep};

    use super::*;

    fn connect(all: &Arc<KeptConnections>) -> UpstreamConnection<()> {
        UpstreamConnection::new((), Some(all))
    }

    async fn serve(connection: &UpstreamConnection<()>, times: usize) {
        for _ in 0..times {
            connection.connection_use.sending();
            drop(connection.connection_use.clone().answered());
            sleep(Duration::from_millis(1)).await;
        }
    }

    fn is_over(connection: &UpstreamConnection<()>) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        connection.connection_use.is_over(&mut cx)
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_closes_the_least_used_of_the_idle_ones() {
        let all = Arc::new(KeptConnections::new(4));
        let used: Vec<_> = (0..4).map(|_| connect(&all)).collect();
        for (connection, times) in used.iter().zip([2, 1, 1, 3]) {
            serve(connection, times).await;
        }
        used[2].connection_use.sending();
        // All were used right now.
        assert!(!connect(&all).is_kept);
        advance(MIN_IDLE).await;
        let mut later = Vec::new();
        for closed in [&[1][..], &[0, 1], &[0, 1, 3]] {
            later.push(connect(&all));
            assert!(later.last().expect("one").is_kept);
            for (number, connection) in used.iter().enumerate() {
                assert_eq!(is_over(connection), closed.contains(&number), "{number}");
            }
        }
        // The only old one has a request under way, and the later ones have not served.
        assert!(!connect(&all).is_kept);
        drop(later);
        assert!(connect(&all).is_kept);
    }
}
