//! What a server does, as `MONITOR` tells.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::{RedisServer, resp, until};

/// Commands that a server has carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The names of those that clients have sent.
    pub sent: Vec<String>,
    /// The names of those that scripts have called.
    pub scripted: Vec<String>,
}

/// Watches a server. Health checks, and what the test itself sends by `ECHO` and `INFO`, do not
/// count.
#[derive(Debug)]
pub struct Monitor {
    seen: Arc<Mutex<Watched>>,
    /// Keeps the connection open.
    _commands: tokio::net::tcp::OwnedWriteHalf,
}

#[derive(Debug, Default)]
struct Watched {
    seen: Seen,
    echoes: u64,
}

/// What a connection checks its server with.
const CHECKS: [&str; 3] = ["info", "time", "pexpire"];

impl Monitor {
    /// Starts to watch.
    pub async fn on(server: &RedisServer) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).await;
        let (from, mut to) = stream.expect("a connection").into_split();
        to.write_all(&resp::command(&["MONITOR"])).await.ok();
        let mut lines = BufReader::new(from).lines();
        let first = lines.next_line().await.ok().flatten();
        assert_eq!(first.as_deref(), Some("+OK"));
        let seen = Arc::default();
        tokio::spawn(watch(lines, Arc::clone(&seen)));
        Self {
            seen,
            _commands: to,
        }
    }

    /// Takes the commands since the last time.
    pub async fn take(&self, server: &RedisServer) -> Seen {
        let before = self.seen.lock().expect("no panic").echoes;
        server.command(&["ECHO", "until here"]).await;
        let has_seen = async || self.seen.lock().expect("no panic").echoes > before;
        until("all was seen", has_seen).await;
        std::mem::take(&mut self.seen.lock().expect("no panic").seen)
    }
}

async fn watch(mut lines: Lines<BufReader<OwnedReadHalf>>, seen: Arc<Mutex<Watched>>) {
    while let Ok(Some(line)) = lines.next_line().await {
        let Some((who, command)) = line.split_once("] \"") else {
            continue;
        };
        let name = command.split('"').next().unwrap_or_default();
        let name = name.to_ascii_lowercase();
        let mut seen = seen.lock().expect("no panic");
        let is_scripted = who.ends_with(" lua");
        match &*name {
            "echo" => seen.echoes += 1,
            _ if is_scripted => seen.seen.scripted.push(name),
            check if CHECKS.contains(&check) => {}
            _ => seen.seen.sent.push(name),
        }
    }
}
