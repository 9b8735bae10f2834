//! One thing after another, by chance.

use std::time::Duration;

use tokio::time::sleep;

use crate::faults::world::load::Load;
use crate::faults::world::{World, guarded, options};
use crate::support::redis::{RedisServer, Tap};

/// Numbers by chance, the same for the same seed.
struct Luck(u64);

impl Luck {
    fn pick(&mut self, of: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % of
    }
}

async fn harm(server: &mut RedisServer, tap: &Tap, luck: &mut Luck) {
    match luck.pick(12) {
        0 => tap.cut(),
        1 => tap.refuse(),
        2 => tap.black_hole(),
        3 => tap.strand(),
        4 => tap.lose_replies(),
        5 => tap.truncate(500),
        6 => tap.delay(Duration::from_millis(luck.pick(100))),
        7 => server.stop(),
        8 => server.kill(),
        9 => server.restart().await,
        10 => drop(server.command(&["FLUSHALL"]).await),
        _ => {
            server.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
            tap.cut();
            sleep(Duration::from_millis(luck.pick(100))).await;
            server.command(&["REPLICAOF", "NO", "ONE"]).await;
        }
    }
}

/// Whatever is done to it, in whichever order, with two instances that read and write: what each
/// has promised it keeps, and what Redis has acknowledged all do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_comes_nothing_old_is_served() {
    let seed = std::process::id();
    println!("seed {seed}");
    let mut luck = Luck(seed.into());
    let mut server = RedisServer::configure().append_only().start().await;
    let (tap, world) = (Tap::to(server.port()).await, World::default());
    let options = options(&tap.url()).response_timeout(Duration::from_millis(300));
    let one = world.instance(guarded(options.clone()));
    let other = world.instance(guarded(options));
    let load = Load::on(&one).readers(&other, 4, 3).writers(&other, 1);
    for _ in 0..12 {
        load.goes_on(50).await;
        harm(&mut server, &tap, &mut luck).await;
        load.goes_on(luck.pick(200) as usize).await;
        tap.pass();
        match server.is_running() {
            true => server.resume(),
            false => server.restart().await,
        }
    }
    one.recovers().await;
    other.recovers().await;
    load.end("one thing after another").await;
}
