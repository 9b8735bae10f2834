//! The options of a Redis backend.
//!
//! A value that only a programming error can make wrong (a count or a timeout of zero) panics.
//! Values from configuration (the URL, [`try_namespace`](RedisOptions::try_namespace)) return an
//! error. This file knows neither connections nor operations. Start with [`RedisOptions`].

use std::fmt;
use std::time::Duration;

use redis::io::tcp::socket2::TcpKeepalive;
use redis::{Client, ConnectionAddr, IntoConnectionInfo};

use super::options_error::RedisOptionsError;
use super::protocol::keys::Namespace;
use super::protocol::owner::{self, Owner};
use crate::backend::DEFAULT_MAX_VARIANTS;
use crate::key::DigestSeed;

/// How long a connection is idle before TCP probes it. A NAT or a firewall that forgets a connection
/// does so after minutes.
const KEEPALIVE_TIME: Duration = Duration::from_secs(30);
/// The time between two probes of which the first was not answered.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Options of a [`RedisBackend`](super::RedisBackend).
///
/// ```
/// # use std::time::Duration;
/// # use tower_response_cache::backend::redis::{RedisOptions, RedisOptionsError};
/// # fn main() -> Result<(), RedisOptionsError> {
/// let backend = RedisOptions::new("redis://:secret@127.0.0.1:6379/2")?
///     .namespace("shop")
///     .max_connections(4)
///     .response_timeout(Duration::from_millis(500))
///     .build();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisOptions {
    client: Client,
    pub(super) namespace: Namespace,
    pub(super) owner: Owner,
    key_secret: Box<str>,
    pub(super) max_connections: usize,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) max_response_size: u64,
    pub(super) max_variants: usize,
    pub(super) lease_ttl: Duration,
    pub(super) trust_restarts: bool,
}

/// # Address
///
/// ```
/// # use tower_response_cache::backend::redis::RedisOptions;
/// assert!(RedisOptions::new("redis://cache.internal:6379/0").is_ok());
/// assert!(RedisOptions::new("redis+unix:///run/redis.sock?db=1").is_ok());
/// assert!(RedisOptions::new("http://cache.internal/").is_err());
/// ```
impl RedisOptions {
    /// Creates options for the Redis server at a URL, with defaults for everything else.
    ///
    /// A URL is `redis://[user][:password@]host[:port][/database]`, the same with `rediss://` for
    /// TLS (feature `redis-tls`), or `redis+unix:///path?db=0&user=..&pass=..`. Default: port 6379,
    /// database 0. The schemes `valkey` and `valkeys` are accepted in place of `redis` and
    /// `rediss`. `?protocol=resp3` selects RESP3, which needs Redis 6; the default is RESP2. No
    /// connection is opened.
    ///
    /// # Errors
    /// If the URL is invalid, or its scheme needs TLS and the feature `redis-tls` is disabled.
    pub fn new(url: &str) -> Result<Self, RedisOptionsError> {
        let is_tls = url.trim_start().starts_with("rediss:") || url.starts_with("valkeys:");
        if is_tls && !cfg!(feature = "redis-tls") {
            return Err(RedisOptionsError::tls_disabled());
        }
        let client = Client::open(url).map_err(RedisOptionsError::invalid_url)?;
        Ok(Self::with_defaults(client))
    }

    /// Creates options for a client of the crate `redis` 1.8, for example one with its own
    /// certificates.
    ///
    /// This is the only item whose signature names a type of that crate. It is behind the feature
    /// `redis-client`, because a new major version of `redis` changes it.
    #[cfg(feature = "redis-client")]
    pub fn from_client(client: Client) -> Self {
        Self::with_defaults(client)
    }

    fn with_defaults(client: Client) -> Self {
        Self {
            client,
            namespace: Namespace::new("trc").expect("the default namespace is valid"),
            owner: Owner::new(""),
            key_secret: "".into(),
            max_connections: 2,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            max_response_size: 2 * 1024 * 1024,
            max_variants: DEFAULT_MAX_VARIANTS,
            lease_ttl: Duration::from_secs(60),
            trust_restarts: false,
        }
    }
}

/// # Keys
///
/// ```
/// # use tower_response_cache::backend::redis::{RedisOptions, RedisOptionsError};
/// # fn main() -> Result<(), RedisOptionsError> {
/// let backend = RedisOptions::new("redis://127.0.0.1:6379/")?
///     .namespace("shop-v2")
///     .owner("query: without utm_*")
///     .key_secret("a value that all instances know")
///     .build();
/// # Ok(())
/// # }
/// ```
impl RedisOptions {
    /// Sets the prefix of all keys in Redis.
    ///
    /// Default: `trc`. Backends with the same namespace, [`owner`](Self::owner) and
    /// [`key_secret`](Self::key_secret) share their stored responses. Caches of different sites
    /// need different namespaces: see [`namespace_for`](Self::namespace_for).
    ///
    /// # Panics
    /// If the name is not 1 to 64 letters, digits, `.`, `_` or `-`. Use
    /// [`try_namespace`](Self::try_namespace) for a name from configuration.
    pub fn namespace(self, name: &str) -> Self {
        match self.try_namespace(name) {
            Ok(options) => options,
            Err(error) => panic!("{error}"),
        }
    }

