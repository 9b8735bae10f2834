//! `connect()` tells apart why a server cannot be used, and says what to do.

use std::error::Error;

use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::RedisBackend;
use tower_response_cache::backend::redis::{RedisConnectError, RedisProblem};

use crate::backend::{options, patient};
use crate::support::origin::{Origin, answer};
use crate::support::redis::{FakeRedis, RedisServer, Reply, Said, until};
use crate::support::{get, put, send};

async fn connect(url: &str) -> Result<(), RedisConnectError> {
    options(url, "shop").build().connect().await
}

/// Connecting fails, and the error says why and what to do.
async fn assert_problem(url: &str, problem: RedisProblem, advice: &str) {
    let error = connect(url).await.expect_err(advice);
    assert_eq!(*error.problem(), problem, "{advice}: {error:?}");
    let text = error.to_string();
    assert!(text.contains(advice), "{text}");
    if problem == denied("MGET") || problem == denied("GETRANGE") {
        return;
    }
    // An operation fails for the same reason.
    let layer = CacheLayer::new(options(url, "shop").build());
    let invalidated = layer.handle().invalidate("/a").await;
    let error = invalidated.expect_err("no server");
    let (mut causes, mut cause) = (Vec::new(), error.source());
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    assert!(causes.contains(&text), "{text}: {causes:?}");
}

/// A server with the user `app`, whose password is `one`, and the user's URL.
async fn with_user(rules: &[&str]) -> (RedisServer, String) {
    let server = RedisServer::start().await;
    let user = ["ACL", "SETUSER", "app", "reset", "on", ">one"];
    let said = server.command(&[&user, rules].concat()).await;
    assert!(!said.is_error(), "{said:?}");
    let url = server.url().replace("//", "//app:one@");
    (server, url)
}

fn denied(command: &str) -> RedisProblem {
    RedisProblem::CommandDenied(command.into())
}

/// A user without one of the commands that the documentation lists.
#[tokio::test]
async fn each_command_that_is_not_permitted_is_named() {
    let (server, url) = with_user(&["~*", "+@all"]).await;
    for command in [
        "TIME", "MGET", "GETRANGE", "UNLINK", "PEXPIRE", "EVAL", "SET", "GET", "LPUSH", "LRANGE",
        "RENAME", "LTRIM", "LREM", "PTTL",
    ] {
        let lower = command.to_ascii_lowercase();
        let rule = format!("-{lower}");
        server.command(&["ACL", "SETUSER", "app", &rule]).await;
        let advice = format!("may not call {command}: permit it (ACL SETUSER .. +{lower})");
        assert_problem(&url, denied(command), &advice).await;
        let rule = format!("+{lower}");
        server.command(&["ACL", "SETUSER", "app", &rule]).await;
        connect(&url).await.expect("permitted again");
    }
    assert_eq!(server.command(&["DBSIZE"]).await, Reply::Integer(0));
    server.command(&["ACL", "SETUSER", "app", "-info"]).await;
    assert_problem(&url, RedisProblem::NoInfo, "permit INFO").await;
    let trusting = options(&url, "shop").trust_restarts(true).build();
    trusting
        .connect()
        .await
        .expect("it need not tell who it is");
}

/// The commands in the documentation are all that is needed. Without `EVALSHA`, scripts are sent as
/// text.
#[tokio::test]
async fn the_documented_permissions_are_enough() {
    let documented = "+mget +getrange +set +rename +unlink +eval +pexpire +info +time +get +pttl \
                      +lpush +lrange +lrem +ltrim";
    let rules: Vec<_> = ["~shop:*"]
        .into_iter()
        .chain(documented.split_whitespace())
        .collect();
    let (_server, url) = with_user(&rules).await;
    connect(&url).await.expect("permitted");
    assert_is_used(&url).await;
}

#[tokio::test]
async fn keys_that_are_not_permitted_are_told() {
    let (_server, url) = with_user(&["~other:*", "+@all"]).await;
    assert_problem(&url, RedisProblem::KeysDenied, "~NAMESPACE:*").await;
}

/// An old server, or one of a provider who renames commands.
#[tokio::test]
async fn each_command_that_the_server_does_not_have_is_named() {
    for command in ["UNLINK", "EVAL", "PEXPIRE", "PTTL", "LRANGE"] {
        let renamed = format!("rename-command {command} \"\"");
        let server = RedisServer::configure().line(renamed).start().await;
        let missing = RedisProblem::CommandMissing(command.into());
        let advice = format!("Redis has no command {command}: use Redis 4 or later");
        assert_problem(&server.url(), missing, &advice).await;
    }
}

#[tokio::test]
async fn passwords_are_told_apart() {
    let server = RedisServer::configure().password("right").start().await;
    let without = server.url().replace(":right@", "");
    let (missing, refused) = (RedisProblem::PasswordMissing, RedisProblem::PasswordRefused);
    assert_problem(&without, missing.clone(), "add it to the URL").await;
    let resp3 = format!("{without}?protocol=resp3");
    assert_problem(&resp3, missing, "add it to the URL").await;
    for wrong in ["//:wrong@", "//nobody:right@"] {
        let url = without.replace("//", wrong);
        for url in [format!("{url}?protocol=resp3"), url] {
            assert_problem(&url, refused.clone(), "correct them in the URL").await;
        }
    }
    connect(&server.url()).await.expect("the right one");
    let open = RedisServer::start().await;
    let unasked = open.url().replace("//", "//:secret@");
    assert_problem(&unasked, refused, "correct them in the URL").await;
}

