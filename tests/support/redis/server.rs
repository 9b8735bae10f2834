//! A real server of a test's own.

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, process};

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::config::{Config, Places, tls_file};
use super::process::{Process, log};
use super::{PATIENCE, Reply, resp, until};

/// A `redis-server` in a folder of its own. Dropped, it is killed and its folder removed.
#[derive(Debug)]
pub struct RedisServer {
    config: Config,
    folder: PathBuf,
    at: Places,
    process: Option<Process>,
}

impl RedisServer {
    /// Starts one that keeps nothing.
    pub async fn start() -> Self {
        Self::with(Config::default()).await
    }

    /// Says how one is to be started.
    pub fn configure() -> Config {
        Config::default()
    }

    pub(super) async fn with(config: Config) -> Self {
        let number = next();
        let name = format!("redis-{}-{number}", process::id());
        let mut server = Self {
            folder: Path::new(env!("CARGO_TARGET_TMPDIR")).join(name),
            at: places(&config, number),
            config,
            process: None,
        };
        // What an earlier run with the same number, which was aborted, left behind.
        fs::remove_dir_all(&server.folder).ok();
        while let Err(log) = server.run().await {
            assert!(is_taken(&log), "redis-server does not come up:\n{log}");
            fs::remove_dir_all(&server.folder).ok();
            server.at = places(&server.config, number);
        }
        server
    }

