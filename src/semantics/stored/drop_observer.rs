//! Observes the end of a stored response.

use std::fmt;

/// Is called when a stored response is dropped, so that shared memory can be accounted for.
pub trait DropObserver: fmt::Debug + Send + Sync + 'static {
    /// Is called by the drop of the stored response.
    fn on_drop(&self);
}
