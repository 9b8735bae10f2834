//! What one request can cost by the size of its fields: a bound, whatever it lists.
//!
//! Costs are CPU times of this thread, the least of many calls, and are only compared with each
//! other.

mod many_lines;
mod meaning_beyond;
mod variants;

use std::time::Duration;

use bytes::Bytes;
use cpu_time::ThreadTime;
use http::Request;
use tower::{Layer, Service, ServiceExt};
use tower_response_cache::backend::MemoryBackend;
use tower_response_cache::key::QueryRules;
use tower_response_cache::{Cache, CacheLayer};

use crate::support::origin::{Origin, answer};
use crate::support::time::settled;
use crate::support::{get, in_memory, with};

const KIB: usize = 1024;

/// What a busy machine adds to any of these costs. To read a megabyte takes far longer, in a build
/// for tests.
const SLACK: Duration = Duration::from_micros(500);

type Service_ = Cache<Origin, MemoryBackend>;

/// The CPU time of one call: the least of many.
async fn cost(service: &Service_, request: impl Fn() -> Request<()>) -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..20 {
        let (mut service, request) = (service.clone(), request());
        // Its memory is freed after the measurement.
        let kept = request.headers().clone();
        let ready = service.ready().await.expect("it is always ready");
        let start = ThreadTime::now();
        let answer = ready.call(request).await;
        least = least.min(start.elapsed());
        drop((answer, kept));
        settled().await;
    }
    least
}

/// A service over an origin whose response may be stored and names these fields in `Vary`, with one
/// response stored for a plain request.
async fn primed(layer: CacheLayer<MemoryBackend>, vary: &'static str, body: Bytes) -> Service_ {
    let origin = Origin::at_once(move |_| {
        let mut lines = vec![("cache-control", "max-age=3600"), ("etag", "\"a\"")];
        lines.extend((!vary.is_empty()).then_some(("vary", vary)));
        answer(200, &lines, body.clone())
    });
    let service = layer.layer(origin);
    let answer = service.clone().oneshot(get("/a")).await;
    let collected = http_body_util::BodyExt::collect(answer.expect("an answer").into_body()).await;
    assert!(collected.is_ok());
    settled().await;
    service
}

/// A list of so many bytes.
fn list(member: &str, bytes: usize) -> String {
    let members = bytes / (member.len() + 1);
    vec![member; members].join(",")
}

/// Members that differ.
fn numbers(prefix: &str, bytes: usize) -> String {
    let mut list = String::new();
    for number in 0.. {
        if list.len() >= bytes {
            break;
        }
        list.push_str(&format!("{prefix}{number},"));
    }
    list
}

/// A field, how its value of so many bytes is made, and what the response names in `Vary`.
type Case = (&'static str, fn(usize) -> String, &'static str);

const CASES: &[Case] = &[
    (
        "accept-encoding",
        |bytes| numbers("x;q=0.", bytes),
        "accept-encoding",
    ),
    (
        "accept-language",
        |bytes| numbers("de-", bytes),
        "accept-language",
    ),
    ("accept", |bytes| numbers("text/x", bytes), "accept"),
    (
        "accept-charset",
        |bytes| list("utf-8", bytes),
        "accept-charset",
    ),
    ("cookie", |bytes| list("a=1; b=2", bytes), "cookie"),
    (
        "x-own",
        |bytes| list("own", bytes),
        "x-own, accept-language",
    ),
    (
        "if-none-match",
        |bytes| numbers("\"x\",W/\"y\"", bytes).replace(",W", ", W"),
        "",
    ),
    ("if-none-match", |bytes| list("\"", bytes), ""),
    ("cache-control", |bytes| numbers("max-age=", bytes), ""),
    ("cache-control", |bytes| list("x=\"\\", bytes), ""),
    ("pragma", |bytes| numbers("x", bytes), ""),
    (
        "range",
        |bytes| format!("bytes=0-0{}", ",".repeat(bytes)),
        "",
    ),
    ("range", |bytes| format!("bytes={}", "9".repeat(bytes)), ""),
    ("if-range", |bytes| format!("\"{}\"", "x".repeat(bytes)), ""),
    ("if-modified-since", |bytes| "x".repeat(bytes), ""),
    ("x-none-of-them", |bytes| list("own", bytes), ""),
];

fn asking(name: &'static str, value: &str) -> Request<()> {
    let request = with(get("/a"), name, value);
    match name {
        "if-range" => with(request, "range", "bytes=0-0"),
        _ => request,
    }
}

