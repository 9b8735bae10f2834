//! One thing after another, by chance.
//!
//! `TRC_CHAOS_SECONDS=60` lets it go on for as long.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::faults::world::load::Load;
use crate::faults::world::{World, guarded, is_slow, options, over_link};
use crate::support::redis::{LinkSpeed, RedisServer, Reply, Tap};

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

/// How long data are harmed.
fn time_for_harm() -> Duration {
    let seconds = std::env::var("TRC_CHAOS_SECONDS");
    let seconds = seconds.map_or(6, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

/// Harm done to what a server keeps, while it answers.
struct DataHarm<'s> {
    server: &'s RedisServer,
    luck: Luck,
    done: BTreeMap<&'static str, usize>,
}

impl DataHarm<'_> {
    async fn do_some(&mut self) {
        let (Some(one), Some(other)) = (self.random_key().await, self.random_key().await) else {
            return;
        };
        let what = match self.luck.pick(40) {
            0 => self.run("FLUSHALL", &["FLUSHALL"]).await,
            1 | 2 => self.run("SCRIPT FLUSH", &["SCRIPT", "FLUSH"]).await,
            3..6 => {
                let kill = ["CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"];
                self.run("CLIENT KILL", &kill).await
            }
            6..16 => self.run("DEL", &["DEL", &one]).await,
            16..26 => self.overwrite(&one).await,
            26..32 => self.swap_bytes(&one).await,
            32..34 => self.run("APPEND", &["APPEND", &one, "x"]).await,
            _ => self.swap_keys(&one, &other).await,
        };
        *self.done.entry(what).or_default() += 1;
    }

    async fn random_key(&self) -> Option<String> {
        match self.server.command(&["RANDOMKEY"]).await {
            Reply::Nil => None,
            name => Some(name.text()),
        }
    }

    /// Runs a command, which may not fit the key's type.
    async fn run(&self, name: &'static str, command: &[&str]) -> &'static str {
        self.server.command(command).await;
        name
    }

    /// A byte at a random place within the value, if there is one.
    async fn overwrite(&mut self, key: &str) -> &'static str {
        let script = "\
            local length = redis.call('STRLEN', KEYS[1])
            redis.call('SETRANGE', KEYS[1], ARGV[1] % length, string.char(ARGV[2]))";
        let at = self.luck.pick(1 << 20).to_string();
        let byte = self.luck.pick(256).to_string();
        let command = ["EVAL", script, "1", key, &at, &byte];
        self.run("overwritten bytes", &command).await
    }

    /// In one step: a token that is read, removed by a write and then set would be back.
    async fn swap_bytes(&mut self, key: &str) -> &'static str {
        let script = "\
            local value = redis.call('GET', KEYS[1])
            local one = ARGV[1] % #value + 1
            local other = ARGV[2] % #value + 1
            redis.call('SETRANGE', KEYS[1], one - 1, string.sub(value, other, other))
            redis.call('SETRANGE', KEYS[1], other - 1, string.sub(value, one, one))";
        let places = [(); 2].map(|()| self.luck.pick(1 << 20).to_string());
        let command = ["EVAL", script, "1", key, &places[0], &places[1]];
        self.run("swapped bytes", &command).await
    }

    /// In one step, whatever their types. Tokens are not swapped: a token that comes back after a
    /// write has removed it would make old responses valid again, and no server does that.
    async fn swap_keys(&mut self, one: &str, other: &str) -> &'static str {
        let is_token = |key: &str| ![":e:", ":b:", ":v:"].iter().any(|kind| key.contains(kind));
        if is_token(one) || is_token(other) {
            return self.swap_bytes(one).await;
        }
        let script = "\
            redis.call('RENAME', KEYS[1], 'swapped')
            redis.call('RENAME', KEYS[2], KEYS[1])
            redis.call('RENAME', 'swapped', KEYS[2])";
        self.run("swapped keys", &["EVAL", script, "2", one, other])
            .await
    }
}

/// Whatever is done to the data, with three instances that read and write: nothing old, nothing of
/// another key, no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_done_to_its_data_nothing_old_or_foreign_is_served() {
    let server = RedisServer::start().await;
    // Two links in a row would be another network.
    let slow = match is_slow() {
        true => server.url(),
        false => over_link(&server.url(), LinkSpeed::SLOW),
    };
    for (world, url) in [
        (World::default(), server.url()),
        (World::writing_through(), server.url()),
        (World::default(), slow),
    ] {
        let seed = u64::from(std::process::id()) + u64::from(server.port());
        println!("seed {seed}");
        let options = options(&url);
        let instances = [(); 3].map(|()| world.instance(guarded(options.clone())));
        let mut load = Load::nobody();
        for instance in &instances {
            load = load.readers(instance, 3, 3).writers(instance, 1);
        }
        let mut harm = DataHarm {
            server: &server,
            luck: Luck(seed),
            done: BTreeMap::new(),
        };
        let (start, time) = (Instant::now(), time_for_harm() / 3);
        while start.elapsed() < time {
            load.goes_on(1 + harm.luck.pick(20) as usize).await;
            harm.do_some().await;
        }
        let hits: u64 = instances.iter().map(|instance| instance.hits()).sum();
        println!("harm {:?}; hits {hits}", harm.done);
        for instance in &instances {
            instance.recovers().await;
        }
        load.end("harm to the data").await;
    }
}
