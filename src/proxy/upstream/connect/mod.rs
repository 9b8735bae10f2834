//! Connecting to one server: DNS lookup, attempts at its addresses, TLS handshake.
//!
//! Knows nothing of requests. Start reading with [`ServerConnector`].

mod attempts;
pub(super) mod connection;
#[cfg(feature = "proxy-tls")]
mod tls;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use crate::error::BoxError;
use crate::proxy::dns_error::DnsError;

use self::attempts::connect_to_first;
use self::connection::UpstreamConnection;
use super::addresses::{AvoidedAddresses, Resolver};
use super::options::ClientOptions;

/// The interval of TCP keep-alive probes.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// The stream to a server, with TLS if the scheme of its URL is `https`.
#[cfg(not(feature = "proxy-tls"))]
type Stream = TokioIo<TcpStream>;
#[cfg(feature = "proxy-tls")]
type Stream = hyper_rustls::MaybeHttpsStream<TokioIo<TcpStream>>;

/// A connection to a server, before any HTTP.
pub(super) type ServerStream = TokioIo<UpstreamConnection<TokioIo<Stream>>>;

type ConnectionFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

#[cfg(not(feature = "proxy-tls"))]
type StreamConnector = TcpConnector;
#[cfg(feature = "proxy-tls")]
type StreamConnector = hyper_rustls::HttpsConnector<TcpConnector>;

/// Connects to one server, whatever the authority of a request's URI. That is the name for the
/// TLS handshake, and the key of hyper's pool.
///
/// hyper's client copies it for each request.
#[derive(Clone, Debug)]
pub(super) struct ServerConnector(Arc<Connector>);

#[derive(Debug)]
struct Connector {
    inner: StreamConnector,
    timeout: Duration,
}

impl ServerConnector {
    /// A connector for the server of a URL.
    pub(super) fn new(server: &Uri, options: &ClientOptions) -> Self {
        let tcp = TcpConnector::new(server, options);
        #[cfg(feature = "proxy-tls")]
        let tcp = tls::with_tls(tcp, options);
        Self(Arc::new(Connector {
            inner: tcp,
            timeout: options.connect_timeout,
        }))
    }
}

impl Service<Uri> for ServerConnector {
    type Response = ServerStream;
    type Error = BoxError;
    type Future = ConnectionFuture<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = &*self.0;
        let stream = timeout(connector.timeout, connector.inner.clone().call(uri));
        Box::pin(async move {
            match stream.await {
                Ok(stream) => {
                    let stream = UpstreamConnection::new(TokioIo::new(stream?));
                    Ok(TokioIo::new(stream))
                }
                Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed).into()),
            }
        })
    }
}

/// Connects to one of a server's addresses.
#[derive(Clone, Debug)]
struct TcpConnector {
    server: Arc<HostAndPort>,
    resolver: Resolver,
    avoided: AvoidedAddresses,
    http: HttpConnector,
    timeout: Duration,
}

/// The error of a server that cannot be reached. Without it the TLS handshake has failed, for which
/// a client may have chosen the name.
#[derive(Debug)]
pub(in crate::proxy) struct Unreachable(BoxError);

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the server cannot be reached")
    }
}

impl std::error::Error for Unreachable {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

#[derive(Debug)]
struct HostAndPort {
    /// A name, or an IP address without brackets.
    host: String,
    port: u16,
}

impl TcpConnector {
    fn new(server: &Uri, options: &ClientOptions) -> Self {
        let mut http = HttpConnector::new();
        http.set_nodelay(true);
        http.set_keepalive(Some(TCP_KEEPALIVE));
        let host = server.host().unwrap_or_default();
        let default_port = if server.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let server = HostAndPort {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: server.port_u16().unwrap_or(default_port),
        };
        Self {
            server: Arc::new(server),
            resolver: options.resolver.clone(),
            avoided: AvoidedAddresses::default(),
            http,
            timeout: options.connect_timeout,
        }
    }

    async fn connect(self) -> Result<TokioIo<TcpStream>, BoxError> {
        let HostAndPort { host, port } = &*self.server;
        let addresses = self.resolver.resolve(host, *port).await;
        let mut addresses = addresses.map_err(DnsError)?;
        self.avoided.move_to_end(&mut addresses);
        let connect = |address: std::net::SocketAddr| {
            let mut http = self.http.clone();
            async move {
                // hyper's connector looks no IP address up.
                let uri: Uri = format!("http://{address}").parse()?;
                http.call(uri).await.map_err(BoxError::from)
            }
        };
        let connected = connect_to_first(addresses, connect, &self.avoided).await;
        connected.ok_or_else(|| BoxError::from(DnsError::no_address()))?
    }
}

impl Service<Uri> for TcpConnector {
    type Response = TokioIo<TcpStream>;
    type Error = BoxError;
    type Future = ConnectionFuture<Self::Response>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let connected = timeout(self.timeout, self.clone().connect());
        Box::pin(async move {
            let connected = connected.await;
            let connected = connected.unwrap_or_else(|elapsed| {
                Err(io::Error::new(io::ErrorKind::TimedOut, elapsed).into())
            });
            connected.map_err(|error| Unreachable(error).into())
        })
    }
}
