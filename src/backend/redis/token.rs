//! The fence: a random token that every read compares.

use siphasher::sip128::{Hasher128, SipHasher13};
use std::fmt;
use std::hash::Hasher;

use uuid::Uuid;

use crate::key::Resource;

/// Which server, in which run and with which data, a connection has reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Identity([u8; 16]);

impl Identity {
    /// Of a server by its `run_id` and `master_replid`: the former changes with a restart, the latter with a failover.
    pub(super) fn of(run: &str, replication: &str) -> Self {
        let mut hasher = SipHasher13::new();
        for part in [run, replication] {
            hasher.write_u64((part.len() as u64).to_le());
            hasher.write(part.as_bytes());
        }
        Self(hasher.finish128().as_bytes())
    }

    /// Of whatever server there is.
    pub(super) const fn any() -> Self {
        Self([0; 16])
    }

    /// What only a token of this resource on this server begins with.
    fn seal(&self, resource: &Resource) -> [u8; 16] {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(&resource.digest().to_le_bytes());
        hasher.finish128().as_bytes()
    }
}

/// The token of a whole namespace: a clear replaces it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Epoch([u8; 16]);

impl Epoch {
    pub(super) fn random() -> Self {
        Self(*Uuid::new_v4().as_bytes())
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a fill captured before it began: the token of its resource, which the next invalidation takes away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RedisFence([u8; Self::LENGTH]);

impl RedisFence {
    /// Seal, epoch, and what is random.
    pub(super) const LENGTH: usize = 48;

    pub(super) fn random(identity: Identity, epoch: Epoch, resource: &Resource) -> Self {
        let mut bytes = [0; Self::LENGTH];
        bytes[..16].copy_from_slice(&identity.seal(resource));
        bytes[16..32].copy_from_slice(&epoch.0);
        bytes[32..].copy_from_slice(Uuid::new_v4().as_bytes());
        Self(bytes)
    }

    /// What is kept as a resource's token, if it is one: of this resource, on this server, and of this epoch.
    pub(super) fn read(
        bytes: &[u8],
        identity: Identity,
        epoch: Epoch,
        resource: &Resource,
    ) -> Option<Self> {
        let fence = Self(bytes.try_into().ok()?);
        fence.is_of(identity, epoch, resource).then_some(fence)
    }

    /// The same token's successor.
    pub(super) fn successor(&self) -> Self {
        let mut bytes = self.0;
        bytes[32..].copy_from_slice(Uuid::new_v4().as_bytes());
        Self(bytes)
    }

    pub(super) fn is_of(&self, identity: Identity, epoch: Epoch, resource: &Resource) -> bool {
        self.0[16..32] == epoch.0 && self.0[..16] == identity.seal(resource)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for RedisFence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let random = u128::from_be_bytes(self.0[32..].try_into().expect("16 bytes"));
        write!(f, "RedisFence({random:032x})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::DigestSeed;

    fn resource(path: &str) -> Resource {
        Resource::new(&DigestSeed::default(), "", "test.example", path)
    }

    /// C18: what another server, another run of it, another time or another resource gave is no token.
    #[test]
    fn a_token_counts_where_it_was_made_only() {
        let (here, epoch, a) = (Identity::of("run", "repl"), Epoch::random(), resource("/a"));
        let token = RedisFence::random(here, epoch, &a);
        let read = |identity, epoch, resource| {
            RedisFence::read(token.as_bytes(), identity, epoch, &resource)
        };
        assert_eq!(read(here, epoch, a), Some(token));
        assert_eq!(read(Identity::of("run2", "repl"), epoch, a), None);
        assert_eq!(read(Identity::of("run", "repl2"), epoch, a), None);
        assert_eq!(read(Identity::of("runr", "epl"), epoch, a), None);
        assert_eq!(read(here, Epoch::random(), a), None);
        assert_eq!(read(here, epoch, resource("/b")), None);
        let next = token.successor();
        assert_ne!(next, token);
        assert!(RedisFence::read(next.as_bytes(), here, epoch, &a).is_some());
        assert_eq!(RedisFence::read(b"", here, epoch, &a), None);
        assert_ne!(RedisFence::random(here, epoch, &a), token);
    }
}