    /// Sets the prefix of all keys in Redis, from configuration: see
    /// [`namespace`](Self::namespace).
    ///
    /// # Errors
    /// If the name is not 1 to 64 letters, digits, `.`, `_` or `-`.
    pub fn try_namespace(self, name: &str) -> Result<Self, RedisOptionsError> {
        let namespace = Namespace::new(name);
        let namespace = namespace.ok_or_else(|| RedisOptionsError::invalid_namespace(name))?;
        Ok(Self { namespace, ..self })
    }

    /// Sets the prefix of all keys in Redis to a name and a digest of what the cache is for, such
    /// as the addresses behind a proxy: caches of different sites get different namespaces.
    ///
    /// The digest has 16 hexadecimal digits: `proxy-0123456789abcdef`. Instances that are to share
    /// stored responses and invalidations need the same description.
    ///
    /// # Panics
    /// If the name is not 1 to 47 letters, digits, `.`, `_` or `-`.
    pub fn namespace_for(self, name: &str, site: &str) -> Self {
        let digest = (owner::digest(site) >> 64) as u64;
        self.namespace(&format!("{name}-{digest:016x}"))
    }

    /// Sets a description of the configuration that decides which response a key has: the options
    /// that make keys, and the service behind the cache.
    ///
    /// Default: empty. In one namespace, a backend never finds responses that one with another
    /// description has stored; their invalidations reach each other. So a change of options costs
    /// misses while instances with the old ones still run, and no outdated or foreign response.
    ///
    /// The last description is recorded under the key `{namespace}:o`. A backend that finds another
    /// one there when it connects logs both once, at level WARN. The description is no place for
    /// secrets.
    pub fn owner(self, description: &str) -> Self {
        let owner = Owner::new(description);
        Self { owner, ..self }
    }

    /// Sets a secret that key names in Redis depend on. The names are digests of requests; without
    /// the secret a client cannot construct two requests with the same digest.
    ///
    /// Default: empty, the digests depend on the namespace alone. All backends that share a
    /// namespace need the same secret. A backend with another one finds none of their stored
    /// responses, and its invalidations do not reach them.
    pub fn key_secret(self, secret: &str) -> Self {
        Self {
            key_secret: secret.into(),
            ..self
        }
    }

    /// The seed of digests: equal for equal namespaces and secrets.
    pub(super) fn digest_seed(&self) -> DigestSeed {
        DigestSeed::from_names(&[self.namespace.as_str(), &self.key_secret])
    }
}

/// # Connections
///
/// ```
/// # use std::time::Duration;
/// # use tower_response_cache::backend::redis::{RedisOptions, RedisOptionsError};
/// # fn main() -> Result<(), RedisOptionsError> {
/// let backend = RedisOptions::new("redis://127.0.0.1:6379/")?
///     .max_connections(4)
///     .connect_timeout(Duration::from_secs(2))
///     .response_timeout(Duration::from_millis(500))
///     .build();
/// # Ok(())
/// # }
/// ```
impl RedisOptions {
    /// Sets the largest number of connections. Each carries many commands at once.
    ///
    /// Default: 2, each opened when it is first needed. As many again are opened to read the bodies
    /// of responses of more than 32 KiB, and one to store them, so that large transfers delay
    /// neither small replies nor each other.
    ///
    /// # Panics
    /// If `connections` is 0.
    pub fn max_connections(self, connections: usize) -> Self {
        assert!(connections > 0, "max_connections must be at least 1");
        Self {
            max_connections: connections,
            ..self
        }
    }

    /// Sets the time limit for opening a connection, including name resolution, TLS and login.
    ///
    /// Default: 1 s. The connection goes on being opened if the operation that started it reaches
    /// its deadline.
    ///
    /// # Panics
    /// If `timeout` is zero.
    pub fn connect_timeout(self, timeout: Duration) -> Self {
        assert!(!timeout.is_zero(), "connect_timeout must not be zero");
        Self {
            connect_timeout: timeout,
            ..self
        }
    }

    /// Sets the time limit for the reply to one command.
    ///
    /// Default: 1 s. If no reply to any command arrives for that long, the connection is closed and
    /// replaced. The connections that read and store the bodies of responses of more than 32 KiB
    /// may be silent for longer, by the time of what is in flight: a second for each MiB that is
    /// read, four for each that is stored. A body that is to be stored waits for its turn for this
    /// time, too, and is not stored if it has to wait for longer. The deadlines of a
    /// [`Guarded`](crate::backend::Guarded) apply, too: by default those of lookups and
    /// invalidations are shorter, that of stores is longer.
    ///
    /// # Panics
    /// If `timeout` is zero.
    pub fn response_timeout(self, timeout: Duration) -> Self {
        assert!(!timeout.is_zero(), "response_timeout must not be zero");
        Self {
            response_timeout: timeout,
            ..self
        }
    }

