//! Stored responses in Redis, shared by many instances: what one of them writes, none of them serves stale.
//!
//! ```no_run
//! use tower_response_cache::CacheLayer;
//! use tower_response_cache::backend::{Guarded, RedisBackend};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let redis = RedisBackend::new("redis://127.0.0.1:6379/")?;
//! let layer = CacheLayer::new(Guarded::new(redis));
//! # Ok(())
//! # }
//! ```
//!
//! Put it into a [`Guarded`](super::Guarded), always: what cannot be delivered while Redis is away is remembered there.
//!
//! # How it keeps the promise
//!
//! Every resource has a *lease*: a random token in a key of its own. A lookup reads it together with the entry (`MGET`, one
//! round trip) and takes the entry for stored only if it carries the very same token. What finds no lease makes one. A fill
//! holds the token that its lookup has read, before the inner service is called, and stores under it only if it still is
//! the lease (one script). A write removes the lease (`UNLINK`, which works even where Redis is out of memory) and is
//! answered when that is acknowledged. So:
//!
//! * a token is made once, held only by fills that had read it before their call, and never comes back once a write has
//!   removed it: an entry whose token is the lease was called for after the last acknowledged invalidation;
//! * what Redis loses, evicts, delays or repeats can only remove tokens, and each that is gone is a miss. No index of
//!   queries and variants is needed: they die with the token, and expire unseen;
//! * a token begins with a *seal* of the resource and the server: its `run_id` and its `master_replid`, asked for when a
//!   connection is made, and looked after once a second. What a server that was restarted, restored or promoted still
//!   holds carries another seal and is a miss. In the same way a token carries that of the whole namespace, which a clear
//!   removes;
//! * no two clocks are compared: an entry is as old as the server's clock, read by whoever stored it and by whoever finds
//!   it, says.
//!
//! The answer to a POST, which names its resource itself, is stored by write-through under a fence of another kind: the
//! tokens of 64 *stripes*, one of which every invalidation removes with its lease. If that of the resource is still the
//! one that was captured, no invalidation of the resource lies between; that of another one of the same stripe costs a store.
//!
//! Steps and counterexamples were checked on models: readers, fills and writers on several instances, with eviction of
//! every key at any time, commands that are lost, late or repeated, and processes that die between any two steps.
//!
//! # What it does not promise
//!
//! * While Redis answers, no read that starts after a write was answered finds older data, at any instance. An instance
//!   that dies between its service's commit and the invalidation has answered nobody: what was stored before stays until
//!   it expires.
//! * A write whose invalidation Redis did not acknowledge is answered all the same: see [`Guarded`](super::Guarded).
//! * A primary that was demoted without its connections being cut is noticed within a second, or at the first write. A
//!   primary that goes on acknowledging although another one was elected (split brain) is not noticed at all:
//!   `min-replicas-to-write 1` bounds that.
//! * Cluster and Sentinel are not spoken yet; the keys of one resource share a slot, so that they can be.
//!
//! # What Redis holds
//!
//! Keys of these kinds, all of which expire: `trc:n` (the namespace), `trc:l:{..}` (a lease, 48 bytes), `trc:e:{..}` (an
//! entry: token, then [`codec`](super::codec)); for responses that vary `trc:v:{..}` (the names of a response's variants),
//! for groups `trc:q` and `trc:g:{..}` (tokens), and with write-through up to 64 of `trc:w:..` (a stripe, 48 bytes). Nothing
//! of a request is in a name. Use a database or an instance whose `maxmemory-policy` is `allkeys-lru` or `allkeys-lfu`; any
//! other works, too, but stops storing when memory is full. It needs Redis 4 or later, and the commands `MGET`, `UNLINK`,
//! `EVALSHA`, `EVAL` with `GET`, `SET`, `PTTL`, `PEXPIRE`, `LPUSH`, `LRANGE`, `LREM`, `LTRIM`, and `INFO`, `TIME`.

mod fault;
mod groups;
mod keys;
mod link;
mod lookups;
mod options;
mod pool;
mod scripts;
mod server_clock;
mod standing;
mod store;
mod token;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use self::fault::Fault;
use self::keys::Namespace;
use self::link::{Link, LinkOptions};
use self::lookups::{Asker, Lookups};
use self::pool::Pool;
use self::scripts::Scripts;
use self::token::Captured;
use super::{
    Backend, BackendError, CacheKey, DigestSeed, Lookup, Moment, Put, Resource, StoredResponse,
    Target,
};

