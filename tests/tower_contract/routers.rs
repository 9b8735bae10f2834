//! On axum: routers, nested routers, extractors.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{MatchedPath, OriginalUri, RawQuery};
use axum::response::IntoResponse;
use axum::routing::get as handle;
use http::{Method, Request, StatusCode};
use tower::{Layer, ServiceExt};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::key::QueryRules;

use crate::support::{get, in_memory, put, request, send};
use crate::with_trailers;

type ToBody = fn(Request<()>) -> axum::extract::Request;

pub type Routed = tower::util::MapRequest<Router, ToBody>;

/// A router for requests without content.
pub fn of(router: Router) -> Routed {
    let to_body: ToBody = |request| request.map(|()| axum::body::Body::empty());
    tower::util::MapRequest::new(router, to_body)
}

/// `/items`, by an author, in a version that a PUT counts up.
fn items(owner: &'static str) -> Router {
    let version = Arc::new(AtomicUsize::new(1));
    let written = version.clone();
    let read = async move || {
        let text = format!("{owner} v{}", version.load(Ordering::SeqCst));
        ([("cache-control", "max-age=3600")], text).into_response()
    };
    let write = async move || {
        let version = written.fetch_add(1, Ordering::SeqCst) + 1;
        format!("{owner} v{version}")
    };
    Router::new().route("/items", handle(read).put(write))
}

