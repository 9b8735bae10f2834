//! Redis in virtual time, which stands still while Redis is asked.

use std::future::Future;
use std::sync::mpsc;

use tokio::task::spawn_blocking;
use tower_response_cache::backend::{BackendError, RedisBackend};

use crate::support::around::{Around, Wrapped};

/// Lets no virtual time pass: it passes when all tasks are idle, and a wait for a socket counts as
/// idle. It does not while something blocks.
pub async fn standing_still<T>(operation: impl Future<Output = T>) -> T {
    let (goes_on, blocks) = mpsc::channel::<()>();
    drop(spawn_blocking(move || blocks.recv()));
    let done = operation.await;
    drop(goes_on);
    done
}

pub type Held = Wrapped<RedisBackend, StandsStill>;

#[derive(Clone)]
pub struct StandsStill;

impl Around for StandsStill {
    async fn around<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, BackendError>> + Send,
    ) -> Result<T, BackendError> {
        standing_still(operation).await
    }
}

pub fn held(backend: RedisBackend) -> Held {
    let around = StandsStill;
    Wrapped { backend, around }
}
