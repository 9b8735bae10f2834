//! Lookups that are on their way at the same time share a round trip, and those of one key a reply.
//!
//! Nobody waits for company: what comes while as many are under way as there are connections is asked for together as soon
//! as one of them is back. A lookup takes part only in what is sent after it began, so that its answer is not older than
//! it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use redis::{Cmd, Value};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::fault::Fault;
use super::groups::GroupTokens;
use super::keys::Namespace;
use super::link::Link;
use super::pool::Pool;
use super::token::{Epoch, Identity, Sealed, Token};
use super::unexpected;
use crate::backend::codec::{self, Decoded};
use crate::backend::{CacheKey, Lookup, Moment, StoredResponse};

/// Of different keys.
const MOST_KEYS: usize = 32;
/// About as many bytes: a reply is read as a whole before anybody has his part of it.
const MOST_BYTES: usize = 256 * 1024;
/// How far apart two moments may be to be taken for one: a response counts as older by as much.
const TOGETHER: Duration = Duration::from_millis(100);

/// What came of a lookup.
#[derive(Clone, Debug)]
pub(super) enum Looked {
    /// Its resource has a token.
    Known(Lookup<Token>, Option<Epoch>),
    /// It has none that counts on this server, under this epoch, if there is one.
    Unleased(Identity, Option<Epoch>, Option<Epoch>),
    /// A member of groups, with what their tokens were.
    Member(Arc<StoredResponse>, GroupTokens, Token, Option<Epoch>),
}

type Told = Result<Looked, Fault>;

#[derive(Debug)]
pub(super) struct Lookups {
    queue: Mutex<Queue>,
    /// How many may be under way.
    most: usize,
}

#[derive(Debug, Default)]
struct Queue {
    batches: VecDeque<Batch>,
    under_way: usize,
    /// Bytes that a key brought lately.
    typical: usize,
}

type Batch = Vec<Group>;

/// Those who ask for the same.
#[derive(Debug)]
struct Group {
    key: CacheKey,
    now: Moment,
    waiting: Vec<oneshot::Sender<Told>>,
}

/// What a batch needs.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) pool: Arc<Pool>,
    pub(super) lookups: Arc<Lookups>,
    pub(super) names: Namespace,
    pub(super) epoch: Arc<str>,
    /// The name of the token of all groups.
    pub(super) groups: Arc<str>,
}

impl Queue {
    fn join(&mut self, key: &CacheKey, now: Moment) -> oneshot::Receiver<Told> {
        let (teller, told) = oneshot::channel();
        let is_near = |other: Moment| other.since(now).max(now.since(other)) <= TOGETHER;
        // None of these has been sent. Not all of them are looked through where very many wait.
        let last = self.batches.iter_mut().rev().take(MOST_KEYS);
        let mut groups = last.flatten();
        if let Some(group) = groups.find(|group| group.key == *key && is_near(group.now)) {
            group.waiting.push(teller);
            return told;
        }
        let group = Group {
            key: *key,
            now,
            waiting: vec![teller],
        };
        let most = (MOST_BYTES / self.typical.max(1)).clamp(1, MOST_KEYS);
        match self.batches.back_mut() {
            Some(batch) if batch.len() < most => batch.push(group),
            _ => self.batches.push_back(vec![group]),
        }
        told
    }

    /// Notes what a batch of so many keys brought.
    fn brought(&mut self, bytes: usize, keys: usize) {
        self.typical = (3 * self.typical + bytes / keys.max(1)) / 4;
    }

