//! The fence: a random token that every read compares.

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip128::{Hasher128, SipHasher13};

use uuid::Uuid;

use crate::key::Resource;
use crate::semantics::groups::Group;

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

    /// What only a token of this, on this server, begins with.
    fn seal(&self, of: Sealed<'_>) -> [u8; 16] {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        match of {
            Sealed::Resource(resource) => hasher.write(&resource.digest().to_le_bytes()),
            Sealed::Stripe => hasher.write(b"stripe"),
            Sealed::Group(group) => {
                hasher.write(b"group");
                hasher.write(&group.digest().to_le_bytes());
            }
        }
        hasher.finish128().as_bytes()
    }
}

/// What a token is of.
#[derive(Clone, Copy)]
pub(super) enum Sealed<'r> {
    Resource(&'r Resource),
    Stripe,
    /// Of a group.
    Group(&'r Group),
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
}

impl AsRef<[u8]> for Epoch {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// What a fill captured before it began: the token of its resource, which the next invalidation takes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisFence {
    pub(super) captured: Captured,
    /// The token of all groups.
    pub(super) groups: Epoch,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Captured {
    /// Of the one resource.
    One(Token),
    /// Of all stripes, because the resource is not known yet.
    All(Arc<[Token]>),
}

/// A random token.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Token([u8; Self::LENGTH]);

impl Token {
    /// Seal, epoch, and what is random.
    pub(super) const LENGTH: usize = 48;

    pub(super) fn random(identity: Identity, epoch: Epoch, of: Sealed<'_>) -> Self {
        let mut bytes = [0; Self::LENGTH];
        bytes[..16].copy_from_slice(&identity.seal(of));
        bytes[16..32].copy_from_slice(&epoch.0);
        bytes[32..].copy_from_slice(Uuid::new_v4().as_bytes());
        Self(bytes)
    }

    /// What is kept as a resource's token, if it is one: of this resource, on this server, and of this epoch.
    pub(super) fn read(
        bytes: &[u8],
        identity: Identity,
        epoch: Epoch,
        of: Sealed<'_>,
    ) -> Option<Self> {
        let token = Self(bytes.try_into().ok()?);
        token.is_of(identity, epoch, of).then_some(token)
    }

    /// One that was stored, whatever it is of: it counts where it is found again.
    pub(super) fn kept(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn is_of(&self, identity: Identity, epoch: Epoch, of: Sealed<'_>) -> bool {
        self.0[16..32] == epoch.0 && self.0[..16] == identity.seal(of)
    }
}

impl AsRef<[u8]> for Token {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let random = u128::from_be_bytes(self.0[32..].try_into().expect("16 bytes"));
        write!(f, "Token({random:032x})")
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
        let token = Token::random(here, epoch, Sealed::Resource(&a));
        let read = |identity, epoch, resource| {
            Token::read(token.as_ref(), identity, epoch, Sealed::Resource(&resource))
        };
        assert_eq!(read(here, epoch, a), Some(token));
        assert_eq!(read(Identity::of("run2", "repl"), epoch, a), None);
        assert_eq!(read(Identity::of("run", "repl2"), epoch, a), None);
        assert_eq!(read(Identity::of("runr", "epl"), epoch, a), None);
        assert_eq!(read(here, Epoch::random(), a), None);
        assert_eq!(read(here, epoch, resource("/b")), None);
        assert_eq!(
            Token::read(token.as_ref(), here, epoch, Sealed::Stripe),
            None
        );
        assert_eq!(Token::read(b"", here, epoch, Sealed::Resource(&a)), None);
        assert_ne!(Token::random(here, epoch, Sealed::Resource(&a)), token);
    }
}
