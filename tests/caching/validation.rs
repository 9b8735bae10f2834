//! RFC 9111 §4.3: what is stored is validated, and updated by what says that it is still right; a client's own conditions
//! are answered from it, and never reach the store.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::both::on_both_backends;
use crate::support::origin::{Origin, OriginError, Response, answer};
use crate::support::{Answer, get, put, request, send, with};
use http::{HeaderMap, Method, Request, StatusCode};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{advance, sleep};
use tower::Layer;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::stats::{FetchReason, Refusal};
use tower_response_cache::{Cache, CacheLayer};

const SECOND: Duration = Duration::from_secs(1);

type Line = (&'static str, &'static str);

/// An origin with one page, which can be changed, and a log of what it was asked.
#[derive(Clone)]
struct Site {
    origin: Origin,
    page: Arc<Mutex<Page>>,
    log: Arc<Mutex<Vec<HeaderMap>>>,
}

#[derive(Clone)]
struct Page {
    lines: Vec<Line>,
    text: &'static str,
    /// What a 304 carries.
    unchanged: Vec<Line>,
    /// What it answers if it is not well.
    status: Option<u16>,
}

impl Site {
    fn new(lines: &[Line], text: &'static str) -> Self {
        let page = Arc::new(Mutex::new(Page {
            lines: lines.to_vec(),
            text,
            unchanged: Vec::new(),
            status: None,
        }));
        let log = Arc::<Mutex<Vec<HeaderMap>>>::default();
        let (current, asked) = (page.clone(), log.clone());
        let origin = Origin::new(move |request: Request<()>| {
            asked.lock().expect("a log").push(request.headers().clone());
            let page = current.lock().expect("a page").clone();
            async move {
                sleep(Duration::from_millis(10)).await;
                page.answer(&request)
            }
        });
        Self { origin, page, log }
    }

    fn is_now(&self, change: impl FnOnce(&mut Page)) {
        change(&mut self.page.lock().expect("a page"));
    }

    /// What it was asked last under a name.
    fn saw(&self, name: &str) -> Option<String> {
        let log = self.log.lock().expect("a log");
        let value = log.last().expect("it was asked").get(name)?;
        Some(value.to_str().expect("text").to_owned())
    }

    fn calls(&self) -> usize {
        self.origin.calls()
    }
}

impl Page {
    fn answer(&self, request: &Request<()>) -> Result<Response, OriginError> {
        match self.status {
            Some(0) => return Err(OriginError("nobody there")),
            Some(status) => return Ok(answer(status, &self.unchanged, "an error")),
            None => {}
        }
        if request.method() == Method::PUT {
            return Ok(answer(204, &[], ""));
        }
        let own = |name: &str| self.lines.iter().find(|line| line.0 == name);
        let asked = |name: &str| request.headers().get(name);
        let is_same = |condition: &str, validator: &str| {
            asked(condition).is_some_and(|value| own(validator).is_some_and(|own| value == own.1))
        };
        let is_unmodified = if asked("if-none-match").is_some() {
            is_same("if-none-match", "etag")
        } else {
            is_same("if-modified-since", "last-modified")
        };
        if is_unmodified {
            return Ok(answer(304, &self.unchanged, ""));
        }
        if request.method() == Method::HEAD {
            return Ok(answer(200, &self.lines, ""));
        }
        Ok(answer(200, &self.lines, self.text))
    }
}

/// Lets what goes on in the background come to its end.
async fn settled() {
    sleep(Duration::from_millis(100)).await;
}

