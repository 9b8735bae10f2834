//! The cache's backend, as selected by the command line.

use std::error::Error;

use clap::{Args, ValueEnum};
use tower_response_cache::backend::MemoryBackend;

use crate::quantity;

#[derive(Debug, Args)]
pub struct StoreOptions {
    /// Where to store responses
    #[arg(long, value_enum, default_value_t = BackendKind::Memory)]
    pub backend: BackendKind,

    /// URL of the Redis server for --backend redis
    #[arg(long, value_name = "URL", default_value = "redis://127.0.0.1:6379/")]
    pub redis_url: String,

    /// Memory for stored responses with --backend memory; the least valuable ones are evicted
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = quantity::size,
          allow_hyphen_values = true)]
    pub capacity: u64,

    /// Largest response body to store; larger responses are passed on uncached
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = quantity::size,
          allow_hyphen_values = true)]
    pub max_body: u64,
}

/// The allowance for a stored response's head, in addition to `--max-body`, in bytes.
const MAX_HEAD: u64 = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendKind {
    /// In the memory of this process
    Memory,
    /// In Redis, shared by several instances; needs a build with --features redis
    Redis,
    #[value(hide = true)]
    Tiered,
    /// Nowhere: every request is forwarded
    None,
}

#[cfg(feature = "redis")]
pub use shared::open;

/// The backend in this process; `None` does not store anything.
#[cfg(not(feature = "redis"))]
pub type Store = Option<MemoryBackend>;

#[cfg(not(feature = "redis"))]
pub async fn open(options: &StoreOptions, _namespace: &str) -> Result<Store, Box<dyn Error>> {
    match options.backend {
        BackendKind::Redis => {
            Err("--backend redis needs the feature redis: build with --features redis".into())
        }
        _ => local(options),
    }
}

fn local(options: &StoreOptions) -> Result<Option<MemoryBackend>, Box<dyn Error>> {
    match options.backend {
        BackendKind::None => Ok(None),
        BackendKind::Memory => {
            let largest = options.max_body.saturating_add(MAX_HEAD);
            Ok(Some(
                MemoryBackend::builder()
                    .capacity(options.capacity)
                    .max_response_size(largest)
                    .build(),
            ))
        }
        BackendKind::Redis | BackendKind::Tiered => {
            Err("--backend tiered is not supported yet: use memory, redis or none".into())
        }
    }
}

#[cfg(feature = "redis")]
mod shared {
    use std::error::Error;

    use tower_response_cache::backend::redis::RedisOptions;
    use tower_response_cache::backend::{Either, Guarded, MemoryBackend, RedisBackend};

    use super::{BackendKind, StoreOptions};

    /// The backend in this process, or the one that is shared by several.
    pub type Store = Either<Option<MemoryBackend>, Guarded<RedisBackend>>;

    pub async fn open(options: &StoreOptions, namespace: &str) -> Result<Store, Box<dyn Error>> {
        if options.backend != BackendKind::Redis {
            return super::local(options).map(Either::Left);
        }
        let redis = RedisOptions::new(&options.redis_url)
            .map_err(|error| format!("--redis-url: {}", with_causes(&error)))?
            .namespace(namespace)
            .build();
        if let Err(error) = redis.connect().await {
            let error = with_causes(&error);
            tracing::warn!(error, "redis cannot be used; serving uncached until it can");
        }
        Ok(Either::Right(Guarded::new(redis)))
    }

    /// Formats an error with its causes.
    fn with_causes(error: &dyn Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
