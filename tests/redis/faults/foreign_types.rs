//! Keys of the namespace under which another program has stored a value of another type: a miss,
//! the value is left as it is, and the first one is logged.

use std::time::Duration;

use http::Method;
use tower::Layer;
use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{Guarded, Health, RedisBackend};
use tower_response_cache::{Cache, CacheHandle, CacheLayer};

use crate::faults::world::{is_idle, patient};
use crate::support::logs::Logs;
use crate::support::origin::{Origin, answer};
use crate::support::redis::{RedisServer, Reply, until};
use crate::support::{Answer, get, put, request, send, with};

/// One value of each type but a string.
const OTHERS: [&[&str]; 5] = [
    &["RPUSH", "a", "b"],
    &["SADD", "a"],
    &["HSET", "a", "b"],
    &["ZADD", "1", "a"],
    &["XADD", "*", "a", "b"],
];

struct Setup {
    server: RedisServer,
    logs: Logs,
    service: Cache<Origin, Guarded<RedisBackend>>,
    handle: CacheHandle<Guarded<RedisBackend>>,
}

impl Setup {
    async fn new() -> Self {
        let (server, logs) = (RedisServer::start().await, Logs::new());
        let options = RedisOptions::new(&server.url()).expect("a URL");
        let layer = CacheLayer::new(patient(options.namespace("shop").owner("me")));
        let layer = layer.write_through(true);
        let handle = layer.handle();
        let origin = Origin::at_once(|request| {
            let path = request.uri().path();
            let mut lines = vec![("cache-control", "max-age=600"), ("content-location", path)];
            if path.starts_with("/varies") {
                lines.push(("vary", "accept-language"));
            }
            if path.starts_with("/member") {
                lines.push(("cache-groups", "\"a\""));
            }
            let length = if path.ends_with("large") { 100_000 } else { 10 };
            answer(200, &lines, "x".repeat(length))
        });
        Self {
            server,
            logs,
            service: layer.layer(origin),
            handle,
        }
    }

    async fn get(&self, path: &str) -> Answer {
        send(&self.service, with(get(path), "accept-language", "en")).await
    }

    async fn until_idle(&self) {
        until("nothing is under way", async || is_idle(&self.handle)).await;
    }

    async fn fill(&self, path: &str) {
        until("it is stored", async || {
            let is_hit = self.get(path).await.is_hit();
            self.until_idle().await;
            is_hit
        })
        .await;
    }

    /// Puts a value in the place of that of a key; returns it as Redis dumps it.
    async fn occupy(&self, name: &str, number: usize) -> Reply {
        let [command, arguments @ ..] = OTHERS[number % OTHERS.len()] else {
            unreachable!()
        };
        self.server.command(&["DEL", name]).await;
        let all = match number.is_multiple_of(OTHERS.len()) && name.starts_with("shop:v:") {
            // The list of variants is the one key of ours that is none.
            true => vec!["SET", name, "a"],
            false => [&[*command, name], arguments].concat(),
        };
        assert!(!self.server.command(&all).await.is_error(), "{all:?}");
        self.server.command(&["DUMP", name]).await
    }

    /// The value is there as it was, for as long.
    async fn assert_left(&self, name: &str, value: &Reply) {
        assert_eq!(self.server.command(&["DUMP", name]).await, *value, "{name}");
        let ttl = self.server.command(&["PTTL", name]).await.integer();
        assert_eq!(ttl, -1, "{name}");
    }

    fn health(&self) -> Health {
        self.handle.stats().health.expect("it is guarded")
    }

