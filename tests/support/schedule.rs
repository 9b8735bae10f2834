//! Runs several futures in every possible order, one poll at a time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::yield_now;

pub type Actor = Pin<Box<dyn Future<Output = ()>>>;

/// More polls than any run here needs: beyond it an actor waits for ever.
const MOST_POLLS: usize = 10_000;

/// Runs what `world` makes once for every order in which its actors, and the tasks that they spawn,
/// can be polled. Answers the number of orders.
pub fn every_order(world: impl Fn() -> Vec<Actor>) -> usize {
    every_order_within(usize::MAX, world)
}

/// Like [`every_order`], without orders that take the turn from an unfinished actor more often than
/// `switches` times: races need few switches, orders with many are astronomically many.
pub fn every_order_within(switches: usize, world: impl Fn() -> Vec<Actor>) -> usize {
    let switches = switches.saturating_add(more_switches() as usize);
    let runtime = runtime();
    let mut prefix = Vec::new();
    let mut runs = 0;
    loop {
        let mut taken = Vec::new();
        runtime.block_on(run(world(), switches, |width| {
            let choice = prefix.get(taken.len()).copied().unwrap_or(0);
            taken.push((choice, width));
            choice
        }));
        runs += 1;
        while taken
            .last()
            .is_some_and(|(choice, width)| choice + 1 == *width)
        {
            taken.pop();
        }
        let Some((choice, _)) = taken.pop() else {
            return runs;
        };
        prefix = taken.iter().map(|(choice, _)| *choice).collect();
        prefix.push(choice + 1);
    }
}

/// Runs what `world` makes in as many random orders. A failing one is named by its seed.
pub fn random_orders(count: u64, world: impl Fn() -> Vec<Actor>) {
    let runtime = runtime();
    for seed in 0..count * 10_u64.pow(more_switches()) {
        let told = Told(seed);
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        runtime.block_on(run(world(), usize::MAX, |width| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % width as u64) as usize
        }));
        std::mem::forget(told);
    }
}

/// `MORE_SWITCHES`: how many more than a test asks for. Each also takes ten times as many random
/// orders.
fn more_switches() -> u32 {
    let more = std::env::var("MORE_SWITCHES").map(|more| more.parse().expect("a number"));
    more.unwrap_or(0)
}

/// Names the seed when the test unwinds.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("failed with seed {}", self.0);
    }
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// One run: `choose` picks the actor polled next among those that can go on, 0 being the one polled
/// last if it is one of them. The tasks in the background are one more choice while there are any.
async fn run(actors: Vec<Actor>, mut switches: usize, mut choose: impl FnMut(usize) -> usize) {
    let mut actors: Vec<_> = actors.into_iter().map(Player::new).collect();
    let mut goes_on = false;
    for _ in 0..MOST_POLLS {
        let has_tasks = Handle::current().metrics().num_alive_tasks() > 0;
        // Stable: the actor polled last stays the first.
        actors.sort_by_key(|actor| !actor.is_woken());
        let awake = actors.iter().filter(|actor| actor.is_woken()).count();
        let width = awake + usize::from(has_tasks);
        if width == 0 {
            assert!(actors.is_empty(), "somebody waits for ever");
            return;
        }
        let is_free = width > 1 && (!goes_on || switches > 0);
        let choice = if is_free { choose(width) } else { 0 };
        if goes_on && choice != 0 {
            switches -= 1;
        }
        if choice == awake {
            yield_now().await;
            goes_on = false;
            continue;
        }
        actors[..=choice].rotate_right(1);
        if actors[0].poll() {
            drop(actors.remove(0));
            goes_on = false;
        } else {
            goes_on = actors[0].is_woken();
        }
    }
    panic!("somebody goes on for ever");
}

/// An actor and whether it can go on.
struct Player {
    actor: Actor,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Player {
    fn new(actor: Actor) -> Self {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        Self { actor, woken }
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::SeqCst)
    }

    /// Whether it is done.
    fn poll(&mut self) -> bool {
        self.woken.0.store(false, Ordering::SeqCst);
        let waker = Waker::from(self.woken.clone());
        let mut cx = Context::from_waker(&waker);
        self.actor.as_mut().poll(&mut cx).is_ready()
    }
}

/// Lets others go first. Unlike tokio's, it can be polled again at once.
pub async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
