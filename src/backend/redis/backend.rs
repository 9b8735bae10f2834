//! The backend: options in, [`Backend`] out.
//!
//! Knows everything in this folder. Start with [`RedisBackend`].

use std::fmt;
use std::future::Future;
use std::ops::Range;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::connect_error::RedisConnectError;
use super::connection::{ConnectionOptions, HandshakeOptions, OwnerRecord, Pool};
use super::operations::{BodyReads, BodyStores, ProtocolClient, Transfers};
use super::options::RedisOptions;
use super::options_error::RedisOptionsError;
use super::protocol::fence::RedisFence;
use super::protocol::scripts::Scripts;
use super::protocol::ttl::NAMESPACE_TTL;
use crate::backend::{
    Backend, BackendError, GraceScope, Health, InvalidationTarget, JoinDecision, Lookup,
    LookupWithVariant, PutOutcome, StoredResponse,
};
use crate::key::{CacheKey, DigestSeed, Resource};
use crate::semantics::moment::Moment;

/// Stores responses in Redis, for all instances that use the same server and namespace. Clones
/// share their connections.
///
/// Wrap it in a [`Guarded`](crate::backend::Guarded), which limits how long an unavailable Redis
/// delays requests, and later delivers the invalidations that failed. Outside of a tokio runtime
/// every operation fails. The [module](super) explains the protocol, its guarantees and their
/// limits.
///
/// ```
/// # use tower_response_cache::CacheLayer;
/// # use tower_response_cache::backend::{Guarded, RedisBackend};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = RedisBackend::new("redis://127.0.0.1:6379/")?;
/// let layer = CacheLayer::new(Guarded::new(redis));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RedisBackend(Arc<Inner>);

struct Inner {
    client: ProtocolClient,
    reconnects: Arc<AtomicU64>,
    options: RedisOptions,
}

impl RedisBackend {
    /// Creates a backend for the Redis server at a URL, with default [`RedisOptions`].
    ///
    /// Opens no connection: the first operation does, or [`connect`](Self::connect).
    ///
    /// # Errors
    /// As [`RedisOptions::new`].
    pub fn new(url: &str) -> Result<Self, RedisOptionsError> {
        RedisOptions::new(url).map(RedisOptions::build)
    }

    /// Connects to Redis if no connection is open, to find out at startup whether it is available.
    ///
    /// Calling it is optional. After an error the backend can still be used; it connects again with
    /// the next operation.
    ///
    /// ```no_run
    /// # use tower_response_cache::backend::RedisBackend;
    /// # use tower_response_cache::backend::redis::RedisProblem;
    /// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
    /// let redis = RedisBackend::new("redis://127.0.0.1:6379/")?;
    /// match redis.connect().await {
    ///     // It may come up later: until then, nothing is cached.
    ///     Err(error) if *error.problem() == RedisProblem::NoServer => eprintln!("{error}"),
    ///     outcome => outcome?,
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If the server cannot be used: [`RedisProblem`](super::RedisProblem) tells why, and the text
    /// of the error what to do. A server that does not answer within
    /// [`connect_timeout`](RedisOptions::connect_timeout) is one of the reasons, a call outside of
    /// a tokio runtime another one.
    pub async fn connect(&self) -> Result<(), RedisConnectError> {
        Ok(self.0.client.connect().await?)
    }
}

impl RedisOptions {
    /// Creates the backend.
    ///
    /// Opens no connection: its first operation does, or [`RedisBackend::connect`].
    #[must_use]
    pub fn build(self) -> RedisBackend {
        let reconnects = Arc::<AtomicU64>::default();
        let connection = ConnectionOptions {
            connect_timeout: self.connect_timeout,
            response_timeout: self.response_timeout,
            handshake: self.handshake(),
            keep_alive_key: self.namespace.namespace_token().into(),
            keep_alive_ttl: NAMESPACE_TTL,
            reconnects: reconnects.clone(),
        };
        let transferred = Arc::<AtomicU64>::default();
        let new_pool = |connections, options| {
            let client = self.pool_client();
            Pool::new(client, connections, options, transferred.clone())
        };
        let transfers = Transfers::new(
            BodyReads::new(
                new_pool(self.max_connections, connection.clone()),
                self.max_response_size,
            ),
            // Bodies are stored one after the other.
            BodyStores::new(new_pool(1, connection.clone()), self.response_timeout),
        );
        // The connections for bodies run no scripts.
        let mut with_scripts = connection.clone();
        with_scripts.handshake.scripts = Scripts::default().into_awaited();
        let pools = (new_pool(self.max_connections, with_scripts), transfers);
        let namespace = self.namespace.clone();
        let limits = (self.max_variants, self.lease_ttl);
        let client = ProtocolClient::new(pools, namespace, limits, self.max_connections);
        RedisBackend(Arc::new(Inner {
            reconnects,
            client,
            options: self,
        }))
    }
}

impl RedisOptions {
    fn handshake(&self) -> HandshakeOptions {
        let record = |owner| OwnerRecord::new(self.namespace.owner(), owner, NAMESPACE_TTL);
        HandshakeOptions {
            trust_restarts: self.trust_restarts,
            probe_key: self.namespace.probe().into(),
            owner: self.owner.record().map(record),
            scripts: Arc::default(),
        }
    }
}