#[tokio::test]
async fn servers_that_are_no_primary_are_told_apart() {
    let server = RedisServer::start().await;
    server.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_problem(
        &server.url(),
        RedisProblem::Replica,
        "connect to the primary",
    )
    .await;
    let config = RedisServer::configure().line("cluster-enabled yes");
    let cluster = config.start().await;
    assert_problem(
        &cluster.url(),
        RedisProblem::ClusterNode,
        "a single primary",
    )
    .await;
    let sentinel = FakeRedis::start(|asked| match &asked[0][..] {
        b"INFO" => Said::from(Reply::from("redis_mode:sentinel\r\nrun_id:1\r\n")),
        b"TIME" => Said::from(Reply::Error("ERR unknown command 'TIME'".into())),
        _ => Said::AsUsual,
    })
    .await;
    assert_problem(
        &sentinel.url(),
        RedisProblem::Sentinel,
        "the primary itself",
    )
    .await;
}

/// The errors of their replies tell them apart, too.
#[tokio::test]
async fn servers_that_take_no_writes_are_told_apart_without_info() {
    let replica = RedisServer::start().await;
    replica.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let config = RedisServer::configure().line("cluster-enabled yes");
    let cluster = config.start().await;
    for (server, problem) in [
        (replica, RedisProblem::Replica),
        (cluster, RedisProblem::ClusterNode),
    ] {
        let user = [
            "ACL", "SETUSER", "app", "on", ">one", "~*", "+@all", "-info",
        ];
        server.command(&user).await;
        let url = server.url().replace("//", "//app:one@");
        let backend = options(&url, "shop").trust_restarts(true).build();
        let error = backend.connect().await.expect_err("not the primary");
        assert_eq!(*error.problem(), problem, "{error:?}");
    }
}

#[tokio::test]
async fn too_few_replicas_are_told_until_there_are_enough() {
    let config = RedisServer::configure().line("min-replicas-to-write 1");
    let server = config.start().await;
    assert_problem(
        &server.url(),
        RedisProblem::NoReplicas,
        "min-replicas-to-write",
    )
    .await;
    let backend = options(&server.url(), "shop").build();
    assert!(backend.connect().await.is_err());
    let config = RedisServer::configure().replica_of(&server);
    let _replica = config.start().await;
    until("a replica follows", async || {
        backend.connect().await.is_ok()
    })
    .await;
    assert_is_used(&server.url()).await;
}

#[tokio::test]
async fn other_addresses_are_told_apart() {
    let nobody = FakeRedis::start(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()).await;
    assert_problem(
        &nobody.url(),
        RedisProblem::OtherProtocol,
        "check host, port",
    )
    .await;
    let server = RedisServer::start().await;
    let ninety = format!("{}99", server.url());
    assert_problem(&ninety, RedisProblem::NoDatabase, "correct the number").await;
    let silent = FakeRedis::start(|_| Said::Nothing).await;
    let options =
        options(&silent.url(), "shop").connect_timeout(std::time::Duration::from_millis(50));
    let error = options.build().connect().await.expect_err("it is silent");
    assert_eq!(*error.problem(), RedisProblem::Timeout);
}

#[test]
fn outside_of_a_runtime_it_says_so() {
    let backend = RedisBackend::new("redis://127.0.0.1/").expect("a URL");
    let connect = std::pin::pin!(backend.connect());
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(Err(error)) = connect.poll(&mut context) else {
        panic!("it waits");
    };
    assert_eq!(*error.problem(), RedisProblem::NoRuntime);
}

/// A server without memory still invalidates and has responses to read.
#[tokio::test]
async fn a_full_server_is_used() {
    let config = RedisServer::configure().max_memory("2mb", "noeviction");
    let server = config.start().await;
    let value = "x".repeat(64 << 10);
    for key in 0..64 {
        server.command(&["SET", &key.to_string(), &value]).await;
    }
    server.command(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    assert!(server.command(&["SET", "a", ""]).await.is_error());
    connect(&server.url()).await.expect("full, and well");
}

/// Stored, read, validated by variants, invalidated: all replies are understood.
async fn assert_is_used(url: &str) {
    let backend = patient(options(url, "shop")).build();
    backend.connect().await.expect("it can be used");
    let layer = CacheLayer::new(backend);
    let origin = Origin::at_once(|request| {
        let more = match request.uri().path() {
            "/vary" => ("vary", "accept-language"),
            "/group" => ("cache-groups", "\"one\""),
            _ => ("server", "origin"),
        };
        let body = match request.uri().path() {
            "/large" => "a".repeat(300_000),
            _ => "a".to_owned(),
        };
        answer(200, &[("cache-control", "max-age=60"), more], body)
    });
    let service = layer.layer(origin);
    for path in ["/plain", "/vary", "/group", "/large"] {
        let stores = layer.handle().stats().stores;
        assert!(!send(&service, get(path)).await.is_hit(), "{path}");
        until("it is stored", async || {
            layer.handle().stats().stores > stores
        })
        .await;
        assert!(send(&service, get(path)).await.is_hit(), "{path}");
        send(&service, put(path)).await;
        assert!(!send(&service, get(path)).await.is_hit(), "{path}");
    }
    layer.handle().clear().await.expect("cleared");
    let stats = layer.handle().stats();
    assert_eq!(stats.failed_invalidations, 0, "{stats:?}");
}

/// `INFO` is a verbatim string in RESP3.
#[tokio::test]
async fn resp3_urls_work() {
    let server = RedisServer::configure().password("right").start().await;
    for query in ["?protocol=resp3", "?protocol=resp2", ""] {
        assert_is_used(&format!("{}{query}", server.url())).await;
    }
    let config = RedisServer::configure().line("rename-command HELLO \"\"");
    let old = config.start().await;
    let url = format!("{}?protocol=resp3", old.url());
    assert_problem(&url, RedisProblem::NoResp3, "remove protocol=resp3").await;
    assert_is_used(&old.url()).await;
}
