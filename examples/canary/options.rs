//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::arguments;
use crate::client::Address;
use crate::quantity;

/// Shows that no read is older than a write that was answered before it: starts instances of the
/// products example, reads and writes through all of them, and counts stale reads.
///
/// Example:
///   canary --instances 1 --reads 200000 --writes 4000
///   canary --url http://127.0.0.1:3000 --url http://127.0.0.1:3001
///
/// Progress goes to stderr, once a second on one line of a terminal, the result to stdout. The exit status is 0 if there was no stale read
/// and no error, 1 if there was, 2 for wrong options. The instances log by the environment
/// variable RUST_LOG [default: warn]; the last lines are shown if one ends too early.
#[derive(Debug, Parser)]
#[command(name = "canary", verbatim_doc_comment)]
#[command(after_help = "DURATION is a whole number with ms, s, m, h or d.")]
pub struct Options {
    /// Instances of the products example to start
    #[arg(long, value_name = "NUMBER", default_value_t = 2,
          value_parser = clap::value_parser!(u16).range(1..=64))]
    pub instances: u16,

    /// Least number of reads
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub reads: u64,

    /// Least number of writes, spread evenly over the reads
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub writes: u64,

    /// Clients that read at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 32,
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub readers: u16,

    /// Clients that write at a time; at most one per product
    #[arg(long, value_name = "NUMBER", default_value_t = 4,
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub writers: u16,

    /// Products to read and write
    #[arg(long, value_name = "NUMBER", default_value_t = 20,
          value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub products: u16,

    /// What a write does to stored responses
    #[arg(long, value_enum, default_value_t = WriteStrategy::Invalidate)]
    pub write: WriteStrategy,

    /// Where instances store responses [default: memory for one instance, else redis]
    #[arg(long, value_enum)]
    pub backend: Option<BackendKind>,

    /// URL of a running Redis [default: starts redis-server]
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<String>,

    /// URL of a running instance to use instead of starting any; can be repeated
    #[arg(long, value_name = "URL", value_parser = Address::parse,
          conflicts_with_all = ["instances", "write", "backend", "redis_url", "ttl"])]
    pub url: Vec<Address>,

    /// Longest time for the run
    #[arg(long, value_name = "DURATION", default_value = "600s",
          value_parser = quantity::duration, allow_hyphen_values = true)]
    pub time_limit: Duration,

    /// How long a stored response is fresh, or until-invalidated
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = ttl,
          allow_hyphen_values = true)]
    pub ttl: String,

    /// Print the result as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum BackendKind {
    /// In the memory of the instance
    Memory,
    /// In Redis, shared by all instances
    Redis,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum WriteStrategy {
    /// Removes them: the next GET reads the database
    Invalidate,
    /// Replaces them by the response to the write: the next GET is a hit
    WriteThrough,
}

impl Options {
    /// Parses the command line. Exits with an error if flags contradict each other.
    pub fn parse_and_check() -> Self {
        let options: Self = arguments::parse();
        if let Err(message) = options.check() {
            arguments::conflict::<Self>(message);
        }
        options
    }

    fn check(&self) -> Result<(), String> {
        if self.backend == Some(BackendKind::Memory) && self.instances > 1 {
            let why = "instances with separate memories do not see each other's writes";
            return Err(format!("--backend memory needs --instances 1: {why}"));
        }
        if self.redis_url.is_some() && self.backend() == BackendKind::Memory {
            let how = "add --backend redis, or more instances";
            return Err(format!(
                "--redis-url has no effect with --backend memory: {how}"
            ));
        }
        if self.writers > self.products {
            let (writers, products) = (self.writers, self.products);
            let why = "each product has one writer";
            return Err(format!(
                "--writers {writers} is more than --products {products}: {why}"
            ));
        }
        Ok(())
    }

    /// The backend of the instances.
    pub fn backend(&self) -> BackendKind {
        let default = match self.instances {
            1 => BackendKind::Memory,
            _ => BackendKind::Redis,
        };
        self.backend.unwrap_or(default)
    }
}

/// Checks a value that is passed on to the products example as it is.
fn ttl(text: &str) -> Result<String, String> {
    match text {
        "until-invalidated" => Ok(text.to_owned()),
        _ => quantity::duration(text)
            .map(|_| text.to_owned())
            .map_err(|error| format!("{error}, or until-invalidated")),
    }
}
