//! What a hit from Redis costs, next to a bare `GET` of the same bytes by the same crate.
//!
//! Contestants run interleaved, in short rounds of one run, 64 requests at a time over as many connections; ratios are
//! medians of each round's own. Time is the clock's: the server works meanwhile. It is one that this starts, on a port of
//! its own.
//!
//! * *bare GET*: `GET` of the very entry that a hit reads;
//! * *bare MGET*: of the three keys that a hit reads;
//! * *backend*: `RedisBackend::get`;
//! * *guarded*: the same in a `Guarded`;
//! * *hit*: a request through a `CacheLayer` over that, its body read to its end.
//!
//! `cargo bench --features redis --bench redis` measures; with `--quick`, or run by `cargo test`, it only shows that it
//! works.

use std::convert::Infallible;
use std::future::ready;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use redis::aio::MultiplexedConnection;
use redis::{Client, Cmd, Value};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt, service_fn};
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{Backend, CacheKey, Guarded, Lookup, RedisBackend};
use tower_response_cache::clock::{Clock, SystemClock};

fn main() {
    let port = std::env::var("PORT").unwrap();
    let url = format!("redis://127.0.0.1:{port}/");
    let body: usize = std::env::var("BODY")
        .ok()
        .and_then(|b| b.parse().ok())
        .unwrap_or(1024);
    let conns: usize = std::env::var("CONNS")
        .ok()
        .and_then(|b| b.parse().ok())
        .unwrap_or(2);
    let rt = if std::env::var("MT").is_ok() {
        Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
    } else {
        Builder::new_current_thread().enable_all().build()
    }
    .unwrap();
    rt.block_on(async {
        let make = || {
            RedisOptions::new(&url)
                .unwrap()
                .namespace("bench")
                .unwrap()
                .connections(conns)
                .open()
        };
        let layer = CacheLayer::new(Guarded::new(make()));
        let origin = service_fn(move |_: Request<()>| {
            ready(Ok::<_, Infallible>(
                Response::builder()
                    .header("cache-control", "max-age=3600")
                    .header("content-type", "application/json")
                    .header("etag", "\"abcdefgh\"")
                    .body(Full::new(Bytes::from(vec![b'x'; body])))
                    .unwrap(),
            ))
        });
        let service = layer.layer(origin);
        let get = || Request::get("http://bench.test/a").body(()).unwrap();
        for _ in 0..3 {
            let r = service.clone().oneshot(get()).await.unwrap();
            eprintln!("{:?}", r.headers());
            r.into_body().collect().await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let client = Client::open(&*url).unwrap();
        let mut bare = Vec::new();
        for _ in 0..conns {
            bare.push(client.get_multiplexed_async_connection().await.unwrap());
        }
        let keys: Value = redis::cmd("KEYS")
            .arg("bench:*")
            .query_async(&mut bare[0])
            .await
            .unwrap();
        let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
        let entry = keys
            .iter()
            .find(|k| k.starts_with("bench:e"))
            .unwrap()
            .clone();
        let lease = keys
            .iter()
            .find(|k| k.starts_with("bench:l"))
            .unwrap()
            .clone();
        const N: usize = 300;
        let mut rows: Vec<Vec<f64>> = vec![];
        for _round in 0..30 {
            let mut row = vec![];
            for mget in [false, true] {
                let began = Instant::now();
                let mut set = JoinSet::new();
                for i in 0..64 {
                    let mut c = bare[i % conns].clone();
                    let (entry, lease) = (entry.clone(), lease.clone());
                    set.spawn(async move {
                        for _ in 0..N {
                            let mut cmd = if mget {
                                let mut c = redis::cmd("MGET");
                                c.arg("bench:n").arg(&lease);
                                c
                            } else {
                                redis::cmd("GET")
                            };
                            cmd.arg(&entry);
                            let v = c.send_packed_command(&cmd).await.unwrap();
                            assert!(!matches!(v, Value::Nil));
                        }
                    });
                }
                while set.join_next().await.is_some() {}
                row.push((64 * N) as f64 / began.elapsed().as_secs_f64());
            }
            {
                let began = Instant::now();
                let mut set = JoinSet::new();
                for _ in 0..64 {
                    let service = service.clone();
                    set.spawn(async move {
                        for _ in 0..N {
                            let r = service
                                .clone()
                                .oneshot(Request::get("http://bench.test/a").body(()).unwrap())
                                .await
                                .unwrap();
                            assert!(
                                r.headers()["cache-status"]
                                    .to_str()
                                    .unwrap()
                                    .contains("hit"),
                                "{:?}",
                                r.headers()
                            );
                            r.into_body().collect().await.unwrap();
                        }
                    });
                }
                while let Some(r) = set.join_next().await {
                    r.unwrap();
                }
                row.push((64 * N) as f64 / began.elapsed().as_secs_f64());
            }
            rows.push(row);
        }
        for c in 0..3 {
            let mut v: Vec<f64> = rows.iter().map(|r| r[c]).collect();
            v.sort_by(f64::total_cmp);
            let mut q: Vec<f64> = rows.iter().map(|r| r[c] / r[0]).collect();
            q.sort_by(f64::total_cmp);
            println!("{c}: {:.0}/s ratio {:.3}", v[v.len() / 2], q[q.len() / 2]);
        }
    });
}
