//! Parsing of replies. `None` means that the reply has an unexpected shape.

use bytes::Bytes;
use redis::Value;
use uuid::Uuid;

use crate::backend::PutOutcome;

/// Returns the bytes of a bulk string.
pub(crate) fn bulk_string(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

/// Returns the `count` values of a reply to `MGET`, each of which may be absent.
pub(crate) fn bulk_strings(value: Value, count: usize) -> Option<Vec<Option<Vec<u8>>>> {
    let Value::Array(values) = value else {
        return None;
    };
    let string = |value| match value {
        Value::BulkString(bytes) => Some(Some(bytes)),
        Value::Nil => Some(None),
        _ => None,
    };
    let strings: Option<Vec<_>> = values.into_iter().map(string).collect();
    strings.filter(|strings| strings.len() == count)
}

/// Returns the reply of a script that does something only if a token still holds.
pub(crate) fn token_held(value: &Value) -> Option<bool> {
    match value {
        Value::Int(1) => Some(true),
        Value::Int(0) => Some(false),
        _ => None,
    }
}

/// Returns the outcome of the script that stores.
pub(crate) fn put_outcome(value: &Value) -> Option<PutOutcome> {
    token_held(value).map(stored_if)
}

/// Returns the outcome of a store whose token held, or not.
pub(crate) fn stored_if(held: bool) -> PutOutcome {
    match held {
        true => PutOutcome::Stored,
        false => PutOutcome::Superseded,
    }
}

/// A random value that a script which invalidates returns.
///
/// After a lost reply, each command gets the reply of a later one. Without a receipt, an
/// invalidation that the server refused (`NOSCRIPT`) would count as acknowledged by the `1` of
/// another script.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receipt([u8; 16]);

impl Receipt {
    pub(crate) fn random() -> Self {
        Self(*Uuid::new_v4().as_bytes())
    }

    pub(crate) fn argument(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }

    /// Returns the result behind the receipt; `None` if the reply is not that of its script.
    pub(crate) fn result(&self, reply: Value) -> Option<bool> {
        match bulk_string(reply)?.strip_prefix(&self.0)? {
            b"1" => Some(true),
            b"0" => Some(false),
            _ => None,
        }
    }
}
