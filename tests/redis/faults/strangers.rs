//! What others have put under our names.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tower_response_cache::backend::StoredResponse;
use tower_response_cache::backend::codec::{self, Decoded};
use tower_response_cache::clock::Moment;

use crate::faults::world::instance::Instance;
use crate::faults::world::load::Load;
use crate::faults::world::{PATHS, World, options, patient};
use crate::support::redis::{RedisServer, Reply, until};

/// A token, and the number of groups' tokens: none.
const PREFIX: usize = 48 + 1;
/// Where an entry tells its version, behind that.
const VERSION: usize = PREFIX + 3;
const HOUR: u64 = 60 * 60 * 1000;

async fn stored() -> (RedisServer, Instance) {
    let server = RedisServer::start().await;
    let options = options(&server.url()).try_namespace("shop");
    let instance = World::default().instance(patient(options.expect("a namespace")));
    (server, instance)
}

/// The one resource of which something is stored: its lease, and its entry.
async fn only(server: &RedisServer) -> (String, String) {
    let lease = server.names("shop:l:*").await.pop().expect("a lease");
    let entry = server.names("shop:e:*").await.pop().expect("an entry");
    (lease, entry)
}

async fn bytes(server: &RedisServer, name: &str) -> Vec<u8> {
    match server.command(&["GET", name]).await {
        Reply::Bulk(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

async fn set(server: &RedisServer, name: &str, value: &[u8]) {
    let said = server.command(&[b"SET", name.as_bytes(), value]).await;
    assert_eq!(said, Reply::ok());
}

fn now() -> Moment {
    Moment::new(Duration::ZERO, SystemTime::now())
}

/// `None` for the rule of responses that vary.
fn response(entry: &[u8]) -> Option<Arc<StoredResponse>> {
    let entry = entry[PREFIX..].to_vec().into();
    match codec::decode(&entry, now(), |_| Some(Duration::ZERO)) {
        Ok(Decoded::Response(response)) => Some(response),
        Ok(Decoded::Rule(_)) => None,
        other => panic!("{other:?}"),
    }
}

/// A miss whose response Redis has acknowledged by the time this returns: no store comes late and
/// replaces what the test puts there next.
async fn assert_missed(instance: &Instance, what: &str) {
    let stores = |instance: &Instance| instance.handle.stats().stores;
    let before = stores(instance);
    assert!(!instance.read(0, 0).await.is_hit(), "{what}");
    let is_stored = |instance: &Instance| stores(instance) > before && instance.is_idle();
    instance.until("it is stored", is_stored).await;
}

/// A miss, which the next store heals.
async fn assert_healed(instance: &Instance, what: &str) {
    assert_missed(instance, what).await;
    assert!(instance.read(0, 0).await.is_hit(), "{what}");
    let health = instance.health();
    assert_eq!(health.failures, 0, "{what}: {health:?}");
}

async fn assert_reachable(instance: &Instance) {
    until("it is a hit, and nothing is under way", async || {
        let was_idle = instance.is_idle() && instance.handle.stats().stores > 0;
        instance.read(0, 0).await.is_hit() && was_idle
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_bytes_are_a_miss_and_healed() {
    let (server, instance) = stored().await;
    assert_reachable(&instance).await;
    let (lease, entry) = only(&server).await;
    for name in [&*lease, "shop:n"] {
        for foreign in [&b""[..], b"x", &[0; 16], &[0; PREFIX - 1], &[0xff; 1000]] {
            set(&server, name, foreign).await;
            assert_healed(&instance, name).await;
        }
    }
    let whole = |version: Option<u8>, length: Option<usize>| {
        let (server, entry) = (&server, &entry);
        async move {
            let mut value = bytes(server, entry).await;
            value[VERSION] = version.unwrap_or(value[VERSION]);
            value.truncate(length.unwrap_or(value.len()));
            value
        }
    };
    for (version, length) in [
        (Some(1), None),
        (Some(2), None),
        (Some(3), None),
        (Some(5), None),
        (None, Some(0)),
        (None, Some(PREFIX - 1)),
        (None, Some(PREFIX)),
        (None, Some(PREFIX + 20)),
        (None, Some(PREFIX + 60)),
    ] {
        let value = whole(version, length).await;
        set(&server, &entry, &value).await;
        assert_healed(&instance, &format!("{version:?} {length:?}")).await;
    }
    let mut value = whole(None, None).await;
    *value.last_mut().expect("a body") ^= 1;
    set(&server, &entry, &value).await;
    assert_healed(&instance, "a flipped bit").await;
}

/// The digest of another key is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_of_another_key_is_a_miss() {
    let (server, instance) = stored().await;
    assert_reachable(&instance).await;
    let (_, entry) = only(&server).await;
    let here = bytes(&server, &entry).await;
    let stores = |instance: &Instance| instance.handle.stats().stores;
    let before = stores(&instance);
    instance.warm().await;
    // A hit may share a response that is still on its way into the store.
    let are_stored = |instance: &Instance| stores(instance) >= before + PATHS as u64 - 1;
    instance.until("the others are stored", are_stored).await;
    let mut forged = 0;
    for name in server.names("shop:e:*").await {
        let body = name.replace(":e:", ":b:");
        if server.command(&["EXISTS", &body]).await == Reply::Integer(1) {
            // Without its body it is no response.
            continue;
        }
        let other = response(&bytes(&server, &name).await);
        let Some(other) = other.filter(|_| name != entry) else {
            continue;
        };
        let other = codec::encode(&other, now(), 1, &here[..PREFIX]);
        set(&server, &entry, &other).await;
        assert_missed(&instance, &name).await;
        forged += 1;
    }
    assert!(forged > 1, "{forged}");
}

/// The server's clock was set back since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_stored_in_the_future_is_a_miss() {
    let (server, instance) = stored().await;
    assert_reachable(&instance).await;
    let (_, entry) = only(&server).await;
    let here = bytes(&server, &entry).await;
    let time = server.command(&["TIME"]).await;
    let seconds: u64 = time.array()[0].text().parse().expect("seconds");
    let response = response(&here).expect("a response");
    for (stamp, is_hit) in [
        (seconds * 1000 + HOUR, false),
        (u64::MAX, false),
        (seconds * 1000 - 2000, true),
        (seconds * 1000 - HOUR, false),
        (0, false),
    ] {
        let dated = codec::encode(&response, now(), stamp, &here[..PREFIX]);
        set(&server, &entry, &dated).await;
        match is_hit {
            true => assert!(instance.read(0, 0).await.is_hit(), "{stamp}"),
            false => assert_missed(&instance, &stamp.to_string()).await,
        }
    }
}

/// All of it at once, under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_do_no_harm_under_load() {
    let (server, instance) = stored().await;
    instance.warm().await;
    let load = Load::on(&instance);
    for round in 0..20 {
        load.goes_on(20).await;
        for name in server.names("shop:[le]*").await {
            match round % 3 {
                0 => set(&server, &name, b"x").await,
                1 => {
                    let script = "redis.call('DEL', KEYS[1]) redis.call('RPUSH', KEYS[1], 'a')";
                    server.command(&["EVAL", script, "1", &name]).await;
                }
                _ => drop(server.command(&["APPEND", &name, "x"]).await),
            }
        }
    }
    // Lists stay until the program that has made them removes them.
    let lists = "for _, key in ipairs(redis.call('KEYS', 'shop:*')) do
        if redis.call('TYPE', key).ok == 'list' and not string.find(key, ':v:') then
            redis.call('DEL', key)
        end
    end";
    server.command(&["EVAL", lists, "0"]).await;
    instance.recovers().await;
    load.end("strangers").await;
}
