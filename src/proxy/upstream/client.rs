//! The client of one server, by the version that the server speaks.

use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};

use crate::proxy::body::timers::head_clock::HeadClock;
use crate::proxy::body::upload::RequestBody;

use super::head_wait::HeadWait;
use super::http1::Http1Client;
use super::http1::content::UpstreamContent;
use super::http2::Http2Client;
use super::options::ClientOptions;
use super::repetition::{FailedSend, Repeatable};

/// The connections to one server. Clones share them.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct UpstreamClient(Arc<Version>);

#[derive(Debug)]
enum Version {
    Http1(Http1Client),
    /// HTTP/2, or what the server chooses.
    Http2(Box<Http2Client>),
}

impl UpstreamClient {
    /// A client for the server of a URL.
    pub(super) fn new(server: &Uri, options: &ClientOptions) -> Self {
        let is_https = server.scheme() == Some(&Scheme::HTTPS);
        let may_be_http2 = options.http2_only || (is_https && options.negotiate_http2);
        Self(Arc::new(match may_be_http2 {
            true => Version::Http2(Box::new(Http2Client::new(server, options))),
            false => Version::Http1(Http1Client::new(server, options)),
        }))
    }

    /// Whether requests are to be sent to the host that the client asked for.
    pub(in crate::proxy) fn is_keyed_by_host(&self) -> bool {
        matches!(&*self.0, Version::Http1(client) if client.is_keyed_by_host())
    }

    /// Whether requests may be sent by HTTP/2.
    pub(in crate::proxy) fn may_be_http2(&self) -> bool {
        matches!(&*self.0, Version::Http2(_))
    }

    /// Sends a request in origin form to a host, and waits for the response's head until `clock` has
    /// run for `head_timeout`. A request without content needs none. One that was `lost` with its connection gets a new one: others in the
    /// pool may be closed, too.
    ///
    /// The time for connecting does not count: the connector has its own timeout. Cancelling the
    /// future gives the connection up.
    pub(in crate::proxy) async fn send(
        &self,
        host: &Authority,
        request: Box<Request<RequestBody>>,
        lost: Repeatable,
        clock: Option<&HeadClock>,
        head_timeout: Duration,
    ) -> Result<Response<UpstreamContent>, FailedSend> {
        let needs_new = lost == Repeatable::Idempotent;
        let wait = HeadWait {
            clock,
            timeout: head_timeout,
        };
        match &*self.0 {
            Version::Http1(client) => client.send(host, request, needs_new, wait).await,
            Version::Http2(client) => {
                // Boxed: its future is much larger than that of the other.
                Box::pin(client.send(host, *request, needs_new, wait)).await
            }
        }
    }
}
