//! How to reach a Redis, and what of it to use.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use redis::{Client, ConnectionAddr, IntoConnectionInfo, RedisError};

use super::RedisBackend;
use super::keys::{LONGEST, Namespace};
use crate::backend::MOST_VARIANTS;
use crate::key::DigestSeed;

/// Options of a [`RedisBackend`].
///
/// ```
/// # use std::time::Duration;
/// # use tower_response_cache::backend::redis::{RedisOptions, RedisOptionsError};
/// # fn main() -> Result<(), RedisOptionsError> {
/// let backend = RedisOptions::new("redis://:secret@127.0.0.1:6379/2")?
///     .namespace("shop")?
///     .connections(4)
///     .response_timeout(Duration::from_millis(500))
///     .open();
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisOptions {
    pub(super) client: Client,
    pub(super) namespace: Namespace,
    pub(super) secret: Box<str>,
    pub(super) connections: usize,
    pub(super) connect_timeout: Duration,
    pub(super) response_timeout: Duration,
    pub(super) largest: u64,
    pub(super) variants: usize,
    pub(super) trusts_restarts: bool,
}

/// Why there can be no such [`RedisBackend`].
#[derive(Debug)]
pub struct RedisOptionsError(Kind);

#[derive(Debug)]
enum Kind {
    Url(RedisError),
    Namespace,
    Tls,
}

impl fmt::Display for RedisOptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Url(_) => f.write_str("not the URL of a Redis"),
            Kind::Namespace => write!(
                f,
                "a namespace is 1 to {LONGEST} letters, digits, '.', '_' or '-'"
            ),
            Kind::Tls => f.write_str("rediss:// needs the feature redis-tls"),
        }
    }
}

impl Error for RedisOptionsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0 {
            Kind::Url(error) => Some(error),
            Kind::Namespace | Kind::Tls => None,
        }
    }
}

impl RedisOptions {
    /// The Redis at a URL: `redis://[user][:password@]host[:port][/database]`, `rediss://` for TLS (feature `redis-tls`),
    /// or `redis+unix:///path?db=0&user=..&pass=..`. Nothing is connected yet.
    ///
    /// # Errors
    /// When it is no such URL, or for TLS without the feature.
    pub fn new(url: &str) -> Result<Self, RedisOptionsError> {
        let is_tls = url.trim_start().starts_with("rediss:") || url.starts_with("valkeys:");
        if is_tls && !cfg!(feature = "redis-tls") {
            return Err(RedisOptionsError(Kind::Tls));
        }
        let client = Client::open(url).map_err(|error| RedisOptionsError(Kind::Url(error)))?;
        Ok(Self::with_client(client))
    }

    /// The Redis of a client that was made elsewhere, with certificates of one's own, say.
    ///
    /// The one place where a type of the crate `redis` (1.8) shows: a later version of that is a later one of this crate.
    pub fn with_client(client: Client) -> Self {
        Self {
            client,
            namespace: Namespace::new("trc").expect("a valid name"),
            secret: "".into(),
            connections: 2,
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            largest: 2 * 1024 * 1024,
            variants: MOST_VARIANTS,
            trusts_restarts: false,
        }
    }

    /// What the names of all keys begin with; `trc` by default. Whoever has the same shares what is stored.
    ///
    /// # Errors
    /// When it is not 1 to 64 letters, digits, `.`, `_` or `-`.
    pub fn namespace(self, name: &str) -> Result<Self, RedisOptionsError> {
        let namespace = Namespace::new(name).ok_or(RedisOptionsError(Kind::Namespace))?;
        Ok(Self { namespace, ..self })
    }

    /// Keys the digests that stand for requests, so that a stranger cannot make two of them collide. None by default; all
    /// who share a namespace need the same.
    pub fn secret(self, secret: &str) -> Self {
        Self {
            secret: secret.into(),
            ..self
        }
    }

    /// How many connections there are; 2 by default. A large response holds up what comes behind it on the same one.
    ///
    /// # Panics
    /// When it is 0.
    pub fn connections(self, connections: usize) -> Self {
        assert!(connections > 0, "there is at least one connection");
        Self {
            connections,
            ..self
        }
    }

    /// How long connecting may take, with name resolution, TLS and log-in; 1 s by default.
    pub fn connect_timeout(self, limit: Duration) -> Self {
        Self {
            connect_timeout: limit,
            ..self
        }
    }

    /// How long a reply may take; 1 s by default. A connection on which none came for so long is given up.
    ///
    /// [`Guarded`](crate::backend::Guarded) has limits for each operation, which are much shorter.
    pub fn response_timeout(self, limit: Duration) -> Self {
        Self {
            response_timeout: limit,
            ..self
        }
    }

    /// The largest response that is stored, in bytes of its weight; 2 MiB by default.
    pub fn largest(self, bytes: u64) -> Self {
        Self {
            largest: bytes,
            ..self
        }
    }

    /// At most so many variants of one key, at least one: what was stored longest ago goes first. Default: 32.
    pub fn variants(self, most: usize) -> Self {
        Self {
            variants: most.max(1),
            ..self
        }
    }

    /// Trusts what Redis has kept over a restart or a failover.
    ///
    /// By default both empty the cache, because an invalidation that was acknowledged may be missing afterwards. Trust it
    /// only if Redis loses nothing it acknowledged (`appendfsync always`, no failover), or where `INFO` is not permitted
    /// and stale responses after a restart are acceptable.
    pub fn trust_restarts(self) -> Self {
        Self {
            trusts_restarts: true,
            ..self
        }
    }

    /// The backend. It connects when it is first used.
    #[must_use]
    pub fn open(self) -> RedisBackend {
        RedisBackend::with(self)
    }

    /// The seed of digests: equal for all who have the same namespace and secret.
    pub(super) fn seed(&self) -> DigestSeed {
        DigestSeed::from_names(&[self.namespace.as_str(), &self.secret])
    }

    /// The client, told not to wait for more before it sends.
    pub(super) fn prompt_client(&self) -> Client {
        let info = self.client.get_connection_info().clone();
        if matches!(info.addr(), ConnectionAddr::Unix(_)) {
            return self.client.clone();
        }
        let tcp = info.tcp_settings().clone().set_nodelay(true);
        let info = info.set_tcp_settings(tcp).into_connection_info();
        info.and_then(Client::open)
            .unwrap_or_else(|_| self.client.clone())
    }
}
