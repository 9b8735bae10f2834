//! One connection of HTTP/1.1 to a server. Whoever waits for a response drives it: there is no task
//! to wake, and a response that arrives in one piece is read in one go.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use http::uri::Authority;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use tokio::task::unconstrained;
use tokio::time::Instant;

use crate::proxy::body::in_flight::connection_use::ConnectionUse;
use crate::proxy::body::upload::RequestBody;
use crate::proxy::upstream::connect::ServerStream;
use crate::proxy::upstream::head_wait::KeptTimer;

/// hyper's connection, which ends when it is closed.
type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// A connection that serves one request after the other.
pub(super) struct Http1Connection {
    sender: SendRequest<RequestBody>,
    /// `None` once the connection is closed.
    driver: Option<Driver>,
    /// The host that the connection is for, where hosts do not share connections.
    pub(super) host: Option<Authority>,
    pub(super) connection_use: ConnectionUse,
    pub(super) opened: Instant,
    pub(super) idle_since: Instant,
    /// The requests that were sent on it.
    pub(super) requests: u64,
    /// The timer of the last wait for a head.
    pub(super) head_timer: KeptTimer,
}

impl Http1Connection {
    /// # Errors
    ///
    /// None that is known: HTTP/1.1 begins with the first request.
    pub(super) async fn new(
        stream: ServerStream,
        host: Option<Authority>,
        builder: &Builder,
    ) -> Result<Box<Self>, hyper::Error> {
        let connection_use = stream.inner().connection_use().clone();
        let (sender, driver) = builder.handshake(stream).await?;
        let now = Instant::now();
        Ok(Box::new(Self {
            sender,
            driver: Some(Box::pin(driver.with_upgrades())),
            host,
            connection_use,
            opened: now,
            idle_since: now,
            requests: 0,
            head_timer: None,
        }))
    }

    /// Sends a request and waits for the response's head. Cancelling the future leaves the
    /// connection in the middle of an exchange: drop it.
    ///
    /// # Errors
    ///
    /// With the request, if the connection was closed before any of it was sent.
    pub(super) async fn exchange(
        &mut self,
        request: Box<Request<RequestBody>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<RequestBody>>> {
        self.requests += 1;
        let response = self.sender.try_send_request(*request);
        let mut response = pin!(unconstrained(response));
        let answered = poll_fn(|cx| {
            self.drive(cx);
            // Only the driver brings it, which wakes the task by itself.
            let mut cx = Context::from_waker(Waker::noop());
            response.as_mut().poll(&mut cx)
        });
        let answered = answered.await?;
        self.connection_use.answered();
        Ok(answered)
    }

    /// Does what can be done now. The task is woken when there is more.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        let Some(driver) = &mut self.driver else {
            return;
        };
        // Its errors are those of the response, or of its content.
        if driver.as_mut().poll(cx).is_ready() {
            self.driver = None;
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.driver.is_none()
    }

    /// Whether the exchange has ended, and another one may begin.
    pub(super) fn is_free(&self) -> bool {
        !self.is_closed() && self.sender.is_ready()
    }

    /// Drives the connection until the exchange has ended, or the connection.
    pub(super) async fn until_free(&mut self) {
        poll_fn(|cx| {
            self.drive(cx);
            match self.is_closed() || self.sender.poll_ready(cx).is_ready() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

impl fmt::Debug for Http1Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1Connection").finish_non_exhaustive()
    }
}
