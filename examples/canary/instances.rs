//! The products example, several times over one database, and a Redis where one is needed.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::Address;
use crate::options::{BackendKind, Options};
use crate::process::{Folder, Process};

/// Only what hangs takes so long to start.
const PATIENCE: Duration = Duration::from_secs(30);

const WATCH: Duration = Duration::from_millis(100);

/// Everything that was started: killed when dropped, the folder removed.
#[derive(Default)]
pub struct Instances {
    processes: Vec<Process>,
    folder: Option<Folder>,
}

impl Instances {
    /// Where they listen.
    pub async fn start(&mut self, options: &Options) -> Result<Vec<Address>, String> {
        let program = program()?;
        let folder = Folder::new();
        self.folder = Some(folder.map_err(|error| format!("cannot make a folder: {error}"))?);
        let redis = match (options.backend(), &options.redis_url) {
            (BackendKind::Memory, _) => None,
            (BackendKind::Redis, Some(url)) => Some(url.clone()),
            (BackendKind::Redis, None) => Some(self.start_redis().await?),
        };
        let mut addresses = Vec::new();
        for number in 0..options.instances {
            let mut command = Command::new(&program);
            command
                .args(["--listen", "127.0.0.1:0", "--ttl", &options.ttl])
                .args(["--backend", &name(options.backend())])
                .args(["--write", &name(options.write)])
                .arg("--database")
                .arg(self.folder().path().join("products.db"));
            if let Some(url) = &redis {
                command.args(["--redis-url", url]);
            }
            if std::env::var_os("RUST_LOG").is_none() {
                command.env("RUST_LOG", "warn");
            }
            let name = format!("products-{number}");
            let url = self.spawn(&mut command, name, "listening on ").await?;
            addresses.push(Address::parse(&url)?);
        }
        Ok(addresses)
    }

    /// Its URL.
    async fn start_redis(&mut self) -> Result<String, String> {
        let port = free_port().map_err(|error| format!("no free port: {error}"))?;
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(self.folder().path());
        let ready = "Ready to accept connections";
        let name = "redis-server".to_owned();
        self.spawn(&mut command, name, ready).await?;
        Ok(format!("redis://127.0.0.1:{port}/"))
    }

    /// What it says after these words, which say that it is ready.
    async fn spawn(
        &mut self,
        command: &mut Command,
        name: String,
        ready: &str,
    ) -> Result<String, String> {
        let process = Process::start(command, name.clone(), self.folder());
        let process = process.map_err(|error| cannot_start(&name, &error))?;
        // At once, so that `end` knows of it whatever becomes of this future.
        self.processes.push(process);
        let process = self.processes.last_mut().expect("just pushed");
        timeout(PATIENCE, process.says(ready))
            .await
            .unwrap_or_else(|_| Err(format!("{name} does not get ready")))
    }

    fn folder(&self) -> &Folder {
        self.folder.as_ref().expect("made before anything starts")
    }

    /// Waits until one is dead.
    pub async fn death(&mut self) -> String {
        loop {
            if let Some(death) = self.processes.iter_mut().find_map(Process::death) {
                return death;
            }
            tokio::time::sleep(WATCH).await;
        }
    }

    pub async fn end(self) {
        for process in self.processes {
            process.kill().await;
        }
    }
}

fn cannot_start(name: &str, error: &std::io::Error) -> String {
    let hint = match (name, error.kind()) {
        ("redis-server", std::io::ErrorKind::NotFound) => {
            ": apt-get install redis-server, or give the --redis-url of one that runs"
        }
        _ => "",
    };
    format!("cannot start {name}: {error}{hint}")
}

/// As it is written on a command line.
fn name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.expect("none is hidden").get_name().to_owned()
}

/// Examples lie side by side.
fn program() -> Result<PathBuf, String> {
    let name = format!("products{}", std::env::consts::EXE_SUFFIX);
    let canary = std::env::current_exe().map_err(|error| format!("who am I? {error}"))?;
    let program = canary.with_file_name(name);
    match program.exists() {
        true => Ok(program),
        false => Err(format!(
            "{} is missing; build it first: cargo build --release --features redis --example products",
            program.display()
        )),
    }
}

/// Free a moment ago: Redis would not say which one it picked.
fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}