/// 300 KiB of `Accept-Encoding` cost bounded microseconds. 25 times as many bytes cost
/// the same, in whatever field they are.
#[tokio::test(start_paused = true)]
async fn the_cost_of_a_request_is_bounded_however_long_its_fields_are() {
    let mut wrong = Vec::new();
    for (name, value, vary) in CASES {
        let service = primed(in_memory(), vary, Bytes::from_static(b"body")).await;
        let (some, many) = (value(40 * KIB), value(1000 * KIB));
        let some = cost(&service, || asking(name, &some)).await;
        let many = cost(&service, || asking(name, &many)).await;
        println!("{name:20} 40 KiB {some:?} 1 MB {many:?}");
        if many > 3 * some + SLACK {
            wrong.push((name, some, many));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// A list of many lines costs what as many lines of any field cost.
#[tokio::test(start_paused = true)]
async fn many_lines_of_one_field_cost_what_many_lines_cost() {
    let lines = |name: &'static str, count: usize| {
        let mut request = get("/a");
        for _ in 0..count {
            request = with(request, name, "max-age=9");
        }
        request
    };
    let service = primed(in_memory(), "", Bytes::from_static(b"body")).await;
    // A miss, as most of those in question: the fields are copied once.
    let foreign = || with(lines("x-none-of-them", 5_000), "cache-control", "no-cache");
    let foreign = cost(&service, foreign).await;
    for name in [
        "cache-control",
        "pragma",
        "if-none-match",
        "accept-encoding",
        "range",
    ] {
        let own = cost(&service, || lines(name, 5_000)).await;
        println!("{name:20} foreign {foreign:?} own {own:?}");
        assert!(
            own < 3 * foreign + SLACK,
            "{name}: {own:?}, in another field {foreign:?}"
        );
    }
}

/// Two parts of 32 MiB cost what one costs. The boundary is not looked for in the content.
#[tokio::test(start_paused = true)]
async fn parts_of_a_large_response_cost_what_parts_of_a_small_one_cost() {
    let asked = |ranges: &'static str| move || with(get("/a"), "range", ranges);
    let mut costs = Vec::new();
    for size in [64 * KIB, 16 * KIB * KIB] {
        let backend = MemoryBackend::builder()
            .capacity(256 << 20)
            .max_response_size(64 << 20);
        let layer = CacheLayer::new(backend.build()).max_body(64 << 20);
        let service = primed(layer, "", Bytes::from(vec![b'x'; size])).await;
        let one = cost(&service, asked("bytes=0-0")).await;
        let two = cost(&service, asked("bytes=0-0,2-2")).await;
        println!("{size} bytes: one part {one:?}, two {two:?}");
        costs.push(two);
    }
    assert!(costs[1] < 3 * costs[0] + SLACK, "{costs:?}");
}

/// A target has at most 64 KiB, and costs in proportion to its length.
#[tokio::test(start_paused = true)]
async fn a_long_target_costs_in_proportion_to_its_length() {
    type Target = fn(usize) -> String;
    let targets: [(&str, Target); 7] = [
        ("dots", |bytes| "/a/..".repeat(bytes / 5)),
        ("slashes", |bytes| "/".repeat(bytes)),
        ("percent signs", |bytes| {
            format!("/{}", "%41%2e".repeat(bytes / 6))
        }),
        ("half percent signs", |bytes| {
            format!("/{}", "%".repeat(bytes))
        }),
        ("ampersands", |bytes| format!("/a?{}", "&".repeat(bytes))),
        ("parameters", |bytes| {
            let parameters = (0..bytes / 6).rev().map(|number| format!("{number:05}"));
            format!("/a?{}", parameters.collect::<Vec<_>>().join("&"))
        }),
        ("one name", |bytes| {
            format!("/a?{}", "a=1&".repeat(bytes / 4))
        }),
    ];
    let rules = QueryRules::all().ignoring(["utm_*", "x", "y*"]).sorted();
    for (name, target) in targets {
        let service = primed(in_memory().query(rules.clone()), "", Bytes::new()).await;
        let (half, whole) = (target(30_000), target(60_000));
        let half = cost(&service, || get(&half)).await;
        let whole = cost(&service, || get(&whole)).await;
        println!("{name:20} 30 KB {half:?} 60 KB {whole:?}");
        assert!(whole < 3 * half + SLACK, "{name}: {half:?}, {whole:?}");
    }
}
