//! Scripts that store and remove an entry under a token that still holds.

use super::entries::with_entries;
use super::foreign::with_foreign;

/// Stores an entry if the captured lease is still there, and lists it in the lease. Returns 1 if it
/// has stored, also if an earlier call has whose reply was lost; else 0, or the error of `foreign`.
///
/// Keys: lease, namespace token, entry; for a response with variants also rule, list of variants;
/// for a member of groups also the token of all groups, those of its groups. Arguments: captured
/// lease, entry without tokens, its time to live, that of the lease, rule, limit of variants,
/// number of bytes at the end of the rule that tell it from others, listed entry, suffix of the
/// temporary name of a body of its own, captured token of all groups, a new token for each group.
pub(super) const PUT: &str = with_entries!(
    "\
local entry, held = KEYS[3], redis.call('MGET', KEYS[1], KEYS[2])
local lease = held[1]
local is_held = lease and string.sub(lease, 1, #ARGV[1]) == ARGV[1]
  and held[2] == string.sub(ARGV[1], 17, 32)
local has_rule, tokens, other = ARGV[5] ~= ''
if is_held then
  other = foreign_entry(entry, ARGV[9] ~= '', has_rule and KEYS[4], has_rule and KEYS[5])
  if not other then tokens, other = group_tokens(ARGV[10], 11, ARGV[4]) end
end
if not tokens then
  drop_body(entry, ARGV[9])
  return other or 0
end
local value = ARGV[1] .. tokens .. ARGV[2]
if not move_body(entry, ARGV[9], ARGV[3]) then
  return redis.pcall('GET', entry) == value and 1 or 0
end
if has_rule then
  local old = redis.pcall('GET', KEYS[4])
  local names = string.sub(ARGV[5], -tonumber(ARGV[7]))
  if type(old) ~= 'string' or string.sub(old, -#names) ~= names then remove_variants(KEYS[5], entry) end
  local ttl = math.max(redis.call('PTTL', KEYS[4]), tonumber(ARGV[3]))
  local rule = ARGV[1] .. string.char(0) .. ARGV[5]
  redis.call('SET', KEYS[4], rule, 'PX', string.format('%.0f', ttl))
  add_variant(KEYS[5], entry, ARGV[6], ARGV[4])
end
redis.call('SET', entry, value, 'PX', ARGV[3])
local listed, letter = list_entry(lease, ARGV[8])
if ARGV[9] ~= '' or letter == 'e' then
  -- It has a new body, or had none.
elseif letter then
  unlink_own(body_of(entry))
else
  unlink_body(entry)
end
local ttl = redis.call('PTTL', KEYS[1])
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
/// and nothing is stored over that of a lease, or over a foreign key.
///
/// Keys: captured token's key, lease, stripe, namespace token, entry; then as `PUT`. Arguments: the
/// first ten as `PUT`; then the new lease, tombstone, 16 random bytes for the
/// stripe, its time to live, receipt, a new token for each group.
pub(super) const REPLACE: &str = with_entries!(
    "\
local values = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
local entry, captured, lease = KEYS[5], values[1], values[2]
local has_rule = ARGV[5] ~= ''
local is_held = captured and string.sub(captured, 1, #ARGV[1]) == ARGV[1]
  and values[4] == string.sub(ARGV[1], 17, 32) and lease ~= ARGV[12]
  and (lease or not foreign(KEYS[2]))
  and not foreign_entry(entry, ARGV[9] ~= '', has_rule and KEYS[6], has_rule and KEYS[7])
rotate(KEYS[3], values[3], ARGV[12], ARGV[13], ARGV[14])
local gone, letter = {}
if lease and lease ~= ARGV[12] then
  if not is_held then gone[1] = KEYS[2] end
  add_listed(gone, KEYS[2], lease, is_held and entry)
  letter = select(2, list_entry(lease, ARGV[8]))
end
unlink_all(gone)
if not is_held then
  write_at_least(KEYS[2], lease, ARGV[12])
  return ARGV[15] .. 0
end
local function store()
  local tokens = group_tokens(ARGV[10], 16, ARGV[4])
  if not tokens then return false end
  redis.call('SET', KEYS[2], ARGV[11] .. ARGV[8], 'PX', ARGV[4])
  redis.call('SET', entry, ARGV[11] .. tokens .. ARGV[2], 'PX', ARGV[3])
  if ARGV[9] ~= '' then
    redis.call('SET', body_of(entry), '', 'PX', 60000)
  elseif not letter or has_rule then
    unlink_body(entry)
  end
  if has_rule then
    redis.call('SET', KEYS[6], ARGV[11] .. string.char(0) .. ARGV[5], 'PX', ARGV[3])
    add_variant(KEYS[7], entry, ARGV[6], ARGV[4])
  end
  return true
end
local has_run, is_stored = pcall(store)
if has_run and is_stored then return ARGV[15] .. 1 end
redis.call('UNLINK', KEYS[2], entry)
return ARGV[15] .. 0"
);

/// Gives a body that was stored under a temporary name the name that belongs to its entry, if that
/// is still the one that was stored with it. Returns 1, or 0 if it has removed the body.
///
/// Keys: entry. Arguments: lease in the entry, the place of the encoded response, its first bytes,
/// suffix of the temporary name, time to live.
pub(super) const ATTACH_BODY: &str = with_entries!(
    "\
local entry, start = redis.pcall('GET', KEYS[1]), tonumber(ARGV[2])
local is_entry = type(entry) == 'string' and string.sub(entry, 1, #ARGV[1]) == ARGV[1]
  and string.sub(entry, start + 1, start + #ARGV[3]) == ARGV[3]
if is_entry and not foreign(body_of(KEYS[1])) and move_body(KEYS[1], ARGV[4], ARGV[5]) then
  return 1
end
drop_body(KEYS[1], ARGV[4])
return 0"
);

/// Removes an entry if the captured token is still in its key. Returns 1 if it held, else 0.
///
/// Keys: captured token's key, namespace token, entry, its body. Arguments: captured token.
pub(super) const REMOVE: &str = with_foreign!(
    "\
local held = redis.call('MGET', KEYS[1], KEYS[2])
if not held[1] or string.sub(held[1], 1, #ARGV[1]) ~= ARGV[1]
  or held[2] ~= string.sub(ARGV[1], 17, 32) then return 0 end
unlink_own(KEYS[3], KEYS[4])
return 1"
);

/// Removes an entry whose body is gone. Returns 1 if it has, or 0 if another entry has taken its
/// place, or there is a body, perhaps since a moment ago.
///
/// Keys: entry, its body. Arguments: bytes that tell the entry from others.
pub(super) const REMOVE_USELESS: &str = with_foreign!(
    "\
local entry = redis.pcall('GET', KEYS[1])
if type(entry) ~= 'string' or not string.find(entry, ARGV[1], 1, true)
  or redis.call('PTTL', KEYS[2]) ~= -2 then return 0 end
redis.call('UNLINK', KEYS[1])
return 1"
);
