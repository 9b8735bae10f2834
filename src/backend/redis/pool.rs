//! A few connections, each made when it is first needed, and anew when it has broken.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{Client, Cmd, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::fault::Fault;
use super::link::{Link, LinkOptions};
use super::scripts::Script;

type News = watch::Receiver<Option<Result<Arc<Link>, Fault>>>;

#[derive(Debug)]
pub(super) struct Pool {
    slots: Box<[Arc<Slot>]>,
    next: AtomicUsize,
    client: Client,
    options: LinkOptions,
}

#[derive(Debug, Default)]
struct Slot(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Empty,
    /// In a task of its own, which no request's deadline cuts short.
    Opening(News),
    Open(Arc<Link>),
}

impl Pool {
    pub(super) fn new(client: Client, size: usize, options: LinkOptions) -> Self {
        Self {
            slots: (0..size.max(1)).map(|_| Arc::default()).collect(),
            next: AtomicUsize::new(0),
            client,
            options,
        }
    }

    /// Sends a command, again on other connections where that is worth it: all commands that are sent may be carried out
    /// twice.
    pub(super) async fn send(&self, command: &Cmd) -> Result<(Value, Arc<Link>), Fault> {
        let mut tries = 0;
        loop {
            let link = self.link().await?;
            match link.send(command).await {
                Ok(value) => return Ok((value, link)),
                Err(fault) if fault.is_the_connections() && tries < self.slots.len() => tries += 1,
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Runs a script, by its text where the server does not know it.
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[&[u8]],
    ) -> Result<(Value, Arc<Link>), Fault> {
        match self.send(&script.by_name(keys, arguments)).await {
            Err(fault) if fault.is_no_script() => self.send(&script.by_text(keys, arguments)).await,
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
            match slot.look() {
                Found::Open(link) => {
                    if let (Some(vacant), None) = (vacant, opening) {
                        self.open(vacant, &runtime);
                    }
                    return Ok(link);
                }
                Found::Opening(news) => opening = Some(news),
                Found::Nothing => vacant = vacant.or(Some(slot)),
            }
        }
        let mut news = match (opening, vacant) {
            (Some(news), _) => news,
            (None, Some(slot)) => self.open(slot, &runtime),
            (None, None) => unreachable!("there is a slot"),
        };
        match news.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(opened)) => opened.clone(),
            // Whoever was on it ended with his runtime.
            Ok(None) | Err(_) => Err(Fault::NoRuntime),
        }
    }

    /// Connects, unless somebody else does.
    fn open(&self, slot: &Arc<Slot>, runtime: &Handle) -> News {
        let mut state = slot.state();
        if let State::Opening(news) = &*state
            && news.has_changed().is_ok()
        {
            return news.clone();
        }
        let (teller, news) = watch::channel(None);
        *state = State::Opening(news.clone());
        drop(state);
        let (slot, client, options) = (slot.clone(), self.client.clone(), self.options.clone());
        runtime.spawn(async move {
            let opened = Link::open(&client, &options).await.map(Arc::new);
            *slot.state() = match &opened {
                Ok(link) => State::Open(link.clone()),
                Err(_) => State::Empty,
            };
            let _ = teller.send(Some(opened));
        });
        news
    }
}

enum Found {
    Open(Arc<Link>),
    Opening(News),
    Nothing,
}

impl Slot {
    fn look(&self) -> Found {
        match &*self.state() {
            State::Open(link) if link.is_usable() => Found::Open(link.clone()),
            // Whose teller is gone, its runtime is.
            State::Opening(news) if news.has_changed().is_ok() => Found::Opening(news.clone()),
            _ => Found::Nothing,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics between two steps that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
