//! The canary: shows that no read is older than a write that was answered before it.
//!
//! It starts several instances of the products example with one database (and a Redis that they
//! share), or uses running ones. Writers PUT increasing versions of products, the writes of one
//! product in turn through all instances. Readers GET from all of them meanwhile. Before a reader
//! sends its request, it notes the last version whose PUT was answered. A response with a lower
//! version is a *stale read*, and there must be none. A PUT without a 2xx can still take effect at
//! any time: a read of an older version that such a write may explain is counted apart, as
//! undecided.
//!
//! ```text
//! cargo build --release --features redis --example products --example canary
//! cd target/release/examples
//! ./canary                                # two instances and a Redis, a million reads
//! ./canary --write write-through
//! ./canary --instances 1 --reads 200000 --writes 4000      # in memory, without a Redis
//! ./canary --url http://127.0.0.1:3000 --url http://127.0.0.1:3001
//! ```
//!
//! The progress is printed to stderr once a second, the result to stdout: one figure per line, or
//! a JSON object with `--json`. The exit status is 0 if every request was answered in time, some
//! responses came from a cache and none was stale; 1 otherwise; 2 for wrong options. The first
//! stale reads and errors are printed as they happen:
//!
//! ```text
//! stale read: http://127.0.0.1:3001/products/0b6e…, got 41, promised 42,
//!     cache-status: tower-response-cache; hit, age: 3
//! …
//! result                  failed: 12 stale reads
//! ```
//!
//! Several instances with separate memories (`--backend memory`) are stale by nature: start them
//! yourself and pass them with `--url` to see a run fail.

#[path = "../common/arguments.rs"]
mod arguments;
#[path = "../common/banner.rs"]
mod banner;
mod client;
mod counters;
mod instances;
mod load;
mod options;
mod process;
mod product;
mod progress;
#[path = "../common/public_text.rs"]
mod public_text;
#[path = "../common/quantity.rs"]
#[allow(dead_code, reason = "no flag here is a size")]
mod quantity;
mod report;
#[path = "../common/shutdown_signal.rs"]
mod shutdown_signal;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use instances::Instances;
use load::Load;
use options::Options;
use report::{End, Report};
use shutdown_signal::ShutdownSignal;

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse_and_check();
    let mut instances = Instances::default();
    let outcome = run(&options, &mut instances).await;
    instances.kill_all().await;
    match outcome {
        Ok(report) => {
            report.print(options.json);
            ExitCode::from(u8::from(!report.passed()))
        }
        Err(error) => public_text::fail(error),
    }
}

async fn run(options: &Options, instances: &mut Instances) -> Result<Report, String> {
    let mut signal =
        ShutdownSignal::new().map_err(|error| format!("cannot handle signals: {error}"))?;
    let load = tokio::select! {
        load = prepare(options, instances) => Arc::new(load?),
        () = signal.wait() => return Err("interrupted before the first request".to_owned()),
    };
    let started = Instant::now();
    let end = tokio::select! {
        () = load.clone().run(options.readers, options.writers) => End::TargetsReached,
        () = tokio::time::sleep(options.time_limit) => End::TimeLimit(options.time_limit),
        () = signal.wait() => End::Interrupted,
        report = instances.wait_for_exit() => End::InstanceExited(report),
        () = progress::print_progress(&load, started) => unreachable!("it has no end"),
    };
    let report = Report::new(&load, end, started.elapsed());
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
    print_banner(addresses.len(), options);
    Load::prepare(addresses, options).await
}

/// Tells a person at the terminal what happens, and how it ends.
fn print_banner(instances: usize, options: &Options) {
    let Options {
        writers,
        readers,
        products,
        reads,
        ..
    } = options;
    // That nothing can be printed is no reason to stop.
    let _ = banner::print(&[
        format!(
            "{writers} writers PUT versions of {products} products, through {instances} instances in turn;"
        ),
        format!(
            "{readers} readers GET them {reads} times. A read that is older than an answered PUT is stale."
        ),
        "The run ends by itself. Ctrl-C ends it at once, with a report of what there was."
            .to_owned(),
    ]);
}
