//! Errors of single commands, and their consequences: retry elsewhere, close the connection.
//!
//! Start with [`CommandError`].

use std::error::Error;
use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use super::problem::RedisProblem;
use crate::backend::BackendError;

/// The reason why a command has no result.
#[derive(Clone, Debug)]
pub(crate) enum CommandError {
    /// The connection could not be opened, or its server cannot be used.
    Unusable(RedisProblem, Option<RedisError>),
    /// The connection was lost; the command may have been executed.
    ConnectionLost(RedisError),
    /// No reply arrived within `response_timeout`; the command may have been executed.
    ResponseTimeout,
    /// The server replied with an error.
    ErrorReply(RedisError),
    /// Too many large bodies are being read, or stored.
    TooManyTransfers,
    /// A large body was not stored in time, which tells nothing of the server.
    SlowTransfer,
    /// Another program has stored a value of another type under a key of the namespace.
    ForeignKey(Box<str>),
    /// The reply has another shape than the command's replies have.
    UnexpectedReply,
}

impl CommandError {
    /// There is no tokio runtime to connect on, or it was shut down.
    pub(crate) const NO_RUNTIME: Self = Self::Unusable(RedisProblem::NoRuntime, None);

    /// The error of a connection that could not be opened.
    pub(super) fn from_connecting(error: RedisError) -> Self {
        Self::Unusable(RedisProblem::of_connecting(&error), Some(error))
    }

    /// The error of a server that has refused a command which it needs to be used.
    pub(super) fn from_refusal(command: &str, error: RedisError) -> Self {
        Self::Unusable(RedisProblem::of_reply(command, &error), Some(error))
    }

    /// The error of a connection whose server has failed its health check: what it has replied
    /// meanwhile does not count.
    pub(super) fn failed_check() -> Self {
        let text = "the server failed its health check";
        Self::ConnectionLost(RedisError::from((ErrorKind::Io, text)))
    }

    /// The error of a lookup whose connections were opened, and closed before they could be used.
    pub(crate) fn closed_at_once() -> Self {
        let text = "each new connection was closed at once";
        Self::ConnectionLost(RedisError::from((ErrorKind::Io, text)))
    }

    pub(crate) fn from_redis(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension => Self::ErrorReply(error),
            _ => Self::ConnectionLost(error),
        }
    }

    /// Returns whether a script can be called by its text, but not by its hash: the server does not
    /// know it (`NOSCRIPT`), or `EVALSHA` is not permitted or not there.
    pub(crate) fn asks_for_script_text(&self) -> bool {
        let Self::ErrorReply(error) = self else {
            return false;
        };
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::NoScript | ServerErrorKind::NoPerm) => true,
            ErrorKind::Server(ServerErrorKind::ResponseError) => {
                self.is_error_reply_with("unknown command")
            }
            _ => false,
        }
    }

    /// The error of a command that the server may refuse, as the reason why it cannot be used.
    pub(crate) fn of_trying(self, command: &str) -> Self {
        match self {
            Self::ErrorReply(error) => Self::from_refusal(command, error),
            other => other,
        }
    }

    /// Returns whether the key holds a value of another type.
    pub(crate) fn is_wrong_type(&self) -> bool {
        matches!(self, Self::ErrorReply(error) if error.code() == Some("WRONGTYPE"))
    }

    /// Returns the key that a script has refused to overwrite, if this is the script's error.
    pub(crate) fn foreign_key(&self) -> Option<&str> {
        match self {
            Self::ErrorReply(error) if self.is_wrong_type() => error.detail(),
            _ => None,
        }
    }

    /// Returns whether the server is healthy but has no memory left.
    fn is_out_of_memory(&self) -> bool {
        // Before Redis 7 the error of a script contains the command's error in its text.
        self.is_error_reply_with("OOM")
    }

    /// Returns whether the command may succeed at once on another connection.
    ///
    /// This one was closed since its last use, or its server has become a replica.
    pub(crate) fn can_retry_elsewhere(&self) -> bool {
        match self {
            Self::ConnectionLost(_) => true,
            Self::ErrorReply(error) => matches!(
                error.kind(),
                ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
            ),
            _ => false,
        }
    }

    /// Returns whether the connection can carry further commands.
    ///
    /// That is so if the error concerns the command alone. It is not if the server cannot be used
    /// any more, or not yet: then another connection has to find one that can.
    pub(crate) fn is_connection_usable(&self) -> bool {
        let Self::ErrorReply(error) = self else {
            return false;
        };
        let is_unusable = matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::BusyLoading
                    | ServerErrorKind::Moved
                    | ServerErrorKind::Ask
                    | ServerErrorKind::ClusterDown
            )
        );
        let is_logged_out = matches!(error.code(), Some("NOAUTH" | "WRONGPASS"));
        // The error of a script on a replica, see `is_out_of_memory`.
        let is_read_only = self.is_error_reply_with("READONLY");
        !is_unusable && !is_logged_out && !is_read_only
    }

    fn is_error_reply_with(&self, text: &str) -> bool {
        matches!(self, Self::ErrorReply(error) if error.to_string().contains(text))
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unusable(problem, _) => return problem.fmt(f),
            Self::ConnectionLost(_) => "the connection to Redis was lost",
            Self::ResponseTimeout => "Redis did not reply in time",
            Self::ErrorReply(_) => "Redis replied with an error",
            Self::TooManyTransfers => "too many large bodies are being transferred",
            Self::ForeignKey(key) => {
                return write!(
                    f,
                    "the key {key} holds a value of another type, which is left as it is"
                );
            }
            Self::SlowTransfer => "a large body was not stored in Redis in time",
            Self::UnexpectedReply => "Redis sent an unexpected reply",
        })
    }
}

impl Error for CommandError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::ConnectionLost(error) | Self::ErrorReply(error) => Some(error),
            Self::Unusable(_, Some(error)) => Some(error),
            _ => None,
        }
    }
}

impl From<RedisProblem> for CommandError {
    fn from(problem: RedisProblem) -> Self {
        Self::Unusable(problem, None)
    }
}

impl From<CommandError> for BackendError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::ForeignKey(_) => Self::unavailable(error),
            CommandError::TooManyTransfers | CommandError::SlowTransfer => {
                Self::inconclusive(error)
            }
            _ if error.is_out_of_memory() => Self::refused(error),
            _ => Self::new(error),
        }
    }
}
