//! The cache's backend, as selected by the command line.

use std::error::Error;

use clap::{Args, ValueEnum};
use tower_response_cache::backend::MemoryBackend;

use crate::quantity;

#[derive(Clone, Debug, Args)]
pub struct StoreOptions {
    /// Where to store responses
    #[arg(long, value_enum, default_value_t = BackendKind::Memory)]
    pub backend: BackendKind,

    /// URL of the Redis server for --backend redis
    #[arg(long, value_name = "URL", default_value = "redis://127.0.0.1:6379/")]
    pub redis_url: String,

    /// Prefix of all keys in Redis, for --backend redis: 1 to 64 letters, digits, '.', '_' or '-'.
    /// Instances with one prefix invalidate each other's stored responses; they share them if they
    /// also have the same upstreams and options of keys, or the same database. A start with others
    /// than the last one is logged [default: the program's name and a digest of these]
    #[arg(long, value_name = "NAME", verbatim_doc_comment)]
    pub namespace: Option<String>,

    /// Keep stored responses when Redis restarts or fails over. Only for a Redis that never loses
    /// acknowledged commands (appendfsync always) [default: a restart empties the cache]
    #[cfg(feature = "redis")]
    #[arg(long, verbatim_doc_comment)]
    pub redis_trust_restarts: bool,

    /// Memory for stored responses with --backend memory; the least valuable ones are evicted
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = quantity::size,
          allow_hyphen_values = true)]
    pub capacity: u64,

    /// Largest response body to store; larger responses are passed on uncached
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = quantity::size,
          allow_hyphen_values = true)]
    pub max_body: u64,
}

/// What a cache is for, by which those of different sites are kept apart in one Redis.
pub struct Owner {
    pub program: &'static str,
    /// What the responses come from.
    pub site: String,
    /// Options that decide which response a key has.
    pub keys: String,
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
#[allow(unused_imports, reason = "not every example checks options")]
pub use shared::{check, open};

/// The backend in this process; `None` does not store anything.
#[cfg(not(feature = "redis"))]
pub type Store = Option<MemoryBackend>;

#[cfg(not(feature = "redis"))]
pub async fn open(options: &StoreOptions, owner: &Owner) -> Result<Store, Box<dyn Error>> {
    tracing::debug!(owner.program, owner.site, owner.keys, "cache");
    match options.backend {
        BackendKind::Redis => {
            Err("--backend redis needs the feature redis: build with --features redis".into())
        }
        _ => local(options),
    }
}

/// Checks the options without opening anything.
#[cfg(not(feature = "redis"))]
#[allow(dead_code, reason = "not every example checks them")]
pub fn check(options: &StoreOptions, _: &Owner) -> Result<(), Box<dyn Error>> {
    match options.backend {
        BackendKind::Redis => {
            Err("--backend redis needs the feature redis: build with --features redis".into())
        }
        _ => local(options).map(drop),
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

    use super::{BackendKind, Owner, StoreOptions};

    /// The backend in this process, or the one that is shared by several.
    pub type Store = Either<Option<MemoryBackend>, Guarded<RedisBackend>>;

    pub async fn open(options: &StoreOptions, owner: &Owner) -> Result<Store, Box<dyn Error>> {
        if options.backend != BackendKind::Redis {
            return super::local(options).map(Either::Left);
        }
        let redis = redis_options(options, owner)?;
        let description = format!("{}; {}", owner.site, owner.keys);
        let redis = redis.trust_restarts(options.redis_trust_restarts);
        let redis = redis.owner(&description).build();
        tracing::info!(?redis, "responses are stored in redis");
        if let Err(error) = redis.connect().await {
            let error = with_causes(&error);
            tracing::warn!(error, "redis cannot be used; serving uncached until it can");
        }
        Ok(Either::Right(Guarded::new(redis)))
    }

    /// Checks the options without opening anything.
    #[allow(dead_code, reason = "not every example checks them")]
    pub fn check(options: &StoreOptions, owner: &Owner) -> Result<(), Box<dyn Error>> {
        match options.backend {
            BackendKind::Redis => redis_options(options, owner).map(drop),
            _ => super::local(options).map(drop),
        }
    }

    fn redis_options(
        options: &StoreOptions,
        owner: &Owner,
    ) -> Result<RedisOptions, Box<dyn Error>> {
        let redis = RedisOptions::new(&options.redis_url)
            .map_err(|error| format!("--redis-url: {}", with_causes(&error)))?;
        Ok(match &options.namespace {
            Some(name) => redis
                .try_namespace(name)
                .map_err(|error| format!("--namespace: {error}"))?,
            None => redis.namespace_for(owner.program, &owner.site),
        })
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
