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
//! * The answer to a POST is not stored by write-through: its resource is not known before the call, and so neither is
//!   its lease.
//! * Cluster and Sentinel are not spoken yet; the keys of one resource share a slot, so that they can be.
//!
//! # What Redis holds
//!
//! Three kinds of keys, all of which expire: `trc:n` (the namespace), `trc:l:{..}` (a lease, 48 bytes), `trc:e:{..}` (an
//! entry: token, then [`codec`]). Nothing of a request is in a name. Use a database or an instance whose
//! `maxmemory-policy` is `allkeys-lru` or `allkeys-lfu`; any other works, too, but stops storing when memory is full.
//! It needs Redis 4 or later, and the commands `MGET`, `UNLINK`, `EVALSHA`, `EVAL` with `GET`, `SET`, `PTTL`, `PEXPIRE`,
//! and `INFO`, `TIME`.

mod fault;
mod keys;
mod link;
mod lookups;
mod options;
mod pool;
mod scripts;
mod token;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use self::fault::Fault;
use self::link::{Link, LinkOptions};
use self::lookups::{Asker, Looked, Lookups};
use self::pool::Pool;
use self::scripts::Scripts;
use self::token::{Epoch, Identity};
use super::codec;
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
    async fn look(&self, key: &CacheKey, now: Moment) -> Result<Lookup<RedisFence>, Fault> {
        let (identity, epoch) = match self.asker.look(key, now).await? {
            Looked::Known(lookup) => return Ok(lookup),
            Looked::Unleased(identity, epoch) => (identity, epoch),
        };
        // Apart: it takes kilobytes, which a hit should not move about.
        let opened = Box::pin(self.open(identity, epoch, key.resource()));
        Ok(Lookup::Miss(opened.await?))
    }

    /// The token of the namespace, made if there is none.
    async fn begin(&self) -> Result<Epoch, Fault> {
        let (script, keys) = (&self.scripts.begin, [self.epoch.to_string()]);
        let offered = Epoch::random();
        let arguments = [offered.as_bytes(), &life(EPOCH_LIFE)];
        let (epoch, link) = self.pool.run(script, &keys, &arguments).await?;
        let epoch = string(epoch).and_then(|epoch| Epoch::read(&epoch));
        epoch.ok_or_else(|| unexpected(&link))
    }

    /// The token of a resource, made if there is none that counts on this connection's server.
    async fn open(
        &self,
        identity: Identity,
        epoch: Option<Epoch>,
        resource: &Resource,
    ) -> Result<RedisFence, Fault> {
        let epoch = match epoch {
            Some(epoch) => epoch,
            None => self.begin().await?,
        };
        let (script, keys) = (&self.scripts.open, [self.options.namespace.lease(resource)]);
        let offered = RedisFence::random(identity, epoch, resource);
        let arguments = [offered.as_bytes(), &life(LEASE_LIFE)];
        let (lease, link) = self.pool.run(script, &keys, &arguments).await?;
        let read = |lease: Vec<u8>| RedisFence::read(&lease, identity, epoch, resource);
        string(lease)
            .and_then(read)
            .ok_or_else(|| unexpected(&link))
    }

    async fn fence(&self, resource: &Resource) -> Result<RedisFence, Fault> {
        let (epoch, link) = self.epoch().await?;
        self.open(link.identity(), epoch, resource).await
    }

    async fn epoch(&self) -> Result<(Option<Epoch>, Arc<Link>), Fault> {
        let mut ask = redis::cmd("GET");
        ask.arg(&*self.epoch);
        let (epoch, link) = self.pool.send(&ask).await?;
        Ok((string(epoch).and_then(|epoch| Epoch::read(&epoch)), link))
    }

    /// A connection to the server that a token was captured from, if it is still of this epoch. What was captured from
    /// another server says nothing of this one.
    ///
    /// A step of its own, because the epoch is in another slot: a clear that comes between this and the store makes what
    /// is stored unreachable.
    async fn link_for(
        &self,
        fence: &RedisFence,
        resource: &Resource,
    ) -> Result<Option<Arc<Link>>, Fault> {
        let (epoch, link) = self.epoch().await?;
        let holds = epoch.is_some_and(|epoch| fence.is_of(link.identity(), epoch, resource));
        Ok(holds.then_some(link))
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: &StoredResponse,
        now: Moment,
    ) -> Result<Put, Fault> {
        let Some(link) = self.link_for(&fence, key.resource()).await? else {
            return Ok(Put::Superseded);
        };
        let written = Written::of(response, fence, &link, now);
        let keys = self.keys(key, &written);
        let arguments = [
            fence.as_bytes(),
            &written.entry,
            &written.life,
            &written.lease_life,
            &written.rule,
        ];
        let (done, link) = self.pool.run(&self.scripts.put, &keys, &arguments).await?;
        done_or_superseded(&done).ok_or_else(|| unexpected(&link))
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: &StoredResponse,
        now: Moment,
    ) -> Result<Put, Fault> {
        let Some(link) = self.link_for(&fence, key.resource()).await? else {
            self.invalidate(key.resource()).await?;
            return Ok(Put::Superseded);
        };
        let next = fence.successor();
        let written = Written::of(response, next, &link, now);
        let keys = self.keys(key, &written);
        let arguments = [
            fence.as_bytes(),
            &written.entry,
            &written.life,
            &written.lease_life,
            &written.rule,
            next.as_bytes(),
        ];
        let (done, link) = self
            .pool
            .run(&self.scripts.replace, &keys, &arguments)
            .await?;
        done_or_superseded(&done).ok_or_else(|| unexpected(&link))
    }

    fn keys(&self, key: &CacheKey, written: &Written) -> Vec<String> {
        let names = &self.options.namespace;
        let mut keys = vec![names.lease(key.resource()), names.entry(key)];
        if !written.rule.is_empty() {
            keys.push(names.entry(&key.primary()));
        }
        keys
    }

    async fn invalidate(&self, resource: &Resource) -> Result<(), Fault> {
        self.unlink(&self.options.namespace.lease(resource)).await
    }

    async fn unlink(&self, name: &str) -> Result<(), Fault> {
        let mut command = redis::cmd("UNLINK");
        command.arg(name);
        match self.pool.send(&command).await? {
            (Value::Int(0 | 1), _) => Ok(()),
            (_, link) => Err(unexpected(&link)),
        }
    }
}

