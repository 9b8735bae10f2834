//! Listening with room for clients that come at once.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket, lookup_host};

/// The most connections that wait to be accepted; the system may allow fewer (Linux:
/// `net.core.somaxconn`). With the 128 of the standard library, the system drops clients' packets
/// as soon as the process gets no CPU for some milliseconds; they try again after a second.
const BACKLOG: u32 = 4096;

/// Listens on an address, `HOST:PORT`: on the first of the host's addresses that allows it.
pub async fn listen(address: &str) -> io::Result<TcpListener> {
    let mut error = io::Error::new(io::ErrorKind::InvalidInput, "the host has no address");
    for address in lookup_host(address).await? {
        match listen_at(address) {
            Ok(listener) => return Ok(listener),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

fn listen_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // As `TcpListener::bind` does: old connections do not keep the address.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
