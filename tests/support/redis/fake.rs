//! A server that says whatever a test wants.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Reply, resp};

/// A command: its name and arguments.
pub type Asked = Vec<Vec<u8>>;

/// The reply to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// What a client needs to hear when it connects, as a real server says it; an error for all
    /// else.
    AsUsual,
    /// These bytes, whatever they are.
    Bytes(Vec<u8>),
    /// These bytes, then the connection is closed.
    LastBytes(Vec<u8>),
    /// Nothing.
    Nothing,
}

impl From<Vec<u8>> for Said {
    fn from(bytes: Vec<u8>) -> Self {
        match bytes.is_empty() {
            true => Self::AsUsual,
            false => Self::Bytes(bytes),
        }
    }
}

impl From<Reply> for Said {
    fn from(reply: Reply) -> Self {
        Self::Bytes(reply.bytes())
    }
}

/// Answers commands by a closure. Clones are the same server. Lives as long as the runtime it was
/// started in.
#[derive(Clone, Debug)]
pub struct FakeRedis {
    port: u16,
    told: Arc<Told>,
}

#[derive(Debug, Default)]
struct Told {
    connections: AtomicUsize,
    commands: Mutex<Vec<Asked>>,
}

impl FakeRedis {
    /// Starts one. No bytes stand for [`Said::AsUsual`].
    pub async fn start<S, F>(says: F) -> Self
    where
        S: Into<Said>,
        F: Fn(Asked) -> S + Send + Sync + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let told = Arc::new(Told::default());
        let fake = Self {
            port,
            told: told.clone(),
        };
        let says = Arc::new(move |asked| says(asked).into());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                told.connections.fetch_add(1, Ordering::SeqCst);
                let (told, says) = (told.clone(), says.clone());
                tokio::spawn(async move { converse(client, &told, &*says).await });
            }
        });
        fake
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// As clients want it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Connections made in all.
    pub fn connections(&self) -> usize {
        self.told.connections.load(Ordering::SeqCst)
    }

    /// All commands so far.
    pub fn commands(&self) -> Vec<Asked> {
        self.told.commands.lock().expect("no panic").clone()
    }

    /// How often a command was asked for.
    pub fn calls(&self, name: &str) -> usize {
        let commands = self.commands();
        let named = commands.iter().filter(|command| is(command, 0, name));
        named.count()
    }
}

async fn converse(client: TcpStream, told: &Told, says: &impl Fn(Asked) -> Said) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut client = BufReader::new(client);
    while let Reply::Array(parts) = resp::read(&mut client).await? {
        let bytes = |part| match part {
            Reply::Bulk(bytes) => bytes,
            _ => Vec::new(),
        };
        let command: Asked = parts.into_iter().map(bytes).collect();
        if is_probe(&command) {
            client.write_all(&Reply::Nil.bytes()).await?;
            continue;
        }
        told.commands
            .lock()
            .expect("no panic")
            .push(command.clone());
        match says(command.clone()) {
            Said::AsUsual => client.write_all(&usual(&command)).await?,
            Said::Bytes(bytes) => client.write_all(&bytes).await?,
            Said::LastBytes(bytes) => return client.write_all(&bytes).await,
            Said::Nothing => {}
        }
    }
    Ok(())
}

/// Whether a new connection only tries whether the command is there. Tests do not see it.
fn is_probe(command: &Asked) -> bool {
    command.iter().any(|part| part.ends_with(b":p"))
}

fn is(command: &Asked, at: usize, name: &str) -> bool {
    let part = command.get(at);
    part.is_some_and(|part| part.eq_ignore_ascii_case(name.as_bytes()))
}

/// The identity that a usual answer tells.
pub const RUN_ID: &str = "1111111111111111111111111111111111111111";
pub const REPLICATION_ID: &str = "2222222222222222222222222222222222222222";

fn usual(command: &Asked) -> Vec<u8> {
    let name = |name| is(command, 0, name);
    if name("HELLO") {
        hello(is(command, 1, "3"))
    } else if name("PING") {
        Reply::Simple("PONG".into()).bytes()
    } else if name("CLIENT") && is(command, 1, "ID") {
        Reply::Integer(1).bytes()
    } else if name("CLIENT") || name("SELECT") || name("AUTH") {
        Reply::ok().bytes()
    } else if name("INFO") {
        let info = format!(
            "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\nrun_id:{RUN_ID}\r\n\
             # Persistence\r\nloading:0\r\n\
             # Replication\r\nrole:master\r\nconnected_slaves:0\r\nmaster_replid:{REPLICATION_ID}\r\n\
             master_repl_offset:0\r\n"
        );
        Reply::from(&*info).bytes()
    } else if name("ROLE") {
        let role = ["master".into(), Reply::Integer(0), Reply::Array(vec![])];
        Reply::Array(role.into()).bytes()
    } else if name("TIME") {
        Reply::Array(vec!["784111777".into(), "0".into()]).bytes()
    } else {
        let name = String::from_utf8_lossy(command.first().map_or(b"", |name| name));
        Reply::Error(format!("ERR unknown command '{name}'")).bytes()
    }
}

fn hello(is_version_3: bool) -> Vec<u8> {
    let version = if is_version_3 { 3 } else { 2 };
    let fields = [
        ("server", "redis".into()),
        ("version", "7.0.15".into()),
        ("proto", Reply::Integer(version)),
        ("id", Reply::Integer(1)),
        ("mode", "standalone".into()),
        ("role", "master".into()),
        ("modules", Reply::Array(vec![])),
    ];
    let length = match is_version_3 {
        true => format!("%{}\r\n", fields.len()),
        false => format!("*{}\r\n", fields.len() * 2),
    };
    let mut bytes = length.into_bytes();
    for (name, value) in fields {
        bytes.extend(Reply::from(name).bytes());
        bytes.extend(value.bytes());
    }
    bytes
}