/// A response as Redis keeps it.
struct Written {
    entry: Bytes,
    /// Empty for a response that does not vary.
    rule: Bytes,
    life: Vec<u8>,
    lease_life: Vec<u8>,
}

impl Written {
    fn of(response: &StoredResponse, fence: RedisFence, link: &Link, now: Moment) -> Self {
        let (stamp, prefix) = (link.stamp(), fence.as_bytes());
        let rule = response.selected().map(|selected| selected.rule());
        let until = response.freshness().useful_until();
        let left = until.map(|until| until.saturating_sub(now.monotonic()));
        let left = left.unwrap_or(LONGEST_LIFE).min(LONGEST_LIFE);
        Self {
            entry: codec::encode(response, now, stamp, prefix),
            rule: rule.map_or_else(Bytes::new, |rule| codec::encode_rule(rule, stamp, prefix)),
            life: life(left),
            lease_life: life(left + LEASE_LIFE),
        }
    }
}

/// Milliseconds, of which Redis wants one at least.
fn life(of: Duration) -> Vec<u8> {
    of.as_millis().max(1).to_string().into_bytes()
}

fn string(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

fn done_or_superseded(value: &Value) -> Option<Put> {
    match value {
        Value::Int(1) => Some(Put::Stored),
        Value::Int(0) => Some(Put::Superseded),
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
        match resource {
            Some(resource) => Ok(Some(self.0.fence(resource).await?)),
            None => Ok(None),
        }
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
        }
    }

    async fn clear(&self) -> Result<(), BackendError> {
        Ok(self.0.unlink(&self.0.epoch).await?)
    }

    fn seed(&self) -> DigestSeed {
        self.0.options.seed()
    }

    fn largest(&self) -> u64 {
        self.0.options.largest
    }
}
