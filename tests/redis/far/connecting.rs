//! A request that has to open a connection first: each round trip of that has the deadline, too.

use super::{Far, Instance, at_all_distances, at_each_distance};
use crate::faults::world::is_idle;
use crate::support::redis::{RedisServer, until};

/// The first request of an instance is a hit.
async fn assert_hit_at_first(far: &Far, instance: &Instance) {
    far.assert_stored_at_once("/first").await;
    let is_hit = instance.read("/first").await.is_hit();
    assert!(is_hit, "{:?}", instance.handle.stats());
    instance.assert_nothing_has_failed();
}

/// The connection takes a round trip, the lookup another one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_of_an_instance_may_be_a_hit() {
    at_all_distances(async |far| assert_hit_at_first(&far, &far.another()).await).await;
}

/// A login takes one more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_may_be_a_hit_where_redis_wants_a_password() {
    at_each_distance(async |round_trip| {
        let server = RedisServer::configure().password("secret").start().await;
        let far = Far::of(server, round_trip).await;
        assert_hit_at_first(&far, &far.another()).await;
    })
    .await;
}

/// TLS and a login take two more.
#[cfg(all(feature = "redis-tls", feature = "redis-client", feature = "test-util"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_may_be_a_hit_over_tls() {
    use super::patient;
    use crate::backend::tls::client_at;
    use crate::support::redis::{Link, LinkSpeed};
    use tower_response_cache::backend::redis::RedisOptions;

    at_each_distance(async |round_trip| {
        let config = RedisServer::configure().tls().password("secret");
        let far = Far::of(config.start().await, round_trip).await;
        let speed = LinkSpeed {
            bits_per_second: 1_000_000_000,
            round_trip: std::time::Duration::from_millis(round_trip),
        };
        let link = Link::to(far.server.tls_port(), speed).await;
        let client = client_at(&format!("rediss://:secret@localhost:{}/", link.port()));
        let options = patient(RedisOptions::from_client(client));
        assert_hit_at_first(&far, &Instance::new(options.build())).await;
    })
    .await;
}

/// Nothing is in Redis: two round trips for the connection, four for the tokens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_request_of_all_may_be_stored() {
    at_all_distances(async |far| {
        let instance = far.another();
        instance.assert_stored_at_once("/member").await;
        instance.assert_nothing_has_failed();
    })
    .await;
}

/// As after a restart of something on the way: requests at the same time share the new connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_after_a_lost_connection_are_hits() {
    at_all_distances(async |far| {
        let read_all = || far.read_at_once(["/a", "/b", "/c", "/d", "/e"]);
        read_all().await;
        until("they are stored", async || is_idle(&far.handle)).await;
        for _ in 0..2 {
            far.tap.cut();
            let answers = read_all().await;
            let hits = answers.iter().filter(|answer| answer.is_hit()).count();
            assert_eq!(hits, 5, "{:?}", far.handle.stats());
        }
        far.assert_nothing_has_failed();
    })
    .await;
}
