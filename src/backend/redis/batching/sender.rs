//! Sending batches of lookups and handing out the replies.
//!
//! Start with [`LookupBatcher::lookup`].

use std::sync::Arc;

use redis::{Cmd, Value};
use tokio::runtime::Handle;

use super::batch::{BatchLookupResult, BatchPermit, LookupBatch, LookupQueue, PendingLookup};
use super::reply::parse_lookup;
use crate::backend::redis::connection::{CommandError, Connection, Pool};
use crate::backend::redis::protocol::keys::Namespace;
use crate::backend::redis::protocol::replies::bulk_strings;
use crate::backend::redis::protocol::tokens::{AllGroups, NamespaceToken};
use crate::key::CacheKey;
use crate::semantics::moment::Moment;

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
    /// Creates a batcher that has at most `max_in_flight` batches in flight.
    pub(crate) fn new(pool: Arc<Pool>, namespace: Namespace, max_in_flight: usize) -> Self {
        Self {
            pool,
            queue: Arc::new(LookupQueue::new(max_in_flight)),
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
    ) -> BatchLookupResult {
        let runtime = Handle::try_current().map_err(|_| CommandError::NO_RUNTIME)?;
        let (reply, to_send) = self.queue.add(key, variant, now);
        if let Some((batch, permit)) = to_send {
            drop(runtime.spawn(self.clone().send_batches(batch, permit)));
        }
        // The sending task ended with its runtime.
        reply.await.unwrap_or(Err(CommandError::NO_RUNTIME))
    }

    /// Sends one batch after another until none is left.
    async fn send_batches(self, mut batch: LookupBatch, mut permit: BatchPermit) {
        loop {
            self.send_batch(batch).await;
            match permit.next_batch() {
                Some(next) => batch = next,
                None => return,
            }
        }
    }

    async fn send_batch(&self, batch: LookupBatch) {
        match self.pool.send(|| self.command(&batch)).await {
            Ok((reply, connection)) => self.deliver(batch, reply, &connection),
            Err(error) => fail(batch, &error),
        }
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
            return fail(batch, &connection.reject_reply());
        };
        let bytes = values.iter().flatten().map(Vec::len).sum();
        self.queue.record_reply_size(bytes, batch.len());
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
            pending.complete(&Ok(reply));
        }
    }
}

/// The number of values in the reply to a batch: two tokens, and those of each lookup.
fn reply_values(batch: &LookupBatch) -> usize {
    2 + batch.iter().map(PendingLookup::values).sum::<usize>()
}

fn fail(batch: LookupBatch, error: &CommandError) {
    for pending in batch {
        pending.complete(&Err(error.clone()));
    }
}
