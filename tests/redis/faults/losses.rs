//! Redis is full, or loses its data.

use tower_response_cache::backend::BreakerState;

use crate::faults::world::instance::Instance;
use crate::faults::world::load::Load;
use crate::faults::world::{PATHS, World, is_slow, options, patient};
use crate::support::redis::{RedisServer, Reply};

/// Nothing of this counts as a failure.
fn assert_well(instance: &Instance) {
    let health = instance.health();
    assert_eq!(health.breaker, BreakerState::Closed);
    assert_eq!((health.failures, health.opened), (0, 0), "{health:?}");
    assert!(instance.owes_nothing());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_one_answers_and_forgets_and_stores_nothing() {
    let config = RedisServer::configure().max_memory("16mb", "noeviction");
    let server = config.start().await;
    let instance = World::default().instance(patient(options(&server.url())));
    instance.warm().await;
    let load = Load::nobody().readers(&instance, 5, 1);
    load.goes_on(100).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let hits = instance.hits();
    load.goes_on(100).await;
    assert!(
        instance.hits() >= hits + 90,
        "what is stored is still there"
    );
    let load = load.writers(&instance, 1);
    load.writes(PATHS * 5).await;
    let stats = instance.handle.stats();
    assert_eq!(stats.failed_invalidations, 0);
    let stores = stats.stores;
    load.goes_on(100).await;
    instance.write_all().await;
    load.goes_on(100).await;
    assert_eq!(instance.handle.stats().stores, stores);
    assert_well(&instance);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]).await;
    instance.recovers().await;
    assert_well(&instance);
    load.end("full, noeviction").await;
}

async fn evicts(policy: &str) {
    // The buffers of large responses in transit count, too. A slow link does not fill the rest.
    let (memory, others) = if is_slow() { ("14mb", 600) } else { ("3mb", 0) };
    let config = RedisServer::configure().max_memory(memory, policy);
    let server = config.start().await;
    for number in 0..others {
        let value = "x".repeat(16 << 10);
        let set = ["SET", &number.to_string(), &value];
        assert_eq!(server.command(&set).await, Reply::ok());
    }
    let instance = World::padded(16 << 10).instance(patient(options(&server.url())));
    let load = Load::nobody()
        .readers(&instance, 5, 100)
        .writers(&instance, 1);
    instance
        .until("some were stored", |instance| {
            instance.handle.stats().stores > 100
        })
        .await;
    let mut evicted = 0;
    for _ in 0..100 {
        load.goes_on(20).await;
        let count = server.info("evicted_keys").await.expect("a number");
        evicted = count.parse::<u64>().expect("a number");
        if evicted > 100 {
            break;
        }
    }
    assert!(evicted > 100, "{evicted} evicted");
    instance.recovers().await;
    assert_well(&instance);
    load.end(policy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_evicted_by_age_are_misses_and_never_stale() {
    evicts("allkeys-lru").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_evicted_by_chance_are_misses_and_never_stale() {
    evicts("allkeys-random").await;
}

/// Does something to a server again and again, under load; none of it is a failure.
async fn bears(name: &str, commands: &[&[&str]]) {
    let server = RedisServer::start().await;
    let options = options(&server.url()).try_namespace("lossy");
    let instance = World::default().instance(patient(options.expect("a namespace")));
    instance.warm().await;
    let load = Load::on(&instance).writers(&instance, 1);
    for _ in 0..30 {
        load.goes_on(20).await;
        for command in commands {
            assert!(!server.command(command).await.is_error());
        }
    }
    instance.recovers().await;
    assert_well(&instance);
    load.end(name).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_scripts_are_loaded_again() {
    bears("SCRIPT FLUSH", &[&["SCRIPT", "FLUSH", "SYNC"]]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flush_empties_it_and_no_more() {
    bears("FLUSHALL, FLUSHDB", &[&["FLUSHALL"], &["FLUSHDB"]]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_key_may_vanish_at_any_time() {
    let any = "for n = 1, 3 do local key = redis.call('RANDOMKEY') \
               if key then redis.call('DEL', key) end end";
    bears("keys by chance", &[&["EVAL", any, "0"]]).await;
    let leases =
        "for _, key in ipairs(redis.call('KEYS', 'lossy:l:*')) do redis.call('DEL', key) end";
    bears("leases", &[&["EVAL", leases, "0"]]).await;
    bears("the epoch", &[&["DEL", "lossy:n"]]).await;
}
