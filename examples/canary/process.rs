//! Child processes that are killed with this one, and their temporary folder.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use uuid::Uuid;

/// How many lines of its output are shown for a program that ended too early.
const LAST_LINES: usize = 10;

/// A temporary folder that is removed with its content when dropped.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> io::Result<Self> {
        let name = format!("canary-{}", Uuid::new_v4());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child process that is killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    /// Taken by `wait_for_output`.
    stdout: Option<BufReader<ChildStdout>>,
    /// The file with its output.
    log: PathBuf,
}

impl Process {
    pub fn start(command: &mut Command, name: String, folder: &Folder) -> io::Result<Self> {
        let log = folder.path().join(format!("{name}.log"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(append(&log)?)
            .kill_on_drop(true);
        // Ctrl-C must reach this program alone: its children answer until the last request is
        // done.
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn()?;
        let stdout = child.stdout.take().map(BufReader::new);
        Ok(Self {
            name,
            child,
            stdout,
            log,
        })
    }

    /// Waits for the first line of output with `words`; returns the rest of that line.
    pub async fn wait_for_output(&mut self, words: &str) -> Result<String, String> {
        let unreadable = |error: io::Error| format!("cannot read its output: {error}");
        let mut stdout = self.stdout.take().ok_or("its output was read before")?;
        let mut log = append(&self.log).map_err(unreadable)?;
        let mut line = String::new();
        while stdout.read_line(&mut line).await.map_err(unreadable)? > 0 {
            if let Some((_, rest)) = line.split_once(words) {
                // The pipe must be drained: a full one would block the program.
                tokio::spawn(async move {
                    tokio::io::copy_buf(&mut stdout, &mut tokio::fs::File::from_std(log)).await
                });
                return Ok(rest.trim_end().to_owned());
            }
            log.write_all(line.as_bytes()).map_err(unreadable)?;
            line.clear();
        }
        let status = self.child.wait().await;
        Err(self.describe_exit(status.ok()))
    }

    /// Describes the end of the process; `None` while it runs.
    pub fn exit_report(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(status) => Some(self.describe_exit(status)),
            Err(error) => Some(format!("cannot watch {}: {error}", self.name)),
        }
    }

    pub async fn kill(mut self) {
        let _ = self.child.kill().await;
    }

    /// Describes an early end by the status and the last lines of output.
    fn describe_exit(&self, status: Option<ExitStatus>) -> String {
        let output = fs::read(&self.log).unwrap_or_default();
        let output = String::from_utf8_lossy(&output);
        let lines: Vec<_> = output.lines().collect();
        let mut description = format!("{} ended early", self.name);
        if let Some(status) = status {
            description += &format!(" ({status})");
        }
        for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
            description += &format!("\n  {line}");
        }
        description
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}
