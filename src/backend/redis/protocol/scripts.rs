//! The Lua scripts, each of which Redis runs as one atomic step.
//!
//! `pcall` is used for `GET`, because another program may have stored a value of any type under one
//! of the keys. Start with [`Scripts`].

use crate::backend::redis::connection::LuaScript;

/// All scripts of the protocol.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) get_or_create_namespace: LuaScript,
    pub(crate) get_or_create_all_groups: LuaScript,
    pub(crate) get_or_create_lease: LuaScript,
    pub(crate) get_or_create_group: LuaScript,
    pub(crate) get_or_create_stripes: LuaScript,
    pub(crate) put: LuaScript,
    pub(crate) replace: LuaScript,
    pub(crate) remove: LuaScript,
    pub(crate) invalidate: LuaScript,
    pub(crate) invalidate_unknown: LuaScript,
    pub(crate) invalidate_group: LuaScript,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            get_or_create_namespace: LuaScript::new(GET_OR_CREATE_NAMESPACE),
            get_or_create_all_groups: LuaScript::new(GET_OR_CREATE_ALL_GROUPS),
            get_or_create_lease: LuaScript::new(GET_OR_CREATE_LEASE),
            get_or_create_group: LuaScript::new(GET_OR_CREATE_GROUP),
            get_or_create_stripes: LuaScript::new(GET_OR_CREATE_STRIPES),
            put: LuaScript::new(PUT),
            replace: LuaScript::new(REPLACE),
            remove: LuaScript::new(REMOVE),
            invalidate: LuaScript::new(INVALIDATE),
            invalidate_unknown: LuaScript::new(INVALIDATE_UNKNOWN),
            invalidate_group: LuaScript::new(INVALIDATE_GROUP),
        }
    }
}

/// Returns the namespace token; creates it if it is absent.
///
/// Keys: token. Arguments: new token, its time to live.
const GET_OR_CREATE_NAMESPACE: &str = "\
local token = redis.pcall('GET', KEYS[1])
if type(token) == 'string' and #token == #ARGV[1] then return token end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]";

/// Returns the token of all groups, or its tombstone, which is one byte longer; creates an absent
/// token.
///
/// Keys: token. Arguments: new token, its time to live.
const GET_OR_CREATE_ALL_GROUPS: &str = "\
local token = redis.pcall('GET', KEYS[1])
if type(token) == 'string' then
  if #token == #ARGV[1] then return token end
  if #token == #ARGV[1] + 1 and string.sub(token, 1, 1) == 't' then return token end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]";

/// Returns a resource's lease or tombstone; replaces a lease of another server or namespace token,
/// and creates an absent one.
///
/// Keys: lease. Arguments: new lease, its time to live, tombstone.
const GET_OR_CREATE_LEASE: &str = "\
local lease = redis.pcall('GET', KEYS[1])
if lease == ARGV[3] then return lease end
if type(lease) == 'string' and #lease == #ARGV[1]
  and string.sub(lease, 1, 32) == string.sub(ARGV[1], 1, 32) then return lease end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]";

/// Returns or creates a group's token, and extends its life beyond that of the entry to be stored.
///
/// Keys: group token. Arguments: new token, its time to live.
const GET_OR_CREATE_GROUP: &str = "\
local token = redis.pcall('GET', KEYS[1])
if type(token) == 'string' and #token == #ARGV[1]
  and string.sub(token, 1, 32) == string.sub(ARGV[1], 1, 32) then
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
  end
  return token
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]";

/// Returns or creates the tokens of all stripes, in order, or their tombstones.
///
/// Keys: stripes. Arguments: new token, whose last byte the number of the stripe replaces; its time
/// to live; tombstone.
const GET_OR_CREATE_STRIPES: &str = "\
local tokens = {}
for stripe, key in ipairs(KEYS) do
  local token = redis.pcall('GET', key)
  if token ~= ARGV[3] and (type(token) ~= 'string' or #token ~= #ARGV[1]
    or string.sub(token, 1, 32) ~= string.sub(ARGV[1], 1, 32)) then
    token = string.sub(ARGV[1], 1, -2) .. string.char(stripe)
    redis.call('SET', key, token, 'PX', ARGV[2])
  end
  tokens[stripe] = token
end
return tokens";

/// Prepends two functions. One records a variant as the latest and removes the oldest beyond the
/// limit. The other removes all of them, when a rule takes the place of anything but the same rule:
/// they are older than the replaced entry, and lookups would find them again.
///
/// All variants are in their resource's slot.
macro_rules! with_variants {
    ($script:literal) => {
        concat!(
            "\
local function remove_variants(list)
  local old = redis.pcall('LRANGE', list, 0, -1)
  for _, entry in ipairs(old) do redis.call('UNLINK', entry) end
  if old.err or #old > 0 then redis.call('UNLINK', list) end
end
local function add_variant(list, entry, max, ttl)
  if type(redis.pcall('LREM', list, 0, entry)) ~= 'number' then redis.call('UNLINK', list) end
  redis.call('LPUSH', list, entry)
  if redis.call('PTTL', list) < tonumber(ttl) then redis.call('PEXPIRE', list, ttl) end
  for _, old in ipairs(redis.call('LRANGE', list, max, -1)) do redis.call('UNLINK', old) end
  redis.call('LTRIM', list, 0, max - 1)
end
",
            $script
        )
    };
}

