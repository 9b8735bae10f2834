//! The identity of a Redis server, and the parsing of `TIME` and `INFO`: the server's clock, role
//! and replication id.
//!
//! Knows no connection. Start with [`ServerInfo`].

use std::hash::Hasher;

use redis::{Pipeline, Value};
use siphasher::sip128::{Hasher128, SipHasher13};

/// The server's role, replication id and clock, from the replies to [`server_info_commands`].
pub(crate) struct ServerInfo<'v> {
    /// Milliseconds since 1970 by the server's clock.
    pub(crate) clock_millis: u64,
    pub(crate) is_replica: bool,
    /// `None` where `INFO` is not permitted.
    pub(crate) replication_id: Option<&'v str>,
}

/// Returns the two commands whose replies [`ServerInfo::from_replies`] parses.
pub(crate) fn server_info_commands() -> Pipeline {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("TIME").cmd("INFO").arg("replication");
    pipeline
}

impl<'v> ServerInfo<'v> {
    /// Parses the first two replies; `None` if there is no time among them.
    pub(crate) fn from_replies(replies: &'v [Value]) -> Option<Self> {
        let [Value::Array(time), info, ..] = replies else {
            return None;
        };
        let [seconds, micros] = &time[..] else {
            return None;
        };
        let number = |value| bulk_text(value)?.parse::<u64>().ok();
        let clock = number(seconds)?.checked_mul(1000)?;
        let clock_millis = clock.checked_add(number(micros)? / 1000)?;
        let info = bulk_text(info).unwrap_or_default();
        Some(Self {
            clock_millis,
            is_replica: info_field(info, "role").is_some_and(|role| role != "master"),
            replication_id: info_field(info, "master_replid"),
        })
    }
}

/// Returns the text of a reply: a bulk string, or a verbatim string, as which RESP3 has `INFO`.
pub(crate) fn bulk_text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => str::from_utf8(bytes).ok(),
        Value::VerbatimString { text, .. } => Some(text),
        _ => None,
    }
}

/// Returns the value of the line `name:value` in a reply to `INFO`.
pub(crate) fn info_field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    let value = |line: &'i str| line.strip_prefix(name)?.strip_prefix(':');
    info.lines().find_map(value).map(str::trim)
}

/// A digest of which server a connection has reached, in which run and with which data.
///
/// It is part of every token, so that the tokens of a server that was restarted, restored or
/// promoted no longer count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ServerIdentity([u8; 16]);

impl ServerIdentity {
    /// Creates the identity from `run_id` and `master_replid` of `INFO`.
    ///
    /// A restart changes the first, a failover the second.
    pub(crate) fn new(run_id: &str, replication_id: &str) -> Self {
        let mut hasher = SipHasher13::new();
        for part in [run_id, replication_id] {
            hasher.write_u64((part.len() as u64).to_le());
            hasher.write(part.as_bytes());
        }
        Self(hasher.finish128().as_bytes())
    }

    /// Returns the identity that stands for any server, for
    /// [`trust_restarts`](crate::backend::redis::RedisOptions::trust_restarts).
    pub(crate) const fn any() -> Self {
        Self([0; 16])
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    /// Redis' `TIME` and `INFO replication`: role, replication id and clock are read; malformed
    /// replies are rejected.
    #[test]
    fn role_replication_id_and_clock_are_parsed() {
        let time = || Value::Array(vec![bulk("1700000000"), bulk("123456")]);
        let primary = [
            time(),
            bulk("# Replication\r\nrole:master\r\nmaster_replid:abc\r\n"),
        ];
        let info = ServerInfo::from_replies(&primary).expect("valid replies");
        assert_eq!(
            (info.clock_millis, info.is_replica, info.replication_id),
            (1_700_000_000_123, false, Some("abc"))
        );
        let replica = [time(), bulk("role:slave\r\nmaster_replid:abc\r\n")];
        assert!(ServerInfo::from_replies(&replica).is_some_and(|info| info.is_replica));
        let without_info = [time(), Value::Nil];
        let info = ServerInfo::from_replies(&without_info);
        assert!(info.is_some_and(|info| info.replication_id.is_none()));
        for malformed in [
            vec![],
            vec![Value::Okay, Value::Nil],
            vec![Value::Array(vec![]), Value::Nil],
        ] {
            assert!(ServerInfo::from_replies(&malformed).is_none());
        }
    }
}
