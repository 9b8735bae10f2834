//! Why a Redis server cannot be used, and what to do about it.
//!
//! Knows errors of the crate `redis`; opens nothing. Start with [`RedisProblem`].

use std::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// The reason why a Redis server cannot be used.
///
/// Its [text](fmt::Display) says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisProblem {
    /// There is no tokio runtime to connect on, or it was shut down.
    NoRuntime,
    /// No server answers at this address: no route, a refused connection, an unknown name, a
    /// certificate that is not trusted.
    NoServer,
    /// Connecting took longer than
    /// [`connect_timeout`](crate::backend::redis::RedisOptions::connect_timeout).
    Timeout,
    /// Another protocol is spoken at this address.
    OtherProtocol,
    /// The server asks for a password, and the URL has none.
    PasswordMissing,
    /// The server refuses the user name or the password of the URL.
    PasswordRefused,
    /// The server has no database of this number. A Cluster node has number 0 alone.
    NoDatabase,
    /// The URL says `protocol=resp3`, and the server (before Redis 6) has no `HELLO`.
    NoResp3,
    /// `run_id` and `master_replid` are not reported: `INFO` is not permitted.
    NoInfo,
    /// The server does not have this command: it is older than Redis 4, or the command was renamed.
    CommandMissing(Box<str>),
    /// The user may not call this command.
    CommandDenied(Box<str>),
    /// The user may not use the keys of the
    /// [namespace](crate::backend::redis::RedisOptions::namespace).
    KeysDenied,
    /// The server is a replica, which takes no writes.
    Replica,
    /// The server is a node of a Redis Cluster.
    ClusterNode,
    /// The server is a Sentinel, which stores nothing.
    Sentinel,
    /// The server refuses writes because too few replicas follow it (`min-replicas-to-write`).
    NoReplicas,
    /// The server refuses writes because it failed to save its data (`MISCONF`).
    NotSaved,
    /// The server is loading its data.
    Loading,
    /// The server has replied with another error.
    ErrorReply,
}

impl RedisProblem {
    /// The reason why a connection could not be opened.
    pub(super) fn of_connecting(error: &RedisError) -> Self {
        let is_hello = || error.to_string().contains("HELLO");
        match error.kind() {
            ErrorKind::AuthenticationFailed => Self::PasswordRefused,
            ErrorKind::RESP3NotSupported => Self::NoResp3,
            ErrorKind::Io => Self::NoServer,
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::OtherProtocol,
            ErrorKind::Server(ServerErrorKind::ResponseError) if is_hello() => Self::NoResp3,
            ErrorKind::Server(ServerErrorKind::ResponseError)
                if error.to_string().contains("switch database") =>
            {
                Self::NoDatabase
            }
            _ => Self::of_reply("", error),
        }
    }

    /// The reason why a server replied to a command with an error, also from within a script: then
    /// the text of the command's error is in that of the script.
    pub(super) fn of_reply(command: &str, error: &RedisError) -> Self {
        let (text, code) = (error.to_string(), error.code().unwrap_or_default());
        let has = |part: &str| text.contains(part);
        let is = |kind: ServerErrorKind| error.kind() == ErrorKind::Server(kind);
        if code == "NOAUTH" {
            Self::PasswordMissing
        } else if code == "WRONGPASS" {
            Self::PasswordRefused
        } else if is(ServerErrorKind::ReadOnly) || is(ServerErrorKind::MasterDown) {
            Self::Replica
        } else if [
            ServerErrorKind::Moved,
            ServerErrorKind::Ask,
            ServerErrorKind::CrossSlot,
            ServerErrorKind::ClusterDown,
            ServerErrorKind::TryAgain,
        ]
        .into_iter()
        .any(is)
        {
            Self::ClusterNode
        } else if is(ServerErrorKind::BusyLoading) {
            Self::Loading
        } else if code == "NOREPLICAS" || has("NOREPLICAS") {
            Self::NoReplicas
        } else if code == "MISCONF" || has("MISCONF") {
            Self::NotSaved
        } else if has("READONLY") || has("read only replica") {
            Self::Replica
        } else if has("ermissions to access") || has("can't access at least one of the keys") {
            Self::KeysDenied
        } else if is(ServerErrorKind::NoPerm) || has("can't run this command") {
            Self::CommandDenied(command.into())
        } else if has("nknown command") || has("Unknown Redis command") {
            Self::CommandMissing(command.into())
        } else {
            Self::ErrorReply
        }
    }
}

