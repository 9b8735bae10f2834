//! Errors of single commands, and their consequences: retry elsewhere, close the connection.
//!
//! Start with [`CommandError`].

use std::error::Error;
use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::backend::BackendError;

/// The reason why a command has no result.
#[derive(Clone, Debug)]
pub(crate) enum CommandError {
    /// There is no tokio runtime to connect on, or it was shut down.
    NoRuntime,
    /// The connection could not be opened.
    Connect(RedisError),
    /// Opening the connection took longer than `connect_timeout`.
    ConnectTimeout,
    /// The server is a replica, which takes no writes.
    NotPrimary,
    /// The server did not report `run_id` and `master_replid`.
    UnknownIdentity,
    /// The connection was lost; the command may have been executed.
    ConnectionLost(RedisError),
    /// No reply arrived within `response_timeout`; the command may have been executed.
    ResponseTimeout,
    /// The server replied with an error.
    ErrorReply(RedisError),
    /// The reply has another shape than the command's replies have.
    UnexpectedReply,
}

impl CommandError {
    pub(crate) fn from_redis(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension => Self::ErrorReply(error),
            _ => Self::ConnectionLost(error),
        }
    }

    /// Returns whether the server does not know the script (`NOSCRIPT`).
    pub(crate) fn is_unknown_script(&self) -> bool {
        let no_script = ErrorKind::Server(ServerErrorKind::NoScript);
        matches!(self, Self::ErrorReply(error) if error.kind() == no_script)
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
            Self::NoRuntime => "no tokio runtime to connect to Redis on",
            Self::Connect(_) => "cannot connect to Redis",
            Self::ConnectTimeout => "connecting to Redis timed out",
            Self::NotPrimary => "this Redis server is a replica: connect to the primary",
            Self::UnknownIdentity => {
                "Redis did not report run_id and master_replid: permit INFO, or set trust_restarts"
            }
            Self::ConnectionLost(_) => "the connection to Redis was lost",
            Self::ResponseTimeout => "Redis did not reply in time",
            Self::ErrorReply(_) => "Redis replied with an error",
            Self::UnexpectedReply => "Redis sent an unexpected reply",
        })
    }
}

impl Error for CommandError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) | Self::ConnectionLost(error) | Self::ErrorReply(error) => {
                Some(error)
            }
            _ => None,
        }
    }
}

impl From<CommandError> for BackendError {
    fn from(error: CommandError) -> Self {
        if error.is_out_of_memory() {
            return Self::refused(error);
        }
        Self::new(error)
    }
}
