//! Fields that change what a request means: such a request is no plain read.

use http::{Method, Request};
use tower::Layer;
use tower_response_cache::stats::Bypass;
use tower_response_cache::{CacheLayer, DEFAULT_BYPASS_FIELDS, backend::MemoryBackend};

use crate::support::origin::{Origin, cacheable, slow};
use crate::support::time::settled;
use crate::support::{get, in_memory, put, request, send, send_all, with};

/// The request that a service sees that obeys all of these fields.
fn meant(request: &Request<()>) -> String {
    let field = |names: &[&str], otherwise: &str| {
        let values = names.iter().filter_map(|name| request.headers().get(*name));
        let values: Vec<_> = values.map(|value| value.to_str().expect("text")).collect();
        values
            .first()
            .map_or(otherwise.to_owned(), |value| (*value).to_owned())
    };
    let methods = [
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
    ];
    let method = field(&methods, request.method().as_str());
    let target = field(&["x-original-url", "x-rewrite-url"], request.uri().path());
    format!("{method} {target}")
}

fn obedient() -> Origin {
    Origin::at_once(|request| cacheable(meant(request)))
}

/// `X-HTTP-Method-Override` and its like on a GET. It is answered by the service, is not
/// stored, and no stored response answers it.
#[tokio::test(start_paused = true)]
async fn a_read_with_a_field_that_changes_its_meaning_bypasses_the_cache() {
    for name in DEFAULT_BYPASS_FIELDS {
        for method in [Method::GET, Method::HEAD] {
            let layer = in_memory();
            let service = layer.layer(obedient());
            let hostile = || with(request(method.clone(), "/a"), name, "/evil");
            // Nothing is stored yet, and nothing is afterwards.
            let told = send(&service, hostile()).await;
            settled().await;
            assert!(
                told.cache_status().contains("fwd=bypass"),
                "{name}: {told:?}"
            );
            assert!(
                told.cache_status().contains("bypass-field"),
                "{name}: {told:?}"
            );
            let plain = send(&service, get("/a")).await;
            settled().await;
            assert_eq!((plain.is_hit(), &*plain.body), (false, "GET /a"), "{name}");
            // Something is stored: it is not what the client asks for.
            let told = send(&service, hostile()).await;
            settled().await;
            assert!(!told.is_hit(), "{name}");
            if method == Method::GET {
                assert!(told.body.contains("/evil"), "{name}: {}", told.body);
            }
            let plain = send(&service, get("/a")).await;
            assert_eq!((plain.is_hit(), &*plain.body), (true, "GET /a"), "{name}");
            assert_eq!(
                layer.handle().stats().bypasses.get(Bypass::BypassField),
                2,
                "{name}"
            );
        }
    }
}

/// Such requests neither share a call with plain ones nor hold them up.
#[tokio::test(start_paused = true)]
async fn requests_with_such_a_field_are_not_coalesced() {
    let layer = in_memory();
    let origin = slow(|request, _| cacheable(meant(request)));
    let service = layer.layer(origin.clone());
    let hostile = (0..3).map(|_| with(get("/a"), "x-original-url", "/evil"));
    let plain = (0..3).map(|_| get("/a"));
    let answers = send_all(&service, hostile.chain(plain)).await;
    let bodies: Vec<_> = answers.iter().map(|told| &*told.body).collect();
    let evil = "GET /evil";
    assert_eq!(bodies, [evil, evil, evil, "GET /a", "GET /a", "GET /a"]);
    assert_eq!(origin.calls(), 4);
}

/// A write is one whatever its fields say, and a GET is none.
#[tokio::test(start_paused = true)]
async fn the_method_says_whether_a_request_is_a_write() {
    for (hostile, invalidates) in [
        (with(put("/a"), "x-http-method-override", "GET"), true),
        (
            with(request(Method::POST, "/a"), "x-method-override", "GET"),
            true,
        ),
        (
            with(request(Method::POST, "/a"), "x-http-method", "DELETE"),
            true,
        ),
        (with(get("/a"), "x-http-method-override", "DELETE"), false),
        (with(get("/a?_method=DELETE"), "x-other", "DELETE"), false),
    ] {
        let told = format!("{hostile:?}");
        let service = in_memory().layer(obedient());
        send(&service, get("/a")).await;
        settled().await;
        send(&service, hostile).await;
        settled().await;
        assert_eq!(
            send(&service, get("/a")).await.is_hit(),
            !invalidates,
            "{told}"
        );
    }
}

async fn bypasses(layer: CacheLayer<MemoryBackend>, name: &'static str) -> bool {
    let service = layer.layer(obedient());
    for _ in 0..2 {
        send(&service, with(get("/a"), name, "x")).await;
        settled().await;
    }
    layer.handle().stats().bypasses.get(Bypass::BypassField) == 2
}

/// The list can be replaced, by any names, and emptied.
#[tokio::test(start_paused = true)]
async fn the_list_of_fields_is_an_option() {
    let method = "x-http-method-override";
    assert!(bypasses(in_memory(), method).await);
    for name in [
        "x-own",
        "own",
        "accept",
        "accept-language",
        "cookie",
        "range",
        "user-agent",
    ] {
        let layer = || in_memory().bypass_fields([name]);
        assert!(bypasses(layer(), name).await, "{name}");
        assert!(!bypasses(layer(), method).await, "{name}");
        assert!(!bypasses(in_memory(), name).await, "{name}");
    }
    assert!(!bypasses(in_memory().bypass_fields([]), method).await);
    // A proxy in front adds them to every request.
    for name in [
        "forwarded",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-prefix",
    ] {
        assert!(!bypasses(in_memory(), name).await, "{name}");
    }
    let invalid = in_memory().try_bypass_fields(["no name"]);
    assert!(
        invalid
            .expect_err("no name")
            .to_string()
            .contains("bypass_fields")
    );
}

/// A layer further inside that lists a field exempts its requests.
#[tokio::test(start_paused = true)]
async fn a_field_that_an_inner_layer_lists_keeps_a_response_from_being_stored() {
    let layer = in_memory();
    let inner = layer.clone().bypass_fields(["x-own"]);
    let service = layer.layer(inner.layer(obedient()));
    for _ in 0..2 {
        let told = send(&service, with(get("/a"), "x-own", "x")).await;
        settled().await;
        assert!(!told.is_hit());
    }
    assert_eq!(layer.handle().stats().stores, 0);
}