    /// The client for the pool's connections: with Nagle's algorithm disabled, with probes that
    /// keep an idle connection alive, and without the round trip in which the client crate tells
    /// the server its name.
    pub(super) fn pool_client(&self) -> Client {
        let info = self.client.get_connection_info().clone();
        if matches!(info.addr(), ConnectionAddr::Unix(_)) {
            return self.client.clone();
        }
        let mut tcp = info.tcp_settings().clone().set_nodelay(true);
        if tcp.keepalive().is_none() {
            let probes = TcpKeepalive::new().with_time(KEEPALIVE_TIME);
            tcp = tcp.set_keepalive(probes.with_interval(KEEPALIVE_INTERVAL));
        }
        let mut settings = info.redis_settings().clone();
        if settings.lib_name().is_none() {
            settings = settings.set_skip_set_lib_name();
        }
        let info = info.set_tcp_settings(tcp).set_redis_settings(settings);
        info.into_connection_info()
            .and_then(Client::open)
            .unwrap_or_else(|_| self.client.clone())
    }
}

/// # Limits and trust
///
/// ```
/// # use std::time::Duration;
/// # use tower_response_cache::backend::redis::{RedisOptions, RedisOptionsError};
/// # fn main() -> Result<(), RedisOptionsError> {
/// let backend = RedisOptions::new("redis://127.0.0.1:6379/")?
///     .max_response_size(512 * 1024)
///     .max_variants(8)
///     .lease_ttl(Duration::from_secs(30))
///     .trust_restarts(false)
///     .build();
/// # Ok(())
/// # }
/// ```
impl RedisOptions {
    /// Sets the largest response that is stored, in bytes of
    /// [`StoredResponse::weight`](crate::backend::StoredResponse::weight).
    ///
    /// Default: 2 MiB. With 0 nothing is stored.
    pub fn max_response_size(self, bytes: u64) -> Self {
        Self {
            max_response_size: bytes,
            ..self
        }
    }

    /// Sets the number of variants (RFC 9110 §12.5.5, `Vary`) that are kept for one cache key.
    ///
    /// Default: 32. A further variant replaces the one that was stored longest ago.
    ///
    /// # Panics
    /// If `variants` is 0.
    pub fn max_variants(self, variants: usize) -> Self {
        assert!(variants > 0, "max_variants must be at least 1");
        Self {
            max_variants: variants,
            ..self
        }
    }

    /// Sets how long the lease of a resource is kept: a key that each fill needs, and that is all
    /// that a response leaves in Redis if it is not stored.
    ///
    /// Default: 60 s. It must be longer than a fill may take
    /// ([`fill_timeout`](crate::CacheLayer::fill_timeout): 30 s by default); the response of a
    /// longer one is not stored. The lease of a stored response outlives it by this time.
    ///
    /// # Panics
    /// If `ttl` is zero.
    pub fn lease_ttl(self, ttl: Duration) -> Self {
        assert!(!ttl.is_zero(), "lease_ttl must not be zero");
        Self {
            lease_ttl: ttl,
            ..self
        }
    }

    /// Sets whether stored responses stay valid over a restart or a failover of Redis.
    ///
    /// Default: `false`: a restart or a failover empties the cache, because Redis may have lost an
    /// invalidation that it had acknowledged. Set it to `true` if Redis never loses acknowledged
    /// commands (`appendfsync always`, no failover). It must be `true` if the user may not call
    /// `INFO`: outdated responses are possible after a restart then.
    pub fn trust_restarts(self, trust: bool) -> Self {
        Self {
            trust_restarts: trust,
            ..self
        }
    }
}

/// Leaves out the URL and the secret.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("namespace", &self.namespace.as_str())
            .field("owner", &self.owner)
            .field("max_connections", &self.max_connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("max_response_size", &self.max_response_size)
            .field("max_variants", &self.max_variants)
            .field("lease_ttl", &self.lease_ttl)
            .field("trust_restarts", &self.trust_restarts)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise: an idle connection is kept alive on its way, and a new one takes no round trip to
    /// tell a name that nobody gave.
    #[test]
    fn connections_are_kept_alive_and_tell_no_name() {
        let options = RedisOptions::new("redis://cache.internal/").expect("a URL");
        let client = options.pool_client();
        let info = client.get_connection_info();
        assert!(info.tcp_settings().nodelay());
        assert!(info.tcp_settings().keepalive().is_some());
        assert!(info.redis_settings().skip_set_lib_name());
    }
}
