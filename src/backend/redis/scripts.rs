//! What Redis does in one step.

use bytes::Bytes;
use redis::Cmd;

/// A script with the name that Redis knows it by.
#[derive(Debug)]
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    fn new(text: &'static str) -> Self {
        let hash = redis::Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Runs it by its name, which Redis may have forgotten.
    pub(super) fn by_name(&self, keys: &[String], arguments: &[Bytes]) -> Cmd {
        call("EVALSHA", &self.hash, keys, arguments)
    }

    /// Runs it by its text, and has Redis remember it.
    pub(super) fn by_text(&self, keys: &[String], arguments: &[Bytes]) -> Cmd {
        call("EVAL", self.text, keys, arguments)
    }
}

fn call(command: &str, script: &str, keys: &[String], arguments: &[Bytes]) -> Cmd {
    let mut cmd = redis::cmd(command);
    cmd.arg(script).arg(keys.len()).arg(keys);
    for argument in arguments {
        cmd.arg(&argument[..]);
    }
    cmd
}

#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) begin: Script,
    pub(super) open: Script,
    pub(super) open_group: Script,
    pub(super) open_all: Script,
    pub(super) put: Script,
    pub(super) replace: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            begin: Script::new(BEGIN),
            open: Script::new(OPEN),
            open_group: Script::new(OPEN_GROUP),
            open_all: Script::new(OPEN_ALL),
            put: Script::new(PUT),
            replace: Script::new(REPLACE),
        }
    }
}

/// The namespace's token: what there is, or the one offered.
///
/// `pcall`, here and below, because what has our name may be of any type.
const BEGIN: &str = "\
local epoch = redis.pcall('GET', KEYS[1])
if type(epoch) == 'string' and #epoch == #ARGV[1] then return epoch end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]";

/// A resource's token: what there is, if it has the same seal and epoch, or the one offered.
const OPEN: &str = "\
local lease = redis.pcall('GET', KEYS[1])
if type(lease) == 'string' and #lease == #ARGV[1]
  and string.sub(lease, 1, 32) == string.sub(ARGV[1], 1, 32) then return lease end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]";

/// The same for a group's token, which is to outlive whoever is stored under it.
const OPEN_GROUP: &str = "\
local token = redis.pcall('GET', KEYS[1])
if type(token) == 'string' and #token == #ARGV[1]
  and string.sub(token, 1, 32) == string.sub(ARGV[1], 1, 32) then
  if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
  return token
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]";

/// The tokens of all stripes, in order: what there is, or the one offered with the place as its last byte.
const OPEN_ALL: &str = "\
local tokens = {}
for place, key in ipairs(KEYS) do
  local token = redis.pcall('GET', key)
  if type(token) ~= 'string' or #token ~= #ARGV[1]
    or string.sub(token, 1, 32) ~= string.sub(ARGV[1], 1, 32) then
    token = string.sub(ARGV[1], 1, -2) .. string.char(place)
    redis.call('SET', key, token, 'PX', ARGV[2])
  end
  tokens[place] = token
end
return tokens";

/// Notes a variant as the latest, and lets go of those that are too many. All are in the slot of their resource.
macro_rules! variants {
    ($script:literal) => {
        concat!(
            "\
local function latest(list, entry, most, life)
  if type(redis.pcall('LREM', list, 0, entry)) ~= 'number' then redis.call('UNLINK', list) end
  redis.call('LPUSH', list, entry)
  if redis.call('PTTL', list) < tonumber(life) then redis.call('PEXPIRE', list, life) end
  for _, old in ipairs(redis.call('LRANGE', list, most, -1)) do redis.call('UNLINK', old) end
  redis.call('LTRIM', list, 0, most - 1)
end
",
            $script
        )
    };
}

/// Stores under a token that still holds: lease, entry and perhaps rule and variants; token, entry, its life, the lease's,
/// rule, how many variants.
const PUT: &str = variants!(
    "\
if redis.pcall('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
if KEYS[3] then
  local life = math.max(redis.call('PTTL', KEYS[3]), tonumber(ARGV[3]))
  redis.call('SET', KEYS[3], ARGV[5], 'PX', string.format('%.0f', life))
  latest(KEYS[4], KEYS[2], ARGV[6], ARGV[4])
end
return 1"
);

/// Invalidates, and stores under a new token if the captured one held until then: where that is, lease, stripe, entry and
/// perhaps rule and variants; the captured token, entry, its life, the lease's, rule, how many variants, the new token.
const REPLACE: &str = variants!(
    "\
local held = redis.pcall('GET', KEYS[1]) == ARGV[1]
redis.call('UNLINK', KEYS[2], KEYS[3])
if not held then return 0 end
redis.call('SET', KEYS[2], ARGV[7], 'PX', ARGV[4])
redis.call('SET', KEYS[4], ARGV[2], 'PX', ARGV[3])
if KEYS[5] then
  redis.call('SET', KEYS[5], ARGV[5], 'PX', ARGV[3])
  latest(KEYS[6], KEYS[4], ARGV[6], ARGV[4])
end
return 1"
);
