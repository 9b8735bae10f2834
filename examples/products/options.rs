//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use tower_response_cache::Ttl;

use crate::quantity;
use crate::store::StoreOptions;

/// A products API whose GETs come from a cache.
#[derive(Debug, Parser)]
#[command(name = "products")]
pub struct Options {
    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    pub listen: String,

    #[command(flatten)]
    pub store: StoreOptions,

    /// For how long a response stays fresh, or until-invalidated
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = ttl, allow_hyphen_values = true)]
    pub ttl: Ttl,

    /// What a write does to the cache
    #[arg(long, value_enum, default_value_t = WriteStrategy::Invalidate)]
    pub write: WriteStrategy,

    /// A file, which several instances may share, or :memory:
    #[arg(long, value_name = "PATH", default_value = ":memory:")]
    pub database: String,

    /// A pause before every database call, to imitate a slow one
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = quantity::duration, allow_hyphen_values = true)]
    pub database_delay: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum WriteStrategy {
    /// It only invalidates: the next GET asks the database
    Invalidate,
    /// It stores what it answers: the next GET is a hit
    WriteThrough,
}

fn ttl(text: &str) -> Result<Ttl, String> {
    match text {
        "until-invalidated" => Ok(Ttl::UntilInvalidated),
        _ => quantity::duration(text)
            .map(Ttl::For)
            .map_err(|error| format!("{error}, or until-invalidated")),
    }
}
