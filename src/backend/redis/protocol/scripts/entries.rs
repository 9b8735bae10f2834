//! What the scripts that store and invalidate share: functions about the entries of a resource.

/// Prepends the functions about the entries of a resource, all of which are in its slot.
///
/// * `write_at_least` calls a command that writes and changes nothing, for a lease that is not there
///   or is a tombstone, so that no other write follows: a server that takes no writes, such as a
///   demoted primary, acknowledges no invalidation of what is not stored there.
/// * `remove_variants` removes all variants in a list, when a rule takes the place of anything but
///   the same rule: they are older than the replaced entry, and lookups would find them again. One
///   is kept, since it is being replaced.
/// * `add_variant` records a variant as the latest and removes the oldest beyond the limit.
/// * `list_entry` returns a lease that lists an entry, see [`listed_entry`], and the letter by
///   which it was listed before. What a full list has no room for expires after an invalidation.
/// * `add_listed` collects the keys of the entries that a lease lists, and of their bodies. One
///   entry is kept without its body, since its successor brings its own.
/// * `move_body` gives a body that was stored under a temporary name the name that belongs to its
///   entry; false if it is gone. `drop_body` removes it. `unlink_body` removes the body of an entry
///   that has none any more.
/// * `group_tokens` returns the tokens of the last keys, which are those of groups, as they stand
///   in an entry; creates absent ones from the arguments from `first` on, and extends their lives
///   beyond that of the entry. Nothing if the token of all groups, the key before them, has
///   changed; nothing and an error if one is foreign.
/// * `expirations_at` returns the place behind the listed entries of a lease, where its
///   [expirations] begin.
/// * `expired` returns the value of a lease or a group with another token, and the one before among
///   its expirations. `expire` stores it for the rest of its time.
/// * `foreign_entry` returns the error of the first of an entry's keys that is foreign, if any.
///
/// [`listed_entry`]: super::keys::listed_entry
/// [expirations]: super::expirations
macro_rules! with_entries {
    ($script:literal) => {
        $crate::backend::redis::protocol::scripts::foreign::with_foreign!(
            "\
local function own_variants(list)
  local names, own = redis.pcall('LRANGE', list, 0, -1), {}
  local prefix = string.gsub(list, ':v:', ':e:', 1)
  for _, name in ipairs(names) do
    if string.sub(name, 1, #prefix) == prefix then own[#own + 1] = name end
  end
  return own, #names > 0
end
local function body_of(entry)
  return (string.gsub(entry, ':e:', ':b:', 1))
end
local function unlink_entry(entry)
  unlink_own(entry, body_of(entry))
end
local function unlink_all(keys)
  for first = 1, #keys, 1000 do
    redis.call('UNLINK', unpack(keys, first, math.min(first + 999, #keys)))
  end
end
local function write_at_least(key, lease, tombstone)
  if lease == tombstone then
    redis.call('PEXPIRE', key, math.max(redis.call('PTTL', key), 1))
  elseif not lease and not foreign(key) then
    redis.call('UNLINK', key)
  end
end
local function unlink_body(entry)
  local body = body_of(entry)
  local first = redis.pcall('GETRANGE', body, 0, 0)
  if type(first) == 'string' and first ~= '' then redis.call('UNLINK', body) end
end
local function remove_variants(list, kept)
  local old, is_present = own_variants(list)
  for _, entry in ipairs(old) do
    if entry ~= kept then unlink_entry(entry) end
  end
  if is_present then redis.call('UNLINK', list) end
end
local function add_variant(list, entry, max, ttl)
  redis.call('LREM', list, 0, entry)
  redis.call('LPUSH', list, entry)
  if redis.call('PTTL', list) < tonumber(ttl) then redis.call('PEXPIRE', list, ttl) end
  for _, old in ipairs(redis.call('LRANGE', list, max, -1)) do unlink_entry(old) end
  redis.call('LTRIM', list, 0, max - 1)
end
local function expirations_at(lease)
  for at = 49, #lease, 17 do
    if string.sub(lease, at, at) == 'x' then return at end
  end
  return #lease + 1
end
local function list_entry(lease, listed)
  local behind = expirations_at(lease)
  for at = 49, behind - 1, 17 do
    if string.sub(lease, at + 1, at + 16) == string.sub(listed, 2) then
      local letter = string.sub(lease, at, at)
      if string.sub(listed, 1, 1) <= letter then return lease, letter end
      return string.sub(lease, 1, at - 1) .. listed .. string.sub(lease, at + 17), letter
    end
  end
  if behind > 48 + 8 * 17 then return lease end
  return string.sub(lease, 1, behind - 1) .. listed .. string.sub(lease, behind)
end
local function add_own(keys, key)
  if not foreign(key) then keys[#keys + 1] = key end
end
local function add_entry(keys, entry, kept, has_body)
  if entry ~= kept then add_own(keys, entry) end
  if has_body then add_own(keys, body_of(entry)) end
end
local function add_listed(keys, lease_key, lease, kept)
  for at = 49, expirations_at(lease) - 1, 17 do
    local selector = string.gsub(string.sub(lease, at + 1, at + 16), '.', function(byte)
      return string.format('%02x', string.byte(byte))
    end)
    local entry, letter = string.gsub(lease_key, ':l:', ':e:', 1) .. selector, string.sub(lease, at, at)
    add_entry(keys, entry, kept, letter ~= 'e')
    if letter == 'v' then
      local list = string.gsub(lease_key, ':l:', ':v:', 1) .. selector
      local variants, is_present = own_variants(list)
      for _, variant in ipairs(variants) do add_entry(keys, variant, kept, true) end
      if is_present then keys[#keys + 1] = list end
    end
  end
end
local function drop_body(entry, suffix)
  if suffix ~= '' then redis.call('UNLINK', body_of(entry) .. ':' .. suffix) end
end
local function move_body(entry, suffix, ttl)
  if suffix == '' then return true end
  local body = body_of(entry)
  if redis.pcall('RENAME', body .. ':' .. suffix, body).err then return false end
  redis.call('PEXPIRE', body, ttl)
  return true
end
local function foreign_entry(entry, has_body, rule, list)
  local other = foreign(entry) or has_body and foreign(body_of(entry)) or rule and foreign(rule)
  if not other and list then
    local names = redis.pcall('LRANGE', list, 0, 0)
    if names.err then return redis.error_reply('WRONGTYPE ' .. list) end
  end
  return other
end
local function group_tokens(all_groups, first, ttl)
  local count = #ARGV - first + 1
  if count == 0 then return string.char(0) end
  local tokens = redis.call('MGET', unpack(KEYS, #KEYS - count))
  if tokens[1] ~= all_groups then return nil end
  for index = 1, count do
    local key, token, new = KEYS[#KEYS - count + index], tokens[index + 1], ARGV[first + index - 1]
    if token and #token >= #new and string.sub(token, 1, 32) == string.sub(new, 1, 32) then
      if redis.call('PTTL', key) < tonumber(ttl) then redis.call('PEXPIRE', key, ttl) end
      tokens[index + 1] = string.sub(token, 1, #new)
    else
      local other = not token and foreign(key)
      if other then return nil, other end
      redis.call('SET', key, new, 'PX', ttl)
      tokens[index + 1] = new
    end
  end
  return string.char(count) .. table.concat(tokens, '', 2)
end
local function expired(value, random, stamp)
  local at = expirations_at(value)
  local kept = string.sub(value, at) .. 'x' .. string.sub(value, 33, 48) .. stamp
  return string.sub(value, 1, 32) .. random .. string.sub(value, 49, at - 1) .. string.sub(kept, -4 * 33)
end
local function expire(key, value, random, stamp)
  local ttl = redis.call('PTTL', key)
  if ttl <= 0 or redis.pcall('SET', key, expired(value, random, stamp), 'PX', ttl).err then
    redis.call('UNLINK', key)
  end
end
local function rotate(key, token, tombstone, random, ttl)
  if not token or token == tombstone or #token ~= 48 then return end
  local changed = string.sub(token, 1, 32) .. random
  if redis.pcall('SET', key, changed, 'PX', ttl).err then redis.call('UNLINK', key) end
end
",
            $script
        )
    };
}

pub(super) use with_entries;
