//! A backend with await points before and after every effect, around any other: a backend without
//! them proves little.

use std::future::Future;

use tower_response_cache::backend::BackendError;

use super::around::{Around, Wrapped};
use super::schedule::pause;

pub type Yielding<B> = Wrapped<B, Pauses>;

#[derive(Clone, Debug)]
pub struct Pauses;

impl Around for Pauses {
    async fn around<T: Send>(
        &self,
        operation: impl Future<Output = Result<T, BackendError>> + Send,
    ) -> Result<T, BackendError> {
        pause().await;
        let done = operation.await;
        pause().await;
        done
    }
}

pub fn yielding<B>(backend: B) -> Yielding<B> {
    Wrapped {
        backend,
        around: Pauses,
    }
}
