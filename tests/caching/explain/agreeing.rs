//! Whatever is stored and remembered, an explanation says what the request then gets.

use std::time::Duration;

use http::{Method, Request};
use tokio::time::advance;
use tower::Layer;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::explain::{Explanation, Verdict};
use tower_response_cache::stats::{FetchReason, Reason, StaleUse, Stats};
use tower_response_cache::{Cache, CacheHandle, CacheLayer, Rules};

use super::explained;
use super::states::{Script, State, states};
use crate::support::origin::Origin;
use crate::support::time::{in_virtual_time, settled};
use crate::support::yielding::yielding;
use crate::support::{Answer, get, request, send, with, with_lines};

/// The requests.
fn requests() -> Vec<Request<()>> {
    let mut all = Vec::new();
    let long = "x".repeat(17 * 1024);
    for lines in [
        &[][..],
        // RFC 9110 §14.
        &[("range", "bytes=2-5")],
        &[("range", "bytes=3-4")],
        &[("range", "bytes=0-3")],
        &[("range", "bytes=7-")],
        &[("range", "bytes=-2")],
        &[("range", "bytes=20-")],
        &[("range", "bytes=2-2,4-5")],
        &[("range", "bytes=x")],
        &[("range", "bytes=3-4"), ("if-range", "\"a\"")],
        &[("range", "bytes=3-4"), ("if-range", "\"b\"")],
        &[("range", "bytes=3-4"), ("if-none-match", "\"a\"")],
        &[("range", "bytes=3-4"), ("if-match", "\"a\"")],
        // RFC 9110 §13.
        &[("if-none-match", "\"a\"")],
        &[("if-none-match", "\"b\"")],
        &[("if-none-match", "*")],
        &[("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")],
        &[("if-match", "\"a\"")],
        &[("if-unmodified-since", "Fri, 01 Jan 2100 00:00:00 GMT")],
        // RFC 9111 §5.2.1.
        &[("cache-control", "no-cache")],
        &[("cache-control", "no-store")],
        &[("cache-control", "max-age=5")],
        &[("cache-control", "max-age=0")],
        &[("cache-control", "min-fresh=55")],
        &[("cache-control", "max-stale")],
        &[("cache-control", "max-stale=1")],
        &[("cache-control", "stale-if-error=600")],
        &[("pragma", "no-cache")],
        &[("cache-control", "only-if-cached")],
        &[("cache-control", "only-if-cached, no-cache")],
        &[("cache-control", "only-if-cached, max-stale")],
        &[("cache-control", "only-if-cached"), ("range", "bytes=3-4")],
        &[("cache-control", "only-if-cached"), ("range", "bytes=0-3")],
        &[
            ("cache-control", "only-if-cached"),
            ("range", "bytes=3-4"),
            ("if-range", "\"a\""),
        ],
        &[
            ("cache-control", "only-if-cached"),
            ("range", "bytes=3-4"),
            ("if-range", "\"b\""),
        ],
        &[
            ("cache-control", "only-if-cached"),
            ("if-none-match", "\"a\""),
        ],
        &[
            ("cache-control", "only-if-cached"),
            ("if-none-match", "\"b\""),
        ],
        &[("cache-control", "only-if-cached"), ("x-client", "alice")],
        &[
            ("cache-control", "only-if-cached"),
            ("x-client", "alice"),
            ("range", "bytes=3-4"),
        ],
        &[
            ("cache-control", "only-if-cached"),
            ("accept-language", "fr"),
            ("range", "bytes=3-4"),
        ],
        &[
            ("cache-control", "only-if-cached"),
            ("x-http-method-override", "PUT"),
        ],
        // Clients.
        &[("authorization", "Basic YTpi")],
        &[("cookie", "a=b")],
        &[("x-client", "alice")],
        &[("x-client", "bob")],
        &[("x-client", "alice"), ("range", "bytes=3-4")],
        &[("x-client", "alice"), ("range", "bytes=0-3")],
        &[("x-client", "bob"), ("range", "bytes=3-4")],
        &[("x-client", "alice"), ("if-none-match", "\"a\"")],
        &[("x-client", "alice"), ("cache-control", "no-store")],
        &[("x-client", "alice"), ("cache-control", "no-cache")],
        &[("x-client", "alice"), ("authorization", "Basic YTpi")],
        // Variants.
        &[("accept-language", "de")],
        &[("accept-language", "fr")],
        &[("accept-language", "fr"), ("range", "bytes=3-4")],
        &[("accept-language", "fr"), ("x-client", "alice")],
        &[("accept-language", &long)],
        // Rules of the cache.
        &[("x-http-method-override", "PUT")],
        &[("content-length", "3")],
        &[("host", "b")],
        &[("connection", "upgrade"), ("upgrade", "websocket")],
    ] {
        all.push(with_lines(get("/a"), lines));
    }
    for lines in [
        &[][..],
        &[("range", "bytes=3-4")],
        &[("if-none-match", "\"a\"")],
        &[("cache-control", "only-if-cached")],
        &[("cache-control", "only-if-cached"), ("range", "bytes=3-4")],
        &[("x-client", "alice")],
        &[("x-client", "alice"), ("cache-control", "only-if-cached")],
    ] {
        all.push(with_lines(request(Method::HEAD, "/a"), lines));
    }
    let methods = [Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE];
    all.extend(methods.map(|method| request(method, "/a")));
    let paths = ["/a?q", "/%61", "/live/a", "/skipped"];
    all.extend(paths.map(get));
    let only = |path| with(get(path), "cache-control", "only-if-cached");
    all.extend(["/live/a", "/skipped"].map(only));
    all
}

