//! WebSockets (RFC 6455): after the 101 both sides are connected, byte by byte.

use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, Method, Request, Response, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::semantics::fields;

/// The client's side, once it has got its 101.
pub(super) struct Tunnel(OnUpgrade);

/// Takes the client's side of a request for a WebSocket. Nothing else is upgraded: RFC 9110 §7.8 lets it be ignored.
pub(super) fn wanted<B>(request: &mut Request<B>) -> Option<Tunnel> {
    let may = request.version() == Version::HTTP_11 && request.method() == Method::GET;
    if !may || !is_to_websocket(request.headers()) {
        return None;
    }
    let client = request.extensions_mut().remove::<OnUpgrade>();
    client.map(Tunnel)
}

fn is_to_websocket(headers: &HeaderMap) -> bool {
    let is = |wanted: &'static [u8]| move |member: &[u8]| member.eq_ignore_ascii_case(wanted);
    let protocol = fields::single(headers, &UPGRADE);
    fields::list(headers, &CONNECTION).any(is(b"upgrade"))
        && protocol.is_some_and(|protocol| is(b"websocket")(protocol.as_bytes()))
}

impl Tunnel {
    /// Whether the upstream switched to what it was asked for.
    pub(super) fn is_agreed<B>(&self, answer: &Response<B>) -> bool {
        is_to_websocket(answer.headers())
    }

    /// Connects both sides, until one of them fails or both have ended.
    pub(super) fn connect<B>(self, answer: &mut Response<B>) {
        let upstream = hyper::upgrade::on(answer);
        tokio::spawn(async move {
            let (client, upstream) = match tokio::try_join!(self.0, upstream) {
                Ok(both) => both,
                Err(error) => {
                    tracing::debug!(%error, "a tunnel did not come about");
                    return;
                }
            };
            let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            match tokio::io::copy_bidirectional(&mut client, &mut upstream).await {
                Ok((sent, received)) => tracing::debug!(sent, received, "a tunnel ended"),
                Err(error) => tracing::debug!(%error, "a tunnel broke"),
            }
        });
    }
}
