//! Processes: this program once more, servers, and what `/proc` says of them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// What this program prints with other arguments.
pub fn output_of_self(arguments: &[&str]) -> String {
    let program = std::env::current_exe().expect("the path of this program");
    let output = Command::new(program)
        .args(arguments)
        .stderr(Stdio::inherit())
        .output();
    let output = output.expect("this program can be started");
    assert!(output.status.success(), "{arguments:?} failed");
    String::from_utf8(output.stdout).expect("text")
}

/// The bytes of this process that are in memory.
pub fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().split(' ').next());
    let kibibytes: u64 = number
        .and_then(|n| n.parse().ok())
        .expect("a number of KiB");
    kibibytes << 10
}

/// A server that is ended when this value is dropped.
pub struct Server {
    child: Child,
}

impl Server {
    /// Starts a command.
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child }
    }

    /// Starts this program as a server. Returns it with the port that it prints.
    pub fn start_self(arguments: &[&str]) -> (Self, u16) {
        let program = std::env::current_exe().expect("the path of this program");
        let mut command = Command::new(program);
        command.args(arguments).stdout(Stdio::piped());
        let mut server = Self::start(&mut command);
        let stdout = server.child.stdout.take().expect("it is piped");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let port = line.trim().parse().expect("the number of a port");
        (server, port)
    }

    /// The CPU time of the process and its descendants, in seconds.
    pub fn cpu_seconds(&self) -> f64 {
        let mut ids = vec![self.child.id()];
        let processes = all_processes();
        let mut at = 0;
        while at < ids.len() {
            let parent = ids[at];
            let children = processes.iter().filter(|p| p.parent == parent);
            ids.extend(children.map(|p| p.id));
            at += 1;
        }
        let own = processes.iter().filter(|p| ids.contains(&p.id));
        // Linux counts in hundredths of a second.
        own.map(|p| p.ticks).sum::<u64>() as f64 / 100.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // With SIGTERM, so that nginx and Varnish end their workers.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").arg(id).status();
        let _ = self.child.wait();
    }
}

struct Process {
    id: u32,
    parent: u32,
    ticks: u64,
}

fn all_processes() -> Vec<Process> {
    let folders = fs::read_dir("/proc").expect("Linux");
    let stats =
        folders.filter_map(|folder| fs::read_to_string(folder.ok()?.path().join("stat")).ok());
    stats.filter_map(|stat| parse(&stat)).collect()
}

/// Reads a line of `/proc/ID/stat`; the name, which comes second, may contain anything.
fn parse(stat: &str) -> Option<Process> {
    let id = stat.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        id,
        parent: number(1)? as u32,
        ticks: number(11)? + number(12)?,
    })
}
