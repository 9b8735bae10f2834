//! The keys in Redis, and the commands sent to it.

use crate::faults::world::load::Load;
use crate::faults::world::{World, is_slow, options, patient};
use crate::support::redis::RedisServer;

fn is_ours(name: &str) -> bool {
    let is_hex = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    // The epoch, and the token of all groups.
    if ["own:n", "own:q"].contains(&name) {
        return true;
    }
    let kinds = ["own:l:{", "own:e:{", "own:v:{", "own:b:{"];
    let Some(rest) = kinds.iter().find_map(|kind| name.strip_prefix(kind)) else {
        return false;
    };
    // A large body has a temporary name until its entry is stored.
    rest.split_once('}')
        .is_some_and(|(tag, rest)| tag.len() == 32 && is_hex(tag) && rest.split(':').all(is_hex))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_keys_have_the_prefix_and_expire_and_none_is_scanned_for() {
    let server = RedisServer::start().await;
    let options = options(&server.url()).try_namespace("own");
    let instance = World::default().instance(patient(options.expect("a namespace")));
    let load = Load::on(&instance).readers(&instance, 2, 50);
    load.goes_on(600).await;
    instance.handle.clear().await.expect("cleared");
    load.goes_on(600).await;
    load.end("queries and variants").await;
    for command in ["keys", "scan", "flushdb", "smembers", "sadd"] {
        assert_eq!(server.calls(command).await, 0, "{command}");
    }
    let names = server.names("*").await;
    // A slow link stores fewer large ones between two writes.
    let least = if is_slow() { 12 } else { 50 };
    assert!(names.len() > least, "{}", names.len());
    for name in names {
        assert!(is_ours(&name), "{name}");
        let left = server.command(&["PTTL", &name]).await.integer();
        // Those that have expired since are gone: less than 0 is for ever only where it is 1 less.
        assert!(left > 0 || left == -2, "{name}: {left}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hit_is_one_command() {
    let server = RedisServer::start().await;
    let instance = World::default().instance(patient(options(&server.url())));
    instance.warm().await;
    server.command(&["CONFIG", "RESETSTAT"]).await;
    for _ in 0..50 {
        assert!(instance.read(0, 0).await.is_hit());
    }
    assert_eq!(server.calls("mget").await, 50);
    for command in ["get", "set", "evalsha", "unlink", "exists"] {
        assert_eq!(server.calls(command).await, 0, "{command}");
    }
    let (evals, checks) = (server.calls("eval").await, server.calls("time").await);
    assert!(evals <= checks, "of health checks alone");
    // One that varies: its rule and itself at once.
    for _ in 0..50 {
        assert!(instance.read(3, 0).await.is_hit());
    }
    assert_eq!(server.calls("mget").await, 100);
}
