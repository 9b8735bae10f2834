//! The Lua scripts, each of which Redis runs as one atomic step.
//!
//! Another program may have stored a value of another type under one of the keys. It is left as it
//! is: scripts read with `MGET`, which reports it as absent, and ask `foreign` before they write or
//! remove. Start with [`Scripts`].

mod create;
mod entries;
mod foreign;
mod invalidate;
mod store;

use std::sync::Arc;

use self::create::{
    GET_OR_CREATE_ALL_GROUPS, GET_OR_CREATE_LEASE, GET_OR_CREATE_NAMESPACE, GET_OR_CREATE_STRIPES,
};
use self::invalidate::{
    CLEAR, EXPIRE, EXPIRE_GROUPS, INVALIDATE, INVALIDATE_GROUPS, INVALIDATE_UNKNOWN,
};
use self::store::{ATTACH_BODY, PUT, REMOVE, REMOVE_USELESS, REPLACE};
use crate::backend::redis::connection::LuaScript;

/// All scripts of the protocol.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) get_or_create_namespace: LuaScript,
    pub(crate) get_or_create_all_groups: LuaScript,
    pub(crate) get_or_create_lease: LuaScript,
    pub(crate) get_or_create_stripes: LuaScript,
    pub(crate) put: LuaScript,
    pub(crate) replace: LuaScript,
    pub(crate) attach_body: LuaScript,
    pub(crate) remove: LuaScript,
    pub(crate) remove_useless: LuaScript,
    pub(crate) invalidate: LuaScript,
    pub(crate) invalidate_unknown: LuaScript,
    pub(crate) invalidate_groups: LuaScript,
    pub(crate) expire: LuaScript,
    pub(crate) expire_groups: LuaScript,
    pub(crate) clear: LuaScript,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            get_or_create_namespace: LuaScript::new(GET_OR_CREATE_NAMESPACE),
            get_or_create_all_groups: LuaScript::new(GET_OR_CREATE_ALL_GROUPS),
            get_or_create_lease: LuaScript::new(GET_OR_CREATE_LEASE),
            get_or_create_stripes: LuaScript::new(GET_OR_CREATE_STRIPES),
            put: LuaScript::new(PUT),
            replace: LuaScript::new(REPLACE),
            attach_body: LuaScript::new(ATTACH_BODY),
            remove: LuaScript::new(REMOVE),
            remove_useless: LuaScript::new(REMOVE_USELESS),
            invalidate: LuaScript::new(INVALIDATE),
            invalidate_unknown: LuaScript::new(INVALIDATE_UNKNOWN),
            invalidate_groups: LuaScript::new(INVALIDATE_GROUPS),
            expire: LuaScript::new(EXPIRE),
            expire_groups: LuaScript::new(EXPIRE_GROUPS),
            clear: LuaScript::new(CLEAR),
        }
    }
}

impl Scripts {
    /// Returns those that a request waits for, of lookups and of the invalidation by a write. A new
    /// connection loads them. The others are four times as long together, and have time to be sent.
    pub(crate) fn into_awaited(self) -> Arc<[LuaScript]> {
        Arc::new([
            self.get_or_create_namespace,
            self.get_or_create_all_groups,
            self.get_or_create_lease,
            self.get_or_create_stripes,
            self.invalidate,
        ])
    }
}