/// Sends all at once.
async fn all<B: Backend>(
    service: &Cache<Origin, B>,
    requests: impl IntoIterator<Item = Request<()>>,
) -> Vec<Answer> {
    let local = LocalSet::new();
    let mut tasks = JoinSet::new();
    for (number, request) in requests.into_iter().enumerate() {
        let service = service.clone();
        tasks.spawn_local_on(
            async move { (number, send(&service, request).await) },
            &local,
        );
    }
    let mut answers = local.run_until(tasks.join_all()).await;
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

const TAG: Line = ("etag", "\"a\"");
const MINUTE: Line = ("cache-control", "max-age=60");
const MODIFIED: Line = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");

fn asks(tag: &str) -> Request<()> {
    with(get("/a"), "if-none-match", tag)
}

/// §4.3.1, §4.3.3, §4.3.4, §3.2; H24
#[tokio::test(start_paused = true)]
async fn what_is_stale_is_validated_and_freshened() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE, MODIFIED, ("x-old", "1")], "text");
        let service = layer.layer(site.origin.clone());
        assert_eq!(
            send(&service, get("/a")).await.cache_status(),
            "fwd=uri-miss; stored"
        );
        site.is_now(|page| {
            page.unchanged = vec![TAG, ("cache-control", "max-age=90"), ("x-new", "1")]
        });
        settled().await;
        advance(61 * SECOND).await;
        let validated = send(&service, get("/a")).await;
        assert_eq!(site.saw("if-none-match").as_deref(), Some("\"a\""));
        assert_eq!(site.saw("if-modified-since").as_deref(), Some(MODIFIED.1));
        assert_eq!(
            (validated.status, &*validated.body),
            (StatusCode::OK, "text")
        );
        assert_eq!(
            validated.cache_status(),
            "fwd=stale; fwd-status=304; stored"
        );
        settled().await;
        let hit = send(&service, get("/a")).await;
        assert!(
            hit.cache_status().starts_with("hit; ttl=90"),
            "{}",
            hit.cache_status()
        );
        assert_eq!(hit.header("age"), "0");
        assert_eq!((&*hit.header("x-old"), &*hit.header("x-new")), ("1", "1"));
        assert_eq!(&*hit.body, "text");
        assert_eq!(site.calls(), 2);
        assert_eq!(layer.handle().stats().validations, 1);
    })
    .await;
}

/// §4.3.3: a full response takes the place of what is stored.
#[tokio::test(start_paused = true)]
async fn what_has_changed_is_replaced() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "old");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        site.is_now(|page| {
            page.lines[0].1 = "\"b\"";
            page.text = "new";
        });
        settled().await;
        advance(61 * SECOND).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!(
            (&*answer.body, &*answer.cache_status()),
            ("new", "fwd=stale; stored")
        );
        settled().await;
        let hit = send(&service, get("/a")).await;
        assert!(hit.is_hit());
        assert_eq!((&*hit.body, &*hit.header("etag")), ("new", "\"b\""));
    })
    .await;
}

/// H20, §5.2.2.4: each use is validated, and nobody shares another's.
#[tokio::test(start_paused = true)]
async fn what_is_no_cache_is_stored_and_validated_each_time() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, ("cache-control", "max-age=60, no-cache")], "text");
        let service = layer.layer(site.origin.clone());
        assert_eq!(
            send(&service, get("/a")).await.cache_status(),
            "fwd=uri-miss; stored"
        );
        settled().await;
        for answer in all(&service, (0..20).map(|_| get("/a"))).await {
            assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "text"));
            assert_eq!(answer.cache_status(), "fwd=stale; fwd-status=304; stored");
        }
        assert_eq!(site.calls(), 21);
        // A write takes it, validators and all.
        send(&service, put("/a")).await;
        assert_eq!(
            send(&service, get("/a")).await.cache_status(),
            "fwd=uri-miss; stored"
        );
        assert_eq!(site.saw("if-none-match"), None);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn without_a_validator_no_cache_is_not_stored() {
    let site = Site::new(&[("cache-control", "max-age=60, no-cache")], "text");
    let layer = CacheLayer::new(MemoryBackend::default());
    let service = layer.layer(site.origin.clone());
    for _ in 0..2 {
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=no-cache");
    }
    assert_eq!(layer.handle().stats().refusals.get(Refusal::NoCache), 2);
    let site = Site::new(&[TAG, ("cache-control", "no-cache")], "text");
    let unkept = CacheLayer::new(MemoryBackend::default()).revalidation_window(Duration::ZERO);
    let service = unkept.layer(site.origin.clone());
    let answer = send(&service, get("/a")).await;
    assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=no-cache");
}

