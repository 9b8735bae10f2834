//! What can go wrong with a command.

use std::error::Error;
use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::backend::BackendError;

/// Why a command has no result.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// There is no runtime to connect on, or it ended.
    NoRuntime,
    /// Connecting failed.
    Connect(RedisError),
    /// Connecting took too long.
    ConnectTimeout,
    /// The server is none that takes writes.
    NotPrimary,
    /// The server does not tell who it is.
    Anonymous,
    /// The connection broke; the command may have been carried out.
    Broken(RedisError),
    /// No reply in time; the command may have been carried out.
    Timeout,
    /// The server answered with an error.
    Server(RedisError),
    /// The server answered with something else than it should.
    Unexpected,
}

impl Fault {
    /// What a failed command says of itself.
    pub(super) fn of(error: RedisError) -> Self {
        match error.kind() {
            ErrorKind::Server(_) | ErrorKind::Extension => Self::Server(error),
            _ => Self::Broken(error),
        }
    }

    /// Whether the script is unknown to the server.
    pub(super) fn is_no_script(&self) -> bool {
        matches!(self, Self::Server(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript))
    }

    /// Whether the server, being well, has no room.
    fn is_out_of_memory(&self) -> bool {
        // A script's error carries the command's in its text on servers before 7.
        matches!(self, Self::Server(error) if error.to_string().contains("OOM"))
    }

    /// Whether another connection may fare better, at once: this one was closed while nobody looked, or leads to a server
    /// that no longer is what it was.
    pub(super) fn is_the_connections(&self) -> bool {
        match self {
            Self::Broken(_) => true,
            Self::Server(error) => matches!(
                error.kind(),
                ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
            ),
            _ => false,
        }
    }

    /// Whether a script ran into that: on servers before 7 its error is another's, with this one in its text.
    fn is_of_a_replica(&self) -> bool {
        matches!(self, Self::Server(error) if error.to_string().contains("READONLY"))
    }

    /// Whether the connection can be used for the next command. Where it leads to a server that is of no use any more, or
    /// not yet, another one is looked for; an error that concerns the command alone is no reason.
    pub(super) fn spares_the_connection(&self) -> bool {
        let Self::Server(error) = self else {
            return false;
        };
        let is_of_no_use = matches!(
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
        let is_closed = matches!(error.code(), Some("NOAUTH" | "WRONGPASS"));
        !is_of_no_use && !is_closed && !self.is_of_a_replica()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRuntime => "there is no tokio runtime to connect to Redis on",
            Self::Connect(_) => "cannot connect to Redis",
            Self::ConnectTimeout => "connecting to Redis took too long",
            Self::NotPrimary => "this Redis is a replica: it takes no writes",
            Self::Anonymous => {
                "this Redis does not tell who it is: allow INFO, or see trust_restarts"
            }
            Self::Broken(_) => "the connection to Redis broke",
            Self::Timeout => "Redis did not answer in time",
            Self::Server(_) => "Redis answered with an error",
            Self::Unexpected => "Redis answered with something unexpected",
        })
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Connect(error) | Self::Broken(error) | Self::Server(error) => Some(error),
            _ => None,
        }
    }
}

impl From<Fault> for BackendError {
    fn from(fault: Fault) -> Self {
        if fault.is_out_of_memory() {
            return Self::refused(fault);
        }
        Self::new(fault)
    }
}
