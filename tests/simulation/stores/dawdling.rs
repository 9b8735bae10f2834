//! A backend whose every effect comes after a delay, and is answered after another.

use std::future::Future;
use std::sync::Arc;

use tower_response_cache::backend::BackendError;

use crate::luck::Luck;
use crate::support::around::{Around, Wrapped};

pub type Dawdling<B> = Wrapped<B, Delays>;

#[derive(Clone)]
pub struct Delays(Arc<Luck>);

impl Around for Delays {
    async fn around<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, BackendError>> + Send,
    ) -> Result<T, BackendError> {
        self.0.pause(5).await;
        let done = operation.await;
        self.0.pause(5).await;
        done
    }
}

pub fn dawdling<B>(backend: B, luck: &Arc<Luck>) -> Dawdling<B> {
    let around = Delays(luck.clone());
    Wrapped { backend, around }
}
