//! The first commands on a connection: they find out whether the server can be used, and which one
//! it is.
//!
//! A connection that could not invalidate is not used for lookups either: other instances would go
//! on serving what this one has overwritten. Start with [`shake_hands`].

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use redis::aio::MultiplexedConnection;
use redis::{Pipeline, RedisError, Value};
use tokio::time::Instant;

use super::clocks::{ServerClock, monotonic_millis};
use super::command_error::CommandError;
use super::owner_record::OwnerRecord;
use super::problem::RedisProblem;
use super::script::LuaScript;
use super::server_info::{ServerIdentity, ServerInfo, bulk_text, info_field, server_info_commands};

/// Calls each command that scripts call, on a key that is absent again afterwards. One that another
/// program uses is left as it is.
///
/// Returns the first one that failed, with its error. Commands that write follow `PTTL`, as they do
/// in those scripts. Keys: one of the namespace.
const PROBE: &str = "\
if redis.replicate_commands then redis.replicate_commands() end
local key, before = KEYS[1], redis.pcall('GET', KEYS[1])
if type(before) == 'table' and string.find(before.err, 'WRONGTYPE', 1, true) then key = key .. ':2' end
local function try(command, ...)
  local reply = redis.pcall(command, key, ...)
  if type(reply) == 'table' and reply.err then return {command, reply.err} end
end
local failed = try('SET', '', 'PX', 1000) or try('GET') or try('MGET') or try('PTTL')
  or try('PEXPIRE', 1000)
  or try('RENAME', key) or try('UNLINK')
  or try('LPUSH', '') or try('LRANGE', 0, -1) or try('LTRIM', 0, 1) or try('LREM', 0, '')
  or try('GETRANGE', 0, 0) or false
if failed then redis.pcall('UNLINK', key) end
return failed";

/// Options of a handshake.
#[derive(Clone, Debug)]
pub(crate) struct HandshakeOptions {
    /// Whether a server stays the same over a restart or a failover.
    pub(crate) trust_restarts: bool,
    /// A key on which commands are tried.
    pub(crate) probe_key: Arc<str>,
    /// The configuration that uses the namespace, if it has a name.
    pub(crate) owner: Option<OwnerRecord>,
    /// The scripts that requests wait for. A server that was restarted knows none, and a call by
    /// hash that fails costs a round trip.
    pub(crate) scripts: Arc<[LuaScript]>,
}

impl HandshakeOptions {
    /// The commands of a handshake behind `INFO server`: identity, clock, probe, owner and scripts.
    fn commands(&self) -> Pipeline {
        let probe = LuaScript::new(PROBE).eval(&[self.probe_key.to_string()], &[]);
        let mut pipeline = server_info_commands();
        pipeline.add_command(probe);
        if let Some(owner) = &self.owner {
            pipeline.add_command(owner.exchange());
        }
        // Their replies are ignored: without permission, the first call sends the text.
        for script in &*self.scripts {
            pipeline.add_command(script.load());
        }
        pipeline
    }
}

/// What a handshake finds out.
pub(super) struct Handshake {
    pub(super) identity: ServerIdentity,
    /// `None` where `INFO` is not permitted and restarts are trusted.
    pub(super) replication_id: Option<String>,
    pub(super) clock: ServerClock,
}

/// Reads the identity and the clock of the server, tries the commands of scripts, and loads the
/// scripts.
///
/// One round trip.
///
/// # Errors
/// The [problem](RedisProblem) that keeps the server from being used.
pub(super) async fn shake_hands(
    connection: &mut MultiplexedConnection,
    options: &HandshakeOptions,
) -> Result<Handshake, CommandError> {
    let (info_server, pipeline) = (redis::cmd("INFO").arg("server").take(), options.commands());
    let sent = monotonic_millis(Instant::now());
    // The client crate reports only of a single command that its reply is none of Redis.
    let mut first = connection.clone();
    let first = first.send_packed_command(&info_server);
    let others = connection.send_packed_commands(&pipeline, 0, pipeline.len());
    let replies = both(first, others).await;
    let (server, replies) = replies.map_err(CommandError::from_connecting)?;
    let received = monotonic_millis(Instant::now());
    let server = bulk_text(&server).unwrap_or_default();
    check_mode(server)?;
    if let Some(Value::ServerError(error)) = replies.first() {
        return Err(CommandError::from_refusal("TIME", error.clone().into()));
    }
    let info = ServerInfo::from_replies(&replies).ok_or(CommandError::UnexpectedReply)?;
    if info.is_replica {
        return Err(RedisProblem::Replica.into());
    }
    let identity = match (
        options.trust_restarts,
        info_field(server, "run_id"),
        info.replication_id,
    ) {
        (true, ..) => ServerIdentity::any(),
        (false, Some(run_id), Some(replication)) => ServerIdentity::new(run_id, replication),
        (false, ..) => return Err(RedisProblem::NoInfo.into()),
    };
    check_probe(replies.get(2))?;
    if let (Some(owner), Some(reply)) = (&options.owner, replies.get(3)) {
        owner.compare(reply);
    }
    Ok(Handshake {
        identity,
        replication_id: info.replication_id.map(str::to_owned),
        clock: ServerClock::new(info.clock_millis, sent, received),
    })
}

/// Sends one thing and then another, without waiting for the reply to the first one.
async fn both<A, B>(
    first: impl Future<Output = Result<A, RedisError>>,
    second: impl Future<Output = Result<B, RedisError>>,
) -> Result<(A, B), RedisError> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    let (mut reply, mut replies) = (None, None);
    poll_fn(|cx| {
        if reply.is_none()
            && let Poll::Ready(result) = first.as_mut().poll(cx)
        {
            reply = Some(result?);
        }
        if replies.is_none()
            && let Poll::Ready(result) = second.as_mut().poll(cx)
        {
            replies = Some(result?);
        }
        match (reply.take(), replies.take()) {
            (Some(reply), Some(replies)) => Poll::Ready(Ok((reply, replies))),
            (one, other) => {
                (reply, replies) = (one, other);
                Poll::Pending
            }
        }
    })
    .await
}

/// Checks the mode in a reply to `INFO server`.
fn check_mode(info: &str) -> Result<(), CommandError> {
    match info_field(info, "redis_mode") {
        Some("cluster") => Err(RedisProblem::ClusterNode.into()),
        Some("sentinel") => Err(RedisProblem::Sentinel.into()),
        _ => Ok(()),
    }
}

/// Checks the reply of [`PROBE`]: nothing, or a command and its error.
fn check_probe(reply: Option<&Value>) -> Result<(), CommandError> {
    let failed = match reply {
        Some(Value::ServerError(error)) => {
            return Err(CommandError::from_refusal("EVAL", error.clone().into()));
        }
        Some(Value::Array(failed)) => failed,
        _ => return Ok(()),
    };
    let [command, error] = &failed[..] else {
        return Ok(());
    };
    let (Some(command), Some(text)) = (bulk_text(command), bulk_text(error)) else {
        return Ok(());
    };
    // A full server still invalidates, and has responses to read.
    if text.contains("OOM ") {
        return Ok(());
    }
    let text = text.to_owned();
    let error = RedisError::from((redis::ErrorKind::Extension, "in a script", text));
    Err(CommandError::from_refusal(command, error))
}
