//! Storing and invalidating, each in one step.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::Value;

use super::fault::Fault;
use super::link::Link;
use super::pool::Run;
use super::token::{Captured, Epoch, RedisFence, Sealed, Token};
use super::tokens::stripe_of;
use super::{Inner, LEASE_LIFE, LONGEST_LIFE, life, unexpected};
use crate::backend::{CacheKey, Moment, Put, Resource, StoredResponse, codec};

/// Where a write's response is to be stored, if what it captured still says something.
struct Place {
    /// The key whose token was captured, and that.
    guard: String,
    captured: Token,
    epoch: Epoch,
    link: Arc<Link>,
}

impl Inner {
    pub(super) async fn put(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: &StoredResponse,
        now: Moment,
    ) -> Result<Put, Fault> {
        // Those of stripes are for writes.
        let Captured::One(token) = fence.captured else {
            return Ok(Put::Superseded);
        };
        let Some(place) = self.place(&fence, key.resource()).await? else {
            return Ok(Put::Superseded);
        };
        let left = left_of(response, now);
        let of = (fence.groups, place.epoch);
        let Some(groups) = self.tokens_for(response, of, left).await? else {
            return Ok(Put::Superseded);
        };
        let prefix = groups.behind(&token);
        let written = Written::of(response, &prefix, &place.link, now);
        let mut keys = vec![place.guard];
        self.name_entries(key, &written, &mut keys);
        let run = Run {
            script: &self.scripts.put,
            keys: &keys,
            arguments: || written.arguments(&token, self.options.variants),
        };
        let (done, link) = self.pool.run(run).await?;
        stored(&done).ok_or_else(|| unexpected(&link))
    }

    pub(super) async fn replace(
        &self,
        key: &CacheKey,
        fence: RedisFence,
        response: &StoredResponse,
        now: Moment,
    ) -> Result<Put, Fault> {
        let resource = key.resource();
        let Some(place) = self.place(&fence, resource).await? else {
            self.invalidate(resource).await?;
            return Ok(Put::Superseded);
        };
        let (link, of) = (&place.link, Sealed::Resource(resource));
        let next = Token::random(link.identity(), place.epoch, of);
        let of = (fence.groups, place.epoch);
        let Some(groups) = self
            .tokens_for(response, of, left_of(response, now))
            .await?
        else {
            self.invalidate(resource).await?;
            return Ok(Put::Superseded);
        };
        let written = Written::of(response, &groups.behind(&next), link, now);
        let mut keys = vec![place.guard];
        keys.extend(self.names_of(resource));
        self.name_entries(key, &written, &mut keys);
        // It may be offered twice: what it was a fence of ended when it was first taken.
        let arguments = || {
            let mut arguments = written.arguments(&place.captured, self.options.variants);
            arguments.push(Bytes::copy_from_slice(next.as_ref()));
            arguments
        };
        let run = Run {
            script: &self.scripts.replace,
            keys: &keys,
            arguments,
        };
        let (done, link) = self.pool.run(run).await?;
        stored(&done).ok_or_else(|| unexpected(&link))
    }

    /// What was captured from another server, or in another epoch, says nothing of this one.
    ///
    /// A step of its own, because the epoch is in another slot: a clear that comes between this and the store makes what
    /// is stored unreachable.
    async fn place(&self, fence: &RedisFence, resource: &Resource) -> Result<Option<Place>, Fault> {
        let (epoch, link) = self.epoch().await?;
        let Some(epoch) = epoch else {
            return Ok(None);
        };
        let [lease, stripe] = self.names_of(resource);
        let (guard, captured, of) = match &fence.captured {
            Captured::One(token) => (lease, *token, Sealed::Resource(resource)),
            Captured::All(tokens) => (stripe, tokens[stripe_of(resource)], Sealed::Stripe),
        };
        let place = Place {
            guard,
            captured,
            epoch,
            link,
        };
        let holds = captured.is_of(place.link.identity(), epoch, of);
        Ok(holds.then_some(place))
    }

    /// The keys of the tokens that an invalidation takes away.
    fn names_of(&self, resource: &Resource) -> [String; 2] {
        let names = self.names();
        [names.lease(resource), names.stripe(stripe_of(resource))]
    }

    fn name_entries(&self, key: &CacheKey, written: &Written, keys: &mut Vec<String>) {
        keys.push(self.names().entry(key));
        if !written.rule.is_empty() {
            keys.push(self.names().entry(&key.primary()));
            keys.push(self.names().variants(key));
        }
    }

    pub(super) async fn invalidate(&self, resource: &Resource) -> Result<(), Fault> {
        self.unlink(&self.names_of(resource)).await
    }

    pub(super) async fn unlink(&self, names: &[String]) -> Result<(), Fault> {
        let command = || {
            let mut command = redis::cmd("UNLINK");
            command.arg(names);
            command
        };
        match self.pool.send(command).await? {
            (Value::Int(count), _) if (0..=names.len() as i64).contains(&count) => Ok(()),
            (_, link) => Err(unexpected(&link)),
        }
    }
}

/// A response as Redis keeps it.
struct Written {
    entry: Bytes,
    /// Empty for a response that does not vary.
    rule: Bytes,
    life: Bytes,
    lease_life: Bytes,
}

impl Written {
    fn of(response: &StoredResponse, prefix: &[u8], link: &Link, now: Moment) -> Self {
        let stamp = link.clock().stamp();
        let rule = response.vary_selection().map(|selected| selected.rule());
        let left = left_of(response, now);
        // A rule is in no group.
        let of_rule = [&prefix[..Token::LENGTH], &[0]].concat();
        Self {
            entry: codec::encode(response, now, stamp, prefix),
            rule: rule.map_or_else(Bytes::new, |rule| codec::encode_rule(rule, stamp, &of_rule)),
            life: life(left),
            lease_life: life(left + LEASE_LIFE),
        }
    }

    /// What the scripts take, behind the token that must hold.
    fn arguments(&self, captured: &Token, most_variants: usize) -> Vec<Bytes> {
        vec![
            Bytes::copy_from_slice(captured.as_ref()),
            self.entry.clone(),
            self.life.clone(),
            self.lease_life.clone(),
            self.rule.clone(),
            most_variants.to_string().into(),
        ]
    }
}

/// For how long a response may be of use.
fn left_of(response: &StoredResponse, now: Moment) -> Duration {
    let until = response.freshness().useful_until();
    let left = until.map(|until| until.saturating_sub(now.monotonic()));
    left.unwrap_or(LONGEST_LIFE).min(LONGEST_LIFE)
}

fn stored(value: &Value) -> Option<Put> {
    match value {
        Value::Int(1) => Some(Put::Stored),
        Value::Int(0) => Some(Put::Superseded),
        _ => None,
    }
}