/// H14, §4.3.2: what the client has is not sent again, and with the fields that RFC 9110 §15.4.5 wants.
#[tokio::test(start_paused = true)]
async fn a_clients_conditions_are_answered_from_what_is_stored() {
    on_both_backends(async |layer| {
        let lines = [
            TAG,
            MINUTE,
            MODIFIED,
            ("content-type", "text/plain"),
            ("content-location", "/a.txt"),
            ("vary", "accept"),
            ("expires", "Thu, 01 Jan 2099 00:00:00 GMT"),
            ("x-else", "1"),
        ];
        let site = Site::new(&lines, "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        for (name, value, status) in [
            ("if-none-match", "\"a\"", 304),
            ("if-none-match", "\"x\", W/\"a\"", 304),
            ("if-none-match", "*", 304),
            ("if-none-match", "\"x\"", 200),
            ("if-modified-since", MODIFIED.1, 304),
            ("if-modified-since", "Sunday, 06-Nov-94 08:49:36 GMT", 200),
            ("if-match", "\"x\"", 200),
            ("if-unmodified-since", "Sun, 06 Nov 1994 08:49:36 GMT", 200),
        ] {
            for method in [Method::GET, Method::HEAD] {
                let answer = send(&service, with(request(method, "/a"), name, value)).await;
                assert_eq!(answer.status, status, "{name}: {value}");
                assert!(
                    answer.cache_status().starts_with("hit; ttl="),
                    "{name}: {value}"
                );
                if status == 304 {
                    assert_eq!(answer.body, "");
                    for kept in [
                        "etag",
                        "date",
                        "cache-control",
                        "content-location",
                        "vary",
                        "expires",
                        "age",
                        "x-else",
                    ] {
                        assert!(answer.headers.contains_key(kept), "{kept}");
                    }
                    for gone in ["content-type", "content-length", "last-modified"] {
                        assert!(!answer.headers.contains_key(gone), "{gone}");
                    }
                }
            }
        }
        assert_eq!(site.calls(), 1);
    })
    .await;
}

/// H14: a client's validators bring no 304 into the store, and cost no other client anything.
#[tokio::test(start_paused = true)]
async fn a_clients_validators_never_become_a_stored_304() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "text");
        let service = layer.layer(site.origin.clone());
        let asked = |number| {
            if number % 2 == 0 {
                asks("\"a\"")
            } else {
                get("/a")
            }
        };
        for (number, answer) in all(&service, (0..100).map(asked)).await.iter().enumerate() {
            let expected = if number % 2 == 0 {
                (StatusCode::NOT_MODIFIED, "")
            } else {
                (StatusCode::OK, "text")
            };
            assert_eq!((answer.status, &*answer.body), expected);
        }
        assert_eq!(site.calls(), 1, "one fill for all");
        assert_eq!(site.saw("if-none-match"), None);
        settled().await;
        assert!(send(&service, get("/a")).await.is_hit());
    })
    .await;
}

/// The client's own conditions are answered from what validation brings.
#[tokio::test(start_paused = true)]
async fn the_client_and_the_cache_have_conditions_of_their_own() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        for (tag, status, said) in [
            ("\"x\"", 200, "fwd=stale; fwd-status=304; stored"),
            ("\"a\"", 304, "fwd=stale; stored"),
        ] {
            advance(61 * SECOND).await;
            let answer = send(&service, asks(tag)).await;
            assert_eq!(site.saw("if-none-match").as_deref(), Some("\"a\""));
            assert_eq!(
                (answer.status.as_u16(), &*answer.cache_status()),
                (status, said)
            );
            settled().await;
        }
        site.is_now(|page| page.lines[0].1 = "\"b\"");
        advance(61 * SECOND).await;
        let answer = send(&service, asks("\"b\"")).await;
        assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
        assert_eq!(answer.cache_status(), "fwd=stale; fwd-status=200; stored");
        settled().await;
        assert_eq!(send(&service, get("/a")).await.header("etag"), "\"b\"");
    })
    .await;
}

