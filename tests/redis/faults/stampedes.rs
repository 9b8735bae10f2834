//! Many concurrent misses of one key while Redis is unusable.

use std::time::Duration;

use tokio::task::JoinSet;
use tower_response_cache::stats::{BackendOperation, OperationResult};

use crate::faults::world::instance::Instance;
use crate::faults::world::{World, guarded, options, patient};
use crate::support::redis::{RedisServer, Tap};

const MANY: usize = 64;
/// One call is running, one waits for its turn: two for requests that come together, and one more
/// for each time that the service takes in which not all have come yet.
const FEW: usize = 12;

fn slow() -> World {
    World::slower(Duration::from_millis(200))
}

/// All read the same at once, three times.
async fn few_calls_for_many(instance: &Instance, what: &str) {
    for _ in 0..3 {
        let (calls, mut readers) = (instance.origin.calls(), JoinSet::new());
        for _ in 0..MANY {
            let instance = instance.clone();
            readers.spawn(async move { instance.read(0, 0).await });
        }
        let answers = readers.join_all().await;
        assert!(answers.iter().all(|answer| !answer.is_hit()), "{what}");
        let calls = instance.origin.calls() - calls;
        println!("{what}: {calls} calls for {MANY}");
        assert!(calls <= FEW, "{what}: {calls}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_gone_lets_through_few() {
    let mut server = RedisServer::start().await;
    let instance = slow().instance(guarded(options(&server.url())));
    instance.warm().await;
    server.kill();
    few_calls_for_many(&instance, "gone").await;
    instance.write(0).await;
    few_calls_for_many(&instance, "gone, and owed a write").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_lets_through_few() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let instance = slow().instance(guarded(options(&tap.url())));
    instance.warm().await;
    tap.black_hole();
    few_calls_for_many(&instance, "hanging").await;
}

/// A miss creates no token: the lookup is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_is_full_lets_through_few() {
    let config = RedisServer::configure().max_memory("16mb", "noeviction");
    let server = config.start().await;
    let instance = slow().instance(patient(options(&server.url())));
    instance.warm().await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]).await;
    instance.write(0).await;
    few_calls_for_many(&instance, "full").await;
    let (stats, health) = (instance.handle.stats(), instance.health());
    assert_eq!(health.failures, 0);
    // It is told, although no breaker opens: apart from what failed, and what was not attempted.
    let lookups = |result| stats.backend_operations.get(BackendOperation::Get, result);
    assert!(lookups(OperationResult::Refused) > 0, "{stats:?}");
    assert_eq!(lookups(OperationResult::Rejected), 0, "{stats:?}");
    assert!(
        health.refused >= lookups(OperationResult::Refused),
        "{health:?}"
    );
}
