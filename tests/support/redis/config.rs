//! How a server is to be started.

use std::path::Path;

use super::RedisServer;

/// A server that is to be started; all else is as `redis-server` has it.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub(super) lines: Vec<String>,
    pub(super) password: Option<String>,
    pub(super) tls: bool,
    pub(super) unix_socket: bool,
}

impl Config {
    /// One more line of `redis.conf`.
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Syncs every write: acknowledged data survives [`RedisServer::kill`] and
    /// [`RedisServer::restart`].
    pub fn append_only(self) -> Self {
        self.line("appendonly yes").line("appendfsync always")
    }

    /// Bounds its memory, as `2mb` and `noeviction` or `allkeys-lru`.
    pub fn max_memory(self, size: &str, policy: &str) -> Self {
        self.line(format!("maxmemory {size}"))
            .line(format!("maxmemory-policy {policy}"))
    }

    /// Wants this password of everyone.
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self.line(format!("requirepass {password}"))
    }

    /// Follows another server.
    pub fn replica_of(self, master: &RedisServer) -> Self {
        let line = self.line(format!("replicaof 127.0.0.1 {}", master.port()));
        match master.password() {
            Some(password) => line.line(format!("masterauth {password}")),
            None => line,
        }
    }

    /// Listens on a socket in the file system, too.
    pub fn unix_socket(mut self) -> Self {
        self.unix_socket = true;
        self
    }

    /// Listens on a second port, by TLS, with the certificate in `tls/`.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts it. Panics, with its log, when it does not come up.
    pub async fn start(self) -> RedisServer {
        RedisServer::with(self).await
    }

    /// All of `redis.conf`.
    pub(super) fn text(&self, folder: &Path, at: &Places) -> String {
        let mut lines = vec![
            "bind 127.0.0.1".to_owned(),
            format!("port {}", at.port),
            format!("dir \"{}\"", folder.display()),
            "save \"\"".to_owned(),
            "enable-debug-command yes".to_owned(),
            // A replica is there within moments, not after the time in which others might come,
            // too.
            "repl-diskless-sync-delay 0".to_owned(),
        ];
        if let Some(port) = at.tls_port {
            lines.push(format!("tls-port {port}"));
            lines.push("tls-auth-clients no".to_owned());
            for (option, file) in [
                ("tls-ca-cert-file", "ca.crt"),
                ("tls-cert-file", "server.crt"),
                ("tls-key-file", "server.key"),
            ] {
                lines.push(format!("{option} \"{}\"", tls_file(file)));
            }
        }
        if let Some(socket) = &at.socket {
            lines.push(format!("unixsocket \"{}\"", socket.display()));
        }
        lines.extend(self.lines.iter().cloned());
        lines.join("\n") + "\n"
    }
}

/// Where a server listens.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub port: u16,
    pub tls_port: Option<u16>,
    pub socket: Option<std::path::PathBuf>,
}

/// A file of `tls/`.
pub(super) fn tls_file(name: &str) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    format!("{root}/tests/support/redis/tls/{name}")
}
