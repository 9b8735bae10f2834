//! HTTP/1.1 over connections that are kept.

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

/// Only a server that hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

const LONGEST_BODY: usize = 1 << 20;

/// Where an instance listens.
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
        let authority = uri.authority().filter(|_| plain && uri.query().is_none());
        let authority = authority.ok_or_else(expected)?.to_string();
        let port = uri.port().map_or(":80", |_| "");
        Ok(Self {
            host: authority.parse().map_err(|_| expected())?,
            authority: authority + port,
        })
    }
}

/// Why a request came to nothing.
pub enum Trouble {
    /// No answer, or not the whole of it
    Broken(String),
    /// One that is not 2xx
    Refused(StatusCode, Bytes),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(reason) => f.write_str(reason),
            Self::Refused(status, body) => {
                let shown = &body[..body.len().min(200)];
                write!(f, "{status}: {}", String::from_utf8_lossy(shown))
            }
        }
    }
}

impl Trouble {
    fn broken(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let error = error.into();
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            reason += &format!(": {error}");
            cause = error.source();
        }
        Self::Broken(reason)
    }
}

pub struct Answer {
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// All values of a field; empty where there is none.
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

/// One request at a time; opened when it is needed, and again after it broke.
pub struct Connection {
    pub address: Address,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Connection {
    pub fn to(address: &Address) -> Self {
        Self {
            address: address.clone(),
            sender: None,
        }
    }

    /// A 2xx answer, whole.
    pub async fn ask(
        &mut self,
        method: Method,
        path: &Uri,
        body: impl Into<Bytes>,
    ) -> Result<Answer, Trouble> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = method;
        *request.uri_mut() = path.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.address.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Kept only by an exchange that came to its end.
        let sender = self.sender.take().filter(|sender| !sender.is_closed());
        let exchange = exchange(sender, &self.address, request);
        let (sender, status, answer) = timeout(PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| Err(Trouble::Broken(format!("no answer in {PATIENCE:?}"))))?;
        self.sender = Some(sender);
        match status.is_success() {
            true => Ok(answer),
            false => Err(Trouble::Refused(status, answer.body)),
        }
    }
}

async fn exchange(
    sender: Option<SendRequest<Full<Bytes>>>,
    address: &Address,
    request: Request<Full<Bytes>>,
) -> Result<(SendRequest<Full<Bytes>>, StatusCode, Answer), Trouble> {
    let mut sender = match sender {
        Some(sender) => sender,
        None => open(address).await?,
    };
    sender.ready().await.map_err(Trouble::broken)?;
    let answer = sender.send_request(request).await;
    let (head, body) = answer.map_err(Trouble::broken)?.into_parts();
    let body = Limited::new(body, LONGEST_BODY).collect().await;
    let answer = Answer {
        headers: head.headers,
        body: body.map_err(Trouble::broken)?.to_bytes(),
    };
    Ok((sender, head.status, answer))
}

async fn open(address: &Address) -> Result<SendRequest<Full<Bytes>>, Trouble> {
    let stream = TcpStream::connect(&address.authority).await;
    let stream = stream.map_err(Trouble::broken)?;
    stream.set_nodelay(true).map_err(Trouble::broken)?;
    let opened = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = opened.map_err(Trouble::broken)?;
    // Ends with its sender, which hears of what goes wrong.
    tokio::spawn(connection);
    Ok(sender)
}