type Explained<B> = (Cache<Origin, B>, CacheHandle<B>, Script);

fn explained_cache<B: Backend>(backend: B) -> Explained<B> {
    let layer = in_virtual_time(backend)
        .private_by(|request| Some(request.headers.get("x-client")?.as_bytes().to_vec()))
        .skip(|request| request.uri.path() == "/skipped")
        .route("/live/{*rest}", Rules::new().bypass());
    build(layer)
}

fn build<B: Backend>(layer: CacheLayer<B>) -> Explained<B> {
    let script = Script::default();
    (layer.layer(script.origin()), layer.handle(), script)
}

/// The registered token that `Cache-Status` has for a reason (RFC 9211 §2.2).
fn token(reason: FetchReason) -> &'static str {
    match reason {
        FetchReason::UriMiss | FetchReason::OtherKey => "fwd=uri-miss",
        FetchReason::VaryMiss | FetchReason::LongSelectingFields => "fwd=vary-miss",
        FetchReason::Stale => "fwd=stale",
        FetchReason::Partial => "fwd=partial",
        FetchReason::BackendFailed => "fwd=miss",
        _ => "fwd=request",
    }
}

/// The reasons that were counted between two readings.
fn counted<R: Reason>(get: impl Fn(&Stats, R) -> u64, [before, after]: [&Stats; 2]) -> Vec<R> {
    let grown = |reason: &R| get(after, *reason) > get(before, *reason);
    R::ALL.iter().copied().filter(grown).collect()
}

/// Compares an explanation with the answer to its request, and with what was counted for that.
fn check(explanation: &Explanation, answer: &Answer, stats: [&Stats; 2]) -> Result<(), String> {
    let said = answer.cache_status();
    let fetched = counted(|stats, reason| stats.fetches.get(reason), stats);
    let stale = counted::<StaleUse>(|stats, use_| stats.stale.get(use_), stats);
    let bypassed = counted(|stats, reason| stats.bypasses.get(reason), stats);
    let agrees = match explanation.verdict {
        Verdict::Hit => said.starts_with("hit") && stale.is_empty() && fetched.is_empty(),
        Verdict::StaleHit(use_) => {
            said.starts_with("hit; ttl=") && said.ends_with(use_.as_str()) && stale == [use_]
        }
        Verdict::Fetch(reason) => said.starts_with(token(reason)) && fetched == [reason],
        Verdict::Wait(reason) => {
            said == "hit" || said.starts_with("hit;") || said.starts_with(token(reason))
        }
        Verdict::GatewayTimeout(_) => said == "detail=only-if-cached" && fetched.is_empty(),
        Verdict::Bypass(reason) => bypassed == [reason] && fetched.is_empty(),
        Verdict::Write => said.starts_with("fwd=method"),
        Verdict::BadRequest => answer.status == 400,
        _ => false,
    };
    if !agrees {
        return Err(format!("the answer says {said}; fetched for {fetched:?}"));
    }
    if explanation
        .status
        .is_some_and(|status| status != answer.status)
    {
        return Err(format!("the answer is {}: {said}", answer.status));
    }
    if let [range] = &explanation.ranges[..] {
        let sent = answer.header("content-range");
        if sent != format!("bytes {}-{}/10", range.start, range.end - 1) {
            return Err(format!("the answer has {sent}"));
        }
    }
    let refreshed = stats[1].refreshes.total() - stats[0].refreshes.total();
    if refreshed != u64::from(explanation.refresh.is_some()) {
        return Err(format!("{refreshed} refreshes began"));
    }
    let last = explanation.lookups.last().map(|lookup| lookup.verdict);
    match explanation.verdict {
        Verdict::Hit if last != Some(Verdict::Hit) => Err("its last lookup is no hit".to_owned()),
        _ => Ok(()),
    }
}

