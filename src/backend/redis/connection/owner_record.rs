//! The record of which configuration uses a namespace, exchanged when a connection is opened.
//!
//! Another configuration in the same namespace is logged, once. It does no harm: see
//! `protocol/owner.rs`. Start with [`OwnerRecord`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::{Cmd, Value};

use super::script::LuaScript;
use super::server_info::bulk_text;

/// Replaces the record, and returns an earlier one that differs. A value of another type stays.
///
/// Keys: record. Arguments: new record, its time to live.
const EXCHANGE: &str = "\
local last = redis.pcall('GET', KEYS[1])
if type(last) == 'table' then return false end
redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if type(last) == 'string' and last ~= ARGV[1] then return last end
return false";

/// The record of this configuration. Clones share whether they have logged another one.
#[derive(Clone, Debug)]
pub(crate) struct OwnerRecord {
    key: Arc<str>,
    owner: Arc<str>,
    ttl: Duration,
    is_told: Arc<AtomicBool>,
}

impl OwnerRecord {
    pub(crate) fn new(key: String, owner: Arc<str>, ttl: Duration) -> Self {
        Self {
            key: key.into(),
            owner,
            ttl,
            is_told: Arc::default(),
        }
    }

    pub(super) fn exchange(&self) -> Cmd {
        let ttl = self.ttl.as_millis().to_string();
        let arguments = [self.owner.as_bytes().to_vec().into(), ttl.into()];
        LuaScript::new(EXCHANGE).eval(&[self.key.to_string()], &arguments)
    }

    /// Logs the first record of another configuration.
    pub(super) fn compare(&self, reply: &Value) {
        let Some(other) = bulk_text(reply) else {
            return;
        };
        if self.is_told.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            record = &*self.key,
            own = &*self.owner,
            other,
            "redis namespace was last used with another configuration; stored responses are not \
             shared with it, invalidations are"
        );
    }
}
