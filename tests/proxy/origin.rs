//! An origin that says what no library would.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::example::PATIENCE;

/// The origin's reaction to a request, one step after the other.
#[derive(Clone)]
pub enum Step {
    /// Reads the request's content.
    Content,
    /// Reads a little of it.
    Some,
    Say(Vec<u8>),
    /// Repeats it for as long as the client reads.
    Forever(Vec<u8>),
    Wait(Arc<Notify>),
    /// Tells that it has come so far.
    Tell(Arc<Notify>),
    Pause(Duration),
    /// Says nothing more, and keeps the connection.
    Hang,
    Close,
    /// Says nothing more, and goes on reading.
    StopSaying,
    /// Tells when the other side is gone.
    Gone(Arc<Notify>),
    /// Says back all that it hears.
    Echo,
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Of which connection, from 0.
    pub connection: usize,
    pub head: String,
    pub content: Vec<u8>,
}

impl Heard {
    /// A field's lines, joined.
    pub fn field(&self, name: &str) -> String {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let values: Vec<_> = lines
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect();
        values.join(" | ")
    }

    pub fn request_line(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }
}

type Answer = dyn Fn(&Heard) -> Vec<Step> + Send + Sync;

#[derive(Default)]
struct Connections {
    opened: AtomicUsize,
    closed: Mutex<Vec<usize>>,
}

/// A port without a listener. It is bound, so that no other test gets it.
pub struct Nobody(TcpSocket);

impl Nobody {
    pub fn new() -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        let any = "127.0.0.1:0".parse().expect("an address");
        socket.bind(any).expect("a port");
        Self(socket)
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.local_addr().expect("an address"))
    }

    pub fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }
}

/// Listens on a port of its own until it is dropped.
pub struct Origin {
    pub port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
    connections: Arc<Connections>,
    _serving: JoinSet<()>,
}

impl Origin {
    pub async fn start(answer: impl Fn(&Heard) -> Vec<Step> + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1", 0, answer).await
    }

    async fn start_at(
        address: &str,
        port: u16,
        answer: impl Fn(&Heard) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind((address, port)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(Connections::default());
        let mut serving = JoinSet::new();
        serving.spawn(accept(
            listener,
            heard.clone(),
            connections.clone(),
            Arc::new(answer),
        ));
        Self {
            port,
            heard,
            connections,
            _serving: serving,
        }
    }

    /// One at another address of this machine, that always gives this answer.
    pub async fn saying_at(address: &str, port: u16, answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        let steps = move |_: &Heard| vec![Step::Content, Step::Say(answer.clone())];
        Self::start_at(address, port, steps).await
    }

    /// One that always gives this answer, after it has read the request.
    pub async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_| vec![Step::Content, Step::Say(answer.clone())]).await
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The connections that are open. One is not seen to be closed while nothing is read from it.
    pub fn open(&self) -> usize {
        let closed = self.closed();
        self.connections.opened.load(Ordering::SeqCst) - closed
    }

    /// The connections that were closed, by either side.
    pub fn closed(&self) -> usize {
        self.closed_connections().len()
    }

