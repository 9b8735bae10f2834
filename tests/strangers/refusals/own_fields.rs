//! A refresh has the fields of its own request, whole: what one client sends is never sent for
//! another, and no request goes out that no client has made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, Request};
use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;

use super::layer;
use crate::support::origin::{Origin, answer};
use crate::support::time::{SECOND, SLOW};
use crate::support::{get, send, with};

const MS: Duration = Duration::from_millis(1);
const FOR_ALL: &str = "public, max-age=1, stale-while-revalidate=86400";

/// What the origin does with the requests of the stranger.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Hang,
    Fail,
    FailLate,
}

/// The client of a request, as a layer outside knows it. No field tells.
#[derive(Clone)]
struct User(&'static str);

/// The calls of an origin.
type Calls = Arc<Mutex<Vec<HeaderMap>>>;

/// A page that depends on a field which all requests have, from a server in front. It is said to be
/// for all, and `Vary` does not name the field.
fn origin(fault: Fault, is_weak: bool) -> (Origin, Calls) {
    let calls = Calls::default();
    let all = calls.clone();
    let origin = Origin::new(move |request: Request<()>| {
        let headers = request.headers().clone();
        let number = {
            let mut all = all.lock().expect("no panic");
            all.push(headers.clone());
            all.len()
        };
        async move {
            sleep(SLOW).await;
            // Each fifth is slow for all.
            if number % 5 == 0 {
                sleep(SECOND * 2).await;
            }
            if headers.contains_key("x-odd") {
                match fault {
                    Fault::Hang => sleep(3600 * SECOND).await,
                    Fault::Fail => return Ok(answer(503, &[], "no")),
                    Fault::FailLate => {
                        sleep(900 * MS).await;
                        return Ok(answer(503, &[], "no"));
                    }
                }
            }
            let lines = match is_weak {
                true => &[("cache-control", FOR_ALL), ("etag", "W/\"1\"")][..],
                false => &[("cache-control", FOR_ALL)],
            };
            if is_weak && headers.contains_key("if-none-match") {
                return Ok(answer(304, lines, ""));
            }
            let of = headers
                .get("x-edge")
                .map_or("nobody", |edge| edge.to_str().expect("text"));
            Ok(answer(200, lines, format!("page of {of}")))
        }
    });
    (origin, calls)
}

/// Requests by honest clients and by a stranger, with fields that differ, some with those of a
/// client. Each call has all fields of one of them, and none is called for twice.
async fn refresh(
    layer: CacheLayer<MemoryBackend>,
    fault: Fault,
    name: &'static str,
    is_weak: bool,
) {
    let (origin, calls) = origin(fault, is_weak);
    let service = layer.layer(origin);
    let mut sent = HashMap::new();
    for number in 0..900 {
        let request = with(get("/a"), "x-number", &number.to_string());
        let request = with(request, "x-edge", "https");
        let mut request = with(request, "user-agent", "browser");
        if name != "none" {
            request = with(request, name, &format!("client={}", number % 7));
        }
        let is_odd = number > 2 && number % 3 != 1;
        if is_odd {
            request = with(request, "x-odd", "1");
        }
        let user = ["alice", "bob"][number / 50 % 2];
        request.extensions_mut().insert(User(user));
        sent.insert(number.to_string(), request.headers().clone());
        let service = service.clone();
        let answered = tokio::spawn(async move { send(&service, request).await });
        sleep(100 * MS).await;
        if !is_odd {
            let got = answered.await.expect("no panic");
            assert_eq!(got.body, "page of https", "{fault:?} {name} {number}");
        }
    }
    let calls = calls.lock().expect("no panic");
    assert!(calls.len() > 20, "{fault:?} {name}: {}", calls.len());
    let mut called = HashMap::new();
    for call in calls.iter() {
        let number = call["x-number"].to_str().expect("text");
        let count = called.entry(number.to_owned()).or_insert(0);
        *count += 1;
        assert_eq!(*count, 1, "{fault:?} {name}: {number} is called for again");
        let mut fields = call.clone();
        fields.remove("if-none-match");
        assert_eq!(fields, sent[number], "{fault:?} {name}: {number}");
    }
}

const FAULTS: [Fault; 3] = [Fault::Hang, Fault::Fail, Fault::FailLate];

#[tokio::test(start_paused = true)]
async fn each_refresh_has_the_fields_of_its_own_request() {
    for fault in FAULTS {
        for name in ["none", "cookie", "authorization"] {
            for is_weak in [false, true] {
                refresh(layer(), fault, name, is_weak).await;
            }
        }
    }
}

/// The hook takes the client from the extensions.
#[tokio::test(start_paused = true)]
async fn each_refresh_has_the_fields_of_its_own_request_under_a_key_hook() {
    for covers in [false, true] {
        let by_user = layer().key_by(|request, key| {
            let user = request.extensions.get::<User>().map_or("-", |user| user.0);
            let authority = format!("{user}.{}", key.authority());
            Some(key.with_authority(authority))
        });
        let by_user = by_user.key_covers_credentials(covers);
        for name in ["cookie", "authorization"] {
            refresh(by_user.clone(), Fault::Hang, name, false).await;
        }
    }
}

/// An application keeps robots out of the cache: no refresh is one that they could have made.
#[tokio::test(start_paused = true)]
async fn no_refresh_is_a_request_that_bypasses_the_cache() {
    let for_people = layer().skip(|request| !request.headers.contains_key("user-agent"));
    for fault in FAULTS {
        refresh(for_people.clone(), fault, "none", false).await;
    }
}
