//! The backend that the command line asks for.

use std::error::Error;

use clap::{Args, ValueEnum};
use tower_response_cache::backend::MemoryBackend;

use crate::quantity;

#[derive(Debug, Args)]
pub struct StoreOptions {
    /// Where responses are stored; redis needs the feature of that name, tiered is not there yet
    #[arg(long, value_enum, default_value_t = BackendKind::Memory)]
    pub backend: BackendKind,

    /// For the backends redis and tiered
    #[arg(long, value_name = "URL", default_value = "redis://127.0.0.1:6379/")]
    pub redis_url: String,

    /// How much memory stored responses may take
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = quantity::size, allow_hyphen_values = true)]
    pub capacity: u64,

    /// The largest response that is stored
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = quantity::size, allow_hyphen_values = true)]
    pub max_body: u64,
}

/// What a response may take beside its body.
const HEAD: u64 = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendKind {
    Memory,
    Redis,
    Tiered,
    None,
}

#[cfg(feature = "redis")]
pub use shared::open;

/// Memory, or nothing at all.
#[cfg(not(feature = "redis"))]
pub type Store = Option<MemoryBackend>;

#[cfg(not(feature = "redis"))]
pub async fn open(options: &StoreOptions, _namespace: &str) -> Result<Store, Box<dyn Error>> {
    match options.backend {
        BackendKind::Redis => {
            Err("--backend redis needs the feature: cargo run --features redis ..".into())
        }
        _ => local(options),
    }
}

fn local(options: &StoreOptions) -> Result<Option<MemoryBackend>, Box<dyn Error>> {
    match options.backend {
        BackendKind::None => Ok(None),
        BackendKind::Memory => {
            let largest = options.max_body.saturating_add(HEAD);
            Ok(Some(MemoryBackend::with_largest(options.capacity, largest)))
        }
        BackendKind::Redis | BackendKind::Tiered => {
            Err("--backend tiered is not there yet: use memory, redis or none".into())
        }
    }
}

#[cfg(feature = "redis")]
mod shared {
    use std::error::Error;

    use tower_response_cache::backend::redis::RedisOptions;
    use tower_response_cache::backend::{Either, Guarded, MemoryBackend, RedisBackend};

    use super::{BackendKind, StoreOptions};

    /// What is in this process, or what is shared with others.
    pub type Store = Either<Option<MemoryBackend>, Guarded<RedisBackend>>;

    pub async fn open(options: &StoreOptions, namespace: &str) -> Result<Store, Box<dyn Error>> {
        if options.backend != BackendKind::Redis {
            return super::local(options).map(Either::Left);
        }
        let redis = RedisOptions::new(&options.redis_url)
            .and_then(|options| options.namespace(namespace))
            .map_err(|error| format!("--redis-url: {}", whole(&error)))?
            .open();
        if let Err(error) = redis.check().await {
            let error = whole(&error);
            tracing::warn!(error, "Redis is not there: serving without it until it is");
        }
        Ok(Either::Right(Guarded::new(redis)))
    }

    /// An error with its causes.
    fn whole(error: &dyn Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}
