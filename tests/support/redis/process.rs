//! A `redis-server` process.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::PATIENCE;

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Process {
    server: Child,
    guard: Child,
}

impl Process {
    /// Starts a server with the configuration and the log of a folder.
    pub fn start(folder: &Path) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log_file(folder));
        let log = log.expect("a log");
        let mut command = Command::new("redis-server");
        command
            .arg(folder.join("redis.conf"))
            .stdin(Stdio::null())
            .stderr(log.try_clone().expect("the log twice"))
            .stdout(log);
        let server = command.spawn().unwrap_or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                panic!("these tests need redis-server: apt-get install redis-server")
            }
            _ => panic!("redis-server: {error}"),
        });
        let guard = guard(server.id());
        Self { server, guard }
    }

    pub fn id(&self) -> u32 {
        self.server.id()
    }

    pub fn is_alive(&mut self) -> bool {
        self.server.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Lets it stand still until [`resume`](Self::resume): it holds its connections and answers
    /// nothing.
    pub fn stop(&self) {
        self.signal("STOP");
        self.wait_for(true);
    }

    pub fn resume(&self) {
        self.signal("CONT");
        self.wait_for(false);
    }

    fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.id());
        let status = Command::new("sh").arg("-c").arg(line).status();
        assert!(status.is_ok_and(|status| status.success()), "{name}");
    }

    /// A signal is sent before it arrives. Where the system does not tell, it is taken to have
    /// arrived.
    fn wait_for(&self, is_stopped: bool) {
        let file = format!("/proc/{}/stat", self.id());
        let start = Instant::now();
        while let Ok(stat) = fs::read_to_string(&file) {
            if stat.contains(") T ") == is_stopped {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "the signal does not arrive");
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The guard first: it must not kill a later process with the same number.
        for child in [&mut self.guard, &mut self.server] {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Kills a server when this process is gone, even if that was killed itself and dropped nothing:
/// the pipe closes.
fn guard(server: u32) -> Child {
    let line = format!("read -r _; kill -KILL {server}");
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(line)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("a shell")
}

/// What a server has logged.
pub fn log(folder: &Path) -> String {
    fs::read_to_string(log_file(folder)).unwrap_or_default()
}

fn log_file(folder: &Path) -> std::path::PathBuf {
    folder.join("redis.log")
}