impl RedisBackend {
    /// Returns what names the entry of a key: other owners have other names.
    fn own(&self, key: &CacheKey) -> CacheKey {
        self.0.options.owner.key_of(key)
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("namespace", &self.0.options.namespace.as_str())
            .finish_non_exhaustive()
    }
}

// The futures are boxed but for those of lookups: those of `redis` take tens of kilobytes, and
// every wrapper and caller has a copy on the stack in an unoptimized build.
impl Backend for RedisBackend {
    type Fence = RedisFence;

    // No `async fn`, which would hold its arguments twice.
    fn get(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> impl Future<Output = Result<Lookup<RedisFence>, BackendError>> + Send {
        let (client, key) = (&self.0.client, self.own(key));
        async move { Ok(client.lookup(&key, now).await?) }
    }

    async fn get_with_variant(
        &self,
        key: &CacheKey,
        variant: &CacheKey,
        now: Moment,
    ) -> Result<LookupWithVariant<RedisFence>, BackendError> {
        let (key, variant) = (self.own(key), self.own(variant));
        Ok(self
            .0
            .client
            .lookup_with_variant(&key, &variant, now)
            .await?)
    }

    async fn read_body(
        &self,
        response: &StoredResponse,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, BackendError> {
        match response.detached_body() {
            Some(body) => Ok(Box::pin(self.0.client.read_body(body, range)).await?),
            None => Ok(None),
        }
    }

    async fn fence(&self, resource: Option<&Resource>) -> Result<Option<RedisFence>, BackendError> {
        let client = &self.0.client;
        let fence = match resource {
            Some(resource) => Box::pin(client.capture_resource(resource)).await?,
            None => Some(Box::pin(client.capture_all_stripes()).await?),
        };
        Ok(fence)
    }

    /// A lookup reads token and entry in one step, so a response was valid when its fence was
    /// captured. Only Redis knows of later invalidations.
    fn is_still_valid(&self, _: &CacheKey, _: &StoredResponse, _: &RedisFence) -> bool {
        true
    }

    fn join_decision(&self, _: &Resource, flight: &RedisFence, own: &RedisFence) -> JoinDecision {
        match (
            flight.tokens == own.tokens,
            flight.all_groups == own.all_groups,
        ) {
            (true, true) => JoinDecision::Join,
            (true, false) => JoinDecision::CheckGroups,
            (false, _) => JoinDecision::Refuse,
        }
    }

    async fn put(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        if response.weight() as u64 > self.max_response_size() || !response.has_whole_body() {
            return Ok(PutOutcome::TooLarge);
        }
        let key = self.own(key);
        let put = self.0.client.put(&key, fence, &response, now);
        Ok(Box::pin(put).await?)
    }

    async fn replace(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: Arc<StoredResponse>,
        now: Moment,
    ) -> Result<PutOutcome, BackendError> {
        let client = &self.0.client;
        if response.weight() as u64 > self.max_response_size() || !response.has_whole_body() {
            Box::pin(client.invalidate_resources(&[*key.resource()])).await?;
            return Ok(PutOutcome::TooLarge);
        }
        let key = self.own(key);
        Ok(Box::pin(client.replace(&key, fence, &response, now)).await?)
    }

    async fn remove(&self, key: &CacheKey, fence: RedisFence) -> Result<bool, BackendError> {
        let key = self.own(key);
        Ok(Box::pin(self.0.client.remove(&key, fence)).await?)
    }

    async fn invalidate(&self, target: &InvalidationTarget) -> Result<(), BackendError> {
        self.invalidate_many(slice::from_ref(target), None).await
    }

    async fn invalidate_unknown(
        &self,
        target: &InvalidationTarget,
        grace: Duration,
    ) -> Result<GraceScope, BackendError> {
        let client = &self.0.client;
        Ok(match target {
            InvalidationTarget::Resource(resource) => {
                Box::pin(client.bury_resources(&[*resource], grace)).await?
            }
            InvalidationTarget::Group(group) => {
                Box::pin(client.invalidate_groups(&[*group], Some(grace))).await?
            }
        })
    }

    async fn invalidate_many(
        &self,
        targets: &[InvalidationTarget],
        grace: Option<Duration>,
    ) -> Result<(), BackendError> {
        Ok(Box::pin(self.0.client.invalidate_many(targets, grace)).await?)
    }

    async fn expire(
        &self,
        targets: &[InvalidationTarget],
        _: Moment,
        ago: Duration,
    ) -> Result<(), BackendError> {
        Ok(Box::pin(self.0.client.expire(targets, ago)).await?)
    }

    async fn clear(&self) -> Result<(), BackendError> {
        Ok(Box::pin(self.0.client.clear()).await?)
    }

    /// Waits for the bodies of large responses that are on their way.
    async fn drain(&self) {
        self.0.client.drain().await;
    }

    fn seed(&self) -> DigestSeed {
        self.0.options.digest_seed()
    }

    fn health(&self) -> Option<Health> {
        Some(Health {
            reconnects: self.0.reconnects.load(Ordering::Relaxed),
            ..Health::default()
        })
    }

    fn max_response_size(&self) -> u64 {
        self.0.options.max_response_size
    }

    fn transferred_bytes(&self) -> u64 {
        self.0.client.transferred_bytes()
    }
}
