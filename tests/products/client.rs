//! Speaks to a products server.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, Method, Request, StatusCode, request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client as Http;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

/// Clones are of the same connections.
#[derive(Clone)]
pub struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    base: String,
}

impl Client {
    pub fn new(base: &str) -> Self {
        Self {
            http: Http::builder(TokioExecutor::new()).build_http(),
            base: base.to_owned(),
        }
    }

    pub fn port(&self) -> u16 {
        let port = self.base.rsplit(':').next();
        port.unwrap().parse().expect("a port")
    }

    pub fn request(&self, method: Method, path: &str) -> request::Builder {
        let uri = format!("{}{path}", self.base);
        Request::builder().method(method).uri(uri)
    }

    pub async fn ask(&self, request: request::Builder, body: impl Into<Bytes>) -> Answer {
        let request = request.body(Full::new(body.into())).expect("a request");
        let answer = self.http.request(request).await.expect("an answer");
        let (head, body) = answer.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.expect("a whole body").to_bytes(),
        }
    }

    pub async fn send(&self, method: Method, path: &str) -> Answer {
        self.ask(self.request(method, path), "").await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path).await
    }

    pub async fn get_as(&self, host: &str, path: &str) -> Answer {
        let request = self.request(Method::GET, path).header(HOST, host);
        self.ask(request, "").await
    }

    pub async fn post(&self, name: &str, price: f64) -> Answer {
        self.write(self.request(Method::POST, "/products"), name, price)
            .await
    }

    pub async fn put(&self, path: &str, name: &str, price: f64) -> Answer {
        self.write(self.request(Method::PUT, path), name, price)
            .await
    }

    pub async fn put_as(&self, host: &str, path: &str, name: &str, price: f64) -> Answer {
        let request = self.request(Method::PUT, path).header(HOST, host);
        self.write(request, name, price).await
    }

    /// Whatever becomes of it.
    #[cfg(feature = "redis")]
    pub async fn try_put(&self, path: &str, product: String) {
        let request = self.request(Method::PUT, path);
        let request = request.header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(product.into()));
        let _ = self.http.request(request.expect("a request")).await;
    }

    async fn write(&self, request: request::Builder, name: &str, price: f64) -> Answer {
        let product = json!({"name": name, "price": price}).to_string();
        let request = request.header(CONTENT_TYPE, "application/json");
        self.ask(request, product).await
    }

    pub async fn stats(&self) -> Value {
        self.get("/stats").await.json()
    }
}

/// An answer, collected.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// A field's value; empty where there is none.
    pub fn header(&self, name: &str) -> String {
        let value = self.headers.get(name).map(|value| value.to_str());
        value.unwrap_or(Ok("")).expect("visible ASCII").to_owned()
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub fn data(&self) -> Value {
        self.json()["data"].clone()
    }

    pub fn source(&self) -> String {
        let source = self.json()["source"].as_str().map(str::to_owned);
        source.unwrap_or_else(|| panic!("no source: {self:?}"))
    }

    /// The bytes of this answer with another source.
    pub fn as_from(&self, source: &str) -> String {
        let text = self.text();
        let (envelope, _) = text.rsplit_once(r#","source":"#).expect("a source");
        format!("{envelope},\"source\":\"{source}\"}}\n")
    }
}
