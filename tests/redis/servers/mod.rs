//! The helpers for Redis tests do their work: servers, the wire in front of them, and the fake
//! server.

mod fake;
mod link;
mod server;
mod tap;

use std::time::Duration;

use crate::support::redis::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

struct Client(TcpStream);

impl Client {
    async fn to(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).await;
        Self(stream.expect("a connection"))
    }

    async fn say(&mut self, line: &str) {
        let line = format!("{line}\r\n");
        self.0.write_all(line.as_bytes()).await.ok();
    }

    /// The next bytes: none in time, some, or an empty string at the end.
    async fn hears(&mut self) -> Option<String> {
        self.hears_within(PATIENCE).await
    }

    /// Nothing comes for a moment.
    async fn hears_nothing(&mut self) {
        let heard = self.hears_within(Duration::from_millis(100)).await;
        assert_eq!(heard, None);
    }

    async fn hears_within(&mut self, time: Duration) -> Option<String> {
        let mut bytes = vec![0; 4096];
        let read = timeout(time, self.0.read(&mut bytes)).await.ok()?;
        bytes.truncate(read.unwrap_or(0));
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn asks(&mut self, line: &str) -> Option<String> {
        self.say(line).await;
        self.hears().await
    }
}

fn some(said: &str) -> Option<String> {
    Some(said.to_owned())
}

const PONG: &str = "+PONG\r\n";
const END: &str = "";
