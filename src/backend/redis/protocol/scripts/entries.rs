//! What the scripts that store and invalidate share: functions about the entries of a resource.

/// Prepends the functions about the entries of a resource, all of which are in its slot.
///
/// * `remove_variants` removes all variants in a list, when a rule takes the place of anything but
///   the same rule: they are older than the replaced entry, and lookups would find them again.
/// * `add_variant` records a variant as the latest and removes the oldest beyond the limit.
/// * `list_entry` returns a lease that lists an entry, see [`listed_entry`]. What a full list has
///   no room for expires after an invalidation.
/// * `add_listed` collects the keys of the entries that a lease lists, and of their bodies, but for
///   one.
///
/// [`listed_entry`]: super::keys::listed_entry
macro_rules! with_entries {
    ($script:literal) => {
        concat!(
            "\
local function own_variants(list)
  local names, own = redis.pcall('LRANGE', list, 0, -1), {}
  local prefix = string.gsub(list, ':v:', ':e:', 1)
  for _, name in ipairs(names) do
    if string.sub(name, 1, #prefix) == prefix then own[#own + 1] = name end
  end
  return own, names.err or #names > 0
end
local function unlink_entry(entry)
  redis.call('UNLINK', entry, (string.gsub(entry, ':e:', ':b:', 1)))
end
local function unlink_all(keys)
  for first = 1, #keys, 1000 do
    redis.call('UNLINK', unpack(keys, first, math.min(first + 999, #keys)))
  end
end
local function remove_variants(list)
  local old, is_present = own_variants(list)
  for _, entry in ipairs(old) do unlink_entry(entry) end
  if is_present then redis.call('UNLINK', list) end
end
local function add_variant(list, entry, max, ttl)
  if type(redis.pcall('LREM', list, 0, entry)) ~= 'number' then redis.call('UNLINK', list) end
  redis.call('LPUSH', list, entry)
  if redis.call('PTTL', list) < tonumber(ttl) then redis.call('PEXPIRE', list, ttl) end
  for _, old in ipairs(redis.call('LRANGE', list, max, -1)) do unlink_entry(old) end
  redis.call('LTRIM', list, 0, max - 1)
end
local function list_entry(lease, listed)
  for at = 49, #lease, 17 do
    if string.sub(lease, at + 1, at + 16) == string.sub(listed, 2) then
      if string.sub(listed, 1, 1) <= string.sub(lease, at, at) then return lease end
      return string.sub(lease, 1, at - 1) .. listed .. string.sub(lease, at + 17)
    end
  end
  if #lease >= 48 + 8 * 17 then return lease end
  return lease .. listed
end
local function add_entry(keys, entry, kept, has_body)
  if entry == kept then return end
  keys[#keys + 1] = entry
  if has_body then keys[#keys + 1] = string.gsub(entry, ':e:', ':b:', 1) end
end
local function add_listed(keys, lease_key, lease, kept)
  for at = 49, #lease, 17 do
    local selector = string.gsub(string.sub(lease, at + 1, at + 16), '.', function(byte)
      return string.format('%02x', string.byte(byte))
    end)
    local entry, letter = string.gsub(lease_key, ':l:', ':e:', 1) .. selector, string.sub(lease, at, at)
    add_entry(keys, entry, kept, letter ~= 'e')
    if letter == 'v' then
      local list = string.gsub(lease_key, ':l:', ':v:', 1) .. selector
      for _, variant in ipairs(own_variants(list)) do add_entry(keys, variant, kept, true) end
      keys[#keys + 1] = list
    end
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
