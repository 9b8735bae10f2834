//! A refresh beside others that bring nothing is made with fields that no stranger chooses.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Request};
use tokio::time::{Instant, sleep};
use tower::Layer;
use tower_response_cache::Cache;
use tower_response_cache::backend::MemoryBackend;

use super::layer;
use crate::support::origin::{Origin, answer, scripted};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, send, with};

const MS: Duration = Duration::from_millis(1);
const FOR_ALL: &str = "public, max-age=1, stale-while-revalidate=86400";

/// What the origin does with a request.
#[derive(Clone, Copy, Debug)]
enum Does {
    Answer,
    Hang,
    Fail(u16),
    /// It fails after so many milliseconds.
    FailLate(u64),
    /// It sends a head, and no body.
    Stall,
}

/// The fields of all requests that an origin got.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<HeaderMap>>>);

impl Seen {
    fn all(&self) -> Vec<HeaderMap> {
        self.0.lock().expect("no panic").clone()
    }
}

/// A page that tells when it was made.
fn page(does: impl Fn(&Request<()>) -> Does + Send + Sync + 'static) -> (Origin, Seen) {
    let begun = Instant::now();
    let seen = Seen::default();
    let fields = seen.clone();
    let stalled = Arc::new(Mutex::new(Vec::new()));
    let origin = Origin::new(move |request: Request<()>| {
        let (does, stalled) = (does(&request), stalled.clone());
        let mut all = fields.0.lock().expect("no panic");
        all.push(request.headers().clone());
        drop(all);
        async move {
            sleep(SLOW).await;
            match does {
                Does::Answer => {}
                Does::Hang => sleep(3600 * SECOND).await,
                Does::FailLate(after) => {
                    sleep(Duration::from_millis(after)).await;
                    return Ok(answer(503, &[], "no"));
                }
                Does::Stall => {
                    let (sender, body) = scripted();
                    stalled.lock().expect("no panic").push(sender);
                    let head = answer(200, &[("cache-control", FOR_ALL)], "");
                    return Ok(head.map(|_| body));
                }
                Does::Fail(status) => return Ok(answer(status, &[], "no")),
            }
            let made = begun.elapsed().as_millis().to_string();
            Ok(answer(200, &[("cache-control", FOR_ALL)], made))
        }
    });
    (origin, seen)
}

fn has(request: &Request<()>, name: &str) -> bool {
    request.headers().contains_key(name)
}

fn odd(number: usize) -> Request<()> {
    with(get("/a"), "x-odd", &number.to_string())
}

fn honest(number: usize) -> Request<()> {
    with(get("/a"), "x-number", &number.to_string())
}

/// The age of the oldest page that honest clients get within ten minutes, beside a stranger who
/// sends a request each 100 ms. All of them get the page at once.
async fn oldest(
    service: &Cache<Origin, MemoryBackend>,
    honest: impl Fn(usize) -> Request<()>,
    stranger: impl Fn(usize) -> Request<()>,
) -> Duration {
    let begun = Instant::now();
    let mut oldest = Duration::ZERO;
    for number in 0..6000 {
        let (own, request) = (service.clone(), stranger(number));
        tokio::spawn(async move { send(&own, request).await });
        sleep(100 * MS).await;
        if number % 20 == 0 {
            let asked = begun.elapsed();
            let got = send(service, honest(number)).await;
            assert_eq!((got.status.as_u16(), begun.elapsed()), (200, asked));
            let made = Duration::from_millis(got.body.parse().expect("a number"));
            oldest = oldest.max(asked.saturating_sub(made));
        }
    }
    oldest
}

/// Requests that fail at once, each with other fields: as many as back off for all.
#[tokio::test(start_paused = true)]
async fn different_failing_requests_keep_nothing_stale() {
    for fault in [
        Does::Fail(503),
        Does::Fail(500),
        Does::Hang,
        // Too slow for eight of them within a backoff, too fast to be overtaken.
        Does::FailLate(900),
        Does::Stall,
    ] {
        let (origin, _) = page(move |request| match has(request, "x-odd") {
            true => fault,
            false => Does::Answer,
        });
        let service = layer().layer(origin);
        send(&service, honest(0)).await;
        let oldest = oldest(&service, honest, odd).await;
        println!("{fault:?}: {oldest:?}");
        assert!(oldest <= 6 * SECOND, "{fault:?}: {oldest:?}");
    }
}

/// Also where the stranger forces the calls.
#[tokio::test(start_paused = true)]
async fn forced_requests_without_a_body_keep_nothing_stale() {
    let (origin, _) = page(|request| match has(request, "x-odd") {
        true => Does::Stall,
        false => Does::Answer,
    });
    let service = layer().layer(origin);
    send(&service, honest(0)).await;
    let forced = |number| with(odd(number), "cache-control", "no-cache");
    let oldest = oldest(&service, honest, forced).await;
    println!("{oldest:?}");
    assert!(oldest <= 6 * SECOND, "{oldest:?}");
}

/// The cookies and credentials of a client are sent for no other one; all other fields are.
#[tokio::test(start_paused = true)]
async fn a_proven_request_has_no_cookies_and_no_credentials() {
    for (name, value) in [
        ("cookie", "s=1"),
        ("authorization", "Bearer 1"),
        ("x-api-key", "1"),
    ] {
        let (origin, seen) = page(|request| match has(request, "x-odd") {
            true => Does::Hang,
            false => Does::Answer,
        });
        let service = layer().layer(origin);
        let ask = with(with(get("/a"), name, value), "user-agent", "good");
        send(&service, ask).await;
        sleep(2 * SECOND).await;
        for number in 0..2 {
            send(&service, with(odd(number), name, "another")).await;
            sleep(2 * SECOND).await;
        }
        let all = seen.all();
        assert_eq!(all.len(), 3, "{name}");
        let replay = &all[2];
        assert_eq!(replay["user-agent"], "good", "{name}");
        assert!(
            !replay.contains_key(name) && !replay.contains_key("x-odd"),
            "{name}"
        );
        let got = send(&service, with(get("/a"), name, "third")).await;
        assert_eq!(got.body, "4100", "{name}: it has brought a page");
    }
}

