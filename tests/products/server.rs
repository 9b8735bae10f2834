//! Runs the products example.

use std::ops::Deref;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::client::Client;

/// Only a server that hangs takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server on a port of its own, killed when dropped.
pub struct Server {
    child: Child,
    client: Client,
}

impl Deref for Server {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// The example with these arguments.
pub fn products(arguments: &[&str]) -> Command {
    let program = program();
    assert!(
        program.exists(),
        "{} is missing: `cargo test` builds it, `cargo test --test products` does not; `cargo build --example products` does",
        program.display()
    );
    let mut command = Command::new(program);
    command
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments)
        .env("RUST_LOG", "off")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Examples lie beside `deps`, where this test lies.
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let profile = test.parent().and_then(|deps| deps.parent());
    let name = format!("products{}", std::env::consts::EXE_SUFFIX);
    profile
        .expect("a target folder")
        .join("examples")
        .join(name)
}

impl Server {
    pub async fn start(arguments: &[&str]) -> Self {
        let mut child = products(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a running example");
        let stdout = child.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(PATIENCE, lines.next_line()).await;
        let line = line.expect("a line in time").expect("a readable pipe");
        let line = line.expect("it says where it listens");
        let base = line.strip_prefix("listening on ");
        let base = base.unwrap_or_else(|| panic!("unexpected first line: {line}"));
        Self {
            client: Client::new(base),
            child,
        }
    }

    /// Sends a signal by its name, without `SIG`.
    pub async fn signal(&self, name: &str) {
        let id = self.child.id().expect("it still runs");
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {id}")])
            .status();
        assert!(sent.await.expect("a shell").success());
    }

    pub async fn exit(mut self) -> ExitStatus {
        let exit = timeout(PATIENCE, self.child.wait()).await;
        exit.expect("an exit in time").expect("its status")
    }

    /// Asks for statistics until they are as they should be.
    pub async fn until(&self, pointer: &str, expected: u64) {
        let reached = async {
            while self.stats().await.pointer(pointer).and_then(|n| n.as_u64()) != Some(expected) {
                tokio::task::yield_now().await;
            }
        };
        let waited = timeout(PATIENCE, reached).await;
        waited.unwrap_or_else(|_| panic!("{pointer} never was {expected}"));
    }
}
