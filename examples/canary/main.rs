//! The canary: does anybody ever read what a write has replaced?
//!
//! It starts several instances of the products example over one database (and a Redis for them to share), or is pointed
//! at running ones. Writers PUT ever higher versions, the writes of one product in turn through every instance; readers
//! GET from all of them meanwhile. Before a reader asks, it notes the last version whose PUT had been answered: an answer
//! with a lower one is a *stale read*, and there must be none. A PUT that was not answered with 2xx may still take effect,
//! at any time: what is older but might be of such a write is counted apart, as undecided.
//!
//! ```text
//! cargo build --release --features redis --example products --example canary
//! target/release/examples/canary                                   # two instances and a Redis, a million reads
//! target/release/examples/canary --write write-through
//! target/release/examples/canary --instances 1 --reads 200000 --writes 4000      # from memory: no Redis
//! target/release/examples/canary --url http://127.0.0.1:3000 --url http://127.0.0.1:3001
//! ```
//!
//! How it goes is told once a second on stderr, the result on stdout: one figure per line, or with `--json` an object.
//! It exits with 0 if every read and write was answered, all that was asked for was done in time, some of it came from a
//! cache and nothing was stale; with 1 if not; with 2 if it was called wrongly. A run that fails says what it saw, the first few times as it happens:
//!
//! ```text
//! stale read: http://127.0.0.1:3001/products/0b6e…, got 41, promised 42, cache-status: tower-response-cache; hit, age: 3
//! …
//! result                  failed: 12 stale reads
//! ```
//!
//! Several instances that each have a memory of their own (`--backend memory`) would be stale by nature: with `--url` that
//! is a way to see it fail.

mod client;
mod instances;
mod load;
mod options;
mod process;
mod product;
#[path = "../common/quantity.rs"]
#[allow(dead_code, reason = "no option here is a size")]
mod quantity;
mod report;
mod screen;
#[path = "../common/stop.rs"]
mod stop;
mod tally;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use instances::Instances;
use load::Load;
use options::Options;
use report::{End, Report};
use stop::Stop;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::checked();
    let mut instances = Instances::default();
    let outcome = run(&options, &mut instances).await;
    instances.end().await;
    match outcome {
        Ok(report) => {
            report.print(options.json);
            ExitCode::from(u8::from(!report.passed()))
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options, instances: &mut Instances) -> Result<Report, String> {
    let mut stop = Stop::new().map_err(|error| format!("cannot hear signals: {error}"))?;
    let load = tokio::select! {
        load = prepare(options, instances) => Arc::new(load?),
        () = stop.asked() => return Err("interrupted before it began".to_owned()),
    };
    let started = Instant::now();
    let end = tokio::select! {
        () = load.clone().run(options.readers, options.writers) => End::Reached,
        () = tokio::time::sleep(options.time_limit) => End::TimeLimit(options.time_limit),
        () = stop.asked() => End::Interrupted,
        death = instances.death() => End::Died(death),
        () = screen::progress(&load, started) => unreachable!("it goes on for ever"),
    };
    let report = Report::of(&load, end, started.elapsed());
    if !options.url.is_empty() {
        load.remove_products().await;
    }
    Ok(report)
}

async fn prepare(options: &Options, instances: &mut Instances) -> Result<Load, String> {
    let addresses = match options.url.is_empty() {
        true => instances.start(options).await?,
        false => options.url.clone(),
    };
    for (number, address) in addresses.iter().enumerate() {
        eprintln!("instance {number}: {address}");
    }
    Load::prepare(addresses, options).await
}
