//! Scripts that remove tokens.
//!
//! Their last argument is a receipt, which they return in front of their result: a reply to another
//! command is no acknowledgement.

use super::entries::with_entries;
use super::foreign::with_foreign;

/// Removes the leases of resources and the entries that they list, and changes the tokens of their
/// stripes. Tombstones stay. Returns the receipt and 1.
///
/// Keys: lease and stripe of each resource. Arguments: tombstone, 16 random bytes for the stripes,
/// their time to live. It also works where Redis is out of memory and `maxmemory-policy` is
/// `noeviction`: then the tokens of stripes are removed.
pub(super) const INVALIDATE: &str = with_entries!(
    "\
local values, gone = redis.call('MGET', unpack(KEYS)), {}
write_at_least(KEYS[1], values[1], ARGV[1])
for index = 1, #KEYS, 2 do
  local lease = values[index]
  if lease and lease ~= ARGV[1] then
    gone[#gone + 1] = KEYS[index]
    add_listed(gone, KEYS[index], lease)
  end
  rotate(KEYS[index + 1], values[index + 1], ARGV[1], ARGV[2], ARGV[3])
  if #gone > 1000 then
    unlink_all(gone)
    gone = {}
  end
end
unlink_all(gone)
return ARGV[#ARGV] .. 1"
);

/// Puts tombstones in the place of tokens, or extends those that are there, and removes the entries
/// that leases list. Returns the receipt and 1, or 0 if Redis has no memory for one of them: then
/// the token is removed. Also 0 if a key is foreign: nothing is stored under it meanwhile.
///
/// Keys: lease and stripe of each resource. Arguments: tombstone, its time to live.
pub(super) const INVALIDATE_UNKNOWN: &str = with_entries!(
    "\
local values, gone, kept = redis.call('MGET', unpack(KEYS)), {}, 1
for index, key in ipairs(KEYS) do
  local token, ttl = values[index], ARGV[2]
  if token == ARGV[1] then
    if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
  else
    if token then add_listed(gone, key, token) end
    if not token and foreign(key) then
      kept = 0
    elseif redis.pcall('SET', key, ARGV[1], 'PX', ttl).err then
      redis.call('UNLINK', key)
      kept = 0
    end
  end
  if #gone > 1000 then
    unlink_all(gone)
    gone = {}
  end
end
unlink_all(gone)
return ARGV[#ARGV] .. kept"
);

/// Removes the tokens of groups and that of all groups. A tombstone in the place of the latter is
/// replaced by a new one for the rest of its time, or for a longer one. Returns the receipt
/// and 1, or 0 if Redis has no memory for a tombstone: then it is removed. Also 0 if its key is
/// foreign.
///
/// Keys: token of all groups, of each group. Arguments: new tombstone; its time to live, 0 if none
/// is needed.
pub(super) const INVALIDATE_GROUPS: &str = with_foreign!(
    "\
local tokens, gone = redis.call('MGET', unpack(KEYS)), {}
for index = 2, #KEYS do
  if tokens[index] then gone[#gone + 1] = KEYS[index] end
end
local token, ttl, kept = tokens[1], tonumber(ARGV[2]), 1
if token and #token == #ARGV[1] and string.sub(token, 1, 1) == 't' then
  ttl = math.max(ttl, redis.call('PTTL', KEYS[1]))
end
if ttl > 0 and not token and foreign(KEYS[1]) then
  kept = 0
elseif ttl > 0 and redis.pcall('SET', KEYS[1], ARGV[1], 'PX', string.format('%.0f', ttl)).err then
  kept = 0
  gone[#gone + 1] = KEYS[1]
elseif ttl == 0 and token then
  gone[#gone + 1] = KEYS[1]
end
if #gone > 0 then redis.call('UNLINK', unpack(gone)) end
return ARGV[#ARGV] .. kept"
);

/// Changes the leases of resources and the tokens of their stripes, so that what is stored under
/// the leases is stale and fences break. Tombstones stay. Returns the receipt and 1.
///
/// Keys: lease and stripe of each resource. Arguments: tombstone, 16 random bytes, time to live of
/// stripes, stamp of the server's clock. Where Redis has no memory, the tokens are removed.
pub(super) const EXPIRE: &str = with_entries!(
    "\
local values = redis.call('MGET', unpack(KEYS))
write_at_least(KEYS[1], values[1], ARGV[1])
for index = 1, #KEYS, 2 do
  local lease = values[index]
  if lease and lease ~= ARGV[1] and #lease >= 48 then
    expire(KEYS[index], lease, ARGV[2], ARGV[4])
  end
  rotate(KEYS[index + 1], values[index + 1], ARGV[1], ARGV[2], ARGV[3])
end
return ARGV[#ARGV] .. 1"
);

/// Changes the tokens of groups, so that their members are stale, and removes that of all groups.
/// A tombstone in the place of the latter is replaced by a new one for the rest of its time.
/// Returns the receipt and 1, or 0 if Redis has no memory for a tombstone: then it is removed.
///
/// Keys: token of all groups, of each group. Arguments: new tombstone, 16 random bytes, stamp of
/// the server's clock.
pub(super) const EXPIRE_GROUPS: &str = with_entries!(
    "\
local tokens, kept = redis.call('MGET', unpack(KEYS)), 1
for index = 2, #KEYS do
  local token = tokens[index]
  if token and #token >= 48 then
    expire(KEYS[index], token, ARGV[2], ARGV[3])
  elseif token then
    redis.call('UNLINK', KEYS[index])
  end
end
local all = tokens[1]
if all and #all == #ARGV[1] and string.sub(all, 1, 1) == 't' then
  local ttl = redis.call('PTTL', KEYS[1])
  if ttl <= 0 or redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ttl).err then
    kept = 0
    redis.call('UNLINK', KEYS[1])
  end
elseif all then
  redis.call('UNLINK', KEYS[1])
end
return ARGV[#ARGV] .. kept"
);

/// Removes the namespace token. Returns the receipt and 1.
///
/// Keys: namespace token.
pub(super) const CLEAR: &str = with_foreign!(
    "\
unlink_own(KEYS[1])
return ARGV[#ARGV] .. 1"
);
