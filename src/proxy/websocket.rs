//! WebSockets (RFC 6455): after a 101 the proxy copies bytes between client and upstream.
//!
//! Knows nothing of the WebSocket protocol beyond its handshake's fields.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, Method, Request, Response, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tracing::{Instrument, Span};

use crate::semantics::fields;

/// The client's side of a WebSocket, available once the client has received its 101.
pub(super) struct WebSocketTunnel {
    client: OnUpgrade,
    /// All that is logged about the tunnel says which request it is of.
    span: Span,
}

impl WebSocketTunnel {
    /// Takes the client's side from a request for a WebSocket; `None` for any other request.
    ///
    /// Other protocols are not upgraded to: a server may ignore `Upgrade` (RFC 9110 §7.8).
    pub(super) fn from_request<B>(request: &mut Request<B>) -> Option<Self> {
        if !is_requested(request) {
            return None;
        }
        let client = request.extensions_mut().remove::<OnUpgrade>()?;
        let (method, path) = (request.method(), request.uri().path());
        let span = tracing::debug_span!("websocket", %method, path);
        Some(Self { client, span })
    }

    /// Whether a 101 switches to the WebSocket protocol.
    pub(super) fn is_accepted<B>(response: &Response<B>) -> bool {
        is_websocket_upgrade(response.headers())
    }

    /// Connects both sides in a task that ends when one side fails or both have ended.
    pub(super) fn connect<B>(self, response: &mut Response<B>) {
        let upstream = hyper::upgrade::on(response);
        let tunnel = async move {
            let (client, upstream) = match tokio::try_join!(self.client, upstream) {
                Ok(both) => both,
                Err(error) => {
                    tracing::debug!(%error, "websocket not established");
                    return;
                }
            };
            let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            match tokio::io::copy_bidirectional(&mut client, &mut upstream).await {
                Ok((sent, received)) => tracing::debug!(sent, received, "websocket closed"),
                Err(error) => tracing::debug!(%error, "websocket failed"),
            }
        };
        tokio::spawn(tunnel.instrument(self.span));
    }
}

/// Whether a request is for a WebSocket, and its connection can become one.
pub(super) fn is_requested<B>(request: &Request<B>) -> bool {
    request.version() == Version::HTTP_11
        && request.method() == Method::GET
        && is_websocket_upgrade(request.headers())
        && request.extensions().get::<OnUpgrade>().is_some()
}

/// Whether `Connection` and `Upgrade` ask for, or agree to, the WebSocket protocol.
fn is_websocket_upgrade(headers: &HeaderMap) -> bool {
    let equals = |wanted: &'static [u8]| move |value: &[u8]| value.eq_ignore_ascii_case(wanted);
    let protocol = fields::single(headers, &UPGRADE);
    fields::list(headers, &CONNECTION).any(equals(b"upgrade"))
        && protocol.is_some_and(|protocol| equals(b"websocket")(protocol.as_bytes()))
}