impl fmt::Display for RedisProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRuntime => "no tokio runtime to connect to Redis on",
            Self::NoServer => {
                "cannot connect to Redis: check that it runs, its host, port and certificate"
            }
            Self::Timeout => "connecting to Redis timed out: check host, port and firewall",
            Self::OtherProtocol => "no Redis at this address: check host, port and TLS (rediss://)",
            Self::PasswordMissing => {
                "Redis asks for a password: add it to the URL, redis://[user]:password@host"
            }
            Self::PasswordRefused => {
                "Redis refused the user name or password: correct them in the URL"
            }
            Self::NoDatabase => "Redis has no such database: correct the number in the URL",
            Self::NoResp3 => {
                "Redis does not speak RESP3: remove protocol=resp3 from the URL, or permit HELLO"
            }
            Self::NoInfo => {
                "Redis did not report run_id and master_replid: permit INFO, or set trust_restarts"
            }
            Self::CommandMissing(command) => {
                return write!(
                    f,
                    "Redis has no command {command}: use Redis 4 or later, and do not rename it"
                );
            }
            Self::CommandDenied(command) => {
                let rule = command.to_ascii_lowercase();
                return write!(
                    f,
                    "the Redis user may not call {command}: permit it (ACL SETUSER .. +{rule})"
                );
            }
            Self::KeysDenied => {
                "the Redis user may not use the keys of this namespace: \
                 permit them (ACL SETUSER .. ~NAMESPACE:*)"
            }
            Self::Replica => "this Redis server is a replica: connect to the primary",
            Self::ClusterNode => {
                "this Redis server is a node of a Cluster, which is not supported: \
                 use a single primary (cluster-enabled no)"
            }
            Self::Sentinel => "this server is a Redis Sentinel: connect to the primary itself",
            Self::NoReplicas => {
                "Redis refuses writes while too few replicas follow (NOREPLICAS): \
                 start replicas, or lower min-replicas-to-write"
            }
            Self::NotSaved => {
                "Redis refuses writes because it could not save its data (MISCONF): \
                 mend its disk, or disable saving (save \"\")"
            }
            Self::Loading => "Redis is loading its data: wait until it is ready",
            Self::ErrorReply => "Redis replied with an error",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(command: &str, code: &str, detail: &str) -> RedisProblem {
        let kind = match code {
            "ERR" => ServerErrorKind::ResponseError.into(),
            "NOPERM" => ServerErrorKind::NoPerm.into(),
            "MOVED" => ServerErrorKind::Moved.into(),
            "LOADING" => ServerErrorKind::BusyLoading.into(),
            _ => ErrorKind::Extension,
        };
        let detail = format!("{code} {detail}");
        let error = RedisError::from((kind, "an error", detail));
        RedisProblem::of_reply(command, &error)
    }

    /// Replies of Redis 4 to 7.2, of commands and from within scripts.
    #[test]
    fn replies_of_all_versions_are_told_apart() {
        let denied = || RedisProblem::CommandDenied("LREM".into());
        let missing = || RedisProblem::CommandMissing("LREM".into());
        for (code, detail, problem) in [
            (
                "NOPERM",
                "this user has no permissions to run the 'lrem' command",
                denied(),
            ),
            (
                "NOPERM",
                "User app has no permissions to run the 'lrem' command",
                denied(),
            ),
            (
                "ERR",
                "The user executing the script can't run this command or subcommand",
                denied(),
            ),
            (
                "NOPERM",
                "this user has no permissions to access one of the keys",
                RedisProblem::KeysDenied,
            ),
            (
                "NOPERM",
                "No permissions to access a key",
                RedisProblem::KeysDenied,
            ),
            (
                "ERR",
                "The user executing the script can't access at least one of the keys",
                RedisProblem::KeysDenied,
            ),
            ("ERR", "unknown command 'LREM'", missing()),
            (
                "ERR",
                "unknown command `LREM`, with args beginning with: `a`, ",
                missing(),
            ),
            (
                "ERR",
                "@user_script: 3: Unknown Redis command called from Lua script",
                missing(),
            ),
            (
                "ERR",
                "NOREPLICAS Not enough good replicas to write.",
                RedisProblem::NoReplicas,
            ),
            (
                "ERR",
                "@user_script:1: -NOREPLICAS Not enough good slaves to write.",
                RedisProblem::NoReplicas,
            ),
            (
                "ERR",
                "READONLY You can't write against a read only slave.",
                RedisProblem::Replica,
            ),
            (
                "ERR",
                "MISCONF Redis is configured to save RDB snapshots",
                RedisProblem::NotSaved,
            ),
            ("MOVED", "1234 127.0.0.1:1", RedisProblem::ClusterNode),
            (
                "LOADING",
                "Redis is loading the dataset in memory",
                RedisProblem::Loading,
            ),
            (
                "ERR",
                "max number of clients reached",
                RedisProblem::ErrorReply,
            ),
        ] {
            assert_eq!(of("LREM", code, detail), problem, "{code} {detail}");
        }
    }
}