/// Stores an entry if the captured token is still in its key. Returns 1 if it has stored, else 0.
///
/// Keys: captured token's key, entry; for a response with variants also rule, list of variants.
/// Arguments: captured token, entry, its time to live, that of the lease, rule, limit of variants,
/// number of bytes at the end of the rule that tell it from others.
const PUT: &str = with_variants!(
    "\
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if KEYS[3] then
  local old = redis.pcall('GET', KEYS[3])
  local names = string.sub(ARGV[5], -tonumber(ARGV[7]))
  if type(old) ~= 'string' or string.sub(old, -#names) ~= names then remove_variants(KEYS[4]) end
  local ttl = math.max(redis.call('PTTL', KEYS[3]), tonumber(ARGV[3]))
  redis.call('SET', KEYS[3], ARGV[5], 'PX', string.format('%.0f', ttl))
  add_variant(KEYS[4], KEYS[2], ARGV[6], ARGV[4])
end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 1"
);

/// Invalidates a resource, and stores an entry under a new lease if the captured token was still in
/// its key. Returns 1 if it has stored, else 0. Tombstones stay, and nothing is stored over that of
/// a lease.
///
/// Keys: captured token's key, lease, stripe, entry; for a response with variants also rule, list
/// of variants. Arguments: as `PUT`, then the new lease, tombstone.
const REPLACE: &str = with_variants!(
    "\
local held = redis.pcall('GET', KEYS[1]) == ARGV[1]
for index = 2, 3 do
  if redis.pcall('GET', KEYS[index]) ~= ARGV[9] then redis.call('UNLINK', KEYS[index])
  elseif index == 2 then held = false end
end
if not held then return 0 end
redis.call('SET', KEYS[2], ARGV[8], 'PX', ARGV[4])
redis.call('SET', KEYS[4], ARGV[2], 'PX', ARGV[3])
if KEYS[5] then
  redis.call('SET', KEYS[5], ARGV[5], 'PX', ARGV[3])
  add_variant(KEYS[6], KEYS[4], ARGV[6], ARGV[4])
end
return 1"
);

/// Removes an entry if the captured token is still in its key. Returns 1 if it held, else 0.
///
/// Keys: captured token's key, entry. Arguments: captured token.
const REMOVE: &str = "\
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[2])
return 1";

/// Removes tokens; tombstones stay. Returns 1.
///
/// Keys: tokens. Arguments: tombstone. As `UNLINK` alone, it also works where Redis is out of
/// memory and `maxmemory-policy` is `noeviction`.
const INVALIDATE: &str = "\
for _, key in ipairs(KEYS) do
  if redis.pcall('GET', key) ~= ARGV[1] then redis.call('UNLINK', key) end
end
return 1";

/// Puts tombstones in the place of tokens, or extends those that are there. Returns 1, or 0 if
/// Redis has no memory for one of them: then the token is removed.
///
/// Keys: tokens. Arguments: tombstone, its time to live.
const INVALIDATE_UNKNOWN: &str = "\
local kept = 1
for _, key in ipairs(KEYS) do
  if redis.pcall('GET', key) == ARGV[1] then
    if redis.call('PTTL', key) < tonumber(ARGV[2]) then redis.call('PEXPIRE', key, ARGV[2]) end
  elseif redis.pcall('SET', key, ARGV[1], 'PX', ARGV[2]).err then
    redis.call('UNLINK', key)
    kept = 0
  end
end
return kept";

/// Removes the token of a group and that of all groups. A tombstone in the place of the latter is
/// replaced by a new one for the rest of its time, or for a longer one. Returns 1, or 0 if Redis
/// has no memory for a tombstone: then it is removed.
///
/// Keys: token of all groups, of the group. Arguments: new tombstone; its time to live, 0 if none
/// is needed.
const INVALIDATE_GROUP: &str = "\
redis.call('UNLINK', KEYS[2])
local token = redis.pcall('GET', KEYS[1])
local ttl = tonumber(ARGV[2])
if type(token) == 'string' and #token == #ARGV[1] and string.sub(token, 1, 1) == 't' then
  ttl = math.max(ttl, redis.call('PTTL', KEYS[1]))
end
if ttl > 0 then
  ttl = string.format('%.0f', ttl)
  if not redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ttl).err then return 1 end
end
redis.call('UNLINK', KEYS[1])
return ttl == 0 and 1 or 0";
