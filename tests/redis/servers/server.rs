//! Servers.

use tokio::net::TcpStream;

use crate::servers::{Client, PONG, some};
use crate::support::redis::{RedisServer, Reply, until};

#[tokio::test]
async fn a_killed_server_is_gone_and_comes_back_empty() {
    let mut server = RedisServer::start().await;
    assert_eq!(server.command(&["SET", "a", "1"]).await, Reply::ok());
    assert_eq!(server.command(&["GET", "a"]).await, "1".into());
    let run_id = server.info("run_id").await;
    server.kill();
    assert!(server.try_command(&["PING"]).await.is_err());
    server.restart().await;
    assert_eq!(server.command(&["GET", "a"]).await, Reply::Nil);
    assert_ne!(server.info("run_id").await, run_id);
}

#[tokio::test]
async fn appended_data_survives_a_restart() {
    let mut server = RedisServer::configure().append_only().start().await;
    let port = server.port();
    server.command(&["SET", "a", "1"]).await;
    server.kill();
    server.restart().await;
    assert_eq!(server.command(&["GET", "a"]).await, "1".into());
    server.restart_empty().await;
    assert_eq!(server.command(&["GET", "a"]).await, Reply::Nil);
    assert_eq!(server.port(), port);
}

#[tokio::test]
async fn a_stopped_server_answers_when_it_goes_on() {
    let server = RedisServer::start().await;
    let mut client = Client::to(server.port()).await;
    server.stop();
    client.say("PING").await;
    client.hears_nothing().await;
    let mut another = Client::to(server.port()).await;
    another.say("PING").await;
    another.hears_nothing().await;
    server.resume();
    assert_eq!(client.hears().await, some(PONG));
    assert_eq!(another.hears().await, some(PONG));
}

#[tokio::test]
async fn a_stopped_server_can_be_dropped() {
    let server = RedisServer::start().await;
    let port = server.port();
    server.stop();
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[tokio::test]
async fn a_replica_follows_and_can_be_promoted() {
    let master = RedisServer::configure().password("secret").start().await;
    let config = RedisServer::configure().replica_of(&master);
    let replica = config.start().await;
    replica.follows().await;
    master.command(&["SET", "a", "1"]).await;
    until("the replica has it", async || {
        replica.command(&["GET", "a"]).await == "1".into()
    })
    .await;
    let refused = replica.command(&["SET", "a", "2"]).await.text();
    assert!(refused.starts_with("READONLY"), "{refused}");
    replica.command(&["REPLICAOF", "NO", "ONE"]).await;
    assert_eq!(replica.command(&["SET", "a", "2"]).await, Reply::ok());
}

#[tokio::test]
async fn a_password_is_wanted() {
    let server = RedisServer::configure().password("secret").start().await;
    let mut stranger = Client::to(server.port()).await;
    let refused = stranger.asks("PING").await.expect("an answer");
    assert!(refused.starts_with("-NOAUTH"), "{refused}");
    assert_eq!(server.command(&["PING"]).await.text(), "PONG");
    assert!(server.url().starts_with("redis://:secret@127.0.0.1:"));
}

#[tokio::test]
async fn a_full_server_refuses() {
    let config = RedisServer::configure().max_memory("2mb", "noeviction");
    let server = config.start().await;
    let value = "x".repeat(64 << 10);
    let mut replies = Vec::new();
    for key in 0..32 {
        let key = key.to_string();
        replies.push(server.command(&["SET", &key, &value]).await);
    }
    let refused = replies.pop().expect("a reply").text();
    assert!(refused.starts_with("OOM"), "{refused}");
    assert_eq!(server.command(&["UNLINK", "0"]).await.integer(), 1);
}

#[tokio::test]
async fn it_listens_on_a_socket_and_by_tls() {
    let server = RedisServer::configure().tls().unix_socket().start().await;
    assert!(server.socket().exists());
    let mut client = tokio::process::Command::new("redis-cli");
    client
        .args(["--tls", "-h", "localhost", "-p"])
        .arg(server.tls_port().to_string())
        .arg("--cacert")
        .arg(RedisServer::tls_authority())
        .arg("PING");
    let output = client.output().await.expect("redis-cli");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "PONG\n");
    assert!(server.tls_url().starts_with("rediss://localhost:"));
    let socket = server.socket().to_owned();
    drop(server);
    assert!(!socket.exists());
}

#[tokio::test]
async fn commands_are_counted() {
    let server = RedisServer::start().await;
    assert_eq!(server.calls("get").await, 0);
    server.command(&["MSET", "a", "1", "b", "2"]).await;
    let both = server.command(&["MGET", "a", "b"]).await;
    assert_eq!(both.array(), ["1".into(), "2".into()]);
    server.command(&["GET", "a"]).await;
    server.command(&["GET", "b"]).await;
    assert_eq!(server.calls("GET").await, 2);
    assert!(server.command(&["NO"]).await.is_error());
}
