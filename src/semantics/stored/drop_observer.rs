//! The end of a stored response, observed.

use std::fmt;

/// Told when a stored response is gone from wherever it was.
pub trait DropObserver: fmt::Debug + Send + Sync + 'static {
    /// It is being dropped.
    fn on_drop(&self);
}
