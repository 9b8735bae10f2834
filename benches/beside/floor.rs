//! What hyper alone takes to pass a request on: the floor of the proxy in `benches/beside/run`.
//!
//! Each connection of a client has one to the upstream, and the two exchange hyper's own messages:
//! no cache, no pool, no limits, no fields changed, nothing repeated. Usage: `floor UPSTREAM`, the
//! address of an HTTP/1.1 server.

use std::error::Error;
use std::net::SocketAddr;

use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let upstream = std::env::args().nth(1).ok_or("usage: floor UPSTREAM")?;
    let upstream: SocketAddr = upstream.parse()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(serve(client, upstream));
    }
}

async fn serve(client: TcpStream, upstream: SocketAddr) -> Result<(), Failure> {
    client.set_nodelay(true)?;
    let sender = Mutex::new(connect(upstream).await?);
    let pass_on = service_fn(|request| async {
        let mut sender = sender.lock().await;
        sender.ready().await?;
        sender.send_request(request).await
    });
    let server = server::conn::http1::Builder::new();
    server
        .serve_connection(TokioIo::new(client), pass_on)
        .await?;
    Ok(())
}

async fn connect(upstream: SocketAddr) -> Result<SendRequest<Incoming>, Failure> {
    let stream = TcpStream::connect(upstream).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
