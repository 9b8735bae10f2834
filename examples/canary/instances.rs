//! Starts instances of the products example with one database, and a Redis if they need one.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::Address;
use crate::options::{BackendKind, Options};
use crate::process::{Folder, Process};

/// The longest time for a program to get ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The interval of checks whether all programs still run.
const WATCH_INTERVAL: Duration = Duration::from_millis(100);

/// The programs that were started. When dropped, they are killed and their folder is removed.
#[derive(Default)]
pub struct Instances {
    processes: Vec<Process>,
    folder: Option<Folder>,
}

impl Instances {
    /// Starts everything that `options` ask for and returns the addresses of the instances.
    pub async fn start(&mut self, options: &Options) -> Result<Vec<Address>, String> {
        let program = products_program()?;
        let folder = Folder::new();
        self.folder =
            Some(folder.map_err(|error| format!("cannot create a temporary folder: {error}"))?);
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

    /// Starts a Redis on a free port and returns its URL.
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

    /// Starts a program and waits for a line with `ready`; returns the rest of that line.
    async fn spawn(
        &mut self,
        command: &mut Command,
        name: String,
        ready: &str,
    ) -> Result<String, String> {
        let process = Process::start(command, name.clone(), self.folder());
        let process = process.map_err(|error| cannot_start(&name, &error))?;
        // Before the first await, so that `kill_all` includes it if this future is dropped.
        self.processes.push(process);
        let process = self.processes.last_mut().expect("just pushed");
        timeout(START_TIMEOUT, process.wait_for_output(ready))
            .await
            .unwrap_or_else(|_| Err(format!("{name} was not ready within {START_TIMEOUT:?}")))
    }

    fn folder(&self) -> &Folder {
        self.folder
            .as_ref()
            .expect("created before the first program")
    }

    /// Waits until a program ends; returns its name, status and last output.
    pub async fn wait_for_exit(&mut self) -> String {
        loop {
            if let Some(report) = self.processes.iter_mut().find_map(Process::exit_report) {
                return report;
            }
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    }

    pub async fn kill_all(self) {
        for process in self.processes {
            process.kill().await;
        }
    }
}

fn cannot_start(name: &str, error: &std::io::Error) -> String {
    let hint = match (name, error.kind()) {
        ("redis-server", std::io::ErrorKind::NotFound) => {
            "; install redis-server, or pass --redis-url of a running one"
        }
        _ => "",
    };
    format!("cannot start {name}: {error}{hint}")
}

/// The spelling of a value on the command line.
fn name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.expect("no value is skipped").get_name().to_owned()
}

/// The products example, in the folder of this one.
fn products_program() -> Result<PathBuf, String> {
    let name = format!("products{}", std::env::consts::EXE_SUFFIX);
    let canary = std::env::current_exe()
        .map_err(|error| format!("cannot find this program's own path: {error}"))?;
    let program = canary.with_file_name(name);
    match program.exists() {
        true => Ok(program),
        false => Err(format!(
            "{} is missing; build it first: \
             cargo build --release --features redis --example products",
            program.display()
        )),
    }
}

/// A port that is free now. Redis cannot pick one itself and report it.
fn free_port() -> std::io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.port())
}