/// Explains requests in each state, then sends them: each one, or `every` second or third, others
/// in each state. Returns the disagreements, and the number of hits.
async fn disagreements<B: Backend>(backend: impl Fn() -> B, every: usize) -> (Vec<String>, usize) {
    let (mut wrong, mut hits) = (Vec::new(), 0);
    for (first, State { name, prepare }) in states().into_iter().enumerate() {
        for request in requests().into_iter().skip(first % every).step_by(every) {
            let (service, handle, script) = explained_cache(backend());
            for step in prepare {
                step.take(&service, &handle, &script).await;
            }
            let before = (script.calls(), handle.stats());
            let explanation = explained(&handle, &request).await;
            assert_eq!((script.calls(), handle.stats()), before, "nothing happens");
            let what = format!(
                "{name}: {} {} {:?}",
                request.method(),
                request.uri(),
                request.headers()
            );
            assert!(
                !format!("{:?}", explanation.key).contains("alice"),
                "{what}"
            );
            hits += usize::from(explanation.verdict.is_hit());
            let answer = send(&service, request).await;
            settled().await;
            let after = handle.stats();
            if let Err(said) = check(&explanation, &answer, [&before.1, &after]) {
                let verdict = explanation.verdict;
                wrong.push(format!("{what}\n    {verdict:?}, but {said}"));
            }
        }
    }
    (wrong, hits)
}

async fn assert_agreement<B: Backend>(backend: impl Fn() -> B, every: usize) {
    let (wrong, hits) = disagreements(backend, every).await;
    assert!(
        wrong.is_empty(),
        "{} disagree:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(
        hits > 200 / every,
        "{hits} hits are too few to tell anything"
    );
}

/// Promise P8: the cache explains itself, and by the same decision as it answers.
#[tokio::test(start_paused = true)]
async fn in_each_state_each_request_gets_what_its_explanation_says_in_memory() {
    assert_agreement(MemoryBackend::default, 1).await;
}

/// The same where lookups wait for the backend, with a third of the requests in each state.
#[tokio::test(start_paused = true)]
async fn in_each_state_each_request_gets_what_its_explanation_says_behind_a_wait() {
    assert_agreement(|| yielding(MemoryBackend::default()), 3).await;
}

/// A request that comes while a call of its key is under way is told that it waits.
#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_call_is_told_so() {
    let layer = in_virtual_time(MemoryBackend::default());
    let origin = crate::support::origin::slow(|_, _| crate::support::origin::cacheable("late"));
    let (service, handle) = (layer.layer(origin), layer.handle());
    let asks = async {
        advance(Duration::from_millis(1)).await;
        let plain = explained(&handle, &get("/a")).await;
        assert_eq!(plain.verdict, Verdict::Wait(FetchReason::UriMiss));
        let other = explained(&handle, &get("/b")).await;
        assert_eq!(other.verdict, Verdict::Fetch(FetchReason::UriMiss));
        let alone = with(get("/a"), "cache-control", "no-store");
        let alone = explained(&handle, &alone).await;
        assert_eq!(alone.verdict, Verdict::Fetch(FetchReason::UriMiss));
        let answer = send(&service, get("/a")).await;
        assert_eq!(answer.cache_status(), "fwd=uri-miss; collapsed");
    };
    let (first, ()) = tokio::join!(send(&service, get("/a")), asks);
    assert_eq!(first.cache_status(), "fwd=uri-miss; stored");
}