async fn read(service: &Routed, path: &str) -> (String, bool) {
    let answer = send(service, get(path)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let is_hit = answer.is_hit();
    (answer.body, is_hit)
}

fn said(text: &str, is_hit: bool) -> (String, bool) {
    (text.to_owned(), is_hit)
}

#[tokio::test(start_paused = true)]
async fn get_head_and_put_of_one_route_share_the_cache() {
    let layer = in_memory();
    let service = of(items("one").layer(layer.clone()));
    assert_eq!(read(&service, "/items").await, said("one v1", false));
    assert_eq!(read(&service, "/items").await, said("one v1", true));
    let head = send(&service, request(Method::HEAD, "/items")).await;
    assert!(head.is_hit());
    assert_eq!(
        (head.body.as_str(), head.header("content-length").as_str()),
        ("", "6")
    );
    assert_eq!(send(&service, put("/items")).await.body, "one v2");
    assert_eq!(read(&service, "/items").await, said("one v2", false));
    assert_eq!(read(&service, "/items").await, said("one v2", true));
    let stats = layer.handle().stats();
    assert_eq!((stats.hits, stats.stores), (3, 2));
}

/// RFC 9110 §8.6: no length but the one that a GET would be answered with. axum fills in what a
/// body's size hint says.
#[tokio::test(start_paused = true)]
async fn head_of_a_hit_with_trailers_claims_no_length() {
    let with_trailers = async || {
        let response = with_trailers().oneshot(get("/a")).await;
        response.expect("an answer").into_response()
    };
    let router = Router::new().route("/a", handle(with_trailers));
    let service = of(router.layer(in_memory()));
    assert_eq!(read(&service, "/a").await, said("data", false));
    let head = send(&service, request(Method::HEAD, "/a")).await;
    assert!(head.is_hit());
    assert!(["", "4"].contains(&head.header("content-length").as_str()));
}

#[tokio::test(start_paused = true)]
async fn routes_of_one_router_share_the_cache() {
    let router = Router::new()
        .route("/a", handle(async || "a"))
        .route("/b", handle(async || "b").put(async || "written"))
        .layer(
            in_memory()
                .ttl(Duration::from_secs(60))
                .also_invalidate(|_| ["/a"]),
        );
    let service = of(router);
    assert_eq!(read(&service, "/a").await, said("a", false));
    assert_eq!(read(&service, "/a").await, said("a", true));
    send(&service, put("/b")).await;
    assert_eq!(read(&service, "/a").await, said("a", false));
}

async fn never_share(router: Router) {
    let service = of(router);
    for is_hit in [false, true] {
        assert_eq!(read(&service, "/one/items").await, said("one v1", is_hit));
        assert_eq!(read(&service, "/two/items").await, said("two v1", is_hit));
    }
    assert_eq!(send(&service, put("/one/items")).await.body, "one v2");
    assert_eq!(read(&service, "/one/items").await, said("one v2", false));
    assert_eq!(read(&service, "/two/items").await, said("two v1", true));
}

#[tokio::test(start_paused = true)]
async fn two_nested_routers_never_share_under_one_layer_outside() {
    let both = Router::new()
        .nest("/one", items("one"))
        .nest("/two", items("two"));
    never_share(both.layer(in_memory())).await;
}

#[tokio::test(start_paused = true)]
async fn two_nested_routers_never_share_one_layer_inside_that_keys_by_the_whole_path() {
    let layer = in_memory().key_by(
        |request, key| match request.extensions.get::<OriginalUri>() {
            Some(OriginalUri(whole)) => Some(key.with_path(whole.path())),
            None => Some(key),
        },
    );
    let both = Router::new()
        .nest("/one", items("one").layer(layer.clone()))
        .nest("/two", items("two").layer(layer.clone()));
    never_share(both).await;

    // A handle knows the whole path.
    let service = of(Router::new().nest("/one", items("one").layer(layer.clone())));
    assert_eq!(read(&service, "/one/items").await, said("one v2", true));
    let done = layer
        .handle()
        .invalidate("http://test.example/one/items")
        .await;
    done.expect("invalidated");
    assert_eq!(read(&service, "/one/items").await, said("one v1", false));
}

#[tokio::test(start_paused = true)]
async fn two_nested_routers_never_share_one_layer_inside_with_a_scope_each() {
    let layer = in_memory();
    let both = Router::new()
        .nest("/one", items("one").layer(layer.clone().scope("one")))
        .nest("/two", items("two").layer(layer.clone().scope("two")));
    never_share(both).await;
    let stats = layer.handle().stats();
    assert_eq!((stats.hits, stats.stores), (3, 3), "the rest is shared");
}

/// A layer that ignores `utm_*`, and sees to axum's copy of the target.
fn ignoring() -> CacheLayer<MemoryBackend> {
    in_memory()
        .query(QueryRules::all().ignoring(["utm_*"]))
        .on_rewritten_target(|extensions, trim| {
            if let Some(OriginalUri(target)) = extensions.get_mut() {
                trim(target);
            }
        })
}

/// Answers with everything that an axum handler can see of the target.
async fn all_of_the_target(
    OriginalUri(original): OriginalUri,
    matched: Option<MatchedPath>,
    RawQuery(query): RawQuery,
    request: axum::extract::Request,
) -> impl IntoResponse {
    let uri = request.uri();
    let matched = matched.as_ref().map(MatchedPath::as_str);
    let seen = format!("{uri} {original} {matched:?} {query:?}");
    ([("cache-control", "max-age=3600")], seen)
}

/// An ignored parameter cannot shape the response that is stored for others (cache poisoning).
#[tokio::test(start_paused = true)]
async fn no_extractor_sees_an_ignored_query_parameter() {
    let items = || Router::new().route("/items/{id}", handle(all_of_the_target));
    let nested = |inner: Router| Router::new().nest("/api", Router::new().nest("/v1", inner));
    let wrapped = |router: Router, layer: CacheLayer<MemoryBackend>| {
        Router::new().fallback_service(layer.layer(router))
    };
    for (case, router) in [
        ("on the router", items().layer(ignoring())),
        ("on the route", items().route_layer(ignoring())),
        ("on the outer router", nested(items()).layer(ignoring())),
        ("on the nested router", nested(items().layer(ignoring()))),
        ("around the router", wrapped(nested(items()), ignoring())),
    ] {
        let path = match case {
            "on the router" | "on the route" => "/items/7",
            _ => "/api/v1/items/7",
        };
        let service = of(router);
        for (query, kept) in [("utm_a=evil&b=1&utm_c=evil", "?b=1"), ("utm_a=evil", "")] {
            let first = send(&service, get(&format!("{path}?{query}"))).await;
            assert!(!first.body.contains("evil"), "{case}: {}", first.body);
            let original = format!(" {path}{kept} ");
            assert!(first.body.contains(&original), "{case}: {}", first.body);
            let clean = send(&service, get(&format!("{path}{kept}"))).await;
            assert!(clean.is_hit(), "{case}");
            assert_eq!(clean.body, first.body, "{case}");
        }
    }
}

/// A copy of the target shows the target's form, scheme and host as the client spelled them, which
/// no other client may get (cache poisoning).
#[tokio::test(start_paused = true)]
async fn an_extractor_sees_one_spelling_of_the_target_where_the_hook_is_set() {
    let items = || Router::new().route("/items/{id}", handle(all_of_the_target));
    let nested = || Router::new().nest("/api", items());
    for (case, router, path) in [
        ("on the router", items().layer(ignoring()), "/items/7"),
        (
            "on the outer router",
            nested().layer(ignoring()),
            "/api/items/7",
        ),
        (
            "around the router",
            Router::new().fallback_service(ignoring().layer(nested())),
            "/api/items/7",
        ),
    ] {
        let service = of(router);
        for (number, spelled) in [
            "https://TEST.example.:443",
            "http://test.example:80",
            "ftp://Test.example",
        ]
        .into_iter()
        .enumerate()
        {
            let query = format!("?n={number}");
            let odd = Request::get(format!("{spelled}{path}{query}"));
            let odd = odd
                .header("host", "other.example")
                .body(())
                .expect("a request");
            let first = send(&service, odd).await;
            let original = format!(" {path}{query} ");
            assert!(first.body.contains(&original), "{case}: {}", first.body);
            let clean = send(&service, get(&format!("{path}{query}"))).await;
            assert!(clean.is_hit(), "{case} {spelled}");
            assert_eq!(clean.body, first.body, "{case}");
        }
    }
}
