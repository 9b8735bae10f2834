//! Instances that share stored responses, and instances that do not.

use tower::Layer;
use tower_response_cache::backend::RedisBackend;
use tower_response_cache::{Cache, CacheLayer};

use crate::backend::options;
use crate::support::logs::Logs;
use crate::support::origin::{Origin, answer, cacheable};
use crate::support::redis::{RedisServer, until};
use crate::support::{get, put, send};

/// An instance before an origin of its own.
struct Instance {
    layer: CacheLayer<RedisBackend>,
    service: Cache<Origin, RedisBackend>,
    origin: Origin,
}

impl Instance {
    fn new(backend: RedisBackend) -> Self {
        let origin = Origin::at_once(|_| cacheable("a"));
        let layer = CacheLayer::new(backend);
        Self {
            service: layer.layer(origin.clone()),
            layer,
            origin,
        }
    }

    /// Reads; whether it was a hit. A miss is stored when this returns.
    async fn hits(&self) -> bool {
        let stores = self.layer.handle().stats().stores;
        let answer = send(&self.service, get("/a")).await;
        if answer.is_hit() {
            return true;
        }
        until("it is stored", async || {
            self.layer.handle().stats().stores > stores
        })
        .await;
        false
    }

    async fn writes(&self) {
        send(&self.service, put("/a")).await;
    }
}

#[tokio::test]
async fn instances_of_one_namespace_and_secret_share() {
    let server = RedisServer::start().await;
    let open = || options(&server.url(), "shop").key_secret("sesame").build();
    let (one, other) = (Instance::new(open()), Instance::new(open()));
    assert!(!one.hits().await);
    assert!(other.hits().await && one.hits().await);
    other.writes().await;
    assert!(!one.hits().await);
    assert!(other.hits().await);
    assert_eq!((one.origin.calls(), other.origin.calls()), (2, 1));
}

/// `a` is a prefix of `ab`, and neither namespace sees the other's entries.
#[tokio::test]
async fn instances_of_other_namespaces_or_secrets_do_not_share() {
    let server = RedisServer::start().await;
    let open = |namespace, secret| {
        let options = options(&server.url(), namespace).key_secret(secret);
        Instance::new(options.build())
    };
    let strangers = [
        open("a", ""),
        open("ab", ""),
        open("a.b", ""),
        open("a", "sesame"),
        open("a", "Sesame"),
    ];
    for stranger in &strangers {
        assert!(!stranger.hits().await);
    }
    strangers[0].writes().await;
    for stranger in &strangers[1..] {
        assert!(stranger.hits().await, "written by somebody else");
    }
    assert!(!strangers[0].hits().await);
    strangers[0].layer.handle().clear().await.expect("cleared");
    for stranger in &strangers[1..3] {
        assert!(stranger.hits().await, "cleared by somebody else");
    }
    // One namespace is cleared as a whole, for all secrets in it.
    for stranger in strangers.iter().skip(3).chain(&strangers[..1]) {
        assert!(!stranger.hits().await);
    }
}

/// Two databases of one server are two caches.
#[tokio::test]
async fn databases_do_not_share() {
    let server = RedisServer::start().await;
    let open =
        |database| Instance::new(options(&format!("{}{database}", server.url()), "a").build());
    let (one, other) = (open(0), open(1));
    assert!(!one.hits().await && !other.hits().await);
    one.layer.handle().clear().await.expect("cleared");
    assert!(!one.hits().await && other.hits().await);
}

fn owned(server: &RedisServer, owner: &str) -> Instance {
    let options = options(&server.url(), "shop").owner(owner);
    Instance::new(options.build())
}

/// Owners of one namespace find none of each other's responses, and a write of one invalidates
/// those of all.
#[tokio::test]
async fn owners_share_invalidations_and_no_responses() {
    let server = RedisServer::start().await;
    let owners = [
        owned(&server, ""),
        owned(&server, "upstream a"),
        owned(&server, "upstream b"),
        owned(&server, "upstream a; query sorted"),
    ];
    for owner in &owners {
        assert!(!owner.hits().await);
    }
    for owner in &owners {
        assert!(owner.hits().await);
    }
    let same = owned(&server, "upstream a");
    assert!(same.hits().await);
    owners[1].writes().await;
    for owner in &owners {
        assert!(!owner.hits().await);
    }
    assert!(same.hits().await);
    owners[2].layer.handle().clear().await.expect("cleared");
    for owner in &owners {
        assert!(!owner.hits().await);
    }
}

