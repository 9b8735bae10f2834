//! One run: a world from a seed, its clients, and what must hold when all is over.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;
use tower::Layer;
use tower_response_cache::backend::Backend;
use tower_response_cache::stats::{Reason, ReasonCounts, Stats};

use crate::clients::Client;
use crate::clients::requests::{Memory, users};
use crate::database::{Database, TEAM};
use crate::origin::{Known, origin};
use crate::panics;
use crate::plan::Plan;
use crate::report::Report;
use crate::support::luck::Luck;
use crate::support::names::plain_request;
use crate::support::yielding::yielding;

/// Longer than every limit of the cache.
const ALL_OVER: Duration = Duration::from_secs(1_000);

/// Longer than a write may run on after its client has left, and its period.
const WRITES_OVER: Duration = Duration::from_secs(70);

#[derive(Clone, Copy, Debug)]
pub enum Store {
    Memory,
    Yielding,
}

/// A seed that broke a promise.
pub struct Failed {
    pub steps: u64,
    pub report: String,
}

/// How often what happened.
#[derive(Debug, Default)]
pub struct Seen {
    /// How much was drawn by lot: two runs of one seed that differ anywhere differ here.
    pub drawn: u64,
    counts: BTreeMap<String, u64>,
}

impl Seen {
    fn of(stats: &Stats, drawn: u64) -> Self {
        let single = [
            ("hits", stats.hits),
            ("collapsed", stats.collapsed),
            ("stores", stats.stores),
            ("validations", stats.validations),
            ("repetitions", stats.repetitions),
            ("overloads", stats.overloads),
            ("gateway timeouts", stats.gateway_timeouts),
            ("invalidations", stats.invalidations),
            ("detached writes", stats.detached_writes),
            ("abandoned writes", stats.abandoned_writes),
        ];
        let mut seen = Self {
            drawn,
            ..Self::default()
        };
        for (name, count) in single {
            seen.counts.insert(name.to_owned(), count);
        }
        seen.add_reasons("contradiction", &stats.contradictions);
        seen.add_reasons("stale", &stats.stale);
        seen.add_reasons("refresh", &stats.refreshes);
        seen.add_reasons("refusal", &stats.refusals);
        seen.add_reasons("write", &stats.writes);
        seen
    }

    fn add_reasons<R: Reason>(&mut self, kind: &str, counts: &ReasonCounts<R>) {
        for (reason, count) in counts.iter() {
            self.counts.insert(format!("{kind}: {reason}"), count);
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.drawn += other.drawn;
        for (name, count) in &other.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
    }

    /// Panics if something did not happen at all that these worlds are made for.
    pub fn assert_everything_happened(&self) {
        for name in [
            "hits",
            "collapsed",
            "stores",
            "validations",
            "repetitions",
            "overloads",
            "gateway timeouts",
            "detached writes",
            "abandoned writes",
            "contradiction: unrequested-status",
            "refresh: stale",
            "refusal: superseded",
            "refusal: truncated",
            "refusal: write-grace",
            "stale: stale-while-revalidate",
            "write: outcome-unknown",
        ] {
            let count = self.counts.get(name).copied();
            assert!(count > Some(0), "{name} never happened: {:?}", self.counts);
        }
    }
}

/// Runs a seed, with as many requests of each client if that is given.
pub fn run(seed: u64, store: Store, steps: Option<u64>) -> Result<Seen, Failed> {
    // A seed is one schedule: it fails again.
    run_once(seed, store, steps, false).or_else(|_| run_once(seed, store, steps, true))
}

fn run_once(
    seed: u64,
    store: Store,
    steps: Option<u64>,
    keeps_events: bool,
) -> Result<Seen, Failed> {
    let luck = Luck::new(seed);
    let mut plan = Plan::of(&luck);
    plan.steps = steps.unwrap_or(plan.steps);
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime");
    let backend = plan.backend(seed);
    let ended = runtime.block_on(async {
        match store {
            Store::Memory => runs(plan, backend, luck.clone(), keeps_events).await,
            Store::Yielding => runs(plan, yielding(backend), luck.clone(), keeps_events).await,
        }
    });
    let failed = |report| Failed {
        steps: plan.steps,
        report,
    };
    ended
        .map(|stats| Seen::of(&stats, luck.drawn()))
        .map_err(|report| failed(format!("{report}\n{plan:?}")))
}

async fn runs<B: Backend>(
    plan: Plan,
    backend: B,
    luck: Arc<Luck>,
    keeps_events: bool,
) -> Result<Stats, String> {
    panics::take();
    let layer = plan.layer(backend, &luck);
    let known = Arc::new(Known {
        plan,
        database: Database::new(),
        report: Report::new(keeps_events),
        luck,
        open: Arc::new(AtomicUsize::new(0)),
        is_calm: AtomicBool::new(false),
    });
    let service = layer.layer(origin(known.clone()));
    let memory = Rc::new(Memory::default());
    let client = |user| Client {
        service: service.clone(),
        handle: layer.handle(),
        known: known.clone(),
        memory: memory.clone(),
        user,
    };
    let local = LocalSet::new();
    let mut tasks = JoinSet::new();
    for _ in 0..plan.clients {
        let user = known.luck.below(users()) as usize;
        tasks.spawn_local_on(client(user).acts(plan.steps), &local);
    }
    local.run_until(tasks.join_all()).await;
    known.is_calm.store(true, Ordering::Relaxed);
    // By now hung-up writes have ended, and stored responses are still fresh.
    sleep(WRITES_OVER).await;
    check_current(&known, &client(0)).await;
    sleep(ALL_OVER).await;
    let stats = layer.handle().stats();
    check_left(&known, &stats);
    if let Some(panic) = panics::take() {
        known.report.broke("", panic);
    }
    known.report.broken().map_or(Ok(stats), Err)
}

/// Nothing is left behind.
fn check_left(known: &Known, stats: &Stats) {
    if stats.in_flight != Default::default() {
        known
            .report
            .broke("", format!("left behind: {:?}", stats.in_flight));
    }
    let open = known.open.load(Ordering::Relaxed);
    if open > 0 {
        known.report.broke(
            "",
            format!("{open} calls or bodies of the origin are still there"),
        );
    }
}

/// In the end the cache answers what the database holds.
async fn check_current<B: Backend>(known: &Known, client: &Client<B>) {
    for (path, resource) in [
        ("/a", "/a"),
        ("/a?q=1", "/a"),
        ("/b", "/b"),
        ("/list", "/list"),
        ("/team", TEAM),
        ("/m/1", TEAM),
    ] {
        if known.report.is_broken() || known.database.is_doubtful(resource) {
            continue;
        }
        let request = plain_request(http::Method::GET, path);
        let current = known.database.version(resource);
        let version = client.get(request).await;
        if version.is_some_and(|version| version != current) {
            let how = format!("in the end {path} has {version:?}, not {current}");
            known.report.broke(resource, how);
        }
    }
}
