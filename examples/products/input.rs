//! The products in clients' requests, and the errors of invalid ones.

use std::fmt;

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::failure::Failure;

const MAX_BODY: usize = 64 * 1024;
const MAX_NAME: usize = 200;
const MAX_PRICE: f64 = 1e12;

/// How much of a body that is too long is read and discarded, in bytes: many clients read the
/// response only after they have sent everything.
const MAX_DISCARDED: usize = 32 * 1024 * 1024;

/// The content of a POST or PUT.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    #[serde(deserialize_with = "name")]
    pub name: String,
    #[serde(deserialize_with = "price")]
    pub price: f64,
}

impl<S: Sync> FromRequest<S> for Draft {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let (head, body) = request.into_parts();
        let body = read(&head.headers, body).await?;
        require_json(&head.headers)?;
        parse(&body)
    }
}

async fn read(headers: &HeaderMap, mut body: Body) -> Result<Vec<u8>, Failure> {
    let too_long = || {
        let message = format!("the body is longer than {MAX_BODY} bytes");
        Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    };
    let announced = body.size_hint().lower();
    if headers.contains_key(EXPECT) && announced > MAX_BODY as u64 {
        return Err(too_long());
    }
    let (mut bytes, mut length) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let message = format!("the body was cut off: {error}");
            Failure::new(StatusCode::BAD_REQUEST, message)
        })?;
        let data = frame.into_data().unwrap_or_default();
        length += data.len();
        if length <= MAX_BODY {
            bytes.extend_from_slice(&data);
        } else if length > MAX_DISCARDED {
            break;
        }
    }
    if length > MAX_BODY {
        return Err(too_long());
    }
    Ok(bytes)
}

fn require_json(headers: &HeaderMap) -> Result<(), Failure> {
    let given = headers
        .get(CONTENT_TYPE)
        .map(|value| String::from_utf8_lossy(value.as_bytes()));
    let media_type = given.as_deref().and_then(|given| given.split(';').next());
    if media_type.is_some_and(|name| name.trim().eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    let found = given.as_deref().unwrap_or("missing");
    let message = format!("the content type must be application/json, but is {found}");
    Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message))
}

fn parse(body: &[u8]) -> Result<Draft, Failure> {
    let Object(draft) = serde_json::from_slice(body).map_err(|error: serde_json::Error| {
        let reason = error.to_string();
        // 1e999 is valid JSON, but a syntax error to serde_json.
        if error.is_data() || reason.starts_with("number out of range") {
            let message = format!("the body is not a product: {reason}");
            Failure::new(StatusCode::UNPROCESSABLE_ENTITY, message)
        } else {
            let message = format!("the body is not JSON: {reason}");
            Failure::new(StatusCode::BAD_REQUEST, message)
        }
    })?;
    Ok(draft)
}

/// A draft that must be an object: serde also accepts an array for a struct.
struct Object(Draft);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectOnly).map(Self)
    }
}

struct ObjectOnly;

impl<'de> Visitor<'de> for ObjectOnly {
    type Value = Draft;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with name and price")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Draft, A::Error> {
        Draft::deserialize(MapAccessDeserializer::new(map))
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_str(Name)
}

struct Name;

impl Visitor<'_> for Name {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string as name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<String, E> {
        if name.trim().is_empty() {
            return Err(E::custom("the name is empty"));
        }
        if name.chars().count() > MAX_NAME {
            let message = format!("the name is longer than {MAX_NAME} characters");
            return Err(E::custom(message));
        }
        Ok(name.to_owned())
    }
}

fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_f64(Price)
}

struct Price;

impl Visitor<'_> for Price {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number as price")
    }

    fn visit_f64<E: Error>(self, price: f64) -> Result<f64, E> {
        if !price.is_finite() || price > MAX_PRICE {
            return Err(E::custom(format!("the price is above {MAX_PRICE}")));
        }
        if price < 0.0 {
            return Err(E::custom("the price is negative"));
        }
        // The sign of -0 means nothing.
        Ok(price.abs())
    }

    fn visit_u64<E: Error>(self, price: u64) -> Result<f64, E> {
        self.visit_f64(price as f64)
    }

    fn visit_i64<E: Error>(self, price: i64) -> Result<f64, E> {
        self.visit_f64(price as f64)
    }
}
