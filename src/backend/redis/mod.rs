//! A backend that stores responses in Redis, shared by many instances.
//!
//! A response that one instance invalidates is not served by any other one.
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
//! Always wrap it in a [`Guarded`](super::Guarded), which remembers the invalidations that could
//! not be delivered while Redis was unavailable.
//!
//! # Server
//!
//! The server is one primary of Redis 4 or later, with or without replicas. Cluster and Sentinel
//! are not supported yet: such a server is not used, see [`RedisProblem`]. Give the cache an
//! instance of its own, with `maxmemory-policy` `allkeys-lru` or `allkeys-lfu`: with `noeviction`,
//! nothing more is stored once the memory is full.
//!
//! The user needs the commands `MGET`, `GETRANGE`, `SET`, `UNLINK`, `EVAL`, `PEXPIRE`, `INFO` and
//! `TIME`, and within scripts `MGET`, `GET`, `SET`, `RENAME`, `PTTL`, `PEXPIRE`, `UNLINK`, `LPUSH`,
//! `LRANGE`, `LREM` and `LTRIM`, for the keys `trc:*`. `EVALSHA` saves a round trip per script and
//! the bytes of its text, `SCRIPT LOAD` a round trip for the first call of five. Each new connection tries the commands of scripts on a key of its own,
//! `trc:p`, and is not used if one is missing: lookups might find what another instance has
//! overwritten and cannot invalidate. [`RedisBackend::connect`] tells at startup.
//!
//! # Guarantees
//!
//! While Redis answers, no request that starts after a write was answered gets older data, at any
//! instance. Eviction, expiry, lost or repeated commands and instances that pause or die cause
//! misses, never older data. The limits:
//!
//! * If an instance dies after its inner service has committed a write and before the invalidation,
//!   it has not answered that write. Responses stored before the write stay until they expire.
//! * A write whose invalidation Redis did not acknowledge is answered nevertheless: see
//!   [`Guarded`](super::Guarded).
//! * A write of [unknown outcome](crate::WriteOutcome) may be committed after its invalidation. No
//!   instance stores its resource for
//!   [`write_grace_window`](crate::CacheLayer::write_grace_window), unless Redis evicts the
//!   *tombstone* that says so, or has no memory for it (`noeviction`; counted in
//!   [`refused_write_graces`](crate::stats::Stats::refused_write_graces)). Then only the instance
//!   that had the write knows.
//! * A primary that is demoted without its connections being closed is left at the first write, and
//!   within 2 s without one. Until then, lookups may find its stored responses. A primary that
//!   still acknowledges although another one was elected (split brain) is not noticed:
//!   `min-replicas-to-write 1` limits the damage.
//!
//! # Protocol
//!
//! To invalidate a resource, a backend could keep an index of its entries, or a counter of its
//! invalidations; but Redis could evict the index, and the counter could restart. Instead, each
//! entry contains a random *token*, and is valid only while that token is stored in a key of its
//! own, the resource's *lease*. Removing the lease invalidates all queries and variants of the
//! resource at once. Behind its token, a lease lists up to eight entries stored under it, which are
//! removed with it, so that they take no memory; others expire unseen.
//!
//! ```text
//! key                removed by               value
//! trc:n              clear                    namespace token: random 16
//! trc:q              invalidation of a group  token of all groups: random 16
//! trc:g:{group}      invalidation of it       group token:  seal 16 | namespace 16 | random 16
//!                                                           | expirations 33 each
//! trc:l:{resource}   invalidation of it       lease:        seal 16 | namespace 16 | random 16
//!                                                           | listed entries 17 each
//!                                                           | expirations 33 each
//! trc:w:00 to 3f     expiry; changed by an    stripe token: seal 16 | namespace 16 | random 16
//!                    invalidation in it
//! trc:e:{resource}…  expiry, invalidation     entry: lease 48 | number of groups 1 | group tokens
//!                                             | encoded response, or rule of its variants
//! trc:b:{resource}…  the same                 body of a response of more than 32 KiB
//! trc:v:{resource}…  the same, another rule   variants of a response, the latest first
//! trc:o              expiry; the next owner   description of the last owner
//! trc:p              at once                  a new connection tries commands on it
//!
//! seal = digest of the server's run_id and master_replid, and of the resource or group
//! ```
//!
//! A write of unknown outcome leaves a tombstone for a while in the place of the lease, the stripe
//! token or the token of all groups.
//!
//! `trc` is the [namespace](RedisOptions::namespace); `{..}` and `…` are digests, so nothing of a
//! request is readable in a name. Stripes are explained under *Write-through*. All keys expire.
//!
//! A key under which another program has stored a value of another type is left as it is. What
//! would be under it is a miss that is not stored, and the first one is logged with its name.
//!
//! The names of entries and variants also depend on the [owner](RedisOptions::owner); those of
//! tokens do not, so that an invalidation reaches the responses of all owners.
//!
//! Lease, entries, bodies and variants of one resource share a hash slot. The other keys do not,
//! and an invalidation removes keys of two slots in one step. That is safe because a node of a
//! Cluster, which would refuse such a step, is not used: see [`RedisProblem::ClusterNode`].
//!
//! ```text
//!  Lookup                                   Redis
//!  │ MGET trc:n trc:q trc:l:{r} trc:e:{r} ───▶ one atomic reading
//!  │◀─ entry begins with the lease ─────────── hit
//!  │◀─ it does not, or there is none ───────── miss; the lease is the fence
//!  │◀─ no lease that counts here ───────────── script: create it ──▶ miss with that fence
//!  │◀─ tombstone ───────────────────────────── miss without a fence
//!  ▼
//!  Fill (a miss)
//!  │ call the inner service, stream its response to the client
//!  │ script PUT ─────────────────────────────▶ lease, trc:n unchanged? SET trc:e:{r} : superseded
//!
//!  Write
//!  │ call the inner service; it answers
//!  │ script INVALIDATE ──────────────────────▶ UNLINK trc:l:{r}, change trc:w:NN, unless
//!  │                                           tombstones: all entries of the resource are dead
//!  │ outcome unknown: INVALIDATE_UNKNOWN ────▶ SET both to tombstones for write_grace_window
//!  │◀─ acknowledged ──────────────────────────
//!  ▼ answer the client
//! ```
//!
//! Why it holds:
//!
//! * A token is created once, is known only to fills that read it before they called the inner
//!   service, and never comes back after its removal. So an entry that contains the current lease
//!   comes from a call that began after the last acknowledged invalidation.
//! * Redis can lose tokens, and a lost token makes misses. It cannot bring one back: the *seal*
//!   ties a token to one run of one server with one replication history, read when the connection
//!   is opened and checked once a second. After a restart, a restore or a failover all tokens are
//!   void.
//! * The clocks of two machines are never compared. An entry carries the server's time of writing,
//!   and its reader asks the same server.
//!
//! *Write-through* replaces a response in one script: it removes the lease, changes the stripe
//! token, and stores the response under a new lease if the captured token was still there. A POST
//! learns its resource only from its response, so it captures the tokens of all 64 *stripes*; each
//! resource belongs to one of them. If any resource in the same stripe as the POST's resource is
//! invalidated meanwhile, the POST's fence is broken and its response is not stored. An
//! invalidation does not remove the token of a stripe, but puts another one in its place that never
//! was there before: the next POST finds all tokens with one `MGET`, and an absent one is never
//! taken for an unchanged one.
//!
//! A *tombstone* is no token, so no fill can hold it: a lookup that finds one is a miss without a
//! fence, whose response is not stored. Later writes, a clear and a restart leave it where it is.
//! Whatever is stored after its end has looked up its lease after its end, and called the inner
//! service after that: after a commit that came within `write_grace_window`. The tombstone of a
//! stripe keeps POSTs of the whole stripe from storing their responses, and that of all groups
//! keeps members of any group from being stored; everything else is exact.
//!
//! *To expire* a resource or a group ([`CacheHandle::expire`](crate::CacheHandle::expire)) changes
//! its token as an invalidation does, which breaks all fences, and keeps the last four tokens beside
//! the new one, each with the server's time. A lookup whose entry has one of them takes the response
//! for one whose lifetime ended then. An invalidation removes them with the token. There is no such
//! list for a whole namespace: to expire everything clears it.
//!
//! *Large bodies* are not part of their entries: a lookup reads the head alone, and the cache then
//! reads the body, or the range that a request wants, on connections of its own. The entry has
//! checksums of the body's chunks, which depend on a random number. Bytes that do not match are of
//! another response, or damaged: the response is looked up once more, and is a miss if its body is
//! gone again. A body is read whole before its response is answered, so none is ever torn.
//!
//! *Groups* (RFC 9875) are explained in `operations/groups.rs`.
//!
//! The protocol was checked by exhausting the states of small models: readers, fills and writers on
//! several instances; eviction of any key at any time; lost, late and repeated commands; processes
//! that die between any two steps.
//!
//! # Files
//!
//! ```text
//! options.rs, options_error.rs  ◀─ backend.rs    RedisOptions, RedisBackend
//! connect_error.rs      │
//!                       │
//!                   operations/        lookup, store, invalidation: the steps of the protocol
//!                       │
//!                   batching/          lookups that share a round trip
//!                       │
//!                   protocol/          keys, tokens, entries, scripts, replies: data only
//!                       │
//!                   connection/        pool, health checks, server identity and clock
//! ```
//!
//! Each folder knows the folders below it, never one above. Start reading at `backend.rs`, then
//! `operations/lookup.rs`.

mod backend;
mod batching;
mod connect_error;
mod connection;
#[cfg(test)]
mod model;
mod operations;
mod options;
mod options_error;
mod protocol;

pub use self::backend::RedisBackend;
pub use self::connect_error::RedisConnectError;
pub use self::connection::RedisProblem;
pub use self::options::RedisOptions;
pub use self::options_error::RedisOptionsError;
pub use self::protocol::fence::RedisFence;
