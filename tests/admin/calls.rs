//! Calls of the service.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use tower::ServiceExt;
use tower_response_cache::BoxError;
use tower_response_cache::admin::Admin;

pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// An answer of the service, collected.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().expect("text"))
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// Sends a request with any content.
pub async fn call<B>(admin: &Admin, request: Request<B>) -> Answer
where
    B: Body<Data: Send> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let answer = admin.clone().oneshot(request).await;
    let (head, body) = answer.expect("infallible").into_parts();
    let content = body.collect().await.expect("infallible").to_bytes();
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8(content.into()).expect("UTF-8"),
    }
}

/// A request with these field lines, to this machine.
pub fn request(
    method: &str,
    path: &str,
    lines: &[(&str, &str)],
    content: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(path);
    if lines.iter().all(|(name, _)| *name != "host") {
        request = request.header("host", "127.0.0.1:9090");
    }
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    request.body(Full::new(content.into())).expect("a request")
}

/// A GET with the token.
pub async fn get(admin: &Admin, path: &str) -> Answer {
    let token = format!("Bearer {TOKEN}");
    call(
        admin,
        request("GET", path, &[("authorization", &token)], ""),
    )
    .await
}

/// A POST of JSON with the token.
pub async fn post(admin: &Admin, path: &str, content: &Value) -> Answer {
    let token = format!("Bearer {TOKEN}");
    let lines = [
        ("authorization", &*token),
        ("content-type", "application/json"),
    ];
    call(admin, request("POST", path, &lines, content.to_string())).await
}
