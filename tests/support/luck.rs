//! All that is left to chance, from one seed.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::sleep;
use tower_response_cache::random::{Random, SeededRandom};

/// What one run draws from, and a digest of all that was drawn.
pub struct Luck {
    random: SeededRandom,
    drawn: AtomicU64,
}

impl Luck {
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            random: SeededRandom::new(seed),
            drawn: AtomicU64::new(0),
        })
    }

    pub fn below(&self, bound: u64) -> u64 {
        let bits = self.random.next_u64();
        self.drawn.fetch_add(1, Ordering::Relaxed);
        bits % bound
    }

    /// Whether something happens that does so this often in a hundred.
    pub fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }

    /// How much was drawn: two runs of one seed that differ anywhere differ here.
    pub fn drawn(&self) -> u64 {
        self.drawn.load(Ordering::Relaxed)
    }

    /// Lets nothing, others, or time pass.
    pub async fn pause(&self, longest: u64) {
        match self.below(4) {
            0 => {}
            1 => yields(self.below(4)).await,
            _ => sleep(Duration::from_millis(self.below(longest + 1))).await,
        }
    }
}

async fn yields(times: u64) {
    let mut left = times;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// How a future ended that may be cut short.
pub enum Ended<T> {
    With(T),
    /// After as many polls as it had.
    Cut,
    Panicked,
}

/// A future that is often polled late, and is dropped after `polls` polls if that is given.
pub struct Tossed<F> {
    pub future: Pin<Box<F>>,
    pub polls: Option<u64>,
    pub luck: Arc<Luck>,
}

impl<F: Future> Future for Tossed<F> {
    type Output = Ended<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.luck.chance(40) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some(left) = &mut self.polls {
            if *left == 0 {
                return Poll::Ready(Ended::Cut);
            }
            *left -= 1;
        }
        match catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(cx))) {
            Ok(Poll::Ready(output)) => Poll::Ready(Ended::With(output)),
            Ok(Poll::Pending) => Poll::Pending,
            Err(_) => Poll::Ready(Ended::Panicked),
        }
    }
}

/// Tosses a future; with this chance it is cut.
pub fn tossed<F: Future>(future: F, cut: u64, luck: &Arc<Luck>) -> Tossed<F> {
    Tossed {
        future: Box::pin(future),
        polls: luck.chance(cut).then(|| luck.below(10)),
        luck: luck.clone(),
    }
}
