//! Scripts that store and remove an entry under a token that still holds.

use super::entries::with_entries;

/// Stores an entry if the captured lease is still there, and lists it in the lease. Returns 1 if it
/// has stored, else 0.
///
/// Keys: lease, namespace token, entry; for a response with variants also rule, list of variants.
/// Arguments: captured lease, entry, its time to live, that of the lease, rule, limit of variants,
/// number of bytes at the end of the rule that tell it from others, listed entry.
pub(super) const PUT: &str = with_entries!(
    "\
local held = redis.call('MGET', KEYS[1], KEYS[2])
local lease = held[1]
if not lease or string.sub(lease, 1, #ARGV[1]) ~= ARGV[1]
  or held[2] ~= string.sub(ARGV[1], 17, 32) then return 0 end
if KEYS[4] then
  local old = redis.pcall('GET', KEYS[4])
  local names = string.sub(ARGV[5], -tonumber(ARGV[7]))
  if type(old) ~= 'string' or string.sub(old, -#names) ~= names then remove_variants(KEYS[5]) end
  local ttl = math.max(redis.call('PTTL', KEYS[4]), tonumber(ARGV[3]))
  redis.call('SET', KEYS[4], ARGV[5], 'PX', string.format('%.0f', ttl))
  add_variant(KEYS[5], KEYS[3], ARGV[6], ARGV[4])
end
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])
local listed, ttl = list_entry(lease, ARGV[8]), redis.call('PTTL', KEYS[1])
if listed ~= lease then
  ttl = math.max(ttl, tonumber(ARGV[4]))
  redis.call('SET', KEYS[1], listed, 'PX', string.format('%.0f', ttl))
elseif ttl < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1"
);

/// Invalidates a resource, and stores an entry under a new lease if the captured token was still in
/// its key. Returns the receipt, see `invalidate`, and 1 if it has stored, else 0. Tombstones stay,
/// and nothing is stored over that of a lease.
///
/// Keys: captured token's key, lease, stripe, namespace token, entry; for a response with variants
/// also rule, list of variants. Arguments: as `PUT`, then the new lease, tombstone, 16 random bytes
/// for the stripe, its time to live, receipt.
pub(super) const REPLACE: &str = with_entries!(
    "\
local values = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
local captured, lease = values[1], values[2]
local held = captured and string.sub(captured, 1, #ARGV[1]) == ARGV[1]
  and values[4] == string.sub(ARGV[1], 17, 32) and lease ~= ARGV[10]
rotate(KEYS[3], values[3], ARGV[10], ARGV[11], ARGV[12])
local gone = {}
if lease and lease ~= ARGV[10] then
  if not held then gone[1] = KEYS[2] end
  add_listed(gone, KEYS[2], lease, held and KEYS[5])
end
unlink_all(gone)
if not held then return ARGV[#ARGV] .. 0 end
redis.call('SET', KEYS[2], ARGV[9] .. ARGV[8], 'PX', ARGV[4])
redis.call('SET', KEYS[5], ARGV[2], 'PX', ARGV[3])
if KEYS[6] then
  redis.call('SET', KEYS[6], ARGV[5], 'PX', ARGV[3])
  add_variant(KEYS[7], KEYS[5], ARGV[6], ARGV[4])
end
return ARGV[#ARGV] .. 1"
);

/// Removes an entry if the captured token is still in its key. Returns 1 if it held, else 0.
///
/// Keys: captured token's key, namespace token, entry, its body. Arguments: captured token.
pub(super) const REMOVE: &str = "\
local held = redis.call('MGET', KEYS[1], KEYS[2])
if not held[1] or string.sub(held[1], 1, #ARGV[1]) ~= ARGV[1]
  or held[2] ~= string.sub(ARGV[1], 17, 32) then return 0 end
redis.call('UNLINK', KEYS[3], KEYS[4])
return 1";
