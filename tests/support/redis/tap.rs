//! A wire that can be cut.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

/// Stands between clients and a server and forwards their bytes, until ordered otherwise: at any
/// time, for connections that are there and those to come. Clones are the same tap. Lives as long
/// as the runtime it was opened in.
#[derive(Clone, Debug)]
pub struct Tap(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    port: u16,
    state: watch::Sender<State>,
    accepted: AtomicUsize,
    open: AtomicUsize,
    meter: Meter,
}

/// The bytes that are read at once. They are delayed together.
const CHUNK: usize = 64 * 1024;

/// What went through a tap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How often a client sent something after a reply to what went before. Exact for one
    /// connection.
    pub round_trips: u64,
    /// Bytes of commands.
    pub sent: u64,
    /// Bytes of replies.
    pub received: u64,
}

#[derive(Debug, Default)]
struct Meter {
    round_trips: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    /// Whether the last bytes were commands.
    is_asking: AtomicBool,
}

impl Meter {
    fn asked(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::SeqCst);
        if !self.is_asking.swap(true, Ordering::SeqCst) {
            self.round_trips.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn answered(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::SeqCst);
        self.is_asking.store(false, Ordering::SeqCst);
    }
}

#[derive(Clone, Debug)]
struct State {
    upstream: SocketAddr,
    mode: Mode,
    /// Connections of an earlier time than this are cut.
    time: u64,
    /// So many connections, the first ones, lead nowhere any more.
    stranded: usize,
}

impl State {
    fn mode_of(&self, number: usize) -> Mode {
        match number <= self.stranded {
            true => Mode::BlackHole,
            false => self.mode.clone(),
        }
    }
}

#[derive(Clone, Debug)]
enum Mode {
    Pass,
    Delay(Duration),
    BlackHole,
    Refuse,
    Garble(Arc<[u8]>),
    Truncate(Arc<AtomicUsize>),
    LoseReplies,
    Interject(Arc<Mutex<Vec<u8>>>),
    HoldReplies,
}

impl Mode {
    fn holds_replies(&self) -> bool {
        matches!(self, Self::BlackHole | Self::HoldReplies)
    }
}

