//! What a server says of itself.

use redis::{Pipeline, Value};

/// What a server says of its place among others, and of the time.
pub(super) struct Standing<'v> {
    /// Milliseconds since 1970.
    pub(super) clock: u64,
    pub(super) is_replica: bool,
    pub(super) replication: Option<&'v str>,
}

/// Asks for it.
pub(super) fn standing() -> Pipeline {
    let mut ask = Pipeline::new();
    ask.cmd("TIME").cmd("INFO").arg("replication");
    ask
}

impl<'v> Standing<'v> {
    pub(super) fn of(said: &'v [Value]) -> Option<Self> {
        let [Value::Array(time), info, ..] = said else {
            return None;
        };
        let [seconds, micros] = &time[..] else {
            return None;
        };
        let number = |value| text(value)?.parse::<u64>().ok();
        let clock = number(seconds)?.checked_mul(1000)?;
        let clock = clock.checked_add(number(micros)? / 1000)?;
        let info = text(info).unwrap_or_default();
        Some(Self {
            clock,
            is_replica: field(info, "role").is_some_and(|role| role != "master"),
            replication: field(info, "master_replid"),
        })
    }
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// A line of `INFO`.
pub(super) fn field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    let of = |line: &'i str| line.strip_prefix(name)?.strip_prefix(':');
    info.lines().find_map(of).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_server_tells_its_standing() {
        let time = || Value::Array(vec![bulk("1700000000"), bulk("123456")]);
        let primary = [
            time(),
            bulk("# Replication\r\nrole:master\r\nmaster_replid:abc\r\n"),
        ];
        let told = Standing::of(&primary).expect("it tells");
        assert_eq!(
            (told.clock, told.is_replica, told.replication),
            (1_700_000_000_123, false, Some("abc"))
        );
        let replica = [time(), bulk("role:slave\r\nmaster_replid:abc\r\n")];
        assert!(Standing::of(&replica).is_some_and(|told| told.is_replica));
        let mute = [time(), Value::Nil];
        assert!(Standing::of(&mute).is_some_and(|told| told.replication.is_none()));
        for nonsense in [
            vec![],
            vec![Value::Okay, Value::Nil],
            vec![Value::Array(vec![]), Value::Nil],
        ] {
            assert!(Standing::of(&nonsense).is_none());
        }
    }
}
