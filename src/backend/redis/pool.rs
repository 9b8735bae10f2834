//! A few connections, each made when it is first needed, and anew when it has broken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::{Client, Cmd, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::fault::Fault;
use super::link::{Link, LinkOptions};
use super::scripts::Script;
use crate::random::{SeededRandom, uniform};

/// After a connection that could not be made, while there is another one that can be used.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

type News = watch::Receiver<Option<Result<Arc<Link>, Fault>>>;

#[derive(Debug)]
pub(super) struct Pool {
    slots: Box<[Arc<Slot>]>,
    next: AtomicUsize,
    client: Client,
    options: LinkOptions,
    random: SeededRandom,
}

#[derive(Debug, Default)]
struct Slot(Mutex<State>);

#[derive(Debug)]
enum State {
    Empty(Retry),
    /// In a task of its own, which no request's deadline cuts short.
    Opening(News),
    Open(Arc<Link>),
}

/// When to try again, unless it is urgent.
#[derive(Clone, Copy, Debug)]
struct Retry {
    at: Option<Instant>,
    pause: Duration,
}

impl Default for State {
    fn default() -> Self {
        Self::Empty(Retry {
            at: None,
            pause: PAUSE,
        })
    }
}

/// A script with what it is run on.
pub(super) struct Run<'r, A> {
    pub(super) script: &'r Script,
    pub(super) keys: &'r [String],
    /// Made for each attempt: a token that was offered once must never be offered again, because it may have been taken,
    /// and taken away, since.
    pub(super) arguments: A,
}

impl Pool {
    pub(super) fn new(client: Client, size: usize, options: LinkOptions) -> Self {
        Self {
            slots: (0..size.max(1)).map(|_| Arc::default()).collect(),
            next: AtomicUsize::new(0),
            client,
            options,
            random: SeededRandom::default(),
        }
    }

    /// Sends a command, again on other connections where that is worth it: each that is made may be carried out, also
    /// one that seems to have failed.
    pub(super) async fn send(
        &self,
        command: impl Fn() -> Cmd,
    ) -> Result<(Value, Arc<Link>), Fault> {
        let mut tries = 0;
        loop {
            let link = self.link().await?;
            match link.send(&command()).await {
                Ok(value) => return Ok((value, link)),
                Err(fault) if fault.is_the_connections() && tries < self.slots.len() => tries += 1,
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Runs a script, by its text where the server does not know it.
    pub(super) async fn run<A>(&self, run: Run<'_, A>) -> Result<(Value, Arc<Link>), Fault>
    where
        A: Fn() -> Vec<Bytes>,
    {
        let by_name = || run.script.by_name(run.keys, &(run.arguments)());
        match self.send(by_name).await {
            Err(fault) if fault.is_no_script() => {
                self.send(|| run.script.by_text(run.keys, &(run.arguments)()))
                    .await
            }
            done => done,
        }
    }

    /// A connection that is open, or else the next one to be. While there is none, one at a time is tried.
    pub(super) async fn link(&self) -> Result<Arc<Link>, Fault> {
        let runtime = Handle::try_current().map_err(|_| Fault::NoRuntime)?;
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let (mut opening, mut vacant) = (None, None);
        for place in 0..self.slots.len() {
            let slot = &self.slots[first.wrapping_add(place) % self.slots.len()];
            match slot.look(&runtime).await {
                Found::Open(link) => {
                    if let (Some((vacant, true)), None) = (vacant, opening) {
                        self.open(vacant, &runtime);
                    }
                    return Ok(link);
                }
                Found::Opening(news) => opening = Some(news),
                Found::Nothing { is_due } => vacant = vacant.or(Some((slot, is_due))),
            }
        }
        let mut news = match (opening, vacant) {
            (Some(news), _) => news,
            (None, Some((slot, _))) => self.open(slot, &runtime),
            (None, None) => unreachable!("there is a slot"),
        };
        match news.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(opened)) => opened.clone(),
            // Whoever was on it ended with his runtime.
            Ok(None) | Err(_) => Err(Fault::NoRuntime),
        }
    }

    /// Connects, unless somebody else does, or has.
    fn open(&self, slot: &Arc<Slot>, runtime: &Handle) -> News {
        let mut state = slot.state();
        let pause = match &*state {
            State::Opening(news) if news.has_changed().is_ok() => return news.clone(),
            State::Open(link) if !link.is_broken() => {
                return watch::channel(Some(Ok(link.clone()))).1;
            }
            State::Empty(retry) => retry.pause,
            State::Opening(_) | State::Open(_) => PAUSE,
        };
        let (teller, news) = watch::channel(None);
        *state = State::Opening(news.clone());
        drop(state);
        let wait = pause.mul_f64(0.5 + uniform(&self.random));
        let pause = (pause * 2).min(LONGEST_PAUSE);
        let (slot, client, options) = (slot.clone(), self.client.clone(), self.options.clone());
        runtime.spawn(async move {
            let opened = Link::open(&client, &options).await.map(Arc::new);
            *slot.state() = match &opened {
                Ok(link) => State::Open(link.clone()),
                Err(_) => State::Empty(Retry {
                    at: Instant::now().checked_add(wait),
                    pause,
                }),
            };
            let _ = teller.send(Some(opened));
        });
        news
    }
}

enum Found {
    Open(Arc<Link>),
    Opening(News),
    Nothing { is_due: bool },
}

impl Slot {
    async fn look(&self, runtime: &Handle) -> Found {
        let link = match &*self.state() {
            State::Open(link) => link.clone(),
            // Whose teller is gone, its runtime is.
            State::Opening(news) if news.has_changed().is_ok() => {
                return Found::Opening(news.clone());
            }
            State::Opening(_) => return Found::Nothing { is_due: true },
            State::Empty(retry) => {
                let is_due = retry.at.is_none_or(|at| Instant::now() >= at);
                return Found::Nothing { is_due };
            }
        };
        match link.is_usable(runtime).await {
            true => Found::Open(link),
            false => Found::Nothing { is_due: true },
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two steps that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
