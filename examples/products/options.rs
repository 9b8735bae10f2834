//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use tower_response_cache::Ttl;

use crate::admin::AdminOptions;
use crate::log::LogOptions;
use crate::quantity;
use crate::store::StoreOptions;

/// A products API over SQLite whose GETs are answered from a response cache.
///
/// Example:
///   products --listen 127.0.0.1:3000 --ttl 60s
///   curl -i 127.0.0.1:3000/products
///
/// Prints `listening on http://ADDR` when it is ready. SIGINT and SIGTERM stop it after the
/// requests in flight. Logs to stderr; the environment variable RUST_LOG selects what, for example
/// RUST_LOG=debug or RUST_LOG=warn,tower_response_cache=debug [default: info].
#[derive(Debug, Parser)]
#[command(name = "products", verbatim_doc_comment)]
#[command(after_help = "DURATION is a whole number with ms, s, m, h or d. \
                        SIZE is a whole number with B, KiB, MiB or GiB.")]
pub struct Options {
    /// Address to listen on; port 0 picks a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:3000")]
    pub listen: String,

    #[command(flatten)]
    pub store: StoreOptions,

    /// How long a stored response is fresh, or until-invalidated
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = ttl,
          allow_hyphen_values = true)]
    pub ttl: Ttl,

    /// What a POST, PUT or DELETE does to stored responses
    #[arg(long, value_enum, default_value_t = WriteStrategy::Invalidate)]
    pub write: WriteStrategy,

    /// SQLite file, which several instances can share, or :memory:
    #[arg(long, value_name = "PATH", default_value = ":memory:")]
    pub database: String,

    /// Delay before every database call, to simulate a slow database
    #[arg(long, value_name = "DURATION", default_value = "0ms",
          value_parser = quantity::duration, allow_hyphen_values = true)]
    pub database_delay: Duration,

    #[command(flatten)]
    pub admin: AdminOptions,

    #[command(flatten)]
    pub log: LogOptions,

    /// Show requests, hit ratio, p99 and bytes on a line of the terminal, once a second
    #[arg(long)]
    pub watch: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WriteStrategy {
    /// Removes them: the next GET reads the database
    Invalidate,
    /// Replaces them by the response to the write: the next GET is a hit
    WriteThrough,
}

/// Formats a TTL as the flag has it.
pub fn show_ttl(ttl: Ttl) -> String {
    match ttl {
        Ttl::For(ttl) => quantity::show_duration(ttl),
        Ttl::UntilInvalidated => "until-invalidated".to_owned(),
    }
}

fn ttl(text: &str) -> Result<Ttl, String> {
    match text {
        "until-invalidated" => Ok(Ttl::UntilInvalidated),
        _ => quantity::duration(text)
            .map(Ttl::For)
            .map_err(|error| format!("{error}, or until-invalidated")),
    }
}
