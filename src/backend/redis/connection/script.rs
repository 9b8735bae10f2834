//! A Lua script and the commands that call it.

use bytes::Bytes;
use redis::Cmd;

/// A Lua script with the hash that `EVALSHA` calls it by.
#[derive(Clone, Debug)]
pub(crate) struct LuaScript {
    text: &'static str,
    hash: String,
}

impl LuaScript {
    pub(crate) fn new(text: &'static str) -> Self {
        let hash = redis::Script::new(text).get_hash().to_owned();
        Self { text, hash }
    }

    /// Returns the call by hash, which fails with `NOSCRIPT` if the server does not know the
    /// script.
    pub(crate) fn evalsha(&self, keys: &[String], arguments: &[Bytes]) -> Cmd {
        call("EVALSHA", &self.hash, keys, arguments)
    }

    /// Returns the command after which the server knows the script, without a call of it.
    pub(crate) fn load(&self) -> Cmd {
        let mut cmd = redis::cmd("SCRIPT");
        cmd.arg("LOAD").arg(self.text);
        cmd
    }

    /// Returns the call by text, after which the server knows the script.
    pub(crate) fn eval(&self, keys: &[String], arguments: &[Bytes]) -> Cmd {
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
