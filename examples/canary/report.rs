//! The result of a run, as text or JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::counters::Percentiles;
use crate::load::Load;

/// The reason why a run ended.
pub enum End {
    /// All reads and writes are done.
    TargetsReached,
    TimeLimit(Duration),
    Interrupted,
    /// A program that was started has ended.
    InstanceExited(String),
}

#[derive(Serialize)]
pub struct Report {
    /// The reasons of a failure; empty if the run passed.
    failures: Vec<String>,
    reads: u64,
    writes: u64,
    hit_ratio: f64,
    stale_reads: u64,
    /// Older than promised, but perhaps by an unconfirmed write that took effect late.
    undecided_reads: u64,
    errors: Errors,
    seconds: f64,
    reads_per_second: f64,
    read_milliseconds: Percentiles,
    write_milliseconds: Percentiles,
    first_stale_reads: Vec<String>,
    first_errors: Vec<String>,
}

#[derive(Serialize)]
struct Errors {
    not_2xx: u64,
    broken: u64,
    wrong: u64,
}

impl Report {
    pub fn new(load: &Load, end: End, elapsed: Duration) -> Self {
        load.progress.end();
        let counters = &load.counters;
        let (reads, seconds) = (counters.reads.get(), elapsed.as_secs_f64());
        Self {
            failures: failures(load, end),
            reads,
            writes: counters.writes.get(),
            hit_ratio: counters.hit_ratio(),
            stale_reads: counters.stale.get(),
            undecided_reads: counters.undecided.get(),
            errors: Errors {
                not_2xx: counters.errors.not_2xx.get(),
                broken: counters.errors.broken.get(),
                wrong: counters.errors.wrong.get(),
            },
            seconds,
            reads_per_second: reads as f64 / seconds,
            read_milliseconds: counters.read_times.summary(),
            write_milliseconds: counters.write_times.summary(),
            first_stale_reads: load.progress.printed_stale(),
            first_errors: load.progress.printed_errors(),
        }
    }

    /// Whether the run passed.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// Prints to stdout.
    pub fn print(&self, json: bool) {
        match json {
            true => println!("{}", serde_json::to_string_pretty(self).expect("JSON")),
            false => println!("{self}"),
        }
    }
}

fn failures(load: &Load, end: End) -> Vec<String> {
    let counters = &load.counters;
    let (stale, errors) = (counters.stale.get(), counters.errors.sum());
    let mut failures = Vec::new();
    if stale > 0 {
        failures.push(format!("{stale} stale reads"));
    }
    if errors > 0 {
        failures.push(format!("{errors} errors"));
    }
    if counters.hits.get() == 0 {
        failures.push("no response came from the cache, so the run shows nothing".to_owned());
    }
    let why = match end {
        End::TargetsReached => return failures,
        End::TimeLimit(limit) => format!("the time limit of {limit:?} was reached"),
        End::Interrupted => "interrupted".to_owned(),
        End::InstanceExited(report) => report,
    };
    let reads = load.reads.saturating_sub(counters.reads.get());
    let writes = load.writes.saturating_sub(counters.writes.get());
    failures.push(format!("{reads} reads and {writes} writes missing: {why}"));
    failures
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:24}{value}");
        line("reads", self.reads.to_string())?;
        line("writes", self.writes.to_string())?;
        line("hit ratio", format!("{:.4}", self.hit_ratio))?;
        line("stale after write", self.stale_reads.to_string())?;
        line("undecided", self.undecided_reads.to_string())?;
        line("answers not 2xx", self.errors.not_2xx.to_string())?;
        line("broken connections", self.errors.broken.to_string())?;
        line("wrong answers", self.errors.wrong.to_string())?;
        line("seconds", format!("{:.1}", self.seconds))?;
        line("reads per second", format!("{:.0}", self.reads_per_second))?;
        for (kind, times) in [
            ("read", &self.read_milliseconds),
            ("write", &self.write_milliseconds),
        ] {
            for (name, time) in [
                ("median", times.p50),
                ("90 %", times.p90),
                ("99 %", times.p99),
                ("99.9 %", times.p999),
                ("longest", times.max),
            ] {
                line(&format!("{kind}, {name}"), format!("{time:.3} ms"))?;
            }
        }
        let result = match self.failures.as_slice() {
            [] => "passed".to_owned(),
            failures => format!("failed: {}", failures.join("; ")),
        };
        write!(f, "{:24}{result}", "result")
    }
}