impl Tap {
    /// Opens one in front of a port of this machine.
    pub async fn to(upstream: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let state = State {
            upstream: local(upstream),
            mode: Mode::Pass,
            time: 0,
            stranded: 0,
        };
        let tap = Self(Arc::new(Shared {
            port: listener.local_addr().expect("an address").port(),
            state: watch::Sender::new(state),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            meter: Meter::default(),
        }));
        tokio::spawn(accept(listener, tap.0.clone()));
        tap
    }

    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// As clients want it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port())
    }

    /// Passes on everything, and what a black hole has held.
    pub fn pass(&self) {
        self.set(Mode::Pass);
    }

    /// Holds everything back for this long, each way.
    pub fn delay(&self, time: Duration) {
        self.set(Mode::Delay(time));
    }

    /// Accepts, reads and holds everything; nothing gets through, not even that an end was closed.
    pub fn black_hole(&self) {
        self.set(Mode::BlackHole);
    }

    /// Cuts all connections, and new ones as soon as they are made.
    pub fn refuse(&self) {
        self.set(Mode::Refuse);
        self.cut();
    }

    /// Puts these bytes in the place of everything that the server says.
    pub fn garble(&self, bytes: &[u8]) {
        self.set(Mode::Garble(bytes.into()));
    }

    /// Lets so many bytes of replies through, of all connections together, then cuts whichever says
    /// more.
    pub fn truncate(&self, after: usize) {
        self.set(Mode::Truncate(Arc::new(AtomicUsize::new(after))));
    }

    /// Forwards commands and drops the replies: done, but not acknowledged.
    pub fn lose_replies(&self) {
        self.set(Mode::LoseReplies);
    }

    /// Inserts these unsolicited bytes before the server's next reply; once.
    pub fn interject(&self, bytes: &[u8]) {
        self.set(Mode::Interject(Arc::new(Mutex::new(bytes.to_vec()))));
    }

    /// A black hole for the existing connections, for ever; new ones are not affected.
    pub fn strand(&self) {
        let accepted = self.accepted();
        self.0.state.send_modify(|state| state.stranded = accepted);
    }

    /// Forwards commands and holds the replies until ordered to release them: done, and not yet
    /// acknowledged.
    pub fn hold_replies(&self) {
        self.set(Mode::HoldReplies);
    }

    /// Cuts the connections there are.
    pub fn cut(&self) {
        self.0.state.send_modify(|state| state.time += 1);
    }

    /// Leads to another port from now on; cuts the connections there are. A failover behind one
    /// name.
    pub fn switch(&self, upstream: u16) {
        self.0.state.send_modify(|state| {
            state.upstream = local(upstream);
            state.time += 1;
        });
    }

    /// Connections made in all, refused ones too.
    pub fn accepted(&self) -> usize {
        self.0.accepted.load(Ordering::SeqCst)
    }

    /// Connections there are.
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::SeqCst)
    }

    /// What went through since it was opened.
    pub fn traffic(&self) -> Traffic {
        let meter = &self.0.meter;
        Traffic {
            round_trips: meter.round_trips.load(Ordering::SeqCst),
            sent: meter.sent.load(Ordering::SeqCst),
            received: meter.received.load(Ordering::SeqCst),
        }
    }

    fn set(&self, mode: Mode) {
        self.0.state.send_modify(|state| state.mode = mode);
    }
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        let number = shared.accepted.fetch_add(1, Ordering::SeqCst) + 1;
        shared.open.fetch_add(1, Ordering::SeqCst);
        let state = shared.state.subscribe();
        let time = state.borrow().time;
        let shared = shared.clone();
        tokio::spawn(async move {
            let mut cut = state.clone();
            let is_cut =
                cut.wait_for(|state| state.time != time || matches!(state.mode, Mode::Refuse));
            tokio::select! {
                biased;
                _ = is_cut => {}
                _ = connect(client, number, state, &shared.meter) => {}
            }
            shared.open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

async fn connect(
    client: TcpStream,
    number: usize,
    mut state: watch::Receiver<State>,
    meter: &Meter,
) -> io::Result<()> {
    client.set_nodelay(true)?;
    let (mut from_client, to_client) = client.into_split();
    let mut held = Vec::new();
    let upstream = loop {
        tokio::select! {
            state = state.wait_for(|state| !matches!(state.mode_of(number), Mode::BlackHole)) => {
                break state.map_err(io::Error::other)?.upstream;
            }
            read = from_client.read_buf(&mut held) => if read? == 0 { return Ok(()) },
        }
    };
    let upstream = TcpStream::connect(upstream).await?;
    upstream.set_nodelay(true)?;
    let (from_server, to_server) = upstream.into_split();
    tokio::select! {
        ended = requests(from_client, number, held, to_server, state.clone(), meter) => ended,
        ended = replies(from_server, number, to_client, state, meter) => ended,
    }
}

async fn requests(
    mut from: OwnedReadHalf,
    number: usize,
    mut held: Vec<u8>,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    meter: &Meter,
) -> io::Result<()> {
    loop {
        let mode = state.borrow_and_update().mode_of(number);
        if !held.is_empty() && !matches!(mode, Mode::BlackHole) {
            if let Mode::Delay(time) = mode {
                sleep(time).await;
            }
            meter.asked(held.len());
            to.write_all(&std::mem::take(&mut held)).await?;
            continue;
        }
        held.reserve(CHUNK);
        tokio::select! {
            read = from.read_buf(&mut held) => if read? == 0 { return Ok(()) },
            _ = state.changed() => {}
        }
    }
}

async fn replies(
    mut from: OwnedReadHalf,
    number: usize,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
    meter: &Meter,
) -> io::Result<()> {
    let mut held = Vec::new();
    let mut is_closed = false;
    loop {
        let mode = state.borrow_and_update().mode_of(number);
        if !mode.holds_replies() {
            if !held.is_empty() {
                let held = std::mem::take(&mut held);
                meter.answered(held.len());
                answer(&mut to, held, mode).await?;
                continue;
            }
            if is_closed {
                return Ok(());
            }
        }
        held.reserve(CHUNK);
        tokio::select! {
            read = from.read_buf(&mut held), if !is_closed => is_closed = !matches!(read, Ok(1..)),
            _ = state.changed() => {}
        }
    }
}

async fn answer(to: &mut OwnedWriteHalf, said: Vec<u8>, mode: Mode) -> io::Result<()> {
    match mode {
        Mode::Garble(bytes) => to.write_all(&bytes).await,
        Mode::LoseReplies => Ok(()),
        Mode::Truncate(left) => {
            let take = |left: usize| Some(left.saturating_sub(said.len()));
            let before = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take);
            let kept = before.unwrap_or_default().min(said.len());
            to.write_all(&said[..kept]).await?;
            if kept < said.len() {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Ok(())
        }
        Mode::Delay(time) => {
            sleep(time).await;
            to.write_all(&said).await
        }
        Mode::Interject(bytes) => {
            let bytes = std::mem::take(&mut *bytes.lock().expect("no panic"));
            to.write_all(&[bytes, said].concat()).await
        }
        Mode::Pass | Mode::BlackHole | Mode::Refuse | Mode::HoldReplies => {
            to.write_all(&said).await
        }
    }
}
