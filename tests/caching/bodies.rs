//! Bodies and what frames them: what may be stored of them, and how they come again.

use std::error::Error;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use crate::support::both::{AnyBackend, both_backends};
use crate::support::origin::{
    BodyStep, Origin, OriginBody, OriginError, answer, cacheable, data, full, scripted,
};
use crate::support::{get, put, request, send, with};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_response_cache::backend::{
    Backend, BackendError, CacheKey, DigestSeed, Lookup, MemoryBackend, Moment, Put, Resource,
    StoredResponse, Target,
};
use tower_response_cache::clock::Clock;
use tower_response_cache::stats::{Reason, Refusal};
use tower_response_cache::{BoxError, Cache, CacheLayer, ResponseBody};

type Script = UnboundedSender<BodyStep>;

/// Caches over a backend that answers at once, and over one that makes everybody wait. In virtual time: who waits for ever
/// has waited a day at once.
async fn on_both_backends(scenario: impl AsyncFn(CacheLayer<AnyBackend>)) {
    for backend in both_backends() {
        let layer = CacheLayer::new(backend).clock(clock());
        let day = Duration::from_secs(24 * 60 * 60);
        let in_time = tokio::time::timeout(day, scenario(layer)).await;
        in_time.expect("nobody waits for ever");
    }
}

fn memory() -> CacheLayer<MemoryBackend> {
    CacheLayer::new(MemoryBackend::default()).clock(clock())
}

/// Virtual time on both clocks.
fn clock() -> impl Clock {
    let start = Instant::now();
    move || {
        let passed = start.elapsed();
        Moment::new(
            passed,
            UNIX_EPOCH + Duration::from_secs(784_111_777) + passed,
        )
    }
}

/// The wall clock when a test begins.
const TODAY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// A fill may go on without its client, but no longer than this.
const LONGEST_FILL: Duration = Duration::from_secs(31);

/// Lets a response get into a backend that waits.
async fn settled() {
    sleep(Duration::from_millis(1)).await;
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// An origin whose every body is told what to do by the test: the scripts come out in the order of its calls.
fn directed(lines: &'static [(&'static str, &str)]) -> (Origin, impl Fn() -> Script + Send + Sync) {
    let scripts = Arc::new(Mutex::new(Vec::new()));
    let made = scripts.clone();
    let origin = Origin::at_once(move |_| {
        let (script, body) = scripted();
        made.lock().expect("no panic").push(script);
        answer(200, lines, "").map(|_| body)
    });
    (origin, move || {
        let mut scripts = scripts.lock().expect("no panic");
        assert!(!scripts.is_empty(), "the origin was not called");
        scripts.remove(0)
    })
}

const CACHEABLE: &[(&str, &str)] = &[("cache-control", "max-age=3600")];

type Stream = ResponseBody<OriginBody>;

async fn open<B: Backend>(service: &Cache<Origin, B>, path: &str) -> Response<Stream> {
    let response = service.clone().oneshot(get(path)).await;
    response.expect("an answer")
}

/// Does not wait for a body.
async fn is_hit<B: Backend>(service: &Cache<Origin, B>, path: &str) -> bool {
    open(service, path).await.headers().contains_key("age")
}

async fn next_data(stream: &mut Stream) -> Bytes {
    let frame = stream.frame().await.expect("a frame").expect("no error");
    frame.into_data().expect("data")
}

fn tell(script: &Script, step: BodyStep) {
    script.send(step).expect("a reader");
}

fn refusals<B: Backend>(layer: &CacheLayer<B>) -> Vec<(&'static str, u64)> {
    let refusals = layer.handle().stats().refusals;
    let applied = refusals.iter().filter(|(_, count)| *count > 0);
    applied.map(|(why, count)| (why.as_str(), count)).collect()
}

mod whole {
    use super::*;

    /// The origin's error, itself or behind others: layers outside look for what they know.
    fn cause<'e>(mut error: &'e (dyn Error + 'static)) -> &'e OriginError {
        loop {
            if let Some(cause) = error.downcast_ref() {
                return cause;
            }
            error = error.source().expect("the origin's error in the chain");
        }
    }

    /// B01
    #[tokio::test(start_paused = true)]
    async fn a_body_that_fails_midway_fails_for_its_client_and_is_not_stored() {
        on_both_backends(async |layer| {
            let (origin, script) = directed(CACHEABLE);
            let service = layer.layer(origin.clone());
            for call in 1..=2 {
                let mut body = open(&service, "/a").await.into_body();
                let script = script();
                tell(&script, data("half"));
                assert_eq!(next_data(&mut body).await, "half");
                tell(&script, Err(OriginError("gone").into()));
                let error = body.frame().await.expect("no clean end").expect_err("gone");
                assert_eq!(cause(&*error), &OriginError("gone"));
                settled().await;
                assert_eq!(origin.calls(), call);
            }
            assert_eq!(refusals(&layer), [("body-failed", 2)]);
        })
        .await;
    }

    /// B01: also when nothing was missing.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_fails_after_its_last_byte_is_not_stored() {
        on_both_backends(async |layer| {
            let lines = &[("cache-control", "max-age=3600"), ("content-length", "4")];
            let (origin, script) = directed(lines);
            let service = layer.layer(origin.clone());
            let mut body = open(&service, "/a").await.into_body();
            let script = script();
            tell(&script, data("data"));
            tell(&script, Err(OriginError("gone").into()));
            assert_eq!(next_data(&mut body).await, "data");
            assert!(body.frame().await.expect("no clean end").is_err());
            drop(body);
            settled().await;
            assert_eq!(refusals(&layer), [("body-failed", 1)]);
        })
        .await;
    }

