//! `CacheHandle::explain` says what the next request gets, and changes nothing.

mod agreeing;
mod states;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Method, Request};
use tokio::time::advance;
use tower::Layer;
use tower_response_cache::backend::{Backend, BreakerState, Guarded, MemoryBackend};
use tower_response_cache::explain::{Explanation, LifetimeRule, Note, Verdict};
use tower_response_cache::stats::{Bypass, FetchReason, Reason, Refresh, Refusal, StaleUse, Stats};
use tower_response_cache::{CacheHandle, CacheLayer, Rules, Ttl};

use crate::support::dying::dying;
use crate::support::origin::{Origin, answer};
use crate::support::time::in_virtual_time;
use crate::support::yielding::yielding;
use crate::support::{get, put, request, send, with};

const MINUTE: Duration = Duration::from_secs(60);

/// Answers by the path.
fn origin() -> Origin {
    Origin::at_once(|request| {
        let lines: &[(_, &str)] = match request.uri().path() {
            "/minute" => &[("cache-control", "max-age=60"), ("etag", "\"one\"")],
            "/swr" => &[("cache-control", "max-age=60, stale-while-revalidate=60")],
            "/stale-ok" => &[("cache-control", "max-age=60"), ("etag", "\"one\"")],
            "/varies" => &[("cache-control", "max-age=60"), ("vary", "accept-language")],
            "/denied" => &[("cache-control", "max-age=60")],
            "/no-store" => &[("cache-control", "no-store")],
            _ => &[],
        };
        let status = match request.uri().path() {
            "/denied" => 403,
            "/broken" => 500,
            _ => 200,
        };
        answer(status, lines, "content")
    })
}

async fn explained<B: Backend>(handle: &CacheHandle<B>, request: &Request<()>) -> Explanation {
    let (parts, ()) = request.clone().into_parts();
    handle.explain(&parts).await
}

/// How often the reason of a verdict has applied.
fn count(stats: &Stats, verdict: Verdict) -> u64 {
    match verdict {
        Verdict::Hit => stats.hits,
        Verdict::StaleHit(reason) => stats.stale.get(reason),
        Verdict::Fetch(reason) => stats.fetches.get(reason),
        Verdict::Bypass(reason) => stats.bypasses.get(reason),
        Verdict::GatewayTimeout(_) => stats.gateway_timeouts,
        Verdict::Write => stats.writes.total(),
        _ => stats.bad_requests,
    }
}

/// Sends what is to be stored before, lets time pass, then explains a request.
struct Case {
    before: &'static [&'static str],
    seconds: u64,
    request: Request<()>,
    verdict: Verdict,
}

fn case(
    before: &'static [&'static str],
    seconds: u64,
    request: Request<()>,
    verdict: Verdict,
) -> Case {
    Case {
        before,
        seconds,
        request,
        verdict,
    }
}

fn cases() -> Vec<Case> {
    use Verdict::{BadRequest, Fetch, GatewayTimeout, Hit, StaleHit, Write};
    let directive = |path, value| with(get(path), "cache-control", value);
    let language = |path, value| with(get(path), "accept-language", value);
    let long = "x".repeat(17 * 1024);
    vec![
        case(&[], 0, get("/minute"), Fetch(FetchReason::UriMiss)),
        case(&["/minute"], 0, get("/minute"), Hit),
        case(&["/minute"], 59, request(Method::HEAD, "/minute"), Hit),
        case(
            &["/minute"],
            0,
            get("/minute?q"),
            Fetch(FetchReason::UriMiss),
        ),
        case(&["/minute"], 60, get("/minute"), Fetch(FetchReason::Stale)),
        case(
            &["/swr"],
            61,
            get("/swr"),
            StaleHit(StaleUse::WhileRevalidate),
        ),
        case(
            &["/stale-ok"],
            61,
            directive("/stale-ok", "max-stale=60"),
            StaleHit(StaleUse::MaxStale),
        ),
        case(
            &["/minute"],
            0,
            directive("/minute", "no-cache"),
            Fetch(FetchReason::RequestNoCache),
        ),
        case(
            &["/minute"],
            10,
            directive("/minute", "max-age=5"),
            Fetch(FetchReason::RequestMaxAge),
        ),
        case(
            &["/minute"],
            10,
            directive("/minute", "min-fresh=55"),
            Fetch(FetchReason::RequestMinFresh),
        ),
        case(
            &[],
            0,
            directive("/minute", "only-if-cached"),
            GatewayTimeout(FetchReason::UriMiss),
        ),
        case(&["/varies"], 0, get("/varies"), Hit),
        case(
            &["/varies"],
            0,
            language("/varies", "fr"),
            Fetch(FetchReason::VaryMiss),
        ),
        case(
            &["/varies"],
            0,
            language("/varies", &long),
            Fetch(FetchReason::LongSelectingFields),
        ),
        case(
            &["/denied"],
            0,
            with(get("/denied"), "authorization", "Basic YTpi"),
            Fetch(FetchReason::RequestCredentials),
        ),
        case(
            &[],
            0,
            request(Method::OPTIONS, "/a"),
            Verdict::Bypass(Bypass::Method),
        ),
        case(
            &[],
            0,
            with(get("/a"), "x-http-method-override", "PUT"),
            Verdict::Bypass(Bypass::BypassField),
        ),
        case(
            &[],
            0,
            with(get("/a"), "content-length", "3"),
            Verdict::Bypass(Bypass::RequestContent),
        ),
        case(
            &[],
            0,
            with(get("/a"), "host", "b"),
            Verdict::Bypass(Bypass::Authority),
        ),
        case(&[], 0, get("/skipped"), Verdict::Bypass(Bypass::Skipped)),
        case(&["/minute"], 0, put("/minute"), Write),
        case(&[], 0, with(put("/minute"), "host", "b"), BadRequest),
    ]
}

