//! Redis says strange things.

use crate::faults::world::instance::Instance;
use crate::faults::world::load::Load;
use crate::faults::world::{PATHS, World, guarded, options};
use crate::support::redis::{FakeRedis, RedisServer, Reply, Said, Tap};

/// A disturbance of a connection.
type Spoil = fn(&Tap);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_reply_is_a_miss_and_ends_its_connection() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let instance = World::default().instance(guarded(options(&tap.url())));
    instance.warm().await;
    let load = Load::on(&instance);
    let spoils: [(&str, Spoil); 3] = [
        ("garbage", |tap| tap.garble(b"?!\r\n\0\xff")),
        ("a long string", |tap| tap.garble(b"$536870911\r\n")),
        ("half a reply", |tap| tap.truncate(300)),
    ];
    for (what, spoil) in spoils {
        load.goes_on(100).await;
        let (before, accepted) = (instance.health(), tap.accepted());
        spoil(&tap);
        instance.gives_up(before).await;
        load.goes_on(100).await;
        tap.pass();
        instance.recovers().await;
        assert!(tap.accepted() > accepted, "{what}");
    }
    load.end("garbage, half a reply").await;
}

/// One reply too many shifts all later replies to the next command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shifted_replies_are_not_used() {
    let server = RedisServer::start().await;
    let tap = Tap::to(server.port()).await;
    let instance = World::default().instance(guarded(options(&tap.url())));
    instance.warm().await;
    let load = Load::on(&instance);
    let missing = Reply::Array(vec![Reply::Nil, Reply::Nil, Reply::Nil]);
    for extra in [missing, Reply::Integer(1), Reply::Nil, Reply::ok()] {
        load.goes_on(100).await;
        for _ in 0..5 {
            tap.interject(&extra.bytes());
            load.goes_on(30).await;
        }
        tap.pass();
        instance.recovers().await;
    }
    load.end("shifted replies").await;
}

/// Served by the inner service, without a call too many to the server.
async fn assert_unusable(what: &str, fake: &FakeRedis) -> Instance {
    let instance = World::default().instance(guarded(options(&fake.url())));
    let before = instance.health();
    let load = Load::on(&instance);
    instance.gives_up(before).await;
    load.writes(PATHS * 3).await;
    assert_eq!(instance.hits(), 0, "{what}");
    assert!(instance.health().undelivered > 0, "{what}");
    load.end(what).await;
    let health = instance.health();
    let asked = fake.calls("MGET") + fake.calls("UNLINK") + fake.calls("EVALSHA");
    // Each is tried on another connection, and on yet another, where that may help.
    let most = 3 * health.failures as usize + 3;
    assert!(asked <= most, "{what}: {asked} for {health:?}");
    assert!(fake.connections() <= most, "{what}: {}", fake.connections());
    instance
}

/// An error is an error, whatever it says, and is not asked for again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_all_kinds_are_failures() {
    for error in [
        "LOADING Redis is loading the dataset in memory",
        "BUSY Redis is busy running a script.",
        "MASTERDOWN Link with MASTER is down",
        "READONLY You can't write against a read only replica.",
        "MOVED 1234 127.0.0.1:1",
        "ASK 1234 127.0.0.1:1",
        "CROSSSLOT Keys in request don't hash to the same slot",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "NOAUTH Authentication required.",
        "NOPERM this user has no permissions",
        "MISCONF Redis is configured to save RDB snapshots",
        "ERR max number of clients reached",
    ] {
        let fake = FakeRedis::start(move |asked| match &asked[0][..] {
            b"MGET" | b"UNLINK" | b"EVALSHA" | b"EVAL" | b"GET" => {
                Said::from(Reply::Error(error.to_owned()))
            }
            _ => Said::AsUsual,
        })
        .await;
        assert_unusable(error, &fake).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replies_of_another_type_are_failures() {
    for reply in [
        Reply::Integer(7),
        Reply::ok(),
        Reply::Nil,
        "text".into(),
        Reply::Array(vec![]),
        Reply::Array(vec![Reply::Integer(1), Reply::Integer(2), Reply::ok()]),
    ] {
        let what = format!("{reply:?}");
        let fake = FakeRedis::start(move |asked| match &asked[0][..] {
            b"MGET" | b"EVALSHA" => Said::from(reply.clone()),
            b"UNLINK" => Said::from(Reply::Integer(7)),
            _ => Said::AsUsual,
        })
        .await;
        assert_unusable(&what, &fake).await;
    }
}

/// A server without an identity, or one that is a replica, is not used for storing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strange_greetings_are_failures() {
    for said in [
        Reply::Error("LOADING Redis is loading the dataset in memory".into()),
        Reply::from("role:slave\r\nmaster_replid:1\r\nrun_id:1\r\n"),
        Reply::from("nothing of interest"),
        Reply::Integer(1),
    ] {
        let what = format!("{said:?}");
        let fake = FakeRedis::start(move |asked| match &asked[0][..] {
            b"INFO" => Said::from(said.clone()),
            _ => Said::AsUsual,
        })
        .await;
        assert_unusable(&what, &fake).await;
    }
}