/// §5.2.1.4: what is fresh is validated, too, where a client insists.
#[tokio::test(start_paused = true)]
async fn a_request_with_no_cache_validates_what_is_fresh() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        let answer = send(&service, with(get("/a"), "cache-control", "no-cache")).await;
        assert_eq!(site.saw("if-none-match").as_deref(), Some("\"a\""));
        assert_eq!(answer.body, "text");
        let said = "fwd=request; fwd-status=304; stored; detail=request-no-cache";
        assert_eq!(answer.cache_status(), said);
        assert_eq!(
            layer
                .handle()
                .stats()
                .fetches
                .get(FetchReason::RequestNoCache),
            1
        );
    })
    .await;
}

/// §4.3.4: a 304 that is about another response changes nothing and answers nobody; the next request is not validated.
#[tokio::test(start_paused = true)]
async fn a_304_about_another_response_is_not_used() {
    on_both_backends(async |layer| {
        let site = Site::new(
            &[TAG, ("cache-control", "max-age=60, must-revalidate")],
            "text",
        );
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        site.is_now(|page| page.unchanged = vec![("etag", "\"b\""), ("x-poison", "1")]);
        advance(61 * SECOND).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.status, StatusCode::BAD_GATEWAY);
        assert_eq!(
            answer.cache_status(),
            "fwd=stale; fwd-status=304; detail=not-modified-is-another"
        );
        assert_eq!(layer.handle().stats().contradictions, 1);
        let whole = send(&service, get("/a")).await;
        assert_eq!(site.saw("if-none-match"), None);
        assert_eq!((whole.status, &*whole.body), (StatusCode::OK, "text"));
        assert!(!whole.headers.contains_key("x-poison"));
    })
    .await;
}

/// The same where what is stored may be used beyond its lifetime.
#[tokio::test(start_paused = true)]
async fn a_304_about_another_response_counts_as_an_error() {
    let site = Site::new(&[TAG, MINUTE], "text");
    let layer = CacheLayer::new(MemoryBackend::default()).stale_if_error(600 * SECOND);
    let service = layer.layer(site.origin.clone());
    send(&service, get("/a")).await;
    settled().await;
    site.is_now(|page| page.unchanged = vec![("etag", "\"b\"")]);
    advance(61 * SECOND).await;
    let answer = send(&service, get("/a")).await;
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "text"));
    assert_eq!(answer.header("etag"), "\"a\"");
    let said = answer.cache_status();
    assert!(
        said.starts_with("fwd=stale; fwd-status=304; ttl=-"),
        "{said}"
    );
}

/// An unsolicited 304 is the inner service's answer to its own client, of no use to anybody else.
#[tokio::test(start_paused = true)]
async fn an_unsolicited_304_is_passed_on_and_not_stored() {
    on_both_backends(async |layer| {
        let origin = Origin::at_once(|_| answer(304, &[TAG, MINUTE], ""));
        let service = layer.layer(origin.clone());
        for _ in 0..2 {
            let answer = send(&service, get("/a")).await;
            assert_eq!(answer.status, StatusCode::NOT_MODIFIED);
            assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=status");
        }
        assert_eq!(origin.calls(), 2);
    })
    .await;
}

/// A 304 may forbid what it freshens: then its client has it, and nobody else.
#[tokio::test(start_paused = true)]
async fn a_304_that_forbids_storing_is_obeyed() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "text");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        site.is_now(|page| page.unchanged = vec![("cache-control", "private")]);
        advance(61 * SECOND).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "text"));
        assert_eq!(
            answer.cache_status(),
            "fwd=stale; fwd-status=304; detail=private"
        );
        settled().await;
        assert!(!send(&service, get("/a")).await.is_hit());
    })
    .await;
}