/// A page that wants a cookie, or a credential: a proven request, which has none, is rejected. That
/// changes nothing for any other request, and the next one has those of its own client.
#[tokio::test(start_paused = true)]
async fn a_page_that_wants_a_cookie_is_refreshed_with_that_of_the_client() {
    for (name, fault) in [
        ("cookie", Does::Fail(401)),
        ("cookie", Does::Fail(406)),
        ("cookie", Does::Fail(503)),
        ("cookie", Does::Hang),
        ("authorization", Does::Fail(403)),
    ] {
        let (origin, seen) =
            page(
                move |request| match (has(request, name), has(request, "x-odd")) {
                    (false, _) => fault,
                    (true, true) => Does::Hang,
                    (true, false) => Does::Answer,
                },
            );
        let service = layer().layer(origin);
        let own = move |request, number: usize| with(request, name, &format!("s={number}"));
        send(&service, own(honest(0), 0)).await;
        let honest = |number| own(honest(number), number);
        let oldest = oldest(&service, honest, |number| own(odd(number), number)).await;
        let is_without = |fields: &&HeaderMap| !fields.contains_key(name);
        let without = seen.all().iter().filter(is_without).count();
        println!("{name}, {fault:?}: {oldest:?}, {without} without it");
        let patience = match fault {
            Does::Hang => 45 * SECOND,
            _ => 9 * SECOND,
        };
        assert!(oldest <= patience, "{name}, {fault:?}: {oldest:?}");
        assert!((1..=30).contains(&without), "{name}, {fault:?}: {without}");
    }
}

/// P10: a request never goes out under a key that it does not have. Here a hook puts a cookie into
/// the key, which a proven request leaves out.
#[tokio::test(start_paused = true)]
async fn a_proven_request_has_the_key_that_it_is_sent_for() {
    let (origin, seen) = page(|request| match has(request, "x-odd") {
        true => Does::Hang,
        false => Does::Answer,
    });
    let by_client = layer().key_by(|request, key| {
        let client = request
            .headers
            .get("cookie")
            .map_or("none", |c| c.to_str().expect("text"));
        let authority = format!("{client}.{}", key.authority());
        Some(key.with_authority(authority))
    });
    let service = by_client.key_covers_credentials(true).layer(origin);
    let own = |request| with(request, "cookie", "alice");
    send(&service, own(honest(0))).await;
    for number in 0..60 {
        send(&service, own(odd(number))).await;
        sleep(SECOND).await;
    }
    let all = seen.all();
    assert!(all.len() > 3, "there are refreshes");
    assert!(all.iter().all(|fields| fields["cookie"] == "alice"));
    // A hook that tells clients apart by a field which is no secret.
    let (origin, seen) = page(|request| match has(request, "x-odd") {
        true => Does::Hang,
        false => Does::Answer,
    });
    let by_tenant = layer().key_by(|request, key| {
        let tenant = request.headers.get("x-tenant")?.to_str().ok()?.to_owned();
        let authority = format!("{tenant}.{}", key.authority());
        Some(key.with_authority(authority))
    });
    let service = by_tenant.layer(origin);
    let of = |request, tenant| with(request, "x-tenant", tenant);
    for tenant in ["a", "b"] {
        send(&service, of(honest(0), tenant)).await;
    }
    for number in 0..60 {
        send(&service, of(odd(number), ["a", "b"][number % 2])).await;
        sleep(SECOND).await;
    }
    let hung = seen
        .all()
        .iter()
        .filter(|fields| fields.contains_key("x-odd"))
        .count();
    assert!(hung <= 6, "{hung}");
    for tenant in ["a", "b"] {
        let replays = seen
            .all()
            .into_iter()
            .filter(|fields| fields["x-tenant"] == tenant);
        assert!(replays.count() > 10);
    }
}

/// Requests that brought responses, and hang from some time on: another one is proven then.
#[tokio::test(start_paused = true)]
async fn a_proven_request_that_hangs_later_is_replaced() {
    let begun = Instant::now();
    let (origin, _) = page(move |request| match has(request, "x-odd") {
        true if begun.elapsed() > 60 * SECOND => Does::Hang,
        _ => Does::Answer,
    });
    let service = layer().layer(origin);
    send(&service, odd(0)).await;
    let (mut oldest, mut sum) = (Duration::ZERO, Duration::ZERO);
    for number in 0..6000 {
        let (own, request) = (service.clone(), odd(number));
        tokio::spawn(async move { send(&own, request).await });
        sleep(100 * MS).await;
        let got = send(&service, honest(number)).await;
        let made = Duration::from_millis(got.body.parse().expect("a number"));
        let age = begun.elapsed().saturating_sub(made);
        oldest = oldest.max(age);
        sum += age;
    }
    let mean = sum / 6000;
    println!("{oldest:?}, mean {mean:?}");
    assert!(
        oldest <= 60 * SECOND && mean < 5 * SECOND,
        "{oldest:?}, mean {mean:?}"
    );
}