    /// Starts the process and waits until this very process answers on its port; `Err` is its log
    /// when it ended.
    async fn run(&mut self) -> Result<(), String> {
        fs::create_dir_all(&self.folder).expect("a folder");
        let text = self.config.text(&self.folder, &self.at);
        fs::write(self.folder.join("redis.conf"), text).expect("redis.conf");
        let process = self.process.insert(Process::start(&self.folder));
        let own = format!("process_id:{}\r\n", process.id());
        let start = Instant::now();
        loop {
            let is_alive = self.process.as_mut().is_some_and(Process::is_alive);
            if !is_alive {
                self.process = None;
                return Err(log(&self.folder));
            }
            let info = self.try_command(&["INFO"]).await.ok();
            if let Some(Reply::Bulk(info)) = info {
                let info = String::from_utf8_lossy(&info);
                if info.contains(&own) && info.contains("\nloading:0") {
                    return Ok(());
                }
            }
            let log = || log(&self.folder);
            assert!(start.elapsed() < PATIENCE, "no answer:\n{}", log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn port(&self) -> u16 {
        self.at.port
    }

    /// As clients want it, with the password.
    pub fn url(&self) -> String {
        self.url_at("redis", "127.0.0.1", self.at.port)
    }

    /// Its URL for TLS; panics unless started so.
    pub fn tls_url(&self) -> String {
        self.url_at("rediss", "localhost", self.tls_port())
    }

    pub fn tls_port(&self) -> u16 {
        self.at.tls_port.expect("started with TLS")
    }

    /// Whom to trust for [`tls_url`](Self::tls_url): a certificate in PEM.
    pub fn tls_authority() -> PathBuf {
        tls_file("ca.crt").into()
    }

    /// The socket in the file system; panics unless started with one.
    pub fn socket(&self) -> &Path {
        self.at.socket.as_deref().expect("started with a socket")
    }

    pub fn password(&self) -> Option<&str> {
        self.config.password.as_deref()
    }

    fn url_at(&self, scheme: &str, host: &str, port: u16) -> String {
        match self.password() {
            Some(password) => format!("{scheme}://:{password}@{host}:{port}/"),
            None => format!("{scheme}://{host}:{port}/"),
        }
    }

    /// Its log.
    pub fn log(&self) -> String {
        log(&self.folder)
    }

    /// Kills it, without a chance to say good-bye. It is gone when this returns.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Whether it was started, and not killed since.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Lets it stand still: it holds its connections, accepts more and answers nothing.
    pub fn stop(&self) {
        self.running().stop();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.running().resume();
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("it was killed")
    }

    /// Kills it, if it runs, and starts it anew: same port, same folder.
    pub async fn restart(&mut self) {
        self.kill();
        let start = Instant::now();
        loop {
            fs::remove_file(self.folder.join("redis.log")).ok();
            match self.run().await {
                Ok(()) => return,
                // A connection was accepted for a moment while no server listened.
                Err(log) if is_taken(&log) && start.elapsed() < PATIENCE => {}
                Err(log) => panic!("redis-server does not come up again:\n{log}"),
            }
        }
    }

    /// Restarts it without its data.
    pub async fn restart_empty(&mut self) {
        self.kill();
        fs::remove_dir_all(&self.folder).expect("its folder");
        self.restart().await;
    }

    /// Has it carry out a command, on a connection of its own. Panics when there is no reply.
    pub async fn command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> Reply {
        let reply = self.try_command(arguments).await;
        reply.unwrap_or_else(|error| panic!("{error}:\n{}", self.log()))
    }

    /// Sends a command to a server that may not answer; waits for half a minute.
    pub async fn try_command<A: AsRef<[u8]>>(&self, arguments: &[A]) -> io::Result<Reply> {
        let exchange = async {
            let stream = TcpStream::connect(("127.0.0.1", self.at.port)).await?;
            let mut stream = BufReader::new(stream);
            if let Some(password) = self.password() {
                let command = resp::command(&["AUTH", password]);
                stream.write_all(&command).await?;
                resp::read(&mut stream).await?;
            }
            stream.write_all(&resp::command(arguments)).await?;
            resp::read(&mut stream).await
        };
        timeout(PATIENCE, exchange).await?
    }

    /// The names of the keys that match a pattern, in any order.
    pub async fn names(&self, pattern: &str) -> Vec<String> {
        let names = self.command(&["KEYS", pattern]).await;
        names.array().iter().map(Reply::text).collect()
    }

    /// A line of `INFO`.
    pub async fn info(&self, name: &str) -> Option<String> {
        let info = self.command(&["INFO", "everything"]).await.text();
        let mut lines = info.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(field, _)| *field == name)?;
        Some(value.to_owned())
    }

    /// How often a command was carried out since the start or `CONFIG RESETSTAT`.
    pub async fn calls(&self, command: &str) -> u64 {
        let name = format!("cmdstat_{}", command.to_ascii_lowercase());
        let Some(stats) = self.info(&name).await else {
            return 0;
        };
        let calls = stats
            .split(',')
            .find_map(|stat| stat.strip_prefix("calls="));
        calls.and_then(|calls| calls.parse().ok()).expect("calls")
    }

    /// Waits until a replica is connected to its master.
    pub async fn follows(&self) {
        until("the replica has its master", async || {
            self.info("master_link_status").await.as_deref() == Some("up")
        })
        .await;
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        fs::remove_dir_all(&self.folder).ok();
        if let Some(socket) = &self.at.socket {
            fs::remove_file(socket).ok();
        }
    }
}

fn is_taken(log: &str) -> bool {
    log.contains("Address already in use")
}

fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn places(config: &Config, number: u32) -> Places {
    // Not in the folder, whose path may be too long for a socket's.
    let socket = || env::temp_dir().join(format!("trc-{}-{number}.sock", process::id()));
    Places {
        port: free_port(),
        tls_port: config.tls.then(free_port),
        socket: config.unix_socket.then(socket),
    }
}

/// A port below those that the system hands out by itself: while a killed server is away, no other
/// process gets it by chance, and a client that tries to connect cannot meet itself there.
fn free_port() -> u16 {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    loop {
        let start = process::id().wrapping_mul(7919);
        let port = FIRST + start.wrapping_add(next().wrapping_mul(31)) % COUNT;
        let port = u16::try_from(port).expect("a port");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
