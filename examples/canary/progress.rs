//! Progress, stale reads and errors on stderr while the load runs.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::load::Load;

/// How many stale reads and how many errors are printed. Further ones are only counted.
const MAX_PRINTED: usize = 10;

/// The output on stderr, and the messages that were printed.
pub struct Progress {
    is_terminal: bool,
    stale: Mutex<Vec<String>>,
    errors: Mutex<Vec<String>>,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            stale: Mutex::default(),
            errors: Mutex::default(),
        }
    }
}

impl Progress {
    pub fn report_stale(&self, message: String) {
        self.report(&self.stale, "stale read", message);
    }

    pub fn report_error(&self, message: String) {
        self.report(&self.errors, "error", message);
    }

    /// The stale reads that were printed.
    pub fn printed_stale(&self) -> Vec<String> {
        lock(&self.stale).clone()
    }

    /// The errors that were printed.
    pub fn printed_errors(&self) -> Vec<String> {
        lock(&self.errors).clone()
    }

    fn report(&self, printed: &Mutex<Vec<String>>, kind: &str, message: String) {
        let mut printed = lock(printed);
        if printed.len() < MAX_PRINTED {
            self.print_line(&format!("{kind}: {message}"));
            printed.push(message);
        }
    }

    /// Replaces the progress line, which is printed again below.
    fn print_line(&self, text: &str) {
        let clear = if self.is_terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{text}");
    }

    fn show(&self, text: &str) {
        match self.is_terminal {
            true => eprint!("\r{text}\x1b[K"),
            false => eprintln!("{text}"),
        }
    }

    /// Ends the progress line.
    pub fn end(&self) {
        if self.is_terminal {
            eprintln!();
        }
    }
}

fn lock(printed: &Mutex<Vec<String>>) -> std::sync::MutexGuard<'_, Vec<String>> {
    printed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints the progress once a second, until the future is dropped.
pub async fn print_progress(load: &Load, started: Instant) {
    let mut reads_before = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let counters = &load.counters;
        let (reads, writes) = (counters.reads.get(), counters.writes.get());
        load.progress.show(&format!(
            "{:3} s  reads {reads}/{} ({}/s)  writes {writes}/{}  \
             hits {:.1} %  p99 {:.1} ms  stale {}  errors {}",
            started.elapsed().as_secs(),
            load.reads,
            reads - reads_before,
            load.writes,
            100.0 * counters.hit_ratio(),
            counters.read_times.summary().p99,
            counters.stale.get(),
            counters.errors.sum(),
        ));
        reads_before = reads;
    }
}
