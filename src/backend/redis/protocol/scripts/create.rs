//! Scripts that return tokens, and create those that are absent.

use super::foreign::with_foreign;

/// Returns the namespace token; creates it if it is absent.
///
/// Keys: token. Arguments: new token, its time to live.
pub(super) const GET_OR_CREATE_NAMESPACE: &str = with_foreign!(
    "\
local token = redis.pcall('GET', KEYS[1])
if type(token) == 'table' then return foreign(KEYS[1]) or token end
if token and #token == #ARGV[1] then return token end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]"
);

/// Returns the token of all groups, or its tombstone, which is one byte longer; creates an absent
/// token.
///
/// Keys: token. Arguments: new token, its time to live.
pub(super) const GET_OR_CREATE_ALL_GROUPS: &str = with_foreign!(
    "\
local token = redis.pcall('GET', KEYS[1])
if type(token) == 'table' then return foreign(KEYS[1]) or token end
if token then
  if #token == #ARGV[1] then return token end
  if #token == #ARGV[1] + 1 and string.sub(token, 1, 1) == 't' then return token end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]"
);

/// Returns a resource's lease or tombstone; replaces a lease of another server or namespace token,
/// and creates an absent one. The entries listed behind the token are left out.
///
/// Keys: lease. Arguments: new lease, its time to live, tombstone.
pub(super) const GET_OR_CREATE_LEASE: &str = with_foreign!(
    "\
local lease = redis.pcall('GET', KEYS[1])
if type(lease) == 'table' then return foreign(KEYS[1]) or lease end
if lease == ARGV[3] then return lease end
if lease and #lease >= #ARGV[1]
  and string.sub(lease, 1, 32) == string.sub(ARGV[1], 1, 32) then
  return string.sub(lease, 1, #ARGV[1])
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]"
);

/// Returns or creates the tokens of all stripes, in order, or their tombstones.
///
/// Keys: stripes. Arguments: new token, whose last byte the number of the stripe replaces; its time
/// to live; tombstone.
pub(super) const GET_OR_CREATE_STRIPES: &str = with_foreign!(
    "\
local tokens = redis.call('MGET', unpack(KEYS))
for stripe, key in ipairs(KEYS) do
  local token = tokens[stripe]
  if token ~= ARGV[3] and (not token or #token ~= #ARGV[1]
    or string.sub(token, 1, 32) ~= string.sub(ARGV[1], 1, 32)) then
    local other = not token and foreign(key)
    if other then return other end
    token = string.sub(ARGV[1], 1, -2) .. string.char(stripe)
    redis.call('SET', key, token, 'PX', ARGV[2])
    tokens[stripe] = token
  end
end
return tokens"
);
