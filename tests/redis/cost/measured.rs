//! A server whose commands, round trips and bytes are counted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tower_response_cache::backend::redis::RedisOptions;
use tower_response_cache::backend::{Guarded, RedisBackend};

use crate::support::redis::{Monitor, PATIENCE, RedisServer, Tap};

/// What an operation cost.
#[derive(Clone, Debug)]
pub struct Cost {
    pub operation: &'static str,
    /// Commands that were sent.
    pub commands: usize,
    /// Commands that scripts called.
    pub in_scripts: usize,
    pub round_trips: u64,
    /// Round trips before the origin was called; `None` if it was not.
    pub before_call: Option<u64>,
    pub bytes_sent: u64,
    pub bytes_received: u64,
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let before_call = self.before_call.map(|trips| trips.to_string());
        write!(
            f,
            "| {} | {} | {} | {} | {} | {} | {} |",
            self.operation,
            self.commands,
            self.in_scripts,
            self.round_trips,
            before_call.as_deref().unwrap_or("-"),
            self.bytes_sent,
            self.bytes_received
        )
    }
}

pub struct Measured {
    pub server: RedisServer,
    pub tap: Tap,
    monitor: Monitor,
    /// The number of round trips when the origin was called last.
    called_after: Arc<AtomicU64>,
}

/// Records when the origin is called.
#[derive(Clone)]
pub struct Calls {
    tap: Tap,
    called_after: Arc<AtomicU64>,
}

impl Calls {
    pub fn record(&self) {
        let trips = self.tap.traffic().round_trips;
        self.called_after.store(trips, Ordering::SeqCst);
    }
}

impl Measured {
    pub async fn start() -> Self {
        let server = RedisServer::start().await;
        let tap = Tap::to(server.port()).await;
        Self {
            monitor: Monitor::on(&server).await,
            server,
            tap,
            called_after: Arc::default(),
        }
    }

    pub fn calls(&self) -> Calls {
        Calls {
            tap: self.tap.clone(),
            called_after: self.called_after.clone(),
        }
    }

    pub fn options(&self) -> RedisOptions {
        let options = RedisOptions::new(&self.tap.url()).expect("a URL");
        options
            .namespace("test")
            .max_connections(1)
            .connect_timeout(PATIENCE)
            .response_timeout(PATIENCE)
    }

    /// A backend with one open connection.
    pub async fn backend(&self) -> Guarded<RedisBackend> {
        let backend = self.options().build();
        backend.connect().await.expect("a connection");
        let long = Duration::from_secs(60);
        Guarded::new(backend)
            .lookup_deadline(long)
            .invalidation_deadline(long)
            .store_deadline(long)
    }

    /// Counts what happens while a future runs. Counts again if a health check came between.
    pub async fn cost(&self, operation: &'static str, mut run: impl AsyncFnMut()) -> Cost {
        loop {
            let checks = self.checks().await;
            let cost = self.cost_with_checks(operation, &mut run).await;
            if self.checks().await == checks {
                return cost;
            }
        }
    }

    /// Counts what happens while a future runs, round trips of health checks and for opening
    /// connections included.
    pub async fn cost_with_checks(
        &self,
        operation: &'static str,
        mut run: impl AsyncFnMut(),
    ) -> Cost {
        self.monitor.take(&self.server).await;
        let before = self.tap.traffic();
        self.called_after.store(0, Ordering::SeqCst);
        run().await;
        let (seen, after) = (self.monitor.take(&self.server).await, self.tap.traffic());
        let called_after = self.called_after.load(Ordering::SeqCst);
        Cost {
            operation,
            commands: seen.sent.len(),
            in_scripts: seen.scripted.len(),
            round_trips: after.round_trips - before.round_trips,
            before_call: called_after.checked_sub(before.round_trips),
            bytes_sent: after.sent - before.sent,
            bytes_received: after.received - before.received,
        }
    }

    /// Every health check of a connection asks for the time.
    async fn checks(&self) -> u64 {
        self.server.calls("time").await
    }

    /// The keys of a kind in the test's namespace, with the time that each is kept, in
    /// milliseconds.
    pub async fn keys(&self, kind: &str) -> Vec<(String, i64)> {
        let pattern = format!("test:{kind}*");
        let mut keys = Vec::new();
        for name in self.server.names(&pattern).await {
            let ttl = self.server.command(&["PTTL", &name]).await.integer();
            keys.push((name, ttl));
        }
        keys
    }
}
