//! An HTTP/2 origin that says what no library would.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::http2_frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, frame,
    literal,
};

/// `:status: 200` by the static table of HPACK, and fields as literals.
pub fn head(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x88];
    for (name, value) in fields {
        literal(&mut block, name, value);
    }
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// A whole response.
pub fn hello(stream: u32) -> Vec<u8> {
    let mut response = head(stream, &[]);
    response.extend(frame(DATA, END_STREAM, stream, b"hello"));
    response
}

pub fn reset(stream: u32, reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &reason.to_be_bytes())
}

/// The last stream that was processed, and the reason.
pub fn goaway(last: u32, reason: u32) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend(reason.to_be_bytes());
    frame(GOAWAY, 0, 0, &payload)
}

/// A request's head, or a frame of its content.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    pub stream: u32,
    pub is_head: bool,
    /// Whether the request is whole.
    pub is_end: bool,
}

/// The bytes sent after an event; `None` closes the connection.
type Answer = dyn Fn(Event) -> Option<Vec<u8>> + Send + Sync;

pub struct Http2Origin {
    port: u16,
    heads: Arc<Mutex<Vec<Event>>>,
    _serving: JoinSet<()>,
}

impl Http2Origin {
    pub async fn start(answer: impl Fn(Event) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (answer, heads): (Arc<Answer>, Arc<Mutex<Vec<Event>>>) =
            (Arc::new(answer), Arc::default());
        let mut serving = JoinSet::new();
        let all = heads.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (answer, heads) = (answer.clone(), all.clone());
                connections.spawn(async move {
                    let _ = serve(stream, &heads, &*answer).await;
                });
            }
        });
        Self {
            port,
            heads,
            _serving: serving,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The heads of requests since the last call.
    pub fn heads(&self) -> Vec<Event> {
        std::mem::take(&mut *self.heads.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve(
    mut stream: TcpStream,
    heads: &Mutex<Vec<Event>>,
    answer: &Answer,
) -> std::io::Result<()> {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, b"")).await?;
    loop {
        let received = Frame::read(&mut stream).await?;
        let event = Event {
            stream: received.stream,
            is_head: received.kind == HEADERS,
            is_end: received.flags & END_STREAM != 0,
        };
        let said = match (received.kind, received.flags) {
            (SETTINGS, 0) => Some(frame(SETTINGS, ACK, 0, b"")),
            (PING, 0) => Some(frame(PING, ACK, 0, &received.payload)),
            (HEADERS | DATA, _) => {
                if event.is_head {
                    heads
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(event);
                }
                answer(event)
            }
            _ => Some(Vec::new()),
        };
        match said {
            Some(said) => stream.write_all(&said).await?,
            None => return Ok(()),
        }
    }
}