/// §4.3.3: a failure while validating.
#[tokio::test(start_paused = true)]
async fn an_error_while_validating_is_passed_on_or_stood_in_for() {
    for (cache_control, status, expected) in [
        ("max-age=60, must-revalidate", 503, 503),
        ("max-age=60, stale-if-error=600", 503, 200),
        ("no-cache", 503, 503),
        ("no-cache, stale-if-error=600", 500, 500),
    ] {
        let site = Site::new(&[TAG, ("cache-control", cache_control)], "text");
        let service = CacheLayer::new(MemoryBackend::default()).layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        site.is_now(|page| page.status = Some(status));
        advance(61 * SECOND).await;
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.status, expected, "{cache_control}");
        // What is stored outlives it: once the origin is well again, it is confirmed.
        site.is_now(|page| page.status = None);
        advance(6 * SECOND).await;
        let answer = send(&service, get("/a")).await;
        assert!(
            answer
                .cache_status()
                .starts_with("fwd=stale; fwd-status=304"),
            "{cache_control}"
        );
    }
}

/// C02 for validation: a 304 that a write overtakes freshens nothing (PROTOCOLS: "304 without fence").
#[tokio::test(start_paused = true)]
async fn a_write_overtakes_a_validation() {
    on_both_backends(async |layer| {
        let site = Site::new(&[TAG, MINUTE], "old");
        let service = layer.layer(site.origin.clone());
        send(&service, get("/a")).await;
        settled().await;
        advance(61 * SECOND).await;
        let writing = async {
            // The validation is under way, and its 304 is still to come.
            sleep(Duration::from_millis(5)).await;
            send(&service, put("/a")).await
        };
        let (validated, written) = tokio::join!(send(&service, get("/a")), writing);
        assert_eq!(written.cache_status(), "fwd=method; detail=invalidated");
        assert_eq!(&*validated.body, "old");
        settled().await;
        site.is_now(|page| {
            page.lines[0].1 = "\"b\"";
            page.text = "new";
        });
        let after = send(&service, get("/a")).await;
        assert_eq!(
            (&*after.body, &*after.cache_status()),
            ("new", "fwd=uri-miss; stored")
        );
    })
    .await;
}

/// §4.3.5
#[tokio::test(start_paused = true)]
async fn head_updates_or_invalidates() {
    for (case, change, is_kept) in [
        ("the same", TAG, Some("2")),
        ("another tag", ("etag", "\"b\""), None),
    ] {
        on_both_backends(async |layer| {
            let site = Site::new(&[TAG, MINUTE, ("x-version", "1")], "text");
            let service = layer.layer(site.origin.clone());
            send(&service, get("/a")).await;
            settled().await;
            advance(61 * SECOND).await;
            site.is_now(|page| page.lines = vec![change, MINUTE, ("x-version", "2")]);
            let answer = send(&service, request(Method::HEAD, "/a")).await;
            assert_eq!(
                (answer.status, &*answer.body),
                (StatusCode::OK, ""),
                "{case}"
            );
            settled().await;
            let answer = send(&service, get("/a")).await;
            match is_kept {
                Some(version) => {
                    assert!(answer.is_hit(), "{case}: {}", answer.cache_status());
                    assert_eq!(
                        (&*answer.body, &*answer.header("x-version")),
                        ("text", version)
                    );
                }
                None => assert_eq!(answer.cache_status(), "fwd=uri-miss; stored", "{case}"),
            }
        })
        .await;
    }
}

/// HEAD without a validator tells nothing of what is stored.
#[tokio::test(start_paused = true)]
async fn head_without_a_validator_changes_nothing() {
    let site = Site::new(&[MINUTE, ("x-version", "1")], "text");
    let service = CacheLayer::new(MemoryBackend::default()).layer(site.origin.clone());
    send(&service, get("/a")).await;
    settled().await;
    site.is_now(|page| page.lines = vec![MINUTE, ("x-version", "2")]);
    let asked = with(request(Method::HEAD, "/a"), "cache-control", "no-cache");
    assert_eq!(send(&service, asked).await.header("x-version"), "2");
    settled().await;
    let hit = send(&service, get("/a")).await;
    assert_eq!((hit.is_hit(), &*hit.header("x-version")), (true, "1"));
}

