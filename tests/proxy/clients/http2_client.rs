//! An HTTP/2 client that sends what no library would.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::example::PATIENCE;
use crate::http2_frames::{
    ACK, DATA, END_HEADERS, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    frame, literal,
};
use crate::raw::connect_from;

/// A connection that answers pings until it is told to leave, and does nothing else by itself.
pub struct Http2Client {
    stream: TcpStream,
    /// What has been read, but is no whole frame.
    read: Vec<u8>,
    next: u32,
    /// The streams that the other side has reset.
    pub resets: Vec<u32>,
    /// The content that came so far.
    pub received: usize,
    is_told_to_leave: bool,
}

impl Http2Client {
    /// `window` is the size of its windows for responses.
    pub async fn connect(port: u16, window: u32) -> Self {
        Self::connect_from("127.0.0.1", port, window).await
    }

    /// One at another address of this machine.
    pub async fn connect_from(address: &str, port: u16, window: u32) -> Self {
        let mut stream = connect_from(address, port).await;
        let mut said = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut settings = vec![0, 4];
        settings.extend(window.to_be_bytes());
        said.extend(frame(SETTINGS, 0, 0, &settings));
        stream.write_all(&said).await.expect("it listens");
        Self {
            stream,
            read: Vec::new(),
            next: 1,
            resets: Vec::new(),
            received: 0,
            is_told_to_leave: false,
        }
    }

    /// Begins a request; one with content is not ended.
    pub async fn request(&mut self, method: &str, path: &str, length: Option<usize>) -> u32 {
        let length = length.map(|length| length.to_string());
        let field = length.as_deref().map(|length| ("content-length", length));
        self.begin(method, path, field, length.is_none()).await
    }

    /// Asks for some ranges of a response.
    pub async fn get_ranges(&mut self, path: &str, ranges: &str) -> u32 {
        self.begin("GET", path, Some(("range", ranges)), true).await
    }

    async fn begin(
        &mut self,
        method: &str,
        path: &str,
        field: Option<(&str, &str)>,
        is_end: bool,
    ) -> u32 {
        let mut block = Vec::new();
        let pseudo_fields = [
            (":method", method),
            (":scheme", "http"),
            (":authority", "test.example"),
            (":path", path),
        ];
        for (name, value) in pseudo_fields.into_iter().chain(field) {
            literal(&mut block, name, value);
        }
        let (stream, end) = (self.next, u8::from(is_end));
        self.next += 2;
        let headers = frame(HEADERS, END_HEADERS | end, stream, &block);
        self.stream.write_all(&headers).await.expect("it listens");
        stream
    }

    pub async fn data(&mut self, stream: u32, content: &[u8]) {
        let data = frame(DATA, 0, stream, content);
        self.stream.write_all(&data).await.expect("it listens");
    }

    /// Gives up a response.
    pub async fn reset(&mut self, stream: u32) {
        const CANCEL: u32 = 8;
        let reset = frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
        self.stream.write_all(&reset).await.expect("it listens");
    }

    /// Opens the windows of a stream, and of the connection, for more of a response.
    pub async fn open(&mut self, stream: u32, bytes: u32) {
        for stream in [0, stream] {
            let update = frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes());
            // It may have been let go.
            let _ = self.stream.write_all(&update).await;
        }
    }

    /// Waits until the other side takes no new requests for much longer. From then on pings stay
    /// unanswered, by which it would know that this is known.
    pub async fn until_told_to_leave(&mut self) {
        let told = async { while self.next_frame().await.expect("it is open").kind != GOAWAY {} };
        timeout(PATIENCE, told).await.expect("it is told");
        self.is_told_to_leave = true;
    }

    /// Answers pings until the other side closes, and counts the content that comes.
    pub async fn wait_for_end(mut self) -> usize {
        let mut received = 0;
        let end = async {
            while let Ok(length) = self.answer_one().await {
                received += length;
            }
        };
        timeout(PATIENCE, end).await.expect("it is let go");
        received
    }

    /// Answers pings for a while; whether the connection is still open.
    pub async fn stays_for(&mut self, time: Duration) -> bool {
        let answering = async { while self.answer_one().await.is_ok() {} };
        timeout(time, answering).await.is_err()
    }

    /// The next frame. Nothing is lost if it is waited for in vain.
    async fn next_frame(&mut self) -> std::io::Result<Frame> {
        loop {
            if let Some(frame) = Frame::take(&mut self.read) {
                return Ok(frame);
            }
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Waits until so much content has come in all.
    pub async fn receive(&mut self, bytes: usize) {
        let receiving = async {
            while self.received < bytes {
                self.answer_one().await.expect("it listens");
            }
        };
        timeout(PATIENCE, receiving).await.expect("content");
    }

    async fn answer_one(&mut self) -> std::io::Result<usize> {
        let received = self.next_frame().await?;
        match (received.kind, received.flags) {
            (SETTINGS, 0) => self.stream.write_all(&frame(SETTINGS, ACK, 0, b"")).await?,
            (PING, 0) if !self.is_told_to_leave => {
                self.stream
                    .write_all(&frame(PING, ACK, 0, &received.payload))
                    .await?
            }
            (DATA, _) => {
                self.received += received.payload.len();
                return Ok(received.payload.len());
            }
            (RST_STREAM, _) => self.resets.push(received.stream),
            _ => {}
        }
        Ok(0)
    }
}
