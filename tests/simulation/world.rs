//! One run: a world from a seed, its actors, and what must hold when all is over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep, timeout};
use tower::Layer;
use tower_response_cache::CacheLayer;
use tower_response_cache::backend::{Backend, DigestSeed, MemoryBackend};
use tower_response_cache::clock::Moment;
use tower_response_cache::random::SeededRandom;

use crate::client::Client;
use crate::dawdling::Dawdling;
use crate::history::History;
use crate::luck::Luck;
use crate::source;
use crate::support::{get, with};

/// What kind of world a seed makes.
#[derive(Clone, Copy)]
pub struct Plan {
    /// Whether calls fail, hang and panic, and answers differ in what may be done with them.
    pub is_stormy: bool,
    pub write_through: bool,
    pub cache_control: &'static str,
    /// How long clients pause between what they do, in milliseconds, at most.
    pub interval: u64,
    /// How many futures in a hundred are dropped before they end.
    pub cut: u64,
}

/// Longer than every limit of the cache.
const ALL_OVER: Duration = Duration::from_secs(1000);

/// Runs one seed; answers how much was left to chance in it, which tells runs apart.
pub fn run(seed: u64, is_stormy: bool, dawdles: bool) -> u64 {
    let luck = Luck::new(seed);
    let plan = Plan::of(&luck, is_stormy);
    let capacity = if is_stormy {
        luck.pick(&[24 << 10, 1 << 20])
    } else {
        32 << 20
    };
    let memory = MemoryBackend::with_seed(capacity, 4096, DigestSeed::new([seed as u8; 16]));
    let mut builder = Builder::new_current_thread();
    let runtime = builder
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let whole = async {
        if dawdles {
            let luck = luck.clone();
            World::new(
                plan,
                Dawdling {
                    backend: memory,
                    luck: luck.clone(),
                },
                luck,
            )
            .run()
            .await;
        } else {
            World::new(plan, memory, luck.clone()).run().await;
        }
    };
    runtime.block_on(async {
        timeout(ALL_OVER * 10, whole)
            .await
            .expect("somebody waits for ever");
    });
    luck.drawn()
}

impl Plan {
    fn of(luck: &Luck, is_stormy: bool) -> Self {
        let lifetimes = [
            "max-age=1000",
            "max-age=1",
            "max-age=1, stale-while-revalidate=2",
            "max-age=1, stale-while-revalidate=1, stale-if-error=60",
            "max-age=0, stale-while-revalidate=1",
            "max-age=1, must-revalidate",
        ];
        Self {
            is_stormy,
            write_through: luck.chance(30),
            cache_control: if is_stormy {
                luck.pick(&lifetimes)
            } else {
                "max-age=100000"
            },
            interval: if is_stormy {
                luck.pick(&[10, 50, 1000])
            } else {
                luck.pick(&[10, 50])
            },
            cut: luck.pick(&[0, 10, 30]),
        }
    }

    fn layer<B: Backend>(self, backend: B, luck: &Luck) -> CacheLayer<B> {
        let begun = Instant::now();
        let mut layer = CacheLayer::new(backend)
            .random(SeededRandom::new(luck.below(u64::MAX)))
            .clock(move || {
                let passed = begun.elapsed() + Duration::from_secs(1);
                Moment::new(passed, SystemTime::UNIX_EPOCH + passed)
            });
        if self.write_through {
            layer = layer.write_through();
        }
        if !self.is_stormy {
            return layer;
        }
        // Limits that are met.
        layer = layer
            .max_body(luck.pick(&[200, 1000, 1 << 20]))
            .max_capturing(luck.pick(&[1000, 1 << 20]))
            .takeover_after(Duration::from_millis(luck.pick(&[5, 10_000])))
            .max_wait(Duration::from_millis(luck.pick(&[10, 30_000])))
            .max_fill(Duration::from_millis(luck.pick(&[20, 30_000])))
            .stall_timeout(Duration::from_millis(luck.pick(&[5, 10_000])))
            .uncacheable_ttl(Duration::from_millis(luck.pick(&[100, 10_000])))
            .failure_pause(Duration::from_millis(luck.pick(&[0, 500])))
            .write_grace(Duration::from_millis(luck.pick(&[10, 5_000])))
            .write_limit(Duration::from_millis(luck.pick(&[100, 60_000])));
        if luck.chance(30) {
            layer = layer.early_refresh(10.0).ttl_jitter(0.5);
        }
        layer
    }
}

struct World<B: Backend> {
    layer: CacheLayer<B>,
    client: Client<B>,
}

type Actor = Pin<Box<dyn Future<Output = ()>>>;

impl<B: Backend> World<B> {
    fn new(plan: Plan, backend: B, luck: Arc<Luck>) -> Self {
        let history = Arc::new(History::default());
        let layer = plan.layer(backend, &luck);
        let origin = source::origin(plan, history.clone(), luck.clone());
        let client = Client {
            service: layer.layer(origin),
            plan,
            history,
            luck,
        };
        Self { layer, client }
    }

    async fn run(self) {
        let luck = self.client.luck.clone();
        let mut actors: Vec<Actor> = Vec::new();
        for _ in 0..2 + luck.below(5) {
            actors.push(Box::pin(self.client.clone().reads()));
        }
        for _ in 0..luck.below(3) {
            actors.push(Box::pin(self.client.clone().writes()));
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
        self.ends().await;
    }

    fn administrates(&self) -> impl Future<Output = ()> + use<B> {
        let (handle, luck) = (self.layer.handle(), self.client.luck.clone());
        async move {
            for _ in 0..3 {
                luck.pause(500).await;
                if luck.chance(50) {
                    handle.clear().await.expect("cleared");
                } else {
                    let all = handle.invalidate("http://test.example/plain").await;
                    all.expect("invalidated");
                }
            }
        }
    }

    /// Nothing is left behind, and what is answered now is what the database holds.
    async fn ends(&self) {
        sleep(ALL_OVER).await;
        let under_way = self.layer.handle().stats().under_way;
        assert_eq!(under_way, Default::default(), "left behind");
        for request in [
            get("/plain"),
            get("/plain?q=1"),
            with(get("/varies"), "accept-language", "de"),
        ] {
            let resource = request.uri().path().to_owned();
            if let Some(got) = self.client.read(request, 0).await {
                assert_eq!(
                    got.version,
                    self.client.history.version(&resource),
                    "{resource}"
                );
            }
        }
    }
}