    /// Which connections were closed, in this order.
    pub fn closed_connections(&self) -> Vec<usize> {
        let closed = self.connections.closed.lock();
        closed.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a request whose head begins so. It stays among those that were heard.
    pub async fn until_heard(&self, begin: &str) {
        let start = std::time::Instant::now();
        let is_there = || {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.iter().any(|heard| heard.head.starts_with(begin))
        };
        while !is_there() {
            assert!(start.elapsed() < PATIENCE, "{begin} is not heard");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The requests since the last call.
    pub fn heard(&self) -> Vec<Heard> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same, and those of the next call, too.
    pub fn heard_so_far(&self) -> Vec<Heard> {
        let heard = self.heard.lock();
        heard.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The one request that it was asked since the last time.
    pub fn heard_one(&self) -> Heard {
        let mut heard = self.heard();
        assert_eq!(heard.len(), 1, "{heard:?}");
        heard.remove(0)
    }
}

async fn accept(
    listener: TcpListener,
    heard: Arc<Mutex<Vec<Heard>>>,
    count: Arc<Connections>,
    answer: Arc<Answer>,
) {
    let mut connections = JoinSet::new();
    for connection in 0.. {
        let (stream, _) = listener.accept().await.expect("a connection");
        let (heard, count, answer) = (heard.clone(), count.clone(), answer.clone());
        connections.spawn(async move {
            count.opened.fetch_add(1, Ordering::SeqCst);
            // A closed connection ends its task.
            let _ = serve(stream, connection, &heard, &*answer).await;
            let closed = count.closed.lock();
            closed
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        });
    }
}

async fn serve(
    mut stream: TcpStream,
    connection: usize,
    all: &Mutex<Vec<Heard>>,
    answer: &Answer,
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let head = read_to(&mut stream, &mut buffer, b"\r\n\r\n").await?;
        let heard = Heard {
            connection,
            head: String::from_utf8_lossy(&head).into_owned(),
            content: Vec::new(),
        };
        let at = {
            let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(heard.clone());
            all.len() - 1
        };
        for step in answer(&heard) {
            match step {
                Step::Content => {
                    let content = read_content(&mut stream, &mut buffer, &heard).await?;
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Some(heard) = all.get_mut(at) {
                        heard.content = content;
                    }
                }
                Step::Some => {
                    stream.read_buf(&mut buffer).await?;
                }
                Step::Say(bytes) => stream.write_all(&bytes).await?,
                Step::Forever(bytes) => loop {
                    stream.write_all(&bytes).await?;
                },
                Step::Wait(signal) => signal.notified().await,
                Step::Tell(signal) => signal.notify_one(),
                Step::Pause(time) => tokio::time::sleep(time).await,
                Step::Hang => std::future::pending().await,
                Step::Close => return Ok(()),
                Step::StopSaying => stream.shutdown().await?,
                Step::Gone(tell) => {
                    while more(&mut stream, &mut buffer).await.is_ok() {}
                    tell.notify_one();
                    return Ok(());
                }
                Step::Echo => {
                    stream.write_all(&std::mem::take(&mut buffer)).await?;
                    let (mut reader, mut writer) = stream.split();
                    tokio::io::copy(&mut reader, &mut writer).await?;
                    return Ok(());
                }
            }
        }
    }
}

async fn read_content(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    heard: &Heard,
) -> std::io::Result<Vec<u8>> {
    if heard.field("transfer-encoding") == "chunked" {
        let mut content = Vec::new();
        loop {
            let chunk = read_to(stream, buffer, b"\r\n").await?;
            content.extend_from_slice(&chunk);
            if chunk == b"0\r\n" {
                break;
            }
        }
        while !content.ends_with(b"\r\n\r\n") {
            content.extend_from_slice(&read_to(stream, buffer, b"\r\n").await?);
        }
        return Ok(content);
    }
    let length = heard.field("content-length").parse().unwrap_or(0);
    while buffer.len() < length {
        more(stream, buffer).await?;
    }
    let rest = buffer.split_off(length);
    Ok(std::mem::replace(buffer, rest))
}

async fn read_to(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
    end: &[u8],
) -> std::io::Result<Vec<u8>> {
    loop {
        let found = buffer.windows(end.len()).position(|window| window == end);
        if let Some(at) = found {
            let rest = buffer.split_off(at + end.len());
            return Ok(std::mem::replace(buffer, rest));
        }
        more(stream, buffer).await?;
    }
}

async fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<()> {
    match stream.read_buf(buffer).await? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// A 200 with these lines of its head, each ending with `\r\n`, and this content.
pub fn ok(lines: &str, content: &str) -> String {
    let length = content.len();
    format!("HTTP/1.1 200 OK\r\n{lines}content-length: {length}\r\n\r\n{content}")
}

/// A 200 that is fresh for longer than a test waits.
pub fn fresh(content: &str) -> String {
    ok("cache-control: max-age=3600\r\n", content)
}
