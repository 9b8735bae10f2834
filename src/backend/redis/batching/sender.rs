//! Sending batches of lookups and handing out the replies.
//!
//! Start with [`LookupBatcher::lookup`].

use std::sync::Arc;

use redis::{Cmd, Value};
use tokio::runtime::Handle;

use super::batch::{LookupBatch, LookupQueue};
use super::pending::{BatchLookupResult, PendingLookup};
use super::permit::{AfterAdding, BatchPermit, QueueWatch};
use super::promises::SenderThread;
use super::reply::{LookupReply, parse_lookup};
use crate::backend::redis::connection::{CommandError, Connection, Pool, SendError};
use crate::backend::redis::protocol::keys::Namespace;
use crate::backend::redis::protocol::replies::bulk_strings;
use crate::backend::redis::protocol::tokens::{AllGroups, NamespaceToken};
use crate::backend::reply_count::record_reply;
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

/// How often a lookup waits for a connection to open. Some servers close each connection at its first
/// command.
const MAX_CONNECTING: usize = 3;

/// Looks keys up, several in one round trip. Clones share their batches.
#[derive(Clone, Debug)]
pub(crate) struct LookupBatcher {
    pool: Arc<Pool>,
    queue: Arc<LookupQueue>,
    namespace: Namespace,
    namespace_key: Arc<str>,
    all_groups_key: Arc<str>,
}

impl LookupBatcher {
    /// Creates a batcher for a pool of so many connections.
    pub(crate) fn new(pool: Arc<Pool>, namespace: Namespace, connections: usize) -> Self {
        Self {
            pool,
            queue: Arc::new(LookupQueue::new(connections)),
            namespace_key: namespace.namespace_token().into(),
            all_groups_key: namespace.all_groups().into(),
            namespace,
        }
    }

    /// Looks a key up, and a variant of it, in a batch with other lookups.
    ///
    /// Cancelling leaves the batch in flight for the others that wait for it.
    pub(crate) async fn lookup(
        &self,
        key: &CacheKey,
        variant: Option<&CacheKey>,
        now: Moment,
    ) -> Result<LookupReply, CommandError> {
        let mut attempts = 0;
        loop {
            let connecting = match self.lookup_if_open(key, variant, now).await {
                Ok(reply) => {
                    record_reply();
                    return Ok(reply);
                }
                Err(SendError::Failed(error)) => return Err(error),
                Err(SendError::Connecting(connecting)) => connecting,
            };
            // Here and not in the task that sends: so its progress counts for this lookup.
            Box::pin(connecting.wait()).await?;
            attempts += 1;
            if attempts > MAX_CONNECTING {
                return Err(CommandError::closed_at_once());
            }
        }
    }

    /// Looks a key up if a connection is open.
    async fn lookup_if_open(
        &self,
        key: &CacheKey,
        variant: Option<&CacheKey>,
        now: Moment,
    ) -> BatchLookupResult {
        let runtime = Handle::try_current().map_err(|_| CommandError::NO_RUNTIME)?;
        let thread = SenderThread::of(&runtime);
        let (reply, next) = self.queue.add(key, variant, now, thread);
        match next {
            AfterAdding::Send(permit) => drop(runtime.spawn(self.clone().send_batches(permit))),
            AfterAdding::Watch(watch) => drop(runtime.spawn(self.clone().send_overdue(watch))),
            AfterAdding::Wait => {}
        }
        // The sending task ended with its runtime.
        reply
            .await
            .unwrap_or_else(|_| Err(CommandError::NO_RUNTIME.into()))
    }

    /// Records the size of an entry that was stored, for the next lookups of it.
    pub(crate) fn record_stored(&self, key: &CacheKey, bytes: usize) {
        self.queue.record_stored(key, bytes);
    }

    /// Sends batches that have waited for long enough, until none waits.
    async fn send_overdue(self, mut watch: QueueWatch) {
        while let Some(next) = watch.next() {
            match next {
                Ok(permit) => drop(tokio::spawn(self.clone().send_batches(permit))),
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// Sends one batch after another until none is left.
    async fn send_batches(self, mut permit: BatchPermit) {
        let mut is_answered = false;
        while let Some(batch) = permit.next_batch(is_answered) {
            is_answered = self.send_batch(batch).await;
        }
    }

    /// Sends a batch, and returns whether it was answered.
    async fn send_batch(&self, batch: LookupBatch) -> bool {
        let reply = self.pool.send_if_open(|| self.command(&batch)).await;
        let is_answered = reply.is_ok();
        match reply {
            Ok((reply, connection)) => self.deliver(batch, reply, &connection),
            Err(error) => fail(batch, &error),
        }
        is_answered
    }

    fn command(&self, batch: &LookupBatch) -> Cmd {
        let values = reply_values(batch);
        let mut mget = Cmd::with_capacity(1 + values, 128 * values);
        mget.arg("MGET");
        mget.arg(&*self.namespace_key).arg(&*self.all_groups_key);
        // One buffer for all names.
        let mut name = self.namespace.empty_name();
        let mut push = |push: &dyn Fn(&mut String)| {
            name.clear();
            push(&mut name);
            mget.arg(&name);
        };
        for pending in batch {
            push(&|name| self.namespace.push_lease(name, pending.key.resource()));
            push(&|name| self.namespace.push_entry(name, &pending.key));
            if let Some(variant) = &pending.variant {
                push(&|name| self.namespace.push_entry(name, variant));
            }
        }
        mget
    }

    fn deliver(&self, batch: LookupBatch, reply: Value, connection: &Connection) {
        let Some(values) = bulk_strings(reply, reply_values(&batch)) else {
            return fail(batch, &connection.reject_reply().into());
        };
        let bytes = values.iter().flatten().map(Vec::len).sum();
        self.queue.record_sizes(&batch, &values[TOKENS..]);
        self.pool.count_transferred(bytes);
        let mut values = values.into_iter();
        let namespace = values.next().flatten();
        let namespace = namespace.and_then(|token| NamespaceToken::from_bytes(&token));
        let all_groups = values.next().flatten();
        let all_groups = all_groups.and_then(|token| AllGroups::from_bytes(&token));
        for pending in batch {
            let lease = values.next().flatten();
            let entry = values.next().flatten();
            let variant = pending.variant.as_ref();
            let variant = variant.map(|key| (key, values.next().flatten()));
            let tokens = (namespace, all_groups);
            let reply = parse_lookup(
                (&pending.key, pending.now),
                tokens,
                (lease, entry, variant),
                (connection, &self.namespace),
            );
            pending.complete(Ok(reply));
        }
    }
}

/// The number of values in a reply that are of no single lookup: the tokens that all depend on.
const TOKENS: usize = 2;

/// The number of values in the reply to a batch: two tokens, and those of each lookup.
fn reply_values(batch: &LookupBatch) -> usize {
    TOKENS + batch.iter().map(PendingLookup::values).sum::<usize>()
}

fn fail(batch: LookupBatch, error: &SendError) {
    for pending in batch {
        pending.complete(Err(error.clone()));
    }
}
