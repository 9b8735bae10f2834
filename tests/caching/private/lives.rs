//! What happens to private responses after they were stored: staleness, validation, variants,
//! parts.

use http::{HeaderMap, Method, Request};
use tokio::time::advance;
use tower::Layer;
use tower_response_cache::CachePolicy;

use super::{client, get_as, partitioned, says};
use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, Response, answer};
use crate::support::time::{SECOND, settled};
use crate::support::{is_stored, request, send, with};

fn asks_for(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?;
    Some(value.to_str().expect("text").to_owned())
}

/// Promise: a soft purge makes private responses stale; each is refreshed by its own client.
#[tokio::test(start_paused = true)]
async fn an_expired_resource_is_stale_in_all_partitions() {
    on_both_backends(async |layer| {
        let layer = partitioned(layer).stale_while_revalidate(SECOND * 60);
        let origin = Origin::at_once(|request| {
            let control = [("cache-control", "private, max-age=600")];
            answer(200, &control, format!("page of {}", client(request)))
        });
        let service = layer.layer(origin.clone());
        for name in ["alice", "bob"] {
            send(&service, get_as("/a", name)).await;
            settled().await;
        }
        let calls = origin.calls();
        layer.handle().expire("/a").await.expect("in memory");
        advance(SECOND).await;
        for name in ["alice", "bob"] {
            let got = send(&service, get_as("/a", name)).await;
            assert_eq!(got.body, format!("page of {name}"));
            assert!(
                got.cache_status().contains("hit; ttl=-"),
                "{}",
                got.cache_status()
            );
            settled().await;
            let fresh = send(&service, get_as("/a", name)).await;
            assert!(
                !fresh.cache_status().contains("ttl=-"),
                "{}",
                fresh.cache_status()
            );
            assert_eq!(fresh.body, format!("page of {name}"));
        }
        assert_eq!(origin.calls() - calls, 2, "one refresh each");
    })
    .await;
}

/// Promise: validators are those of the client's own response, and a 304 that does not repeat why
/// the response is private leaves it so.
#[tokio::test(start_paused = true)]
async fn a_304_leaves_a_private_response_private() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|request| {
            let tag = format!("\"{}\"", client(request));
            let lines = [("cache-control", "max-age=10"), ("etag", tag.as_str())];
            match asks_for(request.headers(), "if-none-match") {
                Some(asked) => {
                    assert_eq!(asked, tag, "the validator of another client");
                    answer(304, &lines, "")
                }
                None => {
                    let policy = CachePolicy::new().private_to(client(request));
                    says(
                        policy,
                        answer(200, &lines, format!("page of {}", client(request))),
                    )
                }
            }
        });
        // No credentials: only the policy keeps the pages apart.
        let get = |name: &str| with(request(Method::GET, "/a"), "x-client", name);
        let service = partitioned(layer).layer(origin);
        for round in 0..3 {
            for name in ["alice", "bob"] {
                let got = send(&service, get(name)).await;
                assert_eq!(got.body, format!("page of {name}"), "round {round}");
                settled().await;
                assert!(
                    is_stored(&service, get(name)).await,
                    "{name} in round {round}"
                );
            }
            let nobody = request(Method::GET, "/a");
            assert!(!is_stored(&service, nobody).await, "round {round}");
            advance(SECOND * 11).await;
        }
    })
    .await;
}

/// RFC 9111 §4.1, in each partition for itself.
#[tokio::test(start_paused = true)]
async fn variants_are_those_of_one_client() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|request| {
            let language = asks_for(request.headers(), "accept-language").unwrap_or_default();
            let lines = [
                ("cache-control", "private, max-age=60"),
                ("vary", "accept-language"),
            ];
            answer(200, &lines, format!("{} in {language}", client(request)))
        });
        let service = partitioned(layer).layer(origin.clone());
        for round in 0..2 {
            for name in ["alice", "bob"] {
                for language in ["en", "de"] {
                    let ask = with(get_as("/a", name), "accept-language", language);
                    let got = send(&service, ask).await;
                    settled().await;
                    assert_eq!(got.body, format!("{name} in {language}"));
                    assert_eq!(got.is_hit(), round > 0, "{name} {language}");
                }
            }
        }
        assert_eq!(origin.calls(), 4);
    })
    .await;
}

const WHOLE: &str = "0123456789";

/// One half of a page, with the name of the client in its place.
fn part(request: &Request<()>) -> Response {
    let whole = WHOLE.replace('5', &client(request)[..1]);
    let range = asks_for(request.headers(), "range").expect("a range");
    let (first, last) = range["bytes=".len()..].split_once('-').expect("two ends");
    let ends = [first, last].map(|end| end.parse::<usize>().expect("a number"));
    let tag = format!("\"{}\"", client(request));
    let content = format!("bytes {}-{}/10", ends[0], ends[1]);
    let lines = [
        ("cache-control", "private, max-age=60"),
        ("etag", tag.as_str()),
        ("content-range", content.as_str()),
    ];
    answer(206, &lines, whole[ends[0]..=ends[1]].to_owned())
}

/// RFC 9111 §3.3, §3.4: parts are put together with those of the same client.
#[tokio::test(start_paused = true)]
async fn parts_are_those_of_one_client() {
    on_both_backends(async |layer| {
        let service = partitioned(layer).layer(Origin::at_once(part));
        let ask = |name: &str, range: &str| with(get_as("/a", name), "range", range);
        for name in ["alice", "bob"] {
            for range in ["bytes=0-4", "bytes=5-9"] {
                send(&service, ask(name, range)).await;
                settled().await;
            }
        }
        for name in ["alice", "bob"] {
            let got = send(&service, ask(name, "bytes=4-6")).await;
            assert!(got.is_hit(), "{}", got.cache_status());
            assert_eq!(got.body, format!("4{}6", &name[..1]));
        }
        let nobody = with(request(Method::GET, "/a"), "range", "bytes=4-6");
        assert!(!is_stored(&service, nobody).await);
    })
    .await;
}

/// RFC 9111 §4.3.5: a HEAD updates the response of its own client.
#[tokio::test(start_paused = true)]
async fn a_head_concerns_the_response_of_its_client() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|request| {
            let lines = [
                ("cache-control", "private, max-age=60"),
                ("content-length", "2"),
            ];
            answer(
                200,
                &lines,
                if request.method() == Method::HEAD {
                    ""
                } else {
                    "ok"
                },
            )
        });
        let service = partitioned(layer).layer(origin);
        send(&service, get_as("/a", "alice")).await;
        settled().await;
        let head = |name| super::as_client(request(Method::HEAD, "/a"), name);
        assert!(send(&service, head("alice")).await.is_hit());
        assert!(!send(&service, head("bob")).await.is_hit());
        assert!(is_stored(&service, get_as("/a", "alice")).await);
        assert!(!is_stored(&service, get_as("/a", "bob")).await);
    })
    .await;
}
