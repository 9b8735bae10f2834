//! What is told while it runs, on stderr.

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::load::Load;

/// Of stale reads and of errors each: the rest is only counted.
const TOLD: usize = 10;

pub struct Screen {
    is_terminal: bool,
    stale: Mutex<Vec<String>>,
    errors: Mutex<Vec<String>>,
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            is_terminal: io::stderr().is_terminal(),
            stale: Mutex::default(),
            errors: Mutex::default(),
        }
    }
}

impl Screen {
    pub fn stale(&self, what: String) {
        self.tell(&self.stale, "stale read", what);
    }

    pub fn error(&self, what: String) {
        self.tell(&self.errors, "error", what);
    }

    /// The first stale reads, as they were told.
    pub fn told_stale(&self) -> Vec<String> {
        lock(&self.stale).clone()
    }

    pub fn told_errors(&self) -> Vec<String> {
        lock(&self.errors).clone()
    }

    fn tell(&self, told: &Mutex<Vec<String>>, kind: &str, what: String) {
        let mut told = lock(told);
        if told.len() < TOLD {
            self.line(&format!("{kind}: {what}"));
            told.push(what);
        }
    }

    /// In the place of the progress, which comes again below it.
    fn line(&self, text: &str) {
        let clear = if self.is_terminal { "\r\x1b[K" } else { "" };
        eprintln!("{clear}{text}");
    }

    fn progress(&self, text: &str) {
        match self.is_terminal {
            true => eprint!("\r{text}\x1b[K"),
            false => eprintln!("{text}"),
        }
    }

    pub fn end(&self) {
        if self.is_terminal {
            eprintln!();
        }
    }
}

fn lock(told: &Mutex<Vec<String>>) -> std::sync::MutexGuard<'_, Vec<String>> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// For ever.
pub async fn progress(load: &Load, started: Instant) {
    let mut reads_before = 0;
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let tally = &load.tally;
        let (reads, writes) = (tally.reads.get(), tally.writes.get());
        load.screen.progress(&format!(
            "{:3} s  reads {reads}/{} ({}/s)  writes {writes}/{}  hits {:.1} %  stale {}  errors {}",
            started.elapsed().as_secs(),
            load.reads,
            reads - reads_before,
            load.writes,
            100.0 * tally.hit_ratio(),
            tally.stale.get(),
            tally.errors.sum(),
        ));
        reads_before = reads;
    }
}
