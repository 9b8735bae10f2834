//! The system's queue of connections that are not accepted yet.

use std::time::Duration;

use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::TcpStream;

/// Tells whether a connection waits to be accepted, which accept itself does not where no file is
/// left: it fails before it looks.
pub struct AcceptQueue {
    /// The listener once more, which has a file from the beginning. It is no stream, but is asked
    /// in the same way whether it is readable.
    #[cfg(unix)]
    listener: Option<std::net::TcpStream>,
}

#[cfg(unix)]
impl AcceptQueue {
    pub fn new(listener: &TcpListener) -> Self {
        use std::os::fd::AsFd;
        let listener = listener.as_fd().try_clone_to_owned().ok();
        Self {
            listener: listener.map(Into::into),
        }
    }

    /// Waits until a connection is in the queue; `false` if none is after this time.
    pub async fn has_connection(&mut self, patience: Duration) -> bool {
        // Registered anew each time: it then hears of connections that have come before, too.
        let listener = self.listener.take().map(TcpStream::from_std);
        let Some(Ok(listener)) = listener else {
            return true;
        };
        let is_readable = tokio::time::timeout(patience, listener.readable()).await;
        self.listener = listener.into_std().ok();
        is_readable.is_ok()
    }
}

#[cfg(not(unix))]
impl AcceptQueue {
    pub fn new(_: &TcpListener) -> Self {
        Self {}
    }

    /// It is not known: errors of accept are those of a connection that waits.
    pub async fn has_connection(&mut self, _: Duration) -> bool {
        true
    }
}