/// Explains each request, then sends it, on a backend that answers at once or one that waits.
async fn explain_and_send<B: Backend>(backend: impl Fn() -> B) {
    for case in cases() {
        let layer = in_virtual_time(backend()).skip(|request| request.uri.path() == "/skipped");
        let (origin, handle) = (origin(), layer.handle());
        let service = layer.layer(origin.clone());
        for path in case.before {
            send(&service, get(path)).await;
        }
        advance(Duration::from_secs(case.seconds)).await;
        let (calls, stats) = (origin.calls(), handle.stats());
        let name = format!("{:?} after {:?}", case.request, case.before);
        for _ in 0..2 {
            let explanation = explained(&handle, &case.request).await;
            assert_eq!(explanation.verdict, case.verdict, "{name}");
            assert!(explanation.verdict.to_string().ends_with('.'), "{name}");
        }
        let after = (origin.calls(), handle.stats());
        assert_eq!(after, (calls, stats.clone()), "{name}: nothing happens");

        let answer = send(&service, case.request).await;
        let counted = count(&handle.stats(), case.verdict) - count(&stats, case.verdict);
        assert_eq!(counted, 1, "{name}: {}", answer.cache_status());
        assert_eq!(answer.is_hit(), case.verdict.is_hit(), "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_explanation_says_what_the_request_then_gets_and_changes_nothing() {
    explain_and_send(MemoryBackend::default).await;
    explain_and_send(|| yielding(MemoryBackend::default())).await;
}

#[tokio::test(start_paused = true)]
async fn an_explanation_describes_the_stored_response_its_key_and_its_variants() {
    let layer = in_virtual_time(MemoryBackend::default()).max_ttl(30 * MINUTE);
    let (service, handle) = (layer.layer(origin()), layer.handle());
    send(&service, get("/minute?a=1")).await;
    advance(Duration::from_secs(10)).await;
    let explanation = explained(&handle, &get("/minute?a=1")).await;
    let key = explanation.key.expect("a key");
    assert_eq!((&*key.authority, &*key.path), ("test.example", "/minute"));
    assert_eq!((key.query.as_deref(), key.scheme), (Some("a=1"), None));
    assert_eq!((&*key.site, &*key.resource_path), ("", "/minute"));
    let stored = explanation.stored.expect("a response");
    assert_eq!((stored.status.as_u16(), stored.body_length), (200, 7));
    assert_eq!(
        (stored.age, stored.lifetime),
        (10 * MINUTE / 60, Some(MINUTE))
    );
    assert_eq!(stored.time_left(), Some(50 * MINUTE / 60));
    assert_eq!(stored.lifetime_rule, LifetimeRule::MaxAge);
    assert_eq!(stored.etag.expect("a tag"), "\"one\"");
    assert!(stored.is_selected && explanation.vary.is_empty());

    // One resource, however it is spelled, and no stored response of this key.
    let other = explained(&handle, &get("/%6dinute?a=1")).await;
    let other_key = other.key.expect("a key");
    assert_eq!(other_key.resource, key.resource);
    assert_eq!(
        (&*other_key.path, &*other_key.resource_path),
        ("/%6dinute", "/minute")
    );
    assert!(other.stored.is_none());

    send(&service, with(get("/varies"), "accept-language", "de")).await;
    for (value, is_stored) in [("de", true), ("fr", false)] {
        let request = with(get("/varies"), "accept-language", value);
        let explanation = explained(&handle, &request).await;
        assert_eq!(explanation.stored.is_some(), is_stored, "{value}");
        let [field] = &explanation.vary[..] else {
            panic!("one field: {:?}", explanation.vary);
        };
        assert_eq!(field.name, "accept-language");
        assert_eq!(field.value.as_deref(), Some(value));
    }
}

#[tokio::test(start_paused = true)]
async fn an_explanation_names_the_rule_of_a_lifetime() {
    let layer = in_virtual_time(MemoryBackend::default()).ttl(Ttl::UntilInvalidated);
    let (service, handle) = (layer.layer(origin()), layer.handle());
    send(&service, get("/plain")).await;
    let stored = explained(&handle, &get("/plain")).await.stored;
    let stored = stored.expect("a response");
    assert_eq!((stored.lifetime, stored.time_left()), (None, None));
    assert_eq!(stored.lifetime_rule, LifetimeRule::LayerTtl);
    // A hook decided; an explanation does not ask it.
    let layer = in_virtual_time(MemoryBackend::default())
        .ttl(MINUTE)
        .ttl_by(|_, _| Some(Ttl::For(5 * MINUTE)));
    let (service, handle) = (layer.layer(origin()), layer.handle());
    send(&service, get("/plain")).await;
    let stored = explained(&handle, &get("/plain")).await.stored;
    assert_eq!(
        stored.expect("a response").lifetime_rule,
        LifetimeRule::Other
    );
}

#[tokio::test(start_paused = true)]
async fn an_explanation_goes_by_the_rules_of_the_route() {
    let layer = in_virtual_time(MemoryBackend::default())
        .ttl(MINUTE)
        .route("/api/{*rest}", Rules::new().ttl(5 * MINUTE))
        .route("/live/{*rest}", Rules::new().bypass());
    let (service, handle) = (layer.layer(origin()), layer.handle());
    for path in ["/plain", "/api/plain", "/live/plain"] {
        send(&service, get(path)).await;
    }
    for (path, lifetime) in [("/plain", MINUTE), ("/api/plain", 5 * MINUTE)] {
        let explanation = explained(&handle, &get(path)).await;
        assert_eq!(explanation.verdict, Verdict::Hit, "{path}");
        let stored = explanation.stored.expect("a response");
        assert_eq!(stored.lifetime, Some(lifetime), "{path}");
        assert_eq!(stored.lifetime_rule, LifetimeRule::LayerTtl, "{path}");
    }
    let explanation = explained(&handle, &get("/live/plain")).await;
    assert!(
        matches!(explanation.verdict, Verdict::Bypass(_)),
        "{explanation:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_explanation_mentions_what_keeps_responses_from_being_stored() {
    let layer = in_virtual_time(MemoryBackend::default());
    let (service, handle) = (layer.layer(origin()), layer.handle());
    send(&service, get("/no-store")).await;
    let explanation = explained(&handle, &get("/no-store")).await;
    assert_eq!(explanation.verdict, Verdict::Fetch(FetchReason::UriMiss));
    assert_eq!(explanation.notes, [Note::RefusedLately(Refusal::NoStore)]);
    // A write of unknown outcome.
    send(&service, put("/broken")).await;
    let explanation = explained(&handle, &get("/broken")).await;
    assert!(
        explanation.notes.contains(&Note::WriteGrace),
        "{explanation:?}"
    );
    assert!(explained(&handle, &get("/minute")).await.notes.is_empty());
}

/// An operator asks without the fields that a browser sends.
#[tokio::test(start_paused = true)]
async fn an_explanation_gives_the_reason_of_a_refusal_for_other_fields_and_in_a_partition() {
    let layer = in_virtual_time(MemoryBackend::default())
        .private_by(|request| Some(request.headers.get("x-client")?.as_bytes().to_vec()));
    let (service, handle) = (layer.layer(origin()), layer.handle());
    let refused = Note::RefusedLately(Refusal::NoStore);
    let others = Note::OthersRefused(Refusal::NoStore);
    let of = |client, request| with(request, "x-client", client);
    let browser = |request| with(with(request, "user-agent", "browser"), "cookie", "a=b");
    // The path, the request that was sent, and what is explained with which note.
    for (path, sent, explanations) in [
        (
            "/no-store?browser",
            browser(get("/no-store?browser")),
            [
                (browser(get("/no-store?browser")), Some(refused)),
                (get("/no-store?browser"), Some(others)),
                (get("/no-store?none"), None),
            ],
        ),
        (
            "/no-store?alice",
            of("alice", get("/no-store?alice")),
            [
                (of("alice", get("/no-store?alice")), Some(refused)),
                (of("bob", get("/no-store?alice")), Some(others)),
                (get("/no-store?alice"), Some(others)),
            ],
        ),
    ] {
        for _ in 0..3 {
            send(&service, sent.clone()).await;
            for (request, note) in &explanations {
                let explanation = explained(&handle, request).await;
                let expected: Vec<_> = note.iter().copied().collect();
                assert_eq!(explanation.notes, expected, "{path}: {request:?}");
            }
        }
    }
    assert_eq!(others.reason(), Some("no-store"));
    assert!(others.to_string().contains(Refusal::NoStore.description()));
}

/// While calls fail, requests with the fields of one that failed are answered at once, and others
/// call first: what an operator asks about may be either.
#[tokio::test(start_paused = true)]
async fn an_explanation_in_a_failure_backoff_says_whose_calls_have_failed() {
    let failing = Arc::new(AtomicBool::new(false));
    let fails = failing.clone();
    let layer = in_virtual_time(MemoryBackend::default());
    let origin = Origin::at_once(move |_| match fails.load(Ordering::Relaxed) {
        true => answer(503, &[], ""),
        false => answer(
            200,
            &[("cache-control", "max-age=1, stale-if-error=600")],
            "x",
        ),
    });
    let (service, handle) = (layer.layer(origin.clone()), layer.handle());
    let browser = || with(get("/a"), "user-agent", "browser");
    send(&service, browser()).await;
    failing.store(true, Ordering::Relaxed);
    advance(Duration::from_secs(3)).await;
    send(&service, browser()).await;
    for (request, verdict) in [
        (browser(), Verdict::StaleHit(StaleUse::IfError)),
        (get("/a"), Verdict::Fetch(FetchReason::Stale)),
    ] {
        let explanation = explained(&handle, &request).await;
        assert_eq!(explanation.verdict, verdict);
        assert_eq!(explanation.notes, [Note::OriginFailing]);
        let calls = origin.calls();
        let answered = send(&service, request).await;
        assert_eq!(answered.body, "x", "with the stale response in any case");
        assert_eq!(origin.calls() > calls, !verdict.is_hit());
    }
    assert!(Note::OriginFailing.to_string().contains("without a call"));
}

#[tokio::test(start_paused = true)]
async fn an_explanation_announces_a_refresh_and_a_backend_that_fails() {
    let layer = in_virtual_time(MemoryBackend::default());
    let (service, handle) = (layer.layer(origin()), layer.handle());
    send(&service, get("/swr")).await;
    advance(MINUTE).await;
    let explanation = explained(&handle, &get("/swr")).await;
    assert_eq!(explanation.refresh, Some(Refresh::Stale));

    let (backend, _dead) = dying(MemoryBackend::default());
    let handle = CacheLayer::new(backend).handle();
    let explanation = explained(&handle, &get("/a")).await;
    assert_eq!(
        explanation.verdict,
        Verdict::Fetch(FetchReason::BackendFailed)
    );
    assert!(explanation.key.is_some());
}

/// What an operator asks is no sign of the backend's health, and is not counted: neither what fails
/// nor what takes too long.
#[tokio::test(start_paused = true)]
async fn an_explanation_neither_trips_a_breaker_nor_counts_as_an_operation() {
    let (backend, switch) = dying(yielding(MemoryBackend::default()));
    let guarded = Guarded::new(backend);
    let layer = in_virtual_time(guarded);
    let (service, handle) = (layer.layer(origin()), layer.handle());
    let failed = Verdict::Fetch(FetchReason::BackendFailed);
    let before = handle.stats();
    for _ in 0..100 {
        let explanation = explained(&handle, &get("/minute")).await;
        assert_eq!(explanation.verdict, failed);
    }
    assert_eq!(handle.stats(), before);
    // Requests do trip it. Then an explanation says what they get, though the backend is back.
    for _ in 0..20 {
        send(&service, get("/minute")).await;
    }
    let open = handle.stats();
    assert_eq!(open.health.expect("guarded").breaker, BreakerState::Open);
    switch.revive();
    assert_eq!(explained(&handle, &get("/minute")).await.verdict, failed);
    // It is no probe either.
    advance(MINUTE).await;
    assert_eq!(explained(&handle, &get("/minute")).await.verdict, failed);
    let mut later = handle.stats();
    later.uptime = open.uptime;
    assert_eq!(later, open);
    send(&service, get("/minute")).await;
    send(&service, get("/minute")).await;
    assert_eq!(
        explained(&handle, &get("/minute")).await.verdict,
        Verdict::Hit
    );
}
