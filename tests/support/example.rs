//! Runs one of the examples.
#![allow(dead_code, reason = "every test file uses its part of it")]

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// Only an example that hangs takes so long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running example on a port of its own, killed when dropped.
pub struct Example {
    child: Child,
    base: String,
    admin: Option<String>,
}

/// The example of this name with these arguments, which logs nothing.
pub fn example(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program(name));
    command
        .args(["--listen", "127.0.0.1:0"])
        .args(arguments)
        .env("RUST_LOG", "off")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// The path of a built example: examples lie beside `deps`, where this test lies.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test's path");
    let profile = test.parent().and_then(|deps| deps.parent());
    let examples = profile.expect("a target folder").join("examples");
    let program = examples.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    assert!(
        program.exists(),
        "{} is missing: build it with `cargo build --examples`, or run all tests with `cargo test`",
        program.display()
    );
    program
}

impl Example {
    pub async fn start(name: &str, arguments: &[&str]) -> Self {
        Self::run(&mut example(name, arguments)).await
    }

    pub async fn run(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("a running example");
        let stdout = child.stdout.take().expect("a pipe");
        let has_admin = command
            .as_std()
            .get_args()
            .any(|argument| argument == "--admin");
        let mut lines = BufReader::new(stdout).lines();
        let mut address = async |behind: &str| {
            let line = timeout(PATIENCE, lines.next_line()).await;
            let line = line.expect("a line in time").expect("a readable pipe");
            let line = line.expect("it says where it listens");
            let address = line.strip_prefix(behind).map(str::to_owned);
            address.unwrap_or_else(|| panic!("expected {behind:?}: {line}"))
        };
        let base = address("listening on ").await;
        let admin = match has_admin {
            true => Some(address("admin on ").await),
            false => None,
        };
        Self { child, base, admin }
    }

    /// `http://HOST:PORT` for operators.
    pub fn admin(&self) -> &str {
        self.admin.as_deref().expect("--admin was given")
    }

    /// `http://HOST:PORT`
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn port(&self) -> u16 {
        let port = self.base.rsplit(':').next();
        port.expect("a port").parse().expect("a port")
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("it still runs")
    }

    /// Its stderr, where that is a pipe.
    pub fn stderr(&mut self) -> tokio::process::ChildStderr {
        self.child.stderr.take().expect("a pipe")
    }

    /// Sends a signal by its name, without `SIG`.
    pub async fn signal(&self, name: &str) {
        let sent = Command::new("sh")
            .args(["-c", &format!("kill -{name} {}", self.id())])
            .status();
        assert!(sent.await.expect("a shell").success());
    }

    pub async fn exit(mut self) -> ExitStatus {
        let exit = timeout(PATIENCE, self.child.wait()).await;
        exit.expect("an exit in time").expect("its status")
    }
}
