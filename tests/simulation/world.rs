//! One run: a world from a seed, its actors, and what must hold when all is over.

use std::future::Future;
use std::iter::Sum;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::Backend;
use tower_response_cache::stats::Stats;

use crate::client::Client;
use crate::history::{History, resource_of};
use crate::luck::Luck;
use crate::plan::Plan;
use crate::source;
use crate::support::with;

/// Longer than every limit of the cache.
const ALL_OVER: Duration = Duration::from_secs(1000);

pub type Actor = Pin<Box<dyn Future<Output = ()>>>;

/// The outcome in numbers: a world in which nothing happens proves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub hits: u64,
    pub stores: u64,
    /// Stored responses that were confirmed.
    pub validations: u64,
    /// Operations of the backend that failed.
    pub failures: u64,
    /// Invalidations that were delivered later.
    pub replayed: u64,
}

impl Seen {
    fn of(stats: &Stats) -> Self {
        let health = stats.health.unwrap_or_default();
        Self {
            hits: stats.hits,
            stores: stats.stores,
            validations: stats.validations,
            failures: health.failures,
            replayed: health.replayed,
        }
    }
}

impl Sum for Seen {
    fn sum<I: Iterator<Item = Self>>(seen: I) -> Self {
        seen.fold(Self::default(), |sum, one| Self {
            hits: sum.hits + one.hits,
            stores: sum.stores + one.stores,
            validations: sum.validations + one.validations,
            failures: sum.failures + one.failures,
            replayed: sum.replayed + one.replayed,
        })
    }
}

/// Caches, one on each of these backends, before one database.
pub struct World<B: Backend> {
    layers: Vec<CacheLayer<B>>,
    client: Client<B>,
    /// What else happens.
    pub events: Vec<Actor>,
    /// Ends what makes backends fail.
    pub settles: Box<dyn Fn()>,
}

impl<B: Backend> World<B> {
    pub fn new(plan: Plan, backends: impl IntoIterator<Item = B>, luck: Arc<Luck>) -> Self {
        let history = Arc::new(History::new());
        let layers = backends
            .into_iter()
            .map(|backend| plan.layer(backend, &luck));
        let layers: Vec<_> = layers.collect();
        let services = layers.iter().enumerate().map(|(instance, layer)| {
            let origin = source::origin(plan, instance, history.clone(), luck.clone());
            layer.layer(origin)
        });
        let client = Client {
            services: services.collect(),
            plan,
            history,
            luck,
        };
        Self {
            layers,
            client,
            events: Vec::new(),
            settles: Box::new(|| ()),
        }
    }

    /// Panics when a request waits for ever.
    pub async fn ends_in_time(self) -> Seen {
        let whole = timeout(ALL_OVER * 10, self.run()).await;
        whole.expect("somebody waits for ever")
    }

    async fn run(mut self) -> Seen {
        let luck = self.client.luck.clone();
        let mut actors = std::mem::take(&mut self.events);
        for _ in 0..2 + luck.below(5) {
            actors.push(Box::pin(self.client.clone().reads()));
        }
        let writers = match self.client.plan.is_narrow {
            true => 1 + luck.below(3),
            false => luck.below(3),
        };
        for _ in 0..writers {
            actors.push(Box::pin(self.client.clone().writes()));
        }
        if self.client.plan.is_extended {
            let handles = self.layers.iter().map(CacheLayer::handle).collect();
            actors.push(Box::pin(self.client.clone().works(handles)));
        }
        if self.client.plan.is_stormy && luck.chance(30) {
            actors.push(Box::pin(self.administrates()));
        }
        let local = LocalSet::new();
        let mut tasks = JoinSet::new();
        for actor in actors {
            tasks.spawn_local_on(actor, &local);
        }
        // A check that failed in one of them fails here.
        local.run_until(tasks.join_all()).await;
        (self.settles)();
        sleep(ALL_OVER).await;
        self.assert_ended().await;
        let stats = self.layers.iter().map(|layer| layer.handle().stats());
        stats.map(|stats| Seen::of(&stats)).sum()
    }

    fn administrates(&self) -> impl Future<Output = ()> + use<B> {
        let (handle, luck) = (self.layers[0].handle(), self.client.luck.clone());
        let loses = self.client.plan.loses;
        async move {
            for _ in 0..3 {
                luck.pause(500).await;
                let is_done = if luck.chance(50) {
                    handle.clear().await.is_ok()
                } else {
                    let all = handle.invalidate("http://test.example/plain").await;
                    all.is_ok()
                };
                assert!(is_done || loses, "a backend that is well");
            }
        }
    }

    /// Nothing is left behind, and each instance now answers with the version in the database.
    async fn assert_ended(&self) {
        for layer in &self.layers {
            let stats = layer.handle().stats();
            assert_eq!(stats.in_flight, Default::default(), "left behind");
            if let Some(health) = stats.health {
                let owed = (health.undelivered, health.to_be_cleared);
                assert_eq!(owed, (0, false), "undelivered");
            }
        }
        let mut requests = vec![
            self.client.get("/plain"),
            self.client.get("/plain"),
            self.client.get("/plain?q=1"),
            with(self.client.get("/varies"), "accept-language", "de"),
        ];
        if self.client.plan.is_extended {
            requests.push(self.client.query(self.client.get("/plain")));
        }
        // The groups of a write that fails without an answer are unknown.
        if !self.client.plan.is_stormy {
            requests.push(self.client.get("/member/1"));
        }
        for request in requests {
            for instance in 0..self.layers.len() {
                self.assert_current(instance, request.clone()).await;
            }
        }
    }

    async fn assert_current(&self, instance: usize, request: http::Request<()>) {
        let resource = resource_of(&crate::source::key_of(&request));
        if let Some(got) = self.client.read(instance, request, 0).await {
            let current = self.client.history.version(&resource);
            assert_eq!(got.version, current, "{resource}");
        }
    }
}
