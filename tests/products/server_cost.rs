//! What instances cost the Redis server that they share, by its own counters, as an exporter of
//! metrics shows them.
//!
//! `TRC_COST_SECONDS=30` measures for as long; `--nocapture` shows the figures.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::client::Client;
use crate::redis::RedisServer;
use crate::server::Server;
use crate::sharing::Folder;

const REQUESTS_PER_SECOND: u32 = 1000;
const CLIENTS: u32 = 16;
const PRODUCTS: usize = 100;
/// One request of so many is a write.
const WRITE_EVERY: u32 = 50;

fn time() -> Duration {
    let seconds = std::env::var("TRC_COST_SECONDS");
    let seconds = seconds.map_or(3, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

/// Counters of a server.
struct View {
    fields: BTreeMap<String, String>,
}

impl View {
    async fn of(redis: &RedisServer) -> Self {
        let info = redis.command(&["INFO", "everything"]).await.text();
        let fields = info.lines().filter_map(|line| line.split_once(':'));
        Self {
            fields: fields
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
        }
    }

    fn number(&self, name: &str) -> f64 {
        let value = self.fields.get(name).map(String::as_str);
        value.unwrap_or("0").parse().expect("a number")
    }

    /// Seconds of CPU.
    fn cpu(&self) -> f64 {
        self.number("used_cpu_user") + self.number("used_cpu_sys")
    }

    /// Calls by command, also those of scripts.
    fn calls(&self) -> BTreeMap<&str, f64> {
        let stats = self.fields.iter().filter_map(|(name, value)| {
            let calls = value.strip_prefix("calls=")?.split(',').next()?;
            Some((name.strip_prefix("cmdstat_")?, calls.parse().ok()?))
        });
        stats.collect()
    }
}

/// Commands that instances send, and not scripts.
const SENT: [&str; 7] = [
    "mget", "evalsha", "eval", "unlink", "pexpire", "info", "time",
];

/// Reads, and writes now and then, at an even pace; returns how many.
async fn ask_evenly(client: Client, paths: Vec<String>, number: u32, end: Instant) -> u32 {
    let mut ticks = interval(Duration::from_secs(1) * CLIENTS / REQUESTS_PER_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = 0;
    while Instant::now() < end {
        ticks.tick().await;
        asked += 1;
        let path = &paths[(number * 7 + asked * 31) as usize % paths.len()];
        let answer = match (asked + number) % WRITE_EVERY {
            0 => client.put(path, "Lamp", f64::from(asked)).await,
            _ => client.get(path).await,
        };
        assert!(answer.status.is_success(), "{answer:?}");
    }
    asked
}

/// Two instances at 1,000 requests a second, one of 50 a write. A request is one command, or fewer:
/// lookups at the same time share one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_costs_redis_about_one_command() {
    let (redis, folder) = (RedisServer::start().await, Folder::new("cost"));
    let database = folder.database();
    let options = ["--backend", "redis", "--redis-url", &redis.url()];
    let options = [&options[..], &["--database", &database]].concat();
    let instances = [Server::start(&options).await, Server::start(&options).await];
    let mut paths = Vec::new();
    for _ in 0..PRODUCTS {
        paths.push(instances[0].post("Lamp", 1.0).await.header("location"));
    }
    for path in &paths {
        instances[0].get(path).await;
    }
    let (before, start) = (View::of(&redis).await, Instant::now());
    let clients = (0..CLIENTS).map(|number| {
        let client = (*instances[number as usize % 2]).clone();
        tokio::spawn(ask_evenly(client, paths.clone(), number, start + time()))
    });
    let mut asked = 0;
    for client in clients.collect::<Vec<_>>() {
        asked += client.await.expect("no panic");
    }
    let (after, seconds) = (View::of(&redis).await, start.elapsed().as_secs_f64());
    let requests = f64::from(asked);
    let grown = |name: &str| after.number(name) - before.number(name);
    let calls = |name: &str| {
        let calls = |view: &View| view.calls().get(name).copied().unwrap_or(0.0);
        calls(&after) - calls(&before)
    };
    let sent: f64 = SENT.into_iter().map(calls).sum();
    println!("requests a second {:.0}", requests / seconds);
    println!("commands a second {:.0}", sent / seconds);
    for name in SENT {
        println!("  {name} {:.1}", calls(name) / seconds);
    }
    let commands = grown("total_commands_processed") / seconds;
    println!("commands a second, with those in scripts {commands:.0}");
    let (input, output) = (
        grown("total_net_input_bytes"),
        grown("total_net_output_bytes"),
    );
    println!(
        "bytes a second in {:.0}, out {:.0}",
        input / seconds,
        output / seconds
    );
    let connections = after.number("connected_clients") - 1.0;
    println!("connections {connections:.0}");
    let memory = grown("used_memory");
    println!(
        "memory {:.0} KiB, keys {}",
        memory / 1024.0,
        after.fields["db0"]
    );
    let cpu = after.cpu() - before.cpu();
    println!("CPU {:.1} % of a core", cpu / seconds * 100.0);

    assert!(sent <= 1.25 * requests, "{sent} commands for {requests}");
    assert!(input <= 400.0 * requests, "{input} bytes in for {requests}");
    assert!(
        output <= 1500.0 * requests,
        "{output} bytes out for {requests}"
    );
    // Two of each instance.
    assert!(connections <= 4.0, "{connections}");
}
