//! Wrong ids, paths and methods: each with its own clear error, and nothing changed.

use http::Method;
use http::header::CONTENT_TYPE;

use crate::rejection::{assert_error, assert_nothing_changed, server_with_a_product};

const UNKNOWN: &str = "/products/00000000-0000-4000-8000-000000000000";

#[tokio::test]
async fn wrong_targets_change_nothing() {
    let (server, path, before) = server_with_a_product().await;
    let shouted = path.replace("/products/", "").to_ascii_uppercase();
    let shouted = format!("/products/{shouted}");
    let encoded = format!("/products/%{:02x}{}", path.as_bytes()[10], &path[11..]);
    let bare = path.replace('-', "");
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        for (target, status, message) in [
            (
                UNKNOWN,
                404,
                "there is no product 00000000-0000-4000-8000-000000000000",
            ),
            ("/products/7", 400, "invalid product id \"7\""),
            (&shouted, 400, "use a lower-case UUID with hyphens"),
            (&encoded, 400, "use a lower-case UUID with hyphens"),
            (&bare, 400, "use a lower-case UUID with hyphens"),
            ("/product", 404, "nothing found at /product"),
            ("/products/", 404, "nothing found at /products/"),
        ] {
            let case = format!("{method} {target}");
            let request = server.request(method.clone(), target);
            let request = request.header(CONTENT_TYPE, "application/json");
            let answer = server.ask(request, r#"{"name":"Desk","price":1}"#).await;
            assert_error(&answer, status, message, &case);
            assert_nothing_changed(&server, &path, &before, &case).await;
        }
    }
}

#[tokio::test]
async fn wrong_methods_are_answered_with_the_allowed_ones() {
    let (server, path, before) = server_with_a_product().await;
    for (target, wrong, allowed) in [
        (
            "/products",
            &["PUT", "PATCH", "DELETE", "OPTIONS", "BREW"][..],
            "GET,HEAD,POST",
        ),
        (
            &path,
            &["POST", "PATCH", "OPTIONS", "BREW"],
            "GET,HEAD,PUT,DELETE",
        ),
        ("/stats", &["PUT", "POST", "DELETE", "OPTIONS"], "GET,HEAD"),
        ("/", &["PUT", "POST", "DELETE", "OPTIONS"], "GET,HEAD"),
    ] {
        for method in wrong {
            let case = format!("{method} {target}");
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let answer = server.send(method, target).await;
            assert_error(&answer, 405, &format!("is not allowed on {target}"), &case);
            assert_eq!(answer.header("allow"), allowed, "{case}");
            assert_nothing_changed(&server, &path, &before, &case).await;
        }
    }
}