/// Also of variants, and of responses that a write has stored.
#[tokio::test]
async fn owners_share_no_variants_and_no_responses_of_writes() {
    let server = RedisServer::start().await;
    let open = |owner: &'static str| {
        let origin = Origin::at_once(move |request| {
            let path = request.uri().path();
            let lines = [
                ("cache-control", "max-age=60"),
                ("content-location", path),
                ("vary", "accept-language"),
            ];
            answer(200, &lines, owner)
        });
        let backend = options(&server.url(), "shop").owner(owner).build();
        let layer = CacheLayer::new(backend).write_through(true);
        (layer.layer(origin), layer)
    };
    let (one, other) = (open("one"), open("other"));
    for write in [get("/a"), put("/a")] {
        send(&one.0, write).await;
        until("it is stored", async || {
            send(&one.0, get("/a")).await.is_hit()
        })
        .await;
        // Also where its rule is expected.
        for _ in 0..3 {
            assert!(send(&one.0, get("/a")).await.is_hit());
        }
        let answer = send(&other.0, get("/a")).await;
        assert!(!answer.is_hit());
        assert_eq!(answer.body, "other");
        assert_eq!(send(&one.0, get("/a")).await.body, "one");
    }
}

/// Both are named in one line, whatever the number of connections.
#[tokio::test]
async fn another_owner_is_told_once() {
    let server = RedisServer::start().await;
    let connect = async |owner: &str| {
        let logs = Logs::new();
        let options = options(&server.url(), "shop").owner(owner);
        let backend = options.max_connections(4).build();
        for _ in 0..8 {
            backend.connect().await.expect("a connection");
        }
        logs.lines("redis namespace was last used with another configuration")
    };
    assert!(connect("").await.is_empty());
    assert!(connect("one").await.is_empty());
    let lines = connect("other").await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in ["shop:o", "own=\"other\"", "other=\"one\""] {
        assert!(lines[0].contains(part), "{lines:?}");
    }
    assert!(connect("other").await.is_empty());
    let lives = server.command(&["PTTL", "shop:o"]).await.integer();
    assert!(lives > 0, "{lives}");
    // Two that are both at work, and lose their connections.
    let logs = Logs::new();
    let both = ["one", "other"].map(|owner| {
        let options = options(&server.url(), "shop").owner(owner);
        options.max_connections(1).build()
    });
    for _ in 0..5 {
        for backend in &both {
            until("it is connected", async || backend.connect().await.is_ok()).await;
            let kill = ["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"];
            server.command(&kill).await;
        }
    }
    let lines = logs.lines("redis namespace was last used with another configuration");
    assert_eq!(lines.len(), 2, "{lines:?}");
    drop(logs);
    // Whatever another program has put there is no owner.
    for value in [&["SADD", "shop:o", "a"][..], &["SET", "shop:o", "\u{7}"]] {
        server.command(&["DEL", "shop:o"]).await;
        server.command(value).await;
        let told = connect("one").await.len();
        assert_eq!(told, usize::from(value[0] == "SET"));
    }
}

#[tokio::test]
async fn a_namespace_for_a_site_is_a_name_and_a_digest() {
    let server = RedisServer::start().await;
    let open = |site| {
        let options = options(&server.url(), "shop").namespace_for("proxy", site);
        Instance::new(options.build())
    };
    let (one, same, other) = (open("http://a"), open("http://a"), open("http://b"));
    assert!(!one.hits().await && same.hits().await && !other.hits().await);
    one.writes().await;
    assert!(!same.hits().await && other.hits().await);
    let names = server.names("proxy-*:n").await;
    assert_eq!(names.len(), 2);
    for name in names {
        assert_eq!(name.len(), "proxy-0123456789abcdef:n".len());
    }
}
