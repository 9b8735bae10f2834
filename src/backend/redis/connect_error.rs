//! The error of [`RedisBackend::connect`](super::RedisBackend::connect).

use std::error::Error;
use std::fmt;

use redis::RedisError;

use super::connection::{CommandError, RedisProblem};

/// The error of [`RedisBackend::connect`](super::RedisBackend::connect): the server cannot be used.
///
/// Its text says what to do. Its [`source`](Error::source) is what the server replied or the
/// connection reported, if anything.
#[derive(Clone, Debug)]
pub struct RedisConnectError {
    problem: RedisProblem,
    reported: Option<RedisError>,
}

impl RedisConnectError {
    /// Returns what keeps the server from being used.
    #[must_use]
    pub fn problem(&self) -> &RedisProblem {
        &self.problem
    }
}

impl From<CommandError> for RedisConnectError {
    fn from(error: CommandError) -> Self {
        let (problem, reported) = match error {
            CommandError::Unusable(problem, reported) => (problem, reported),
            CommandError::ConnectionLost(error) => (RedisProblem::NoServer, Some(error)),
            CommandError::ErrorReply(error) => (RedisProblem::ErrorReply, Some(error)),
            CommandError::ResponseTimeout
            | CommandError::TooManyTransfers
            | CommandError::SlowTransfer
            | CommandError::ForeignKey(_) => (RedisProblem::Timeout, None),
            CommandError::UnexpectedReply => (RedisProblem::OtherProtocol, None),
        };
        Self { problem, reported }
    }
}

impl fmt::Display for RedisConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl Error for RedisConnectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let reported = self.reported.as_ref()?;
        Some(reported)
    }
}
