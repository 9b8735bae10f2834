//! The log, on stderr.

use std::error::Error;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The lines that wait to be written. More are dropped: a reader of the log that stops does not
/// stop the program.
const MAX_WAITING: usize = 4096;
/// The bytes of these lines: a client chooses the length of some of them.
const MAX_WAITING_BYTES: usize = 8 * 1024 * 1024;

/// The longest time that a program waits for its last lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, Args)]
pub struct LogOptions {
    /// Form of the log on stderr
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object a line, for programs that collect logs
    Json,
}

/// Logs to stderr what `RUST_LOG` selects, or what `default_filter` selects if it is not set, until
/// the returned value is dropped.
pub fn log_to_stderr(options: LogOptions, default_filter: &str) -> LogGuard {
    let (writer, guard) = BackgroundWriter::start();
    let filter =
        EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default_filter));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer);
    match options.log_format {
        LogFormat::Text => log.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).with_ansi(false).init(),
    }
    guard
}

/// The text of an error with those of its causes: a log of JSON shows the text of an error alone.
#[allow(dead_code, reason = "not all programs log errors with causes")]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Does something before and after a line is written.
type Around = dyn Fn(&mut dyn FnMut()) + Send + Sync;

static AROUND: OnceLock<Box<Around>> = OnceLock::new();

/// Lets a function write all further lines: it may put something on the terminal aside meanwhile.
/// The first one stays.
pub fn write_around(around: impl Fn(&mut dyn FnMut()) + Send + Sync + 'static) {
    let _ = AROUND.set(Box::new(around));
}

/// All lines that were dropped so far.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many lines were dropped since the start: the log cannot tell while it is not read.
#[allow(dead_code, reason = "not all programs have statistics of it")]
pub fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// The lines that wait to be written, and those that were dropped and not told of yet.
#[derive(Default)]
struct Counts {
    waiting: AtomicU64,
    waiting_bytes: AtomicUsize,
    dropped: AtomicU64,
}

impl Counts {
    /// A line of so many bytes is to wait. Returns whether there is room for it.
    fn come(&self, bytes: usize) -> bool {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        before + bytes <= MAX_WAITING_BYTES
    }

    /// A line waits no more.
    fn left(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::Release);
    }
}

/// Waits for the last lines when it is dropped.
#[must_use = "it waits for the last lines when it is dropped"]
pub struct LogGuard(Arc<Counts>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        let begin = Instant::now();
        while self.0.waiting.load(Ordering::Acquire) > 0 && begin.elapsed() < LAST_LINES {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Hands lines to a thread that writes them.
struct BackgroundWriter {
    lines: SyncSender<Vec<u8>>,
    counts: Arc<Counts>,
}

impl BackgroundWriter {
    fn start() -> (Self, LogGuard) {
        let (lines, waiting) = sync_channel(MAX_WAITING);
        let counts = Arc::new(Counts::default());
        let (thread_counts, guard) = (counts.clone(), LogGuard(counts.clone()));
        thread::spawn(move || write_lines(&waiting, &thread_counts));
        (Self { lines, counts }, guard)
    }
}

/// Writes lines for as long as the program runs.
fn write_lines(lines: &Receiver<Vec<u8>>, counts: &Counts) {
    let mut stderr = io::stderr();
    while let Ok(line) = lines.recv() {
        let mut write = || {
            let _ = stderr.write_all(&line);
        };
        match AROUND.get() {
            Some(around) => around(&mut write),
            None => write(),
        }
        counts.left(line.len());
        match counts.dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            count => {
                let _ = writeln!(
                    stderr,
                    "{count} log lines dropped: stderr is read too slowly"
                );
            }
        }
    }
}

/// One line.
struct Line<'w> {
    writer: &'w BackgroundWriter,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let text = std::mem::take(&mut self.text);
        let counts = &self.writer.counts;
        let bytes = text.len();
        if !counts.come(bytes) || self.writer.lines.try_send(text).is_err() {
            counts.left(bytes);
            counts.dropped.fetch_add(1, Ordering::Relaxed);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<'w> MakeWriter<'w> for BackgroundWriter {
    type Writer = Line<'w>;

    fn make_writer(&'w self) -> Line<'w> {
        Line {
            writer: self,
            text: Vec::new(),
        }
    }
}
