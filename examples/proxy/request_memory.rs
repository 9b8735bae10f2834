//! The memory of the requests that wait, of which each client has its share.
//!
//! A request of HTTP/2 takes its client a few bytes: fields that were sent once may be repeated by
//! their number, and many requests share a connection. Here they take all their bytes, as often as
//! they wait: for an upstream, or for another request. Start at [`RequestMemory::take`].

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::quantity;
use crate::reached::Reached;

const MIN_MAX: u64 = 1024 * 1024;

/// The memory of all requests under way. Clones share it.
#[derive(Clone)]
pub struct RequestMemory(Arc<Shared>);

struct Shared {
    max: usize,
    tells_clients_apart: bool,
    taken: Mutex<Taken>,
    refused: Reached,
}

/// In bytes.
#[derive(Default)]
struct Taken {
    all: usize,
    of_clients: HashMap<IpAddr, usize>,
}

/// What a request takes, until it is dropped.
pub struct RequestBytes {
    memory: RequestMemory,
    client: Option<IpAddr>,
    bytes: usize,
}

/// Reads the limit. Less than this has no room for a few requests with large heads.
pub fn parse_max(text: &str) -> Result<u64, String> {
    let max = quantity::size(text)?;
    match max >= MIN_MAX {
        true => Ok(max),
        false => Err("it must be at least 1MiB".to_owned()),
    }
}

impl RequestMemory {
    /// At most `max` bytes. Where clients are told apart, one may take more as long as it has less
    /// than is free then: about half.
    pub fn new(max: usize, tells_clients_apart: bool) -> Self {
        Self(Arc::new(Shared {
            max,
            tells_clients_apart,
            taken: Mutex::default(),
            refused: Reached::default(),
        }))
    }

    /// Takes so many bytes for a request of a client; `None` if there are too few.
    pub fn take(&self, client: Option<IpAddr>, bytes: usize) -> Option<RequestBytes> {
        let client = client.filter(|_| self.0.tells_clients_apart);
        let mut taken = self.lock();
        let own = client.and_then(|client| taken.of_clients.get(&client).copied());
        let own = own.unwrap_or(0) + bytes;
        let free = self.0.max.saturating_sub(taken.all);
        if own > free {
            drop(taken);
            self.log_refused(client, bytes > free);
            return None;
        }
        taken.all += bytes;
        if let Some(client) = client {
            taken.of_clients.insert(client, own);
        }
        drop(taken);
        let memory = self.clone();
        Some(RequestBytes {
            memory,
            client,
            bytes,
        })
    }

    /// How many requests were refused.
    pub fn refused(&self) -> u64 {
        self.0.refused.count()
    }

    /// One of a client that has its share, or one where all have `taken_all`.
    fn log_refused(&self, client: Option<IpAddr>, taken_all: bool) {
        let Some(count) = self.0.refused.add() else {
            return;
        };
        let client = client.map(tracing::field::display);
        match taken_all {
            true => tracing::warn!(
                count,
                client,
                "requests refused: those under way take --max-request-memory"
            ),
            false => tracing::warn!(
                count,
                client,
                "requests refused: those of their client take half of --max-request-memory"
            ),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        // No critical section panics.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RequestBytes {
    fn drop(&mut self) {
        let mut taken = self.memory.lock();
        taken.all -= self.bytes;
        let Some(client) = self.client else { return };
        if let Some(own) = taken.of_clients.get_mut(&client) {
            *own -= self.bytes;
            if *own == 0 {
                taken.of_clients.remove(&client);
            }
        }
    }
}

pin_project! {
    /// The future of a request, which takes memory until the head of its response is there.
    pub struct WithMemory<F> {
        #[pin]
        future: F,
        bytes: Option<RequestBytes>,
    }
}

impl<F> WithMemory<F> {
    pub fn new(future: F, bytes: Option<RequestBytes>) -> Self {
        Self { future, bytes }
    }
}

impl<F: Future> Future for WithMemory<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let output = ready!(this.future.poll(cx));
        *this.bytes = None;
        Poll::Ready(output)
    }
}