/// A refresh in the background asks by validators, too (C02).
#[tokio::test(start_paused = true)]
async fn a_refresh_in_the_background_validates() {
    let site = Site::new(
        &[
            TAG,
            ("cache-control", "max-age=60, stale-while-revalidate=60"),
        ],
        "text",
    );
    let service = CacheLayer::new(MemoryBackend::default()).layer(site.origin.clone());
    send(&service, get("/a")).await;
    settled().await;
    advance(61 * SECOND).await;
    let stale = send(&service, asks("\"a\"")).await;
    assert_eq!(stale.status, StatusCode::NOT_MODIFIED);
    assert!(
        stale.cache_status().starts_with("hit; ttl=-1"),
        "{}",
        stale.cache_status()
    );
    settled().await;
    assert_eq!(site.saw("if-none-match").as_deref(), Some("\"a\""));
    let hit = send(&service, get("/a")).await;
    assert_eq!((&*hit.cache_status(), &*hit.body), ("hit; ttl=60", "text"));
    assert_eq!(site.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_tag_of_its_own_where_the_origin_gives_none() {
    on_both_backends(async |layer| {
        let site = Site::new(&[MINUTE], "text");
        let service = layer.generate_etags(true).layer(site.origin.clone());
        assert_eq!(send(&service, get("/a")).await.header("etag"), "");
        settled().await;
        let hit = send(&service, get("/a")).await;
        let tag = hit.header("etag");
        assert!(tag.starts_with("\"trc-"), "{tag}");
        assert_eq!(
            send(&service, asks(&tag)).await.status,
            StatusCode::NOT_MODIFIED
        );
        advance(61 * SECOND).await;
        // The same content again has the same tag, and the origin is not asked by it.
        let answer = send(&service, asks(&tag)).await;
        assert_eq!(site.saw("if-none-match"), None);
        assert_eq!(answer.status, StatusCode::OK);
        settled().await;
        assert_eq!(
            send(&service, asks(&tag)).await.status,
            StatusCode::NOT_MODIFIED
        );
        site.is_now(|page| page.text = "else");
        advance(61 * SECOND).await;
        send(&service, get("/a")).await;
        settled().await;
        assert_eq!(send(&service, asks(&tag)).await.status, StatusCode::OK);
    })
    .await;
    let site = Site::new(&[MINUTE, MODIFIED], "text");
    let layer = CacheLayer::new(MemoryBackend::default()).generate_etags(true);
    let service = layer.layer(site.origin.clone());
    send(&service, get("/a")).await;
    settled().await;
    assert_eq!(
        send(&service, get("/a")).await.header("etag"),
        "",
        "it has a validator"
    );
}

/// What can be validated is kept for that beyond its lifetime, and no longer than that.
#[tokio::test(start_paused = true)]
async fn what_is_kept_for_validation_goes_in_time() {
    let site = Site::new(&[TAG, MINUTE], "text");
    let backend = MemoryBackend::default();
    let layer = CacheLayer::new(backend.clone()).revalidation_window(600 * SECOND);
    let service = layer.layer(site.origin.clone());
    let entries = || backend.usage().expect("known").entries;
    send(&service, get("/a")).await;
    settled().await;
    advance(650 * SECOND).await;
    send(&service, get("/b")).await;
    settled().await;
    assert_eq!(
        send(&service, get("/a")).await.cache_status(),
        "fwd=stale; fwd-status=304; stored"
    );
    settled().await;
    assert_eq!(entries(), 2);
    advance(700 * SECOND).await;
    for path in ["/c", "/d"] {
        send(&service, get(path)).await;
        settled().await;
    }
    let kept: Answer = send(&service, get("/a")).await;
    assert!(entries() <= 4 && !kept.is_hit());
}
