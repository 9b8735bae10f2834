//! Parsing of replies. `None` means that the reply has an unexpected shape.

use redis::Value;

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

/// Returns the outcome of the scripts that store.
pub(crate) fn put_outcome(value: &Value) -> Option<PutOutcome> {
    let outcome = |held| match held {
        true => PutOutcome::Stored,
        false => PutOutcome::Superseded,
    };
    token_held(value).map(outcome)
}

/// Returns whether the reply to `UNLINK` of `count` keys is one.
pub(crate) fn is_unlink_reply(value: &Value, count: usize) -> bool {
    matches!(value, Value::Int(removed) if (0..=count as i64).contains(removed))
}