    /// Nothing of it is a failure, and it was told once.
    fn assert_told_once(&self) {
        let (health, stats) = (self.health(), self.handle.stats());
        assert_eq!((health.failures, health.opened), (0, 0), "{health:?}");
        assert_eq!(stats.failed_invalidations, 0);
        let lines = self.logs.lines("holds a value of another type");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].contains("WARN") && lines[0].contains("shop:"),
            "{lines:?}"
        );
    }

    /// Occupies each key in turn, and does everything that could change it; afterwards it is gone,
    /// and the page is stored again.
    async fn assert_all_are_left(&self, path: &str, patterns: &[&str]) {
        let mut occupied = 0;
        for pattern in patterns {
            for number in 0..OTHERS.len() {
                self.fill(path).await;
                // Not the keys of all other pages.
                let Some(name) = self.server.names(pattern).await.pop() else {
                    panic!("no key {pattern}");
                };
                let value = self.occupy(&name, number).await;
                if value == Reply::Nil {
                    continue;
                }
                // Stored responses are found without them.
                let is_found = pattern.starts_with("shop:v") || pattern.contains(":q");
                for _ in 0..2 {
                    let answer = self.get(path).await;
                    assert!(is_found || !answer.is_hit(), "{name}");
                    self.until_idle().await;
                }
                for method in [Method::PUT, Method::POST, Method::DELETE] {
                    assert_eq!(send(&self.service, request(method, path)).await.status, 200);
                }
                self.until_idle().await;
                self.get(path).await;
                self.until_idle().await;
                let group = self.handle.invalidate_group("test.example", "a").await;
                group.expect("it is acknowledged");
                self.handle.clear().await.expect("it is acknowledged");
                self.assert_left(&name, &value).await;
                self.server.command(&["DEL", &name]).await;
                occupied += 1;
            }
        }
        self.fill(path).await;
        assert_eq!(occupied, patterns.len() * OTHERS.len());
        self.assert_told_once();
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_a_miss_and_left_as_it_is() {
    let setup = Setup::new().await;
    setup
        .assert_all_are_left("/plain", &["shop:l:*", "shop:e:*", "shop:n"])
        .await;
}

/// A body of its own, which is only looked at when it is wanted.
#[tokio::test]
async fn a_body_of_another_type_is_left_as_it_is() {
    let setup = Setup::new().await;
    setup
        .assert_all_are_left("/large", &["shop:b:*", "shop:e:*"])
        .await;
}

/// The rule, the variant, and the list of variants.
#[tokio::test]
async fn a_rule_or_a_variant_of_another_type_is_left_as_it_is() {
    let setup = Setup::new().await;
    setup.fill("/varies").await;
    let mut names = setup.server.names("shop:e:*").await;
    names.sort_by_key(String::len);
    let [rule, variant] = <[String; 2]>::try_from(names).expect("a rule and a variant");
    setup
        .assert_all_are_left("/varies", &[&rule, &variant, "shop:v:*"])
        .await;
}

/// The tokens of groups, of all groups, and of the stripe of the page.
#[tokio::test]
async fn a_token_of_another_type_is_left_as_it_is() {
    let setup = Setup::new().await;
    setup
        .assert_all_are_left("/member", &["shop:g:*", "shop:q"])
        .await;
    send(&setup.service, request(Method::POST, "/plain")).await;
    let stripes = setup.server.names("shop:w:*").await;
    assert_eq!(stripes.len(), 64);
    let mut values = Vec::new();
    for (number, name) in stripes.iter().enumerate() {
        values.push(setup.occupy(name, number).await);
    }
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        send(&setup.service, request(method, "/plain")).await;
    }
    setup.until_idle().await;
    for (name, value) in stripes.iter().zip(&values) {
        setup.assert_left(name, value).await;
    }
    setup.fill("/plain").await;
}

/// What a new connection and a health check write.
#[tokio::test]
async fn the_keys_of_connections_are_left_as_they_are() {
    let setup = Setup::new().await;
    let mut values = Vec::new();
    for (number, name) in ["shop:p", "shop:o", "shop:n"].iter().enumerate() {
        values.push((name, setup.occupy(name, number).await));
    }
    assert_eq!(send(&setup.service, put("/a")).await.status, 200);
    let time = async || setup.server.calls("time").await;
    let before = time().await;
    until("there was a health check", async || {
        setup.get("/a").await;
        time().await > before + 1
    })
    .await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    for (name, value) in values {
        setup.assert_left(name, &value).await;
    }
}
