//! Variants of one key are bounded.

use tower::Layer;
use tower_response_cache::backend::RedisBackend;
use tower_response_cache::{Cache, CacheHandle, CacheLayer};

use crate::backend::options;
use crate::support::origin::{Origin, answer};
use crate::support::redis::{RedisServer, until};
use crate::support::sample::Sample;
use crate::support::{get, put, send, with};

struct Agents {
    service: Cache<Origin, RedisBackend>,
    handle: CacheHandle<RedisBackend>,
}

impl Agents {
    fn on(server: &RedisServer, most: usize, is_through: bool) -> Self {
        let backend = options(&server.url(), "test").max_variants(most).build();
        let layer = CacheLayer::new(backend);
        let layer = if is_through {
            layer.write_through(true)
        } else {
            layer
        };
        let lines = [
            ("cache-control", "max-age=3600"),
            ("vary", "user-agent"),
            ("content-location", "/a"),
        ];
        Self {
            handle: layer.handle(),
            service: layer.layer(Origin::at_once(move |_| answer(200, &lines, "hello"))),
        }
    }

    async fn is_hit(&self, agent: usize) -> bool {
        let stores = self.handle.stats().stores;
        let request = with(get("/a"), "user-agent", &format!("agent {agent}"));
        let is_hit = send(&self.service, request).await.is_hit();
        if !is_hit {
            let is_stored = async || self.handle.stats().stores > stores;
            until("it is stored", is_stored).await;
        }
        is_hit
    }
}

async fn entries(server: &RedisServer) -> usize {
    server.names("test:e:*").await.len()
}

#[tokio::test]
async fn the_latest_stay() {
    let server = RedisServer::start().await;
    let agents = Agents::on(&server, 3, false);
    for agent in 0..20 {
        assert!(!agents.is_hit(agent).await);
    }
    // The rule beside them.
    assert_eq!(entries(&server).await, 3 + 1);
    for agent in [17, 18, 19] {
        assert!(agents.is_hit(agent).await, "{agent}");
    }
    assert!(!agents.is_hit(16).await);
    assert_eq!(entries(&server).await, 3 + 1);
    assert!(!agents.is_hit(17).await, "it was stored longest ago");
}

/// Index entries of invalidated variants do not evict variants stored again.
#[tokio::test]
async fn writes_leave_no_more() {
    let server = RedisServer::start().await;
    let agents = Agents::on(&server, 3, true);
    for round in 0..3 {
        let writes = with(put("/a"), "user-agent", &format!("writer {round}"));
        assert_eq!(send(&agents.service, writes).await.status, 200);
        for agent in [0, 1] {
            assert!(!agents.is_hit(agent).await, "{round} {agent}");
        }
        for agent in [0, 1] {
            assert!(agents.is_hit(agent).await, "{round} {agent}");
        }
        let writer = with(get("/a"), "user-agent", &format!("writer {round}"));
        assert!(send(&agents.service, writer).await.is_hit(), "{round}");
        assert_eq!(entries(&server).await, 3 + 1, "{round}");
    }
}

/// The list of variants expires with them.
#[tokio::test]
async fn the_note_is_one_key_that_expires() {
    let server = RedisServer::start().await;
    let agents = Agents::on(&server, 3, false);
    assert!(!agents.is_hit(0).await);
    let names = server.names("test:v:*").await;
    let [name] = &names[..] else {
        panic!("{names:?}");
    };
    let left = server.command(&["PTTL", name]).await.integer();
    assert!(left > 3_600_000, "{left}");
}

/// RFC 9111 §4.1: of several responses that match, the latest counts.
#[tokio::test]
async fn a_rule_that_comes_back_revives_no_older_variant() {
    for meanwhile in ["", "x-other", "accept-language, x-other"] {
        let server = RedisServer::start().await;
        let layer = CacheLayer::new(options(&server.url(), "test").build());
        let handle = layer.handle();
        let service = layer.layer(Origin::at_once(move |request| {
            let vary = match request.headers().contains_key("x-meanwhile") {
                true => meanwhile,
                false => "accept-language",
            };
            answer(
                200,
                &[("cache-control", "max-age=60"), ("vary", vary)],
                "text",
            )
        }));
        let ask = |language| with(get("/a"), "accept-language", language);
        let anew = |request| with(request, "cache-control", "no-cache");
        let requests = [
            ask("de"),
            ask("en"),
            ask("fr"),
            anew(with(ask("it"), "x-meanwhile", "1")),
            anew(ask("fr")),
        ];
        for request in requests {
            let stores = handle.stats().stores;
            send(&service, request).await;
            until("it is stored", async || handle.stats().stores > stores).await;
        }
        assert!(send(&service, ask("fr")).await.is_hit(), "{meanwhile}");
        for language in ["de", "en"] {
            let got = send(&service, ask(language)).await;
            assert!(!got.is_hit(), "{meanwhile}: {language}");
        }
    }
}

/// More entries than a script may give to one command. Their lists are written by hand, since to
/// store so many takes long.
#[tokio::test]
async fn a_resource_with_thousands_of_variants_is_invalidated() {
    let server = RedisServer::start().await;
    for (queries, variants) in [(1, 4100), (8, 1100)] {
        let new_backend = || {
            let options = options(&server.url(), "test");
            options.max_variants(5000).build()
        };
        let backend = new_backend();
        let mut last = None;
        for query in 0..queries {
            let path: &'static str = format!("/a?{query}").leak();
            let member = Sample::in_language(&backend, path, "de").await;
            member.store(&backend).await;
            last = Some(member);
        }
        let script = "local prefix = string.gsub(KEYS[1], ':v:', ':e:', 1)
            for n = 1, tonumber(ARGV[1]) do
              redis.call('RPUSH', KEYS[1], prefix .. string.format('%032x', n))
            end";
        for list in server.names("test:v:*").await {
            let added = variants.to_string();
            server.command(&["EVAL", script, "1", &list, &added]).await;
        }
        let last = last.expect("a query");
        last.invalidate(&backend).await;
        assert_eq!(
            last.body(&new_backend()).await,
            None,
            "{queries}, {variants}"
        );
    }
}
