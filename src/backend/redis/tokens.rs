//! Getting hold of tokens: what there is, or made where there is none.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::fault::Fault;
use super::link::Link;
use super::lookups::{Looked, strings};
use super::pool::Run;
use super::token::{Captured, Epoch, Identity, RedisFence, Sealed, Token};
use super::{EPOCH_LIFE, Inner, LEASE_LIFE, life, string, unexpected};
use crate::backend::{CacheKey, Lookup, Moment, Resource};

/// Resources of one stripe break each other's fences of writes whose resource is not known: a store is skipped, then.
const STRIPES: usize = 64;

/// The stripe of a resource.
pub(super) fn stripe_of(resource: &Resource) -> usize {
    // Other bits than a memory backend's stripes use.
    (resource.digest() >> 32) as usize % STRIPES
}

impl Inner {
    pub(super) async fn look(
        &self,
        key: &CacheKey,
        now: Moment,
    ) -> Result<Lookup<RedisFence>, Fault> {
        let (identity, epoch, groups) = match self.asker.look(key, now).await? {
            Looked::Known(lookup, Some(groups)) => return Ok(fenced(lookup, groups)),
            Looked::Known(lookup, None) => {
                let groups = Box::pin(self.all_groups()).await?;
                return Ok(fenced(lookup, groups));
            }
            Looked::Member(response, tokens, token, groups) => {
                let lookup = match Box::pin(self.are_still(&response, &tokens)).await? {
                    true => Lookup::Found(response, token),
                    false => Lookup::Miss(token),
                };
                let groups = match groups {
                    Some(groups) => groups,
                    None => Box::pin(self.all_groups()).await?,
                };
                return Ok(fenced(lookup, groups));
            }
            Looked::Unleased(identity, epoch, groups) => (identity, epoch, groups),
        };
        // Apart: it takes kilobytes, which a hit should not move about.
        let token = Box::pin(self.open(identity, epoch, key.resource())).await?;
        let groups = match groups {
            Some(groups) => groups,
            None => Box::pin(self.all_groups()).await?,
        };
        Ok(fenced(Lookup::Miss(token), groups))
    }

    /// The token of a resource, for a write.
    pub(super) async fn token(&self, resource: &Resource) -> Result<Token, Fault> {
        let (epoch, link) = self.epoch().await?;
        self.open(link.identity(), epoch, resource).await
    }

    /// The tokens of all stripes, for a write that will tell its resource only when it is done.
    pub(super) async fn all_tokens(&self) -> Result<Arc<[Token]>, Fault> {
        let (epoch, link) = self.epoch().await?;
        let (identity, epoch) = (link.identity(), self.begun(epoch).await?);
        let stripes = 0..STRIPES;
        let keys: Vec<_> = stripes.map(|number| self.names().stripe(number)).collect();
        let run = Run {
            script: &self.scripts.open_all,
            keys: &keys,
            arguments: offer(LEASE_LIFE, || {
                Token::random(identity, epoch, Sealed::Stripe)
            }),
        };
        let (tokens, link) = self.pool.run(run).await?;
        let read = |token: Option<Vec<u8>>| Token::read(&token?, identity, epoch, Sealed::Stripe);
        let tokens = strings(tokens, STRIPES).unwrap_or_default();
        let tokens: Option<Arc<[Token]>> = tokens.into_iter().map(read).collect();
        let tokens = tokens.filter(|tokens| tokens.len() == STRIPES);
        tokens.ok_or_else(|| unexpected(&link))
    }

    /// The token of a resource, made if there is none that counts on this server.
    async fn open(
        &self,
        identity: Identity,
        epoch: Option<Epoch>,
        resource: &Resource,
    ) -> Result<Token, Fault> {
        let (epoch, of) = (self.begun(epoch).await?, Sealed::Resource(resource));
        let run = Run {
            script: &self.scripts.open,
            keys: &[self.names().lease(resource)],
            arguments: offer(LEASE_LIFE, || Token::random(identity, epoch, of)),
        };
        let (lease, link) = self.pool.run(run).await?;
        let lease = string(lease).and_then(|lease| Token::read(&lease, identity, epoch, of));
        lease.ok_or_else(|| unexpected(&link))
    }

    /// The token of the namespace, made if there is none.
    async fn begun(&self, epoch: Option<Epoch>) -> Result<Epoch, Fault> {
        if let Some(epoch) = epoch {
            return Ok(epoch);
        }
        let run = Run {
            script: &self.scripts.begin,
            keys: &[self.epoch.to_string()],
            arguments: offer(EPOCH_LIFE, Epoch::random),
        };
        let (epoch, link) = self.pool.run(run).await?;
        let epoch = string(epoch).and_then(|epoch| Epoch::read(&epoch));
        epoch.ok_or_else(|| unexpected(&link))
    }

    /// The token of the namespace, if there is one, and from where.
    pub(super) async fn epoch(&self) -> Result<(Option<Epoch>, Arc<Link>), Fault> {
        // Not GET: that is an error where something else has our name.
        let ask = || {
            let mut ask = redis::cmd("MGET");
            ask.arg(&*self.epoch);
            ask
        };
        let (epoch, link) = self.pool.send(ask).await?;
        let epoch = strings(epoch, 1).ok_or_else(|| unexpected(&link))?.pop();
        let epoch = epoch.flatten().and_then(|epoch| Epoch::read(&epoch));
        Ok((epoch, link))
    }
}

/// What a script that makes tokens takes: another one for each attempt, and its life.
fn offer<T: AsRef<[u8]>>(of: Duration, make: impl Fn() -> T) -> impl Fn() -> Vec<Bytes> {
    move || vec![Bytes::copy_from_slice(make().as_ref()), life(of)]
}

/// What was found, with the fence of the fill that may follow.
fn fenced(lookup: Lookup<Token>, groups: Epoch) -> Lookup<RedisFence> {
    let fence = |token| RedisFence {
        captured: Captured::One(token),
        groups,
    };
    match lookup {
        Lookup::Found(response, token) => Lookup::Found(response, fence(token)),
        Lookup::Varies(rule, token) => Lookup::Varies(rule, fence(token)),
        Lookup::Miss(token) => Lookup::Miss(fence(token)),
    }
}
