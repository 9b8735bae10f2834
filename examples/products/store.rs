//! The backend that the command line asks for.

use std::error::Error;

use tower_response_cache::backend::MemoryBackend;

use crate::options::{BackendKind, Options};

#[cfg(feature = "redis")]
pub use shared::open;

/// Memory, or nothing at all.
#[cfg(not(feature = "redis"))]
pub type Store = Option<MemoryBackend>;

#[cfg(not(feature = "redis"))]
pub async fn open(options: &Options) -> Result<Store, Box<dyn Error>> {
    match options.backend {
        BackendKind::Redis => {
            Err("--backend redis needs the feature: cargo run --features redis ..".into())
        }
        _ => local(options),
    }
}

fn local(options: &Options) -> Result<Option<MemoryBackend>, Box<dyn Error>> {
    match options.backend {
        BackendKind::None => Ok(None),
        BackendKind::Memory => Ok(Some(MemoryBackend::new(options.capacity))),
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

    use crate::options::{BackendKind, Options};

    /// What is in this process, or what is shared with others.
    pub type Store = Either<Option<MemoryBackend>, Guarded<RedisBackend>>;

    pub async fn open(options: &Options) -> Result<Store, Box<dyn Error>> {
        if options.backend != BackendKind::Redis {
            return super::local(options).map(Either::Left);
        }
        let redis = RedisOptions::new(&options.redis_url)
            .and_then(|options| options.namespace("products"))
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
