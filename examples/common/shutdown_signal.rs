//! The signals that stop a program: SIGINT, SIGTERM and SIGHUP, or Ctrl-C on Windows.

use std::io;

/// Receives the signals from its creation on. From then on they no longer kill the process.
#[cfg(unix)]
pub struct ShutdownSignal {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// `None` once it was taken.
    hang_up: Option<tokio::signal::unix::Signal>,
}

/// Receives SIGHUP.
#[cfg(unix)]
#[allow(dead_code, reason = "not all programs read something again")]
pub struct HangUpSignal(tokio::signal::unix::Signal);

#[cfg(unix)]
#[allow(dead_code, reason = "not all programs read something again")]
impl HangUpSignal {
    /// Waits for the next signal; `false` if there will be none.
    pub async fn wait(&mut self) -> bool {
        self.0.recv().await.is_some()
    }
}

#[cfg(unix)]
impl ShutdownSignal {
    pub fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: Some(signal(SignalKind::hangup())?),
        })
    }

    /// Waits for the next signal.
    pub async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = async { self.hang_up.as_mut()?.recv().await }, if self.hang_up.is_some() => {}
        }
    }

    /// Returns SIGHUP, which then does not stop the program any more; `None` if it is to stop it.
    #[allow(dead_code, reason = "not all programs read something again")]
    pub fn take_hang_up(&mut self, is_wanted: bool) -> Option<HangUpSignal> {
        let hang_up = is_wanted.then(|| self.hang_up.take())?;
        hang_up.map(HangUpSignal)
    }

    /// Receives the same signals.
    #[allow(dead_code, reason = "not all programs have two servers")]
    pub fn another(&self) -> io::Result<Self> {
        let mut another = Self::new()?;
        if self.hang_up.is_none() {
            another.hang_up = None;
        }
        Ok(another)
    }
}

/// There is no such signal.
#[cfg(windows)]
#[allow(dead_code, reason = "not all programs read something again")]
pub struct HangUpSignal(std::convert::Infallible);

#[cfg(windows)]
#[allow(dead_code, reason = "not all programs read something again")]
impl HangUpSignal {
    pub async fn wait(&mut self) -> bool {
        match self.0 {}
    }
}

/// Receives Ctrl-C from its creation on.
#[cfg(windows)]
pub struct ShutdownSignal(tokio::signal::windows::CtrlC);

#[cfg(windows)]
impl ShutdownSignal {
    pub fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    #[allow(dead_code, reason = "not all programs read something again")]
    pub fn take_hang_up(&mut self, _: bool) -> Option<HangUpSignal> {
        None
    }

    #[allow(dead_code, reason = "not all programs have two servers")]
    pub fn another(&self) -> io::Result<Self> {
        Self::new()
    }

    /// Waits for the next Ctrl-C.
    pub async fn wait(&mut self) {
        self.0.recv().await;
    }
}
