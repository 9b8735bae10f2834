//! What all scripts that write share: a function that tells keys of other programs.
//!
//! Before Redis 5, a script that writes after `PTTL` has to ask for the replication of its effects
//! first, which later versions have by default.

/// Prepends `foreign`, which returns an error that names a key if its value is no string, and else
/// nothing. [`CommandError::foreign_key`] recognizes the error.
///
/// [`CommandError::foreign_key`]: crate::backend::redis::connection::CommandError::foreign_key
macro_rules! with_foreign {
    ($($script:expr),+) => {
        concat!(
            "\
if redis.replicate_commands then redis.replicate_commands() end
local function foreign(key)
  local reply = redis.pcall('GETRANGE', key, 0, 0)
  if type(reply) == 'table' and string.find(reply.err, 'WRONGTYPE', 1, true) then
    return redis.error_reply('WRONGTYPE ' .. key)
  end
end
local function unlink_own(...)
  local own = {}
  for _, key in ipairs({...}) do
    if not foreign(key) then own[#own + 1] = key end
  end
  if #own > 0 then redis.call('UNLINK', unpack(own)) end
end
",
            $($script),+
        )
    };
}

pub(super) use with_foreign;