    /// B01: on the wire, too, it must not look like a clean end.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_fails_midway_is_cut_off_on_the_wire() {
        let origin = Origin::at_once(|_| {
            let (script, body) = scripted();
            tell(&script, data("half"));
            tell(&script, Err(OriginError("gone").into()));
            cacheable("").map(|_| body)
        });
        let mut stream = connect(memory().layer(origin));
        for _ in 0..2 {
            let answer = ask(&mut stream, "GET /a HTTP/1.1\r\nhost: h\r\n\r\n").await;
            let Some((head, body)) = answer.split_once("\r\n\r\n") else {
                assert_eq!(answer, "", "the connection is closed");
                continue;
            };
            assert!(head.contains("transfer-encoding: chunked"), "{head}");
            assert!(!body.contains("\r\n0\r\n"), "{body}");
        }
    }

    /// Has one chunk, and panics when it is asked for the next.
    struct Panicking(bool);

    impl Body for Panicking {
        type Data = Bytes;
        type Error = BoxError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
            assert!(!std::mem::replace(&mut self.0, true), "as asked");
            Poll::Ready(Some(data("half")))
        }
    }

    /// B01: whether the panic is its client's or becomes an error, it must be no clean end, and no endless wait.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_panics_midway_ends_for_its_client_and_is_not_stored() {
        on_both_backends(async |layer| {
            let origin =
                Origin::at_once(|_| cacheable("").map(|_| Panicking(false).boxed_unsync()));
            let service = layer.layer(origin.clone());
            for call in 1..=2 {
                let mut reading = Box::pin(async {
                    let body = open(&service, "/a").await.into_body();
                    body.collect().await.is_ok()
                });
                let is_whole = std::future::poll_fn(|cx| {
                    let polled = catch_unwind(AssertUnwindSafe(|| reading.as_mut().poll(cx)));
                    polled.unwrap_or(Poll::Ready(false))
                });
                let is_whole = is_whole.await;
                assert!(!is_whole, "half of it is not all");
                settled().await;
                assert_eq!(origin.calls(), call);
            }
            assert_eq!(layer.handle().stats().stores, 0);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_midway_stores_no_part() {
        on_both_backends(async |layer| {
            let (origin, script) = directed(CACHEABLE);
            let service = layer.layer(origin.clone());
            for call in 1..=2 {
                let mut body = open(&service, "/a").await.into_body();
                let script = script();
                tell(&script, data("half"));
                assert_eq!(next_data(&mut body).await, "half");
                drop(body);
                sleep(LONGEST_FILL).await;
                assert!(script.is_closed(), "the origin is told");
                assert_eq!(origin.calls(), call);
            }
            assert_eq!(layer.handle().stats().stores, 0);
            assert_eq!(layer.handle().stats().refusals.total(), 2);
        })
        .await;
    }

    /// B01: a fill that goes on without its client must see the error, too.
    #[tokio::test(start_paused = true)]
    async fn a_body_that_fails_after_its_client_left_is_not_stored() {
        on_both_backends(async |layer| {
            let (origin, script) = directed(CACHEABLE);
            let service = layer.layer(origin.clone());
            drop(open(&service, "/a").await);
            let script = script();
            // Nobody may be there to hear it.
            let _ = script.send(data("half"));
            let _ = script.send(Err(OriginError("gone").into()));
            settled().await;
            assert!(!is_hit(&service, "/a").await);
            assert_eq!(origin.calls(), 2);
        })
        .await;
    }

    /// A server stops asking for more once it has sent what was announced.
    #[tokio::test(start_paused = true)]
    async fn a_body_dropped_after_its_last_announced_byte_is_whole() {
        on_both_backends(async |layer| {
            let lines = &[("cache-control", "max-age=3600"), ("content-length", "4")];
            let (origin, script) = directed(lines);
            let service = layer.layer(origin.clone());
            let mut body = open(&service, "/a").await.into_body();
            tell(&script(), data("data"));
            assert_eq!(next_data(&mut body).await, "data");
            drop(body);
            settled().await;
            let hit = send(&service, get("/a")).await;
            assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "data"));
        })
        .await;
    }

    /// B11
    #[tokio::test(start_paused = true)]
    async fn an_empty_200_from_an_aborted_call_is_never_stored() {
        on_both_backends(async |layer| {
            let (origin, _script) = directed(CACHEABLE);
            let service = layer.layer(origin.clone());
            // Its client left with the head, before the first byte.
            drop(open(&service, "/a").await);
            // And with nothing at all.
            let mut early = service.clone().call(get("/a"));
            let _ = poll_once(&mut early);
            drop(early);
            settled().await;
            let next = open(&service, "/a").await;
            let status = next.headers()["cache-status"].to_str().expect("text");
            assert!(status.contains("fwd=uri-miss"), "{status}");
            assert_eq!(layer.handle().stats().stores, 0);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_content_length_that_disagrees_stores_nothing() {
        on_both_backends(async |layer| {
            for (announced, frames) in [
                ("10", &["short"][..]),
                ("10", &["sho", "rt"]),
                ("1", &[]),
                ("3", &["longer"]),
                ("3", &["lon", "ger"]),
                ("0", &["longer"]),
            ] {
                for is_scripted in [true, false] {
                    let origin = Origin::at_once(move |_| {
                        let (script, body) = scripted();
                        frames.iter().for_each(|frame| tell(&script, data(frame)));
                        let body = match is_scripted {
                            true => body,
                            false => full(frames.concat()),
                        };
                        let lines = [
                            ("cache-control", "max-age=3600"),
                            ("content-length", announced),
                        ];
                        answer(200, &lines, "").map(|_| body)
                    });
                    let service = layer.layer(origin.clone());
                    for _ in 0..2 {
                        let answer = send(&service, get("/a")).await;
                        assert_eq!(answer.body, frames.concat(), "as it came");
                        settled().await;
                    }
                    assert_eq!(origin.calls(), 2, "{announced} {frames:?}");
                }
            }
            assert_eq!(refusals(&layer), [("truncated", 24)]);
        })
        .await;
    }
}

mod size {
    use super::*;

    /// B04
    #[tokio::test(start_paused = true)]
    async fn a_body_announced_as_too_large_streams_through_uncaptured() {
        on_both_backends(async |layer| {
            let lines = &[("cache-control", "max-age=3600"), ("content-length", "9")];
            let (origin, script) = directed(lines);
            let layer = layer.max_body(8);
            let service = layer.layer(origin);
            let response = open(&service, "/a").await;
            assert_eq!(
                response.headers()["cache-status"],
                "tower-response-cache; fwd=uri-miss; detail=too-large"
            );
            assert_eq!(refusals(&layer), [("too-large", 1)], "known from the head");
            let mut body = response.into_body();
            let script = script();
            for part in ["one", "two", "end"] {
                assert!(poll_once(&mut body.frame()).is_pending());
                tell(&script, data(part));
                assert_eq!(next_data(&mut body).await, part, "at once");
            }
            drop(script);
            assert!(body.frame().await.is_none());
            settled().await;
            assert_eq!(layer.handle().stats().stores, 0);
        })
        .await;
    }

    /// B04: the size may also be known from the body alone.
    #[tokio::test(start_paused = true)]
    async fn a_body_known_to_be_too_large_streams_through_uncaptured() {
        on_both_backends(async |layer| {
            let service = layer
                .max_body(8)
                .layer(Origin::at_once(|_| cacheable("123456789")));
            for _ in 0..2 {
                let answer = send(&service, get("/a")).await;
                assert_eq!(answer.cache_status(), "fwd=uri-miss; detail=too-large");
                assert_eq!(answer.body, "123456789");
            }
        })
        .await;
    }

    /// B04
    #[tokio::test(start_paused = true)]
    async fn a_body_that_grows_too_large_streams_on_byte_for_byte_and_is_not_stored() {
        on_both_backends(async |layer| {
            let layer = layer.max_body(1000);
            let origin = Origin::at_once(|_| {
                let (script, body) = scripted();
                for frame in frames() {
                    tell(&script, Ok(Frame::data(frame)));
                }
                cacheable("").map(|_| body)
            });
            let service = layer.layer(origin.clone());
            for call in 1..=2 {
                let body = open(&service, "/a").await.into_body();
                let whole = body.collect().await.expect("a whole body");
                let expected: Vec<u8> = frames().flatten().collect();
                assert_eq!(whole.to_bytes(), expected);
                settled().await;
                assert_eq!(origin.calls(), call);
            }
            assert_eq!(refusals(&layer), [("too-large", 2)]);
        })
        .await;
    }

    /// Some thousand bytes in frames of all sizes, empty ones included.
    fn frames() -> impl Iterator<Item = Bytes> {
        (0..200_u8).map(|n| Bytes::from(vec![n; usize::from(n) % 37]))
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_just_the_limit_is_stored() {
        on_both_backends(async |layer| {
            let (origin, script) = directed(CACHEABLE);
            let service = layer.max_body(8).layer(origin);
            let mut body = open(&service, "/a").await.into_body();
            let script = script();
            tell(&script, data("1234"));
            tell(&script, data("5678"));
            drop(script);
            while body.frame().await.is_some() {}
            settled().await;
            let hit = send(&service, get("/a")).await;
            assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "12345678"));
        })
        .await;
    }

    /// Room for one chunk of ten bytes, with what it takes to keep it.
    const ONE_CHUNK: u64 = 10 + 96;

    #[tokio::test(start_paused = true)]
    async fn fills_beyond_the_budget_stream_unstored() {
        on_both_backends(async |layer| {
            let (origin, script) = directed(CACHEABLE);
            let layer = layer.max_buffered_bytes(ONE_CHUNK);
            let service = layer.layer(origin);
            let mut first = open(&service, "/first").await.into_body();
            let first_script = script();
            tell(&first_script, data("12345678"));
            next_data(&mut first).await;

            let mut second = open(&service, "/second").await.into_body();
            let second_script = script();
            for part in ["12", "345678", "9"] {
                tell(&second_script, data(part));
                assert_eq!(next_data(&mut second).await, part);
            }
            drop(second_script);
            assert!(second.frame().await.is_none());
            assert_eq!(refusals(&layer), [("budget", 1)]);

            drop(first_script);
            assert!(first.frame().await.is_none());
            settled().await;
            assert!(is_hit(&service, "/first").await);
            assert_eq!(layer.handle().stats().stores, 1);
        })
        .await;
    }

    /// B05: nor is a fill at its end while the backend has yet to take it.
    #[tokio::test(start_paused = true)]
    async fn what_waits_for_a_slow_backend_counts() {
        let slow = SlowToStore(MemoryBackend::default());
        let layer = CacheLayer::new(slow)
            .clock(clock())
            .max_buffered_bytes(ONE_CHUNK);
        let service = layer.layer(Origin::at_once(|_| cacheable("12345678")));
        send(&service, get("/first")).await;
        send(&service, get("/second")).await;
        assert_eq!(refusals(&layer), [("budget", 1)]);
        sleep(2 * SLOW).await;
        send(&service, get("/third")).await;
        sleep(2 * SLOW).await;
        assert_eq!(layer.handle().stats().stores, 2, "given back then");
    }

    type End = fn(Stream, Script) -> Vec<Stream>;

    /// B05: whatever a fill's end.
    #[tokio::test(start_paused = true)]
    async fn the_budget_is_given_back() {
        let ends: [(&str, End); 5] = [
            ("it ended", |body, script| {
                drop(script);
                vec![body]
            }),
            ("its client left", |body, script| {
                drop((body, script));
                vec![]
            }),
            ("its client left and it never ends", |body, script| {
                drop(body);
                std::mem::forget(script);
                vec![]
            }),
            ("it failed", |body, script| {
                tell(&script, Err(OriginError("gone").into()));
                vec![body]
            }),
            ("it grew too large", |body, script| {
                tell(&script, data("123"));
                vec![body]
            }),
        ];
        for (how, end) in ends {
            on_both_backends(async |layer| {
                let (origin, script) = directed(CACHEABLE);
                let service = layer
                    .max_buffered_bytes(ONE_CHUNK)
                    .max_body(10)
                    .layer(origin);
                let mut body = open(&service, "/first").await.into_body();
                let first_script = script();
                tell(&first_script, data("12345678"));
                next_data(&mut body).await;
                for body in end(body, first_script) {
                    let _ = body.collect().await;
                }
                sleep(LONGEST_FILL).await;

                let mut next = open(&service, "/next").await.into_body();
                tell(&script(), data("12345678"));
                assert_eq!(next_data(&mut next).await, "12345678");
                assert!(next.frame().await.is_none());
                settled().await;
                assert!(is_hit(&service, "/next").await, "{how}");
            })
            .await;
        }
    }

    /// B05, B10: what is not being captured any more must not hold the budget for as long as it streams.
    #[tokio::test(start_paused = true)]
    async fn an_endless_stream_gives_its_budget_back_once_it_is_too_large() {
        on_both_backends(async |layer| {
            let (origin, script) = directed(CACHEABLE);
            let layer = layer.max_buffered_bytes(ONE_CHUNK).max_body(10);
            let service = layer.layer(origin);
            let mut endless = open(&service, "/endless").await.into_body();
            let endless_script = script();
            for part in ["12345678", "9abcdefg"] {
                tell(&endless_script, data(part));
                assert_eq!(next_data(&mut endless).await, part);
            }
            assert_eq!(refusals(&layer), [("too-large", 1)]);

            let mut next = open(&service, "/next").await.into_body();
            tell(&script(), data("12345678"));
            assert_eq!(next_data(&mut next).await, "12345678");
            assert!(next.frame().await.is_none());
            settled().await;
            assert!(is_hit(&service, "/next").await);
            tell(&endless_script, data("and on"));
            assert_eq!(next_data(&mut endless).await, "and on");
        })
        .await;
    }

    /// B05: nor what has been stored, for as long as its client keeps the body.
    #[tokio::test(start_paused = true)]
    async fn a_stored_fill_gives_its_budget_back_before_its_body_is_dropped() {
        on_both_backends(async |layer| {
            let service = layer
                .max_buffered_bytes(ONE_CHUNK)
                .layer(Origin::at_once(|_| cacheable("12345678")));
            let mut kept = open(&service, "/kept").await.into_body();
            next_data(&mut kept).await;
            settled().await;
            send(&service, get("/next")).await;
            settled().await;
            assert!(is_hit(&service, "/kept").await);
            assert!(is_hit(&service, "/next").await);
            drop(kept);
        })
        .await;
    }
}

mod hits {
    use super::*;

    async fn stored(
        layer: &CacheLayer<impl Backend>,
        text: &'static str,
    ) -> Cache<Origin, impl Backend> {
        let service = layer.layer(Origin::at_once(move |_| cacheable(text)));
        send(&service, get("/a")).await;
        settled().await;
        service
    }

    async fn read(body: Stream) -> Bytes {
        body.collect().await.expect("a whole body").to_bytes()
    }

    /// B08
    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_a_hit_leaves_it_intact() {
        on_both_backends(async |layer| {
            let service = stored(&layer, "whole").await;
            drop(open(&service, "/a").await);
            let mut halfway = open(&service, "/a").await.into_body();
            next_data(&mut halfway).await;
            drop(halfway);
            let never_answered = service.clone().call(get("/a"));
            drop(never_answered);
            let hit = send(&service, get("/a")).await;
            assert_eq!((hit.is_hit(), hit.body.as_str()), (true, "whole"));
        })
        .await;
    }

    /// B08: with real frames on a connection that is cut.
    #[tokio::test(start_paused = true)]
    async fn a_connection_cut_in_the_middle_of_a_hit_leaves_it_intact() {
        let text: &'static str = "0123456789".repeat(50_000).leak();
        let service = stored(&memory(), text).await;
        let mut stream = connect(service.clone());
        let asking = "GET /a HTTP/1.1\r\nhost: test.example\r\n\r\n";
        stream.write_all(asking.as_bytes()).await.expect("a server");
        let mut first = [0; 1000];
        stream.read_exact(&mut first).await.expect("some of it");
        drop(stream);
        let hit = send(&service, get("/a")).await;
        assert!(hit.is_hit() && hit.body == text);
    }

    /// B07
    #[tokio::test(start_paused = true)]
    async fn a_slow_client_of_a_hit_holds_nobody_up() {
        on_both_backends(async |layer| {
            let service = stored(&layer, "whole").await;
            let slow = open(&service, "/a").await.into_body();
            sleep(Duration::from_secs(3000)).await;
            assert_eq!(send(&service, get("/a")).await.body, "whole");
            sleep(Duration::from_secs(3000)).await;
            assert!(!send(&service, get("/a")).await.is_hit(), "expired");
            assert_eq!(read(slow).await, "whole");
        })
        .await;
    }

    /// B07
    #[tokio::test(start_paused = true)]
    async fn what_is_invalidated_while_a_client_reads_it_stays_whole_for_that_client() {
        on_both_backends(async |layer| {
            let handle = layer.handle();
            let service = stored(&layer, "whole").await;
            let slow = open(&service, "/a").await.into_body();
            send(&service, put("/a")).await;
            assert!(!send(&service, get("/a")).await.is_hit());
            settled().await;
            let slower = open(&service, "/a").await.into_body();
            handle.clear().await.expect("cleared");
            assert_eq!(read(slow).await, "whole");
            assert_eq!(read(slower).await, "whole");
        })
        .await;
    }

    /// B07
    #[tokio::test(start_paused = true)]
    async fn what_is_evicted_while_a_client_reads_it_stays_whole_for_that_client() {
        const SIZE: usize = 4000;
        let backend = MemoryBackend::new(16 * SIZE as u64);
        let layer = CacheLayer::new(backend).clock(clock());
        let origin = Origin::at_once(|request| {
            let letter = request.uri().path().as_bytes()[1];
            cacheable(vec![letter; SIZE])
        });
        let service = layer.layer(origin);
        send(&service, get("/a")).await;
        let response = open(&service, "/a").await;
        assert!(response.headers().contains_key("age"), "a hit");
        // Asked for twice each, or a store that resists scans would keep what was there before.
        for n in 0..1000 {
            send(&service, get(&format!("/b?{n}"))).await;
            send(&service, get(&format!("/b?{n}"))).await;
        }
        assert!(!send(&service, get("/a")).await.is_hit(), "evicted");
        assert_eq!(read(response.into_body()).await, vec![b'a'; SIZE]);
    }

    /// B16
    #[tokio::test(start_paused = true)]
    async fn response_extensions_stay_with_the_request_they_answered() {
        #[derive(Clone, Debug, PartialEq)]
        struct User(&'static str);

        on_both_backends(async |layer| {
            let origin = Origin::at_once(|request| {
                let mut response = cacheable("shared");
                let user = request.extensions().get::<User>().cloned();
                response.extensions_mut().insert(user.expect("a user"));
                response
            });
            let service = layer.layer(origin);
            let send_as = async |user| {
                let mut request = get("/a");
                request.extensions_mut().insert(User(user));
                let response = service.clone().oneshot(request).await.expect("an answer");
                let user = response.extensions().get::<User>().cloned();
                read(response.into_body()).await;
                settled().await;
                user
            };
            assert_eq!(send_as("one").await, Some(User("one")));
            assert_eq!(send_as("two").await, None);
            assert_eq!(layer.handle().stats().hits, 1);
        })
        .await;
    }
}

mod heads {
    use super::*;

    async fn miss_and_hit(
        layer: &CacheLayer<AnyBackend>,
        origin: Origin,
    ) -> [crate::support::Answer; 2] {
        let service = layer.layer(origin);
        let miss = send(&service, get("/a")).await;
        settled().await;
        let hit = send(&service, get("/a")).await;
        assert!(!miss.is_hit() && hit.header("cache-status").contains("cache; hit"));
        [miss, hit]
    }

    fn lines<'h>(headers: &'h HeaderMap, name: &str) -> Vec<&'h [u8]> {
        let lines = headers.get_all(name).iter();
        lines.map(|line| line.as_bytes()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn status_and_all_header_lines_come_again_in_their_order() {
        on_both_backends(async |layer| {
            let origin = Origin::at_once(|_| {
                let mut response = answer(
                    410,
                    &[
                        ("cache-control", "public"),
                        ("link", "</1>"),
                        ("x-empty", ""),
                        ("link", "</2>"),
                        ("cache-control", "max-age=3600"),
                        ("link", "</1>"),
                        ("content-type", "text/plain"),
                    ],
                    "gone",
                );
                let obsolete = http::HeaderValue::from_bytes(b"caf\xe9\t!").expect("a value");
                response.headers_mut().append("x-bytes", obsolete);
                response
            });
            for answer in miss_and_hit(&layer, origin).await {
                assert_eq!(
                    (answer.status.as_u16(), answer.body.as_str()),
                    (410, "gone")
                );
                assert_eq!(lines(&answer.headers, "link"), [b"</1>", b"</2>", b"</1>"]);
                assert_eq!(answer.header("cache-control"), "public, max-age=3600");
                assert_eq!(lines(&answer.headers, "x-empty"), [b""]);
                assert_eq!(lines(&answer.headers, "x-bytes"), [b"caf\xe9\t!"]);
                assert_eq!(answer.header("content-type"), "text/plain");
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn frames_come_again_as_one_body_with_its_length() {
        on_both_backends(async |layer| {
            let origin = Origin::at_once(|_| {
                let (script, body) = scripted();
                ["in ", "", "three ", "parts"]
                    .iter()
                    .for_each(|part| tell(&script, data(part)));
                cacheable("").map(|_| body)
            });
            let [miss, hit] = miss_and_hit(&layer, origin).await;
            assert_eq!(miss.header("content-length"), "");
            assert_eq!(hit.header("content-length"), "14");
            assert_eq!(hit.body, "in three parts");
            assert_eq!(hit.body, miss.body);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_date_is_stamped_on_receipt() {
        on_both_backends(async |layer| {
            let service = layer.layer(Origin::at_once(|_| cacheable("")));
            let miss = send(&service, get("/a")).await;
            sleep(Duration::from_secs(5)).await;
            let hit = send(&service, get("/a")).await;
            assert!(hit.is_hit());
            assert_eq!([miss.header("date"), hit.header("date")], [TODAY, TODAY]);
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_date_of_its_own_is_kept_and_tells_the_age() {
        const EARLIER: &str = "Sun, 06 Nov 1994 08:49:07 GMT";
        on_both_backends(async |layer| {
            let origin = Origin::at_once(|_| {
                let lines = [("cache-control", "max-age=3600"), ("date", EARLIER)];
                answer(200, &lines, "")
            });
            let [miss, hit] = miss_and_hit(&layer, origin).await;
            assert_eq!(
                [miss.header("date"), hit.header("date")],
                [EARLIER, EARLIER]
            );
            assert_eq!([miss.header("age"), hit.header("age")], ["", "30"]);
            assert_eq!(hit.cache_status(), "hit; ttl=3570");
        })
        .await;
    }

    /// H24
    #[tokio::test(start_paused = true)]
    async fn age_is_on_hits_only_and_counts_seconds() {
        on_both_backends(async |layer| {
            let service = layer.layer(Origin::at_once(|_| cacheable("")));
            let age = async |request| send(&service, request).await.header("age");
            assert_eq!(age(get("/a")).await, "", "a miss");
            sleep(Duration::from_millis(1999)).await;
            assert_eq!(age(get("/a")).await, "1");
            sleep(Duration::from_millis(1)).await;
            assert_eq!(age(get("/a")).await, "2");
            assert_eq!(age(request(Method::HEAD, "/a")).await, "2");
            let asks_anew = with(get("/a"), "cache-control", "no-cache");
            assert_eq!(age(asks_anew).await, "", "fetched");
            assert_eq!(age(request(Method::OPTIONS, "/a")).await, "", "passed");
            assert_eq!(age(put("/a")).await, "", "written");
        })
        .await;
    }

    /// H24
    #[tokio::test(start_paused = true)]
    async fn an_upstreams_age_is_added_to_our_own() {
        on_both_backends(async |layer| {
            let origin = Origin::at_once(|_| {
                let lines = [("cache-control", "max-age=3600"), ("age", "100")];
                answer(200, &lines, "")
            });
            let service = layer.layer(origin.clone());
            let miss = send(&service, get("/a")).await;
            assert_eq!(lines(&miss.headers, "age"), [b"100"], "kept");
            sleep(Duration::from_secs(5)).await;
            let hit = send(&service, get("/a")).await;
            assert_eq!(lines(&hit.headers, "age"), [b"105"]);
            assert_eq!(hit.cache_status(), "hit; ttl=3495");
            sleep(Duration::from_secs(3495)).await;
            assert_eq!(
                send(&service, get("/a")).await.cache_status(),
                "fwd=stale; stored"
            );
        })
        .await;
    }

    /// H24: it may have aged on its way.
    #[tokio::test(start_paused = true)]
    async fn the_time_a_response_took_counts_as_age() {
        on_both_backends(async |layer| {
            let origin = Origin::new(async |_| {
                sleep(Duration::from_secs(3)).await;
                Ok(cacheable(""))
            });
            let [_, hit] = miss_and_hit(&layer, origin).await;
            assert_eq!(hit.header("age"), "3");
            assert_eq!(hit.cache_status(), "hit; ttl=3597");
        })
        .await;
    }

    /// H24
    #[tokio::test(start_paused = true)]
    async fn an_upstreams_cache_status_is_kept_and_appended_to() {
        on_both_backends(async |layer| {
            for layer in [
                layer.clone().scope("named"),
                layer.scope("off").cache_status(false),
            ] {
                let origin = Origin::at_once(|_| {
                    let lines = [
                        ("cache-control", "max-age=3600"),
                        ("cache-status", "far; fwd=stale"),
                        ("cache-status", "near; hit; ttl=9"),
                    ];
                    answer(200, &lines, "")
                });
                let service = layer.layer(origin.clone());
                let mut own = Vec::new();
                for _ in 0..3 {
                    let answer = send(&service, get("/a")).await;
                    let status = lines(&answer.headers, "cache-status");
                    assert_eq!(status[..2], [&b"far; fwd=stale"[..], b"near; hit; ttl=9"]);
                    own.extend(status[2..].iter().map(|line| line.to_vec()));
                    settled().await;
                }
                assert_eq!(origin.calls(), 1);
                let expected: [&[u8]; 3] = [
                    b"tower-response-cache; fwd=uri-miss; stored",
                    b"tower-response-cache; hit; ttl=3600",
                    b"tower-response-cache; hit; ttl=3600",
                ];
                assert!(own.is_empty() || own == expected);
            }
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_cache_status_of_its_own_there_is_none() {
        on_both_backends(async |layer| {
            let service = layer
                .cache_status(false)
                .layer(Origin::at_once(|_| cacheable("")));
            for age in ["", "0"] {
                let answer = send(&service, get("/a")).await;
                assert_eq!(answer.header("age"), age);
                assert!(!answer.headers.contains_key("cache-status"));
                settled().await;
            }
            assert!(
                !send(&service, put("/a"))
                    .await
                    .headers
                    .contains_key("cache-status")
            );
        })
        .await;
    }

    /// H17
    #[tokio::test(start_paused = true)]
    async fn fields_of_one_connection_are_not_replayed() {
        const OF_THE_CONNECTION: [(&str, &str); 9] = [
            ("connection", "close, X-Hop"),
            ("connection", "x-other-hop"),
            ("x-hop", "1"),
            ("x-other-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("proxy-connection", "close"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
        ];
        on_both_backends(async |layer| {
            let origin = Origin::at_once(|_| {
                let others = [("cache-control", "max-age=3600"), ("x-end-to-end", "1")];
                answer(200, &[&OF_THE_CONNECTION[..], &others].concat(), "")
            });
            let [miss, hit] = miss_and_hit(&layer, origin).await;
            for (name, _) in OF_THE_CONNECTION {
                assert!(
                    miss.headers.contains_key(name),
                    "{name}: not ours to remove"
                );
                assert!(!hit.headers.contains_key(name), "{name}");
            }
            assert_eq!(hit.header("x-end-to-end"), "1");
        })
        .await;
    }

    /// B11
    #[tokio::test(start_paused = true)]
    async fn head_of_a_hit_has_the_length_of_the_get() {
        on_both_backends(async |layer| {
            let origin = Origin::at_once(|_| {
                let (script, body) = scripted();
                tell(&script, data("chunked"));
                cacheable("").map(|_| body)
            });
            let service = layer.layer(origin.clone());
            send(&service, get("/a")).await;
            settled().await;
            let head = send(&service, request(Method::HEAD, "/a")).await;
            assert!(head.is_hit());
            assert_eq!(head.header("content-length"), "7");
            assert_eq!(head.body, "");
            assert_eq!(origin.calls(), 1);
        })
        .await;
    }
}

/// One HTTP/1.1 connection to a service.
fn connect<B: Backend>(service: Cache<Origin, B>) -> DuplexStream {
    let (client, server) = tokio::io::duplex(16 * 1024);
    let service = ServiceBuilder::new()
        .map_request(|request: Request<Incoming>| request.map(|_| ()))
        .service(service);
    let connection = http1::Builder::new()
        .serve_connection(TokioIo::new(server), TowerToHyperService::new(service));
    tokio::spawn(connection);
    client
}

/// What comes back until the other side has no more to say for now, or closes.
async fn ask(stream: &mut DuplexStream, text: &str) -> String {
    // A closed connection is an answer, too.
    let _ = stream.write_all(text.as_bytes()).await;
    let mut heard = Vec::new();
    let silence = Duration::from_secs(1);
    while let Ok(Ok(1..)) = tokio::time::timeout(silence, stream.read_buf(&mut heard)).await {}
    String::from_utf8(heard).expect("UTF-8")
}

mod framing {
    use super::*;

    fn text_after(head: &str, name: &str) -> Option<String> {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim_start_matches(": ").to_owned())
    }

    /// B11: what follows on the same connection shows whether both sides agree on where each answer ends.
    #[tokio::test(start_paused = true)]
    async fn empty_answers_are_framed_right_on_misses_and_hits() {
        let origin = Origin::at_once(|request| {
            let status = match request.uri().path() {
                "/none" => 204,
                "/same" => 304,
                _ => 200,
            };
            let body = match request.uri().path() {
                "/text" => "text",
                _ => "",
            };
            answer(status, CACHEABLE, body)
        });
        let mut stream = connect(memory().layer(origin));
        for (asked, status, length, body, is_hit) in [
            ("GET /empty", "200 OK", Some("0"), "", false),
            ("GET /empty", "200 OK", Some("0"), "", true),
            ("HEAD /empty", "200 OK", Some("0"), "", true),
            ("GET /none", "204 No Content", None, "", false),
            ("GET /none", "204 No Content", None, "", true),
            ("HEAD /none", "204 No Content", None, "", true),
            ("GET /same", "304 Not Modified", None, "", false),
            ("GET /same", "304 Not Modified", None, "", false),
            ("GET /text", "200 OK", Some("4"), "text", false),
            ("GET /text", "200 OK", Some("4"), "text", true),
            ("HEAD /text", "200 OK", Some("4"), "", true),
            ("GET /text", "200 OK", Some("4"), "text", true),
        ] {
            let heard = ask(&mut stream, &format!("{asked} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
            let (head, rest) = heard.split_once("\r\n\r\n").expect("a head");
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status}")),
                "{asked}: {head}"
            );
            assert_eq!(
                text_after(head, "content-length").as_deref(),
                length,
                "{asked}"
            );
            assert_eq!(text_after(head, "transfer-encoding"), None, "{asked}");
            assert_eq!(head.contains("cache; hit;"), is_hit, "{asked}: {head}");
            assert_eq!(rest, body, "{asked}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_304_to_a_request_past_the_store_passes_and_is_not_stored() {
        on_both_backends(async |layer| {
            let calls = Arc::new(AtomicUsize::new(0));
            let counted = calls.clone();
            let origin = Origin::at_once(move |request| {
                counted.fetch_add(1, Ordering::SeqCst);
                match request.headers().contains_key("if-none-match") {
                    true => answer(304, &[("cache-control", "max-age=3600")], ""),
                    false => cacheable("text"),
                }
            });
            let service = layer.layer(origin);
            let asked = with(get("/a"), "if-none-match", "\"1\"");
            let asked = with(asked, "cache-control", "no-store");
            let not_modified = send(&service, asked).await;
            assert_eq!(not_modified.status, StatusCode::NOT_MODIFIED);
            assert_eq!(not_modified.cache_status(), "fwd=uri-miss; detail=status");
            settled().await;
            let other = send(&service, get("/a")).await;
            assert_eq!(
                (other.status, other.body.as_str()),
                (StatusCode::OK, "text")
            );
            assert_eq!(calls.load(Ordering::SeqCst), 2);
            let refusals = layer.handle().stats().refusals;
            assert_eq!(refusals.get(Refusal::Status), 1);
        })
        .await;
    }
}

const SLOW: Duration = Duration::from_secs(1);

/// A backend that takes a second to store.
#[derive(Clone)]
struct SlowToStore(MemoryBackend);

impl Backend for SlowToStore {
    type Fence = <MemoryBackend as Backend>::Fence;

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<Self::Fence>, BackendError> {
        self.0.get(key, now).await
    }

    async fn fence(&self, of: Option<&Resource>) -> Result<Option<Self::Fence>, BackendError> {
        self.0.fence(of).await
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: Self::Fence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        sleep(SLOW).await;
        self.0.put(key, fence, response, now).await
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
        self.0.invalidate(target).await
    }

    async fn clear(&self) -> Result<(), BackendError> {
        self.0.clear().await
    }

    fn seed(&self) -> DigestSeed {
        self.0.seed()
    }
}
