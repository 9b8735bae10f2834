//! Wrong products: each with its own clear error, and nothing changed.

use bytes::Bytes;
use http::Method;
use http::header::CONTENT_TYPE;

use crate::rejection::{assert_error, assert_nothing_changed, server_with_a_product};

const JSON: Option<&str> = Some("application/json");

const PRODUCTS: &[(&str, u16, &str)] = &[
    ("", 400, "not JSON: EOF"),
    ("lamp", 400, "not JSON: expected value"),
    (r#"{"name":"Lamp","price":1"#, 400, "not JSON: EOF"),
    (
        r#"{"name":"Lamp","price":1} x"#,
        400,
        "not JSON: trailing characters",
    ),
    (
        r#"{"name":"Lamp","price":NaN}"#,
        400,
        "not JSON: expected value at line 1 column 24",
    ),
    (
        "null",
        422,
        "invalid type: null, expected an object with name and price",
    ),
    (
        r#"["Lamp",1]"#,
        422,
        "invalid type: sequence, expected an object",
    ),
    ("{}", 422, "missing field `name`"),
    (r#"{"price":1}"#, 422, "missing field `name`"),
    (r#"{"name":"Lamp"}"#, 422, "missing field `price`"),
    (
        r#"{"name":7,"price":1}"#,
        422,
        "integer `7`, expected a string as name",
    ),
    (
        r#"{"name":null,"price":1}"#,
        422,
        "null, expected a string as name",
    ),
    (
        r#"{"name":"Lamp","price":"1"}"#,
        422,
        "string \"1\", expected a number as price",
    ),
    (
        r#"{"name":"Lamp","price":null}"#,
        422,
        "null, expected a number as price",
    ),
    (
        r#"{"name":"Lamp","price":"NaN"}"#,
        422,
        "expected a number as price",
    ),
    (r#"{"name":"","price":1}"#, 422, "the name is empty"),
    (
        r#"{"name":" \t\u00a0","price":1}"#,
        422,
        "the name is empty",
    ),
    (
        r#"{"name":"Lamp","price":-1}"#,
        422,
        "the price is negative",
    ),
    (
        r#"{"name":"Lamp","price":-0.01}"#,
        422,
        "the price is negative",
    ),
    (
        r#"{"name":"Lamp","price":1000000000001}"#,
        422,
        "the price is above 1000000000000",
    ),
    (
        r#"{"name":"Lamp","price":1e300}"#,
        422,
        "the price is above 1000000000000",
    ),
    (
        r#"{"name":"Lamp","price":1e999}"#,
        422,
        "number out of range",
    ),
    (
        r#"{"name":"Lamp","price":1,"colour":"red"}"#,
        422,
        "unknown field `colour`",
    ),
    (
        r#"{"name":"Lamp","price":1,"price":2}"#,
        422,
        "duplicate field `price`",
    ),
];

#[tokio::test]
async fn wrong_products_change_nothing() {
    let (server, path, before) = server_with_a_product().await;
    let long_name = format!(r#"{{"name":"{}","price":1}}"#, "n".repeat(201));
    let too_long = (&*long_name, 422, "the name is longer than 200 characters");
    for (body, status, message) in PRODUCTS.iter().copied().chain([too_long]) {
        for (method, target) in [(Method::POST, "/products"), (Method::PUT, path.as_str())] {
            let case = format!("{method} {body}");
            let request = server
                .request(method, target)
                .header(CONTENT_TYPE, "application/json");
            let answer = server.ask(request, body.to_owned()).await;
            assert_error(&answer, status, message, &case);
            assert_nothing_changed(&server, &path, &before, &case).await;
        }
    }
    assert_eq!(server.stats().await["database"]["writes"], 1);
}

#[tokio::test]
async fn wrong_content_changes_nothing() {
    let (server, path, before) = server_with_a_product().await;
    let lamp = || Bytes::from_static(br#"{"name":"Lamp","price":1}"#);
    let megabytes = |count: usize| Bytes::from(vec![b' '; count << 20]);
    let barely = Bytes::from(vec![b' '; (64 << 10) + 1]);
    for (content_type, body, status, message) in [
        (
            None,
            lamp(),
            415,
            "must be application/json, but is missing",
        ),
        (Some("text/plain"), lamp(), 415, "but is text/plain"),
        (
            Some("application/jsonx"),
            lamp(),
            415,
            "but is application/jsonx",
        ),
        (JSON, Bytes::from_static(b"\xff\xfe"), 400, "not JSON"),
        (JSON, barely, 413, "longer than 65536 bytes"),
        (JSON, megabytes(10), 413, "longer than 65536 bytes"),
        (None, megabytes(10), 413, "longer than 65536 bytes"),
    ] {
        for (method, target) in [(Method::POST, "/products"), (Method::PUT, path.as_str())] {
            let case = format!("{method} {content_type:?}, {} bytes", body.len());
            let mut request = server.request(method, target);
            if let Some(content_type) = content_type {
                request = request.header(CONTENT_TYPE, content_type);
            }
            let answer = server.ask(request, body.clone()).await;
            assert_error(&answer, status, message, &case);
            assert_nothing_changed(&server, &path, &before, &case).await;
        }
    }
    assert_eq!(server.stats().await["database"]["writes"], 1);
}
