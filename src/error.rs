//! The error type of bodies, and the panics of foreign code as errors.

pub(crate) mod panics;

use std::error::Error;

/// The error of a [`ResponseBody`](crate::ResponseBody): the inner body's own, or why the cache
/// could not pass the whole body on.
pub type BoxError = Box<dyn Error + Send + Sync>;
