//! Arbitrary pairs of requests: if the second is answered by the response to the first, the service
//! would have seen the same request.
//!
//! Promised is, whatever `Vary` says: the target, with the path and query byte for byte, and
//! `Host`. Of the fields that `Vary` names: their meaning. Not promised: the method (HEAD is
//! answered by GET), the version, extensions and all fields that `Vary` does not name.

use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderValue, Request, Uri};
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::key::{Authority, QueryRules};

use crate::support::origin::{Origin, answer};
use crate::support::send;
use crate::support::spellings::{Choices, FIELDS, Spelling, meaning};
use crate::support::time::settled;

type Seen = Arc<Mutex<Vec<(Uri, HeaderMap)>>>;

/// A service that remembers its requests. Its responses are public, with this `Vary`.
fn remembering(vary: &str) -> (Origin, Seen) {
    let seen = Seen::default();
    let log = seen.clone();
    let vary = vary.to_owned();
    let origin = Origin::at_once(move |request: &Request<()>| {
        let met = (request.uri().clone(), request.headers().clone());
        log.lock().expect("a log").push(met);
        let lines = [("cache-control", "public, max-age=60"), ("vary", &*vary)];
        answer(200, &lines, "x")
    });
    (origin, seen)
}

/// The options under which the promise is kept.
#[derive(Clone, Copy, Debug)]
enum Options {
    Default,
    FixedAuthority,
    IgnoredQuery,
    SchemeInKey,
}

fn layer(options: Options) -> CacheLayer<MemoryBackend> {
    let layer = CacheLayer::new(MemoryBackend::default());
    match options {
        Options::Default => layer,
        Options::FixedAuthority => layer.authority(Authority::fixed("fixed.test")),
        Options::IgnoredQuery => layer.query(QueryRules::all().ignoring(["utm_*"])),
        Options::SchemeInKey => layer.key_by(|request, key| {
            Some(match request.uri.scheme_str() {
                Some(scheme) => key.with_scheme(scheme),
                None => key,
            })
        }),
    }
}

fn lines(headers: &HeaderMap, name: &str) -> Vec<String> {
    let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    lines
        .map(|line| String::from_utf8_lossy(line).into_owned())
        .collect()
}

/// Whether the second request is answered by the response to the first; fails if it is and the
/// service would have seen another request.
async fn is_shared(options: Options, vary: &str, pair: [&Spelling; 2]) -> bool {
    let [Some(first), Some(second)] = pair.map(|spelling| spelling.build(())) else {
        return false;
    };
    let (origin, seen) = remembering(vary);
    let service = layer(options).layer(origin);
    send(&service, first).await;
    settled().await;
    let is_shared = send(&service, second).await.is_hit();
    if !is_shared {
        return false;
    }
    let (alone, seen_alone) = remembering(vary);
    let second = pair[1].build(()).expect("it was built before");
    send(&layer(options).layer(alone), second).await;
    let (seen, seen_alone) = (
        seen.lock().expect("a log"),
        seen_alone.lock().expect("a log"),
    );
    let ((uri, headers), (uri_alone, headers_alone)) = (&seen[0], &seen_alone[0]);
    assert_eq!(uri, uri_alone, "{options:?} {pair:#?}");
    let mut names = vec!["host"];
    names.extend(vary.split(", ").filter(|name| !name.is_empty()));
    for name in names {
        let (one, other) = (lines(headers, name), lines(headers_alone, name));
        assert_eq!(
            meaning(name, &one),
            meaning(name, &other),
            "{name}: {options:?} {pair:#?}"
        );
        assert!(
            !["host", "cookie"].contains(&name) || one == other,
            "{pair:#?}"
        );
    }
    true
}

async fn check(options: Options) {
    let vary = FIELDS.join(", ");
    let (mut shared, mut respelled) = (0, 0);
    for seed in 0..400 {
        let choices = Choices::new(seed);
        let first = choices.spelling();
        let second = choices.variation(&first);
        for vary in ["", &vary] {
            if is_shared(options, vary, [&first, &second]).await {
                shared += 1;
                respelled += usize::from(format!("{first:?}") != format!("{second:?}"));
            }
        }
    }
    assert!(shared > 80 && respelled > 40, "{shared} {respelled}");
}

#[tokio::test(start_paused = true)]
async fn requests_with_one_key_are_one_request_for_the_service() {
    check(Options::Default).await;
}

/// Options that make keys coarser or finer.
#[tokio::test(start_paused = true)]
async fn options_of_the_key_are_options_of_the_request() {
    for options in [
        Options::FixedAuthority,
        Options::IgnoredQuery,
        Options::SchemeInKey,
    ] {
        check(options).await;
    }
}
