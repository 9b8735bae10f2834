//! Fields that give a request another method (N59), which some frameworks obey.

use crate::example::Example;
use crate::origin::{Origin, fresh};
use crate::raw::{exchange, last_get};

const FIELDS: [&str; 3] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
];

fn overridden(path: &str, field: &str, method: &str) -> String {
    let line = format!("{field}: {method}\r\nconnection:");
    last_get(path).replacen("connection:", &line, 1)
}

/// Such a request is no GET for the cache: it gets no stored response, and stores none.
#[tokio::test]
async fn a_request_of_another_method_has_nothing_to_do_with_the_stored_response() {
    let origin = Origin::saying(fresh("hello")).await;
    let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
    for field in FIELDS {
        for method in ["DELETE", "HEAD", "x"] {
            let path = format!("/{field}/{method}");
            // It comes first: the plain request after it is a miss.
            let said = exchange(proxy.port(), overridden(&path, field, method)).await;
            assert!(said.contains("fwd=bypass"), "{field}: {said}");
            assert_eq!(origin.heard_one().field(field), method);
            exchange(proxy.port(), last_get(&path)).await;
            assert_eq!(origin.heard().len(), 1, "{field}");
            // It comes last: it is forwarded, and the stored response is kept.
            exchange(proxy.port(), overridden(&path, field, method)).await;
            assert_eq!(origin.heard_one().field(field), method);
            let hit = exchange(proxy.port(), last_get(&path)).await;
            assert!(hit.contains("; hit"), "{field}: {hit}");
        }
    }
}

/// Nor does a spelling of the field's name, or a second line, hide it.
#[tokio::test]
async fn another_method_is_found_in_whatever_spelling() {
    let origin = Origin::saying(fresh("hello")).await;
    let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
    exchange(proxy.port(), last_get("/")).await;
    for line in [
        "X-HTTP-METHOD-OVERRIDE: DELETE",
        "x-http-method-override:\t DELETE \t",
        "x-http-method-override: \r\nx-http-method-override: DELETE",
        "X_HTTP_Method_Override: DELETE",
        "x_method-override: DELETE",
        "X.HTTP.Method: DELETE",
    ] {
        let line = format!("{line}\r\nconnection:");
        let request = last_get("/").replacen("connection:", &line, 1);
        let said = exchange(proxy.port(), request).await;
        assert!(said.contains("fwd=bypass"), "{line}: {said}");
    }
}

/// A client does not empty the cache, nor ask an upstream to, which may understand it.
#[tokio::test]
async fn clients_cannot_purge() {
    let origin = Origin::saying(fresh("hello")).await;
    let proxy = Example::start("proxy", &["--upstream", &origin.url()]).await;
    exchange(proxy.port(), last_get("/a")).await;
    assert_eq!(origin.heard().len(), 1);
    for path in ["/a", "/", "/%61"] {
        let purge = last_get(path).replacen("GET", "PURGE", 1);
        let said = exchange(proxy.port(), purge).await;
        assert!(
            said.starts_with("HTTP/1.1 405 ") && said.contains("\r\nallow: GET"),
            "{said}"
        );
    }
    assert!(
        exchange(proxy.port(), last_get("/a"))
            .await
            .contains("; hit")
    );
    assert_eq!(origin.heard().len(), 0);
}
