//! The command line.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

use crate::client::Address;
use crate::quantity;

/// Counts reads that are older than a write that was answered before them.
#[derive(Debug, Parser)]
#[command(name = "canary")]
pub struct Options {
    /// How many instances of the products example to start
    #[arg(long, value_name = "NUMBER", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub instances: u16,

    /// How many reads at least
    #[arg(long, value_name = "NUMBER", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub reads: u64,

    /// How many writes at least, spread evenly over the reads
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub writes: u64,

    /// How many clients read at a time
    #[arg(long, value_name = "NUMBER", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub readers: u16,

    /// How many clients write at a time: no more than there are products, each of which has one writer
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub writers: u16,

    /// How many products there are to read and write
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub products: u16,

    /// What a write does to the cache
    #[arg(long, value_enum, default_value_t = WriteStrategy::Invalidate)]
    pub write: WriteStrategy,

    /// Where responses are stored [default: memory for one instance, else redis]
    #[arg(long, value_enum)]
    pub backend: Option<BackendKind>,

    /// A Redis that runs; without it one is started
    #[arg(long, value_name = "URL")]
    pub redis_url: Option<String>,

    /// An instance that runs, in the place of those that would be started; may be repeated
    #[arg(long, value_name = "URL", value_parser = Address::parse, conflicts_with_all = ["instances", "write", "backend", "redis_url", "ttl"])]
    pub url: Vec<Address>,

    /// When to give up
    #[arg(long, value_name = "DURATION", default_value = "600s", value_parser = quantity::duration, allow_hyphen_values = true)]
    pub time_limit: Duration,

    /// For how long a response stays fresh, or until-invalidated
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = ttl, allow_hyphen_values = true)]
    pub ttl: String,

    /// Report as a JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub enum BackendKind {
    Memory,
    Redis,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum WriteStrategy {
    /// It only invalidates: the next GET asks the database
    Invalidate,
    /// It stores what it answers: the next GET is a hit
    WriteThrough,
}

impl Options {
    /// Ends the process where they make no sense.
    pub fn checked() -> Self {
        let options = Self::parse();
        if let Err(message) = options.check() {
            let kind = ErrorKind::ArgumentConflict;
            Self::command().error(kind, message).exit();
        }
        options
    }

    fn check(&self) -> Result<(), String> {
        if self.backend == Some(BackendKind::Memory) && self.instances > 1 {
            let why = "each instance would have a memory of its own and know nothing of the others' writes";
            return Err(format!("--backend memory takes --instances 1: {why}"));
        }
        if self.redis_url.is_some() && self.backend() == BackendKind::Memory {
            let how = "one instance stores in memory unless --backend redis is given";
            return Err(format!("--redis-url is of no use here: {how}"));
        }
        if self.writers > self.products {
            let (writers, products) = (self.writers, self.products);
            let why = "every product has one writer";
            return Err(format!(
                "--writers {writers} is more than --products {products}: {why}"
            ));
        }
        Ok(())
    }

    pub fn backend(&self) -> BackendKind {
        let fitting = match self.instances {
            1 => BackendKind::Memory,
            _ => BackendKind::Redis,
        };
        self.backend.unwrap_or(fitting)
    }
}

/// What the products example is to be called with, word for word.
fn ttl(text: &str) -> Result<String, String> {
    match text {
        "until-invalidated" => Ok(text.to_owned()),
        _ => quantity::duration(text)
            .map(|_| text.to_owned())
            .map_err(|error| format!("{error}, or until-invalidated")),
    }
}
