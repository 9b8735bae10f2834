//! A slow network: a link of limited rate and with latency, which all connections share.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, sleep_until};

/// The bytes that a connection sends before it is the turn of the next one.
const TURN: usize = 8 * 1024;
/// The time that the link may send ahead, because timers have a resolution of a millisecond.
const BURST: Duration = Duration::from_millis(1);
/// The time that the link makes up for, because timers of a busy machine are late: without it, the
/// rate would be far lower than it says.
const MADE_UP: Duration = Duration::from_millis(5);

/// How fast a link is.
#[derive(Clone, Copy, Debug)]
pub struct LinkSpeed {
    pub bits_per_second: u64,
    pub round_trip: Duration,
}

impl LinkSpeed {
    /// 100 Mbit/s and a round trip of 5 ms.
    pub const SLOW: Self = Self {
        bits_per_second: 100_000_000,
        round_trip: Duration::from_millis(5),
    };
    /// 1 Gbit/s and a round trip of 0.4 ms.
    pub const FAST: Self = Self {
        bits_per_second: 1_000_000_000,
        round_trip: Duration::from_micros(400),
    };
}

/// Stands between clients and a server. Each direction has the whole rate, and connections that
/// send at the same time share it fairly. Lives as long as the runtime it was opened in.
#[derive(Clone, Debug)]
pub struct Link(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    port: u16,
    upstream: u16,
    to_server: Lane,
    to_client: Lane,
    accepted: AtomicUsize,
}

/// One direction.
#[derive(Debug)]
struct Lane {
    speed: LinkSpeed,
    /// When the bytes sent so far have left. Its waiters are served in order.
    is_free_at: Mutex<Instant>,
    bytes: AtomicU64,
}

impl Link {
    /// Opens a link to a port of this machine.
    pub async fn to(upstream: u16, speed: LinkSpeed) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let shared = Arc::new(Shared {
            port: listener.local_addr().expect("an address").port(),
            upstream,
            to_server: Lane::new(speed),
            to_client: Lane::new(speed),
            accepted: AtomicUsize::new(0),
        });
        tokio::spawn(accept(listener, shared.clone()));
        Self(shared)
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// The URL of the server behind the link.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port())
    }

    /// The bytes that the server has sent.
    pub fn bytes_from_server(&self) -> u64 {
        self.0.to_client.bytes.load(Ordering::SeqCst)
    }

    /// The bytes that clients have sent.
    pub fn bytes_to_server(&self) -> u64 {
        self.0.to_server.bytes.load(Ordering::SeqCst)
    }

    /// The connections made so far.
    pub fn accepted(&self) -> usize {
        self.0.accepted.load(Ordering::SeqCst)
    }
}

impl Lane {
    fn new(speed: LinkSpeed) -> Self {
        Self {
            speed,
            is_free_at: Mutex::new(Instant::now()),
            bytes: AtomicU64::new(0),
        }
    }

    /// Waits for the turn and the time that these bytes take, and returns when they arrive.
    async fn send(&self, bytes: usize) -> Instant {
        let mut is_free_at = self.is_free_at.lock().await;
        let bits = bytes as u64 * 8;
        let takes = Duration::from_nanos(bits * 1_000_000_000 / self.speed.bits_per_second);
        *is_free_at = (*is_free_at).max(Instant::now() - MADE_UP) + takes;
        if *is_free_at > Instant::now() + BURST {
            sleep_until(*is_free_at).await;
        }
        self.bytes.fetch_add(bytes as u64, Ordering::SeqCst);
        (*is_free_at).max(Instant::now()) + self.speed.round_trip / 2
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        shared.accepted.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(connect(client, shared.clone()));
    }
}

async fn connect(client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let upstream = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.upstream)).await?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = upstream.into_split();
    tokio::select! {
        ended = forward(from_client, to_server, &shared.to_server) => ended,
        ended = forward(from_server, to_client, &shared.to_client) => ended,
    }
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, lane: &Lane) -> io::Result<()> {
    // The bytes in transit.
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let sends = async move {
        loop {
            let mut bytes = vec![0; TURN];
            let read = from.read(&mut bytes).await?;
            if read == 0 {
                return io::Result::Ok(());
            }
            bytes.truncate(read);
            let arrives = lane.send(read).await;
            if sender.send((arrives, bytes)).await.is_err() {
                return Ok(());
            }
        }
    };
    let receives = async move {
        while let Some((arrives, bytes)) = receiver.recv().await {
            sleep_until(arrives).await;
            to.write_all(&bytes).await?;
        }
        io::Result::Ok(())
    };
    tokio::try_join!(sends, receives).map(drop)
}
