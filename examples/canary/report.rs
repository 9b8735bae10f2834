//! What came of it.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::load::Load;
use crate::tally::Percentiles;

/// Why it ended.
pub enum End {
    Reached,
    TimeLimit(Duration),
    Interrupted,
    Died(String),
}

#[derive(Serialize)]
pub struct Report {
    /// Why it failed; empty if it did not.
    failures: Vec<String>,
    reads: u64,
    writes: u64,
    hit_ratio: f64,
    stale_reads: u64,
    /// Older than promised, but maybe of a write that was not answered and came late.
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
    pub fn of(load: &Load, end: End, elapsed: Duration) -> Self {
        load.screen.end();
        let tally = &load.tally;
        let (reads, seconds) = (tally.reads.get(), elapsed.as_secs_f64());
        Self {
            failures: failures(load, end),
            reads,
            writes: tally.writes.get(),
            hit_ratio: tally.hit_ratio(),
            stale_reads: tally.stale.get(),
            undecided_reads: tally.undecided.get(),
            errors: Errors {
                not_2xx: tally.errors.refused.get(),
                broken: tally.errors.broken.get(),
                wrong: tally.errors.wrong.get(),
            },
            seconds,
            reads_per_second: reads as f64 / seconds,
            read_milliseconds: tally.read_times.summary(),
            write_milliseconds: tally.write_times.summary(),
            first_stale_reads: load.screen.told_stale(),
            first_errors: load.screen.told_errors(),
        }
    }

    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    pub fn print(&self, json: bool) {
        match json {
            true => println!("{}", serde_json::to_string_pretty(self).expect("JSON")),
            false => println!("{self}"),
        }
    }
}

fn failures(load: &Load, end: End) -> Vec<String> {
    let tally = &load.tally;
    let (stale, errors) = (tally.stale.get(), tally.errors.sum());
    let mut failures = Vec::new();
    if stale > 0 {
        failures.push(format!("{stale} stale reads"));
    }
    if errors > 0 {
        failures.push(format!("{errors} errors"));
    }
    if tally.hits.get() == 0 {
        failures.push("nothing came from a cache, which shows nothing of it".to_owned());
    }
    let why = match end {
        End::Reached => return failures,
        End::TimeLimit(limit) => format!("the time limit of {limit:?} was reached"),
        End::Interrupted => "interrupted".to_owned(),
        End::Died(death) => death,
    };
    let reads = load.reads.saturating_sub(tally.reads.get());
    let writes = load.writes.saturating_sub(tally.writes.get());
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
