//! The log of a test on one thread.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};

use tracing::subscriber::{DefaultGuard, NoSubscriber, set_default};
use tracing::{Dispatch, Level};

/// While a process has a single subscriber, `tracing` asks only the one of the thread that reaches
/// a line first whether that line is ever of interest. A test without `Logs` on another thread
/// would then silence the line for all. With a second one that lives on, all are asked.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::default()));

/// Text that a subscriber has written. Clones share it.
#[derive(Clone, Default)]
pub struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    pub fn text(&self) -> String {
        let written = self.0.lock().expect("no panic").clone();
        String::from_utf8(written).expect("text")
    }
}

/// All that this thread logs, from a level on, as long as it lives.
pub struct Logs {
    written: Written,
    _guard: DefaultGuard,
}

impl Logs {
    /// From warnings on.
    pub fn new() -> Self {
        Self::from_level(Level::WARN)
    }

    pub fn from_level(level: Level) -> Self {
        LazyLock::force(&SECOND);
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        Self {
            written,
            _guard: set_default(subscriber),
        }
    }

    /// The lines with this text.
    pub fn lines(&self, text: &str) -> Vec<String> {
        let written = self.written.text();
        let lines = written.lines().filter(|line| line.contains(text));
        lines.map(str::to_owned).collect()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
