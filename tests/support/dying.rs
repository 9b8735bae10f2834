//! A backend whose operations fail when told to, around any other.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tower_response_cache::backend::BackendError;

use super::around::{Around, Wrapped};

pub type Dying<B> = Wrapped<B, Switch>;

/// A dead backend around another one, and the switch that revives it.
pub fn dying<B>(backend: B) -> (Dying<B>, Switch) {
    let switch = Switch(Arc::new(State {
        works: AtomicUsize::new(0),
        asked: AtomicUsize::new(0),
    }));
    let around = switch.clone();
    (Wrapped { backend, around }, switch)
}

/// Makes the operations fail or work. It begins dead.
#[derive(Clone, Debug)]
pub struct Switch(Arc<State>);

#[derive(Debug)]
struct State {
    /// Every n-th operation works; none if 0.
    works: AtomicUsize,
    asked: AtomicUsize,
}

impl Switch {
    /// From now on every `n`th operation works.
    pub fn works_every(&self, n: usize) {
        self.0.works.store(n, Ordering::SeqCst);
    }

    pub fn revive(&self) {
        self.works_every(1);
    }

    pub fn kill(&self) {
        self.works_every(0);
    }

    fn ask(&self) -> Result<(), BackendError> {
        let number = self.0.asked.fetch_add(1, Ordering::SeqCst);
        match self.0.works.load(Ordering::SeqCst) {
            0 => Err(BackendError::new("dead")),
            works if number.is_multiple_of(works) => Ok(()),
            _ => Err(BackendError::new("half dead")),
        }
    }
}

impl Around for Switch {
    async fn around<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, BackendError>> + Send,
    ) -> Result<T, BackendError> {
        self.ask()?;
        operation.await
    }
}