pub use options::{RedisOptions, RedisOptionsError};
pub use token::RedisFence;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Nothing is kept for longer.
const LONGEST_LIFE: Duration = Duration::from_secs(30 * DAY.as_secs());
/// Longer than anything that refers to it.
const EPOCH_LIFE: Duration = Duration::from_secs(40 * DAY.as_secs());
/// How long a lease outlives what was stored under it: longer than any fill.
const LEASE_LIFE: Duration = Duration::from_secs(10 * 60);

/// Keeps responses in Redis. Clones share their connections.
///
/// See the [module](self) for how it keeps the contract, and for what it does not promise.
#[derive(Clone)]
pub struct RedisBackend(Arc<Inner>);

struct Inner {
    pool: Arc<Pool>,
    asker: Asker,
    scripts: Scripts,
    options: RedisOptions,
    epoch: Arc<str>,
}

impl RedisBackend {
    /// The Redis at a URL, with the defaults of [`RedisOptions`]. It connects when it is first used.
    ///
    /// # Errors
    /// When it is no URL of a Redis.
    pub fn new(url: &str) -> Result<Self, RedisOptionsError> {
        RedisOptions::new(url).map(RedisOptions::open)
    }

    fn with(options: RedisOptions) -> Self {
        let epoch: Arc<str> = options.namespace.epoch().into();
        let link = LinkOptions {
            connect_timeout: options.connect_timeout,
            response_timeout: options.response_timeout,
            trusts_restarts: options.trusts_restarts,
            epoch: epoch.clone(),
            epoch_life: EPOCH_LIFE,
        };
        let pool = Pool::new(options.prompt_client(), options.connections, link);
        let pool = Arc::new(pool);
        let asker = Asker {
            pool: pool.clone(),
            lookups: Arc::new(Lookups::new(options.connections)),
            names: options.namespace.clone(),
            epoch: epoch.clone(),
            groups: options.namespace.groups().into(),
        };
        Self(Arc::new(Inner {
            pool,
            asker,
            scripts: Scripts::default(),
            options,
            epoch,
        }))
    }

    /// Connects, if it has not yet: for whoever wants to know at the start whether Redis is there.
    ///
    /// # Errors
    /// When it is not.
    pub async fn check(&self) -> Result<(), BackendError> {
        self.0.pool.link().await?;
        Ok(())
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("namespace", &self.0.options.namespace.as_str())
            .finish_non_exhaustive()
    }
}

impl Inner {
    fn names(&self) -> &Namespace {
        &self.options.namespace
    }
}

/// Milliseconds, of which Redis wants one at least.
fn life(of: Duration) -> Bytes {
    of.as_millis().max(1).to_string().into()
}

fn string(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

/// A reply of another shape may be that to another command: whatever comes on this connection is not to be trusted.
fn unexpected(link: &Link) -> Fault {
    link.breaks();
    Fault::Unexpected
}

impl Backend for RedisBackend {
    type Fence = RedisFence;

    async fn get(&self, key: &CacheKey, now: Moment) -> Result<Lookup<RedisFence>, BackendError> {
        Ok(self.0.look(key, now).await?)
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<RedisFence>, BackendError> {
        let captured = match resource {
            Some(resource) => Captured::One(self.0.token(resource).await?),
            None => Captured::All(self.0.all_tokens().await?),
        };
        let groups = self.0.all_groups().await?;
        Ok(Some(RedisFence { captured, groups }))
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        if response.weight() as u64 > self.largest() {
            return Ok(Put::TooLarge);
        }
        Ok(self.0.put(key, fence, &response, now).await?)
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<Put, BackendError> {
        if response.weight() as u64 > self.largest() {
            self.0.invalidate(key.resource()).await?;
            return Ok(Put::TooLarge);
        }
        Ok(self.0.replace(key, fence, &response, now).await?)
    }

    async fn invalidate(&self, target: &Target) -> Result<(), BackendError> {
        match target {
            Target::Resource(resource) => Ok(self.0.invalidate(resource).await?),
            Target::Group(group) => Ok(self.0.invalidate_group(group).await?),
        }
    }

    async fn clear(&self) -> Result<(), BackendError> {
        Ok(self.0.unlink(&[self.0.epoch.to_string()]).await?)
    }

    fn seed(&self) -> DigestSeed {
        self.0.options.seed()
    }

    fn largest(&self) -> u64 {
        self.0.options.largest
    }
}
