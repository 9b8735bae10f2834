//! How a request arrives: what its connection says of it before any layer sees it.
//!
//! Requests that operators ask to be explained arrive by the same function as those of clients.

use std::net::{IpAddr, Ipv4Addr};

use http::Request;
use http::uri::Scheme;
use tower_response_cache::proxy::Peer;

/// Adds the client of the connection to a request.
pub fn add_peer<B>(request: &mut Request<B>, client: IpAddr, is_secure: bool) {
    let peer = Peer::new(client).secure(is_secure);
    request.extensions_mut().insert(peer);
}

/// Lets a request that is to be explained arrive from this machine: by the scheme of its URI, or
/// else by that of the listener.
pub fn arrive_explained<B>(mut request: Request<B>, is_listener_secure: bool) -> Request<B> {
    let scheme = request.extensions().get::<Scheme>();
    let is_secure = scheme.map_or(is_listener_secure, |scheme| *scheme == Scheme::HTTPS);
    add_peer(&mut request, Ipv4Addr::LOCALHOST.into(), is_secure);
    request
}
