//! An HTTP/1.1 client with one persistent connection per instance.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The longest wait for a response. Only an instance that hangs takes so long.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest response body that is read, in bytes.
const MAX_BODY: usize = 1 << 20;

/// The address of an instance.
#[derive(Clone, Debug)]
pub struct Address {
    authority: String,
    host: HeaderValue,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

impl Address {
    pub fn parse(url: &str) -> Result<Self, String> {
        let expected = || format!("expected http://HOST:PORT, not {url}");
        let uri: Uri = url.parse().map_err(|_| expected())?;
        let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/");
        // Its requests have no credentials: a user name and a password would only be printed.
        let plain = plain
            && !uri
                .authority()
                .is_some_and(|one| one.as_str().contains('@'));
        let authority = uri.authority().filter(|_| plain && uri.query().is_none());
        let authority = authority.ok_or_else(expected)?.to_string();
        let port = uri.port().map_or(":80", |_| "");
        Ok(Self {
            host: authority.parse().map_err(|_| expected())?,
            authority: authority + port,
        })
    }
}

/// The error of a request.
pub enum RequestError {
    /// There was no response, or its body ended early.
    Connection(String),
    /// The response was not 2xx.
    Status(StatusCode, Bytes),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection(reason) => f.write_str(reason),
            Self::Status(status, body) => {
                let shown = &body[..body.len().min(200)];
                write!(f, "{status}: {}", String::from_utf8_lossy(shown))
            }
        }
    }
}

impl RequestError {
    fn connection(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason += &format!(": {error}");
            cause = error.source();
        }
        Self::Connection(reason)
    }
}

/// A 2xx response.
pub struct Reply {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    /// All values of a field, joined; empty if there is none.
    pub fn field(&self, name: &str) -> String {
        let values: Vec<_> = self
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        values.join(", ")
    }
}

/// A connection for one request at a time. It is opened for the first request, and again after an
/// error.
pub struct Connection {
    pub address: Address,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub fn new(address: &Address) -> Self {
        Self {
            address: address.clone(),
            sender: None,
        }
    }

    /// Sends a request and reads the whole response.
    pub async fn send(
        &mut self,
        method: Method,
        path: &Uri,
        body: impl Into<Bytes>,
    ) -> Result<Reply, RequestError> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.address.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Taken out, so that it is dropped unless the exchange completes.
        let sender = self.sender.take().filter(|sender| !sender.is_closed());
        let exchange = exchange(sender, &self.address, request);
        let (sender, status, reply) =
            timeout(RESPONSE_TIMEOUT, exchange)
                .await
                .unwrap_or_else(|_| {
                    Err(RequestError::Connection(format!(
                        "no response within {RESPONSE_TIMEOUT:?}"
                    )))
                })?;
        self.sender = Some(sender);
        match status.is_success() {
            true => Ok(reply),
            false => Err(RequestError::Status(status, reply.body)),
        }
    }
}

async fn exchange(
    sender: Option<SendRequest<Full<Bytes>>>,
    address: &Address,
    request: Request<Full<Bytes>>,
) -> Result<(SendRequest<Full<Bytes>>, StatusCode, Reply), RequestError> {
    let mut sender = match sender {
        Some(sender) => sender,
        None => open(address).await?,
    };
    sender.ready().await.map_err(RequestError::connection)?;
    let response = sender.send_request(request).await;
    let (head, body) = response.map_err(RequestError::connection)?.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let reply = Reply {
        headers: head.headers,
        body: body.map_err(RequestError::connection)?.to_bytes(),
    };
    Ok((sender, head.status, reply))
}

async fn open(address: &Address) -> Result<SendRequest<Full<Bytes>>, RequestError> {
    let stream = TcpStream::connect(&address.authority).await;
    let stream = stream.map_err(RequestError::connection)?;
    stream.set_nodelay(true).map_err(RequestError::connection)?;
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(RequestError::connection)?;
    // The task ends with its sender, which also returns the connection's errors.
    tokio::spawn(connection);
    Ok(sender)
}
