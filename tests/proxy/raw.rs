//! A client that says what no library would.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::example::PATIENCE;

/// Options by which upstreams get content as it comes, however many uploads there are.
pub const STREAMED: [&str; 4] = ["--max-buffered-upload", "0B", "--max-uploads", "10000"];

/// A connection, and what has been heard on it and not yet been taken.
pub struct Raw {
    stream: TcpStream,
    heard: Vec<u8>,
}

impl Raw {
    pub async fn connect(port: u16) -> Self {
        Self::connect_from("127.0.0.1", port).await
    }

    /// One at another address of this machine.
    pub async fn connect_from(address: &str, port: u16) -> Self {
        Self {
            stream: connect_from(address, port).await,
            heard: Vec::new(),
        }
    }

    /// Reads a part of the response. Returns its length.
    pub async fn hear_some(&mut self, bytes: usize) -> usize {
        let mut some = vec![0; bytes];
        self.stream.read(&mut some).await.unwrap_or(0)
    }

    pub async fn say(&mut self, said: impl AsRef<[u8]>) {
        let written = self.stream.write_all(said.as_ref()).await;
        written.expect("it listens");
    }

    /// Says nothing more, and goes on listening.
    pub async fn stop_saying(&mut self) {
        self.stream.shutdown().await.expect("it listens");
    }

    /// Whether the other side still listens.
    pub async fn try_say(&mut self, said: &str) -> bool {
        self.stream.write_all(said.as_bytes()).await.is_ok()
    }

    /// All that is said until `end`, with that.
    pub async fn hear_until(&mut self, end: &str) -> String {
        loop {
            let found = self
                .heard
                .windows(end.len())
                .position(|window| window == end.as_bytes());
            if let Some(at) = found {
                let rest = self.heard.split_off(at + end.len());
                let heard = std::mem::replace(&mut self.heard, rest);
                return String::from_utf8_lossy(&heard).into_owned();
            }
            let more = timeout(PATIENCE, self.stream.read_buf(&mut self.heard)).await;
            let more = more.unwrap_or_else(|_| panic!("no {end:?} in {}", self.so_far()));
            assert!(
                more.expect("it listens") > 0,
                "no {end:?} in {}",
                self.so_far()
            );
        }
    }

    /// Whether `end` is said before it closes.
    pub async fn hears(&mut self, end: &str) -> bool {
        let heard = async {
            while !self.so_far().contains(end) {
                if !matches!(self.stream.read_buf(&mut self.heard).await, Ok(1..)) {
                    return false;
                }
            }
            self.heard.clear();
            true
        };
        timeout(PATIENCE, heard)
            .await
            .expect("an answer, or the end")
    }

    /// All that is said until it closes; how it does so makes no difference.
    pub async fn hear_all(mut self) -> String {
        let all = timeout(PATIENCE, self.stream.read_to_end(&mut self.heard)).await;
        let _ = all.unwrap_or_else(|_| panic!("it stays open after {}", self.so_far()));
        self.so_far()
    }

    /// Waits for its end, which must come before `most` bytes have.
    pub async fn hear_no_more_than(mut self, most: usize) {
        let mut heard = 0;
        let end = async {
            while let Ok(more @ 1..) = self.stream.read_buf(&mut self.heard).await {
                heard += more;
                assert!(heard < most, "it goes on");
                self.heard.clear();
            }
        };
        timeout(PATIENCE, end).await.expect("it ends");
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.heard).into_owned()
    }
}

/// A connection of a client at an address of this machine.
pub async fn connect_from(address: &str, port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    let any = format!("{address}:0").parse().expect("an address");
    socket.bind(any).expect("an address of this machine");
    let stream = socket.connect(([127, 0, 0, 1], port).into()).await;
    stream.expect("it listens")
}

/// Says all of it, and hears all that comes until the other side closes.
pub async fn exchange(port: u16, said: impl AsRef<[u8]>) -> String {
    let mut raw = Raw::connect(port).await;
    raw.say(said).await;
    raw.hear_all().await
}

/// A GET that is the last of its connection.
pub fn last_get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: test.example\r\nconnection: close\r\n\r\n")
}