    /// The next batch of which somebody still waits for something.
    fn next(&mut self) -> Option<Batch> {
        loop {
            let mut batch = self.batches.pop_front()?;
            batch.retain(|group| group.waiting.iter().any(|waiting| !waiting.is_closed()));
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }
}

impl Lookups {
    pub(super) fn new(most: usize) -> Self {
        Self {
            queue: Mutex::default(),
            most,
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here panics between two steps that belong together.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asker {
    pub(super) async fn look(&self, key: &CacheKey, now: Moment) -> Told {
        let runtime = Handle::try_current().map_err(|_| Fault::NoRuntime)?;
        let told = {
            let mut queue = self.lookups.queue();
            let told = queue.join(key, now);
            if queue.under_way < self.lookups.most
                && let Some(batch) = queue.next()
            {
                queue.under_way += 1;
                drop(queue);
                let turn = Turn {
                    lookups: self.lookups.clone(),
                    is_over: false,
                };
                drop(runtime.spawn(self.clone().run(batch, turn)));
            }
            told
        };
        // Whoever was on it ended with his runtime.
        told.await.unwrap_or(Err(Fault::NoRuntime))
    }

    /// Asks for one batch after another, as long as there are any.
    async fn run(self, mut batch: Batch, mut turn: Turn) {
        loop {
            self.ask(batch).await;
            match turn.next() {
                Some(next) => batch = next,
                None => return,
            }
        }
    }

    async fn ask(&self, batch: Batch) {
        match self.pool.send(|| self.command(&batch)).await {
            Ok((reply, link)) => self.tell_all(batch, reply, &link),
            Err(fault) => tell_fault(batch, &fault),
        }
    }

    fn command(&self, batch: &Batch) -> Cmd {
        let mut ask = Cmd::with_capacity(2 + 2 * batch.len(), 32 + 256 * batch.len());
        ask.arg("MGET").arg(&*self.epoch).arg(&*self.groups);
        for group in batch {
            ask.arg(self.names.lease(group.key.resource()));
            ask.arg(self.names.entry(&group.key));
        }
        ask
    }

    fn tell_all(&self, batch: Batch, reply: Value, link: &Link) {
        let Some(strings) = strings(reply, 2 + 2 * batch.len()) else {
            return tell_fault(batch, &unexpected(link));
        };
        let bytes = strings.iter().flatten().map(Vec::len).sum();
        self.lookups.queue().brought(bytes, batch.len());
        let mut strings = strings.into_iter();
        let epoch = strings.next().flatten();
        let epoch = epoch.and_then(|epoch| Epoch::read(&epoch));
        let groups = strings.next().flatten();
        let groups = groups.and_then(|groups| Epoch::read(&groups));
        for group in batch {
            let (lease, entry) = (strings.next().flatten(), strings.next().flatten());
            let looked = looked(&group, (epoch, groups), lease, entry, link);
            group.tell(&Ok(looked));
        }
    }
}

impl Group {
    fn tell(self, told: &Told) {
        for waiting in self.waiting {
            let _ = waiting.send(told.clone());
        }
    }
}

fn tell_fault(batch: Batch, fault: &Fault) {
    for group in batch {
        group.tell(&Err(fault.clone()));
    }
}

fn looked(
    group: &Group,
    (epoch, groups): (Option<Epoch>, Option<Epoch>),
    lease: Option<Vec<u8>>,
    entry: Option<Vec<u8>>,
    link: &Link,
) -> Looked {
    let (identity, of) = (link.identity(), Sealed::Resource(group.key.resource()));
    let token = epoch.and_then(|epoch| Token::read(&lease?, identity, epoch, of));
    match token {
        Some(token) => match found_under(token, entry, link, group.now) {
            (Lookup::Found(response, token), tokens) if !tokens.is_empty() => {
                Looked::Member(response, tokens, token, groups)
            }
            (lookup, _) => Looked::Known(lookup, groups),
        },
        None => Looked::Unleased(identity, epoch, groups),
    }
}

/// What is kept under a key, if that was stored under this very token.
fn found_under(
    token: Token,
    entry: Option<Vec<u8>>,
    link: &Link,
    now: Moment,
) -> (Lookup<Token>, GroupTokens) {
    let none = GroupTokens::default();
    let Some(mut entry) = entry.map(Bytes::from) else {
        return (Lookup::Miss(token), none);
    };
    if !entry.starts_with(token.as_ref()) {
        return (Lookup::Miss(token), none);
    }
    entry.advance(Token::LENGTH);
    let Some(groups) = GroupTokens::split_from(&mut entry) else {
        return (Lookup::Miss(token), none);
    };
    match codec::decode(&entry, now, |stamp| link.clock().since(stamp)) {
        Ok(Decoded::Response(response)) => (Lookup::Found(response, token), groups),
        Ok(Decoded::Rule(rule)) => (Lookup::Varies(rule, token), none),
        Err(error) => {
            tracing::debug!(%error, "what Redis holds is a miss");
            (Lookup::Miss(token), none)
        }
    }
}

/// As many strings as asked for, each of which may be missing.
pub(super) fn strings(value: Value, count: usize) -> Option<Vec<Option<Vec<u8>>>> {
    let Value::Array(values) = value else {
        return None;
    };
    let string = |value| match value {
        Value::BulkString(bytes) => Some(Some(bytes)),
        Value::Nil => Some(None),
        _ => None,
    };
    let strings: Option<Vec<_>> = values.into_iter().map(string).collect();
    strings.filter(|strings| strings.len() == count)
}

/// One of those that are under way.
struct Turn {
    lookups: Arc<Lookups>,
    is_over: bool,
}

impl Turn {
    /// The next batch, or the end: in one step with looking, so that whoever comes later finds that his turn it is.
    fn next(&mut self) -> Option<Batch> {
        let mut queue = self.lookups.queue();
        let next = queue.next();
        if next.is_none() {
            queue.under_way -= 1;
            self.is_over = true;
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Its runtime has ended, or it panicked: those who wait behind it are told so, rather than nothing.
        let mut queue = self.lookups.queue();
        queue.under_way -= 1;
        let left = std::mem::take(&mut queue.batches);
        drop(queue);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::key::{DigestSeed, Resource};

    fn key(number: usize) -> CacheKey {
        let path = format!("/{number}");
        CacheKey::plain(Resource::new(
            &DigestSeed::default(),
            "",
            "test.example",
            &path,
        ))
    }

    fn at(millis: u64) -> Moment {
        Moment::new(Duration::from_millis(millis), SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn who_asks_for_the_same_shares_a_place_however_large_it_is() {
        for (typical, batches) in [(1000, 1), (MOST_BYTES / 2, 2), (10 * MOST_BYTES, 3)] {
            let mut queue = Queue {
                typical,
                ..Queue::default()
            };
            let told: Vec<_> = (0..30)
                .map(|number| queue.join(&key(number % 3), at(0)))
                .collect();
            assert_eq!(queue.batches.len(), batches, "{typical} bytes a key");
            let groups: Vec<_> = queue.batches.iter().flatten().collect();
            assert!(groups.len() == 3 && groups.iter().all(|group| group.waiting.len() == 10));
            drop(told);
            assert!(queue.next().is_none(), "nobody waits any more");
        }
    }

    #[test]
    fn moments_that_are_apart_are_not_taken_for_one() {
        let mut queue = Queue::default();
        let told = [0, 100, 201, 0].map(|millis| queue.join(&key(1), at(millis)));
        let waiting = queue.batches.iter().flatten();
        let waiting: Vec<_> = waiting.map(|group| group.waiting.len()).collect();
        assert_eq!(waiting, [3, 1]);
        drop(told);
    }

    #[test]
    fn a_place_is_learned_from_what_was_brought() {
        let mut queue = Queue::default();
        for _ in 0..20 {
            queue.brought(4 * MOST_BYTES, 2);
        }
        assert!(queue.typical > MOST_BYTES);
        for _ in 0..60 {
            queue.brought(1000, 1);
        }
        assert!(queue.typical <= 1000);
    }
}
