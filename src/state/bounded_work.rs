//! How much work of one kind there is at a time: writes whose clients have left, refreshes, and
//! fills that wait for the inner service. Each client has its [share](Shares).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::shares::{ClientId, Shares};

/// The number of pieces of work of one kind that run.
#[derive(Debug, Default)]
pub(crate) struct BoundedWork(Arc<Mutex<Shares>>);

impl BoundedWork {
    /// Counts one more of a client, if that is known, unless there are `max` already, or it has its
    /// share of them.
    pub(crate) fn begin(&self, client: Option<ClientId>, max: usize) -> Option<WorkPermit> {
        let mut running = lock(&self.0);
        if !running.has_room(client, max) {
            return None;
        }
        running.add(client);
        drop(running);
        Some(self.permit(client))
    }

    /// Counts one more of a client.
    pub(crate) fn count(&self, client: Option<ClientId>) -> WorkPermit {
        lock(&self.0).add(client);
        self.permit(client)
    }

    fn permit(&self, client: Option<ClientId>) -> WorkPermit {
        let shares = self.0.clone();
        WorkPermit { shares, client }
    }

    /// Whether there is room for one more of a client.
    pub(crate) fn has_room(&self, client: Option<ClientId>, max: usize) -> bool {
        lock(&self.0).has_room(client, max)
    }

    pub(crate) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

/// The permission of one piece of work to run. Dropped, it lets another one run.
#[derive(Debug)]
pub(crate) struct WorkPermit {
    shares: Arc<Mutex<Shares>>,
    client: Option<ClientId>,
}

impl Drop for WorkPermit {
    fn drop(&mut self) {
        lock(&self.shares).remove(self.client);
    }
}

fn lock(shares: &Mutex<Shares>) -> MutexGuard<'_, Shares> {
    // No critical section panics between two steps that belong together.
    shares.lock().unwrap_or_else(PoisonError::into_inner)
}
