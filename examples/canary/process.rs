//! Programs that run as long as this one, and the folder they write to.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use uuid::Uuid;

/// Of what a program that ended too early said.
const LAST_LINES: usize = 10;

/// Removed with all that is in it when dropped.
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

/// Killed when dropped.
pub struct Process {
    name: String,
    child: Child,
    /// Until it is ready
    stdout: Option<BufReader<ChildStdout>>,
    /// What it says, but for what it was waited for.
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
        // Ctrl-C is for us alone: they are to answer until the last request is done.
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

    /// What comes after these words on the first line that has them.
    pub async fn says(&mut self, words: &str) -> Result<String, String> {
        let unreadable = |error: io::Error| format!("cannot read what it says: {error}");
        let mut stdout = self.stdout.take().ok_or("it was waited for already")?;
        let mut log = append(&self.log).map_err(unreadable)?;
        let mut line = String::new();
        while stdout.read_line(&mut line).await.map_err(unreadable)? > 0 {
            if let Some((_, said)) = line.split_once(words) {
                // A full pipe would stop it.
                tokio::spawn(async move {
                    tokio::io::copy_buf(&mut stdout, &mut tokio::fs::File::from_std(log)).await
                });
                return Ok(said.trim_end().to_owned());
            }
            log.write_all(line.as_bytes()).map_err(unreadable)?;
            line.clear();
        }
        let status = self.child.wait().await;
        Err(self.epitaph(status.ok()))
    }

    /// Why it is dead, if it is.
    pub fn death(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(status) => Some(self.epitaph(status)),
            Err(error) => Some(format!("cannot watch {}: {error}", self.name)),
        }
    }

    pub async fn kill(mut self) {
        let _ = self.child.kill().await;
    }

    fn epitaph(&self, status: Option<ExitStatus>) -> String {
        let said = fs::read(&self.log).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let lines: Vec<_> = said.lines().collect();
        let mut epitaph = format!("{} ended early", self.name);
        if let Some(status) = status {
            epitaph += &format!(" ({status})");
        }
        for line in &lines[lines.len().saturating_sub(LAST_LINES)..] {
            epitaph += &format!("\n  {line}");
        }
        epitaph
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}
