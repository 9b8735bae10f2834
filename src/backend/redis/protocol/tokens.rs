//! Tokens: random values that each lookup compares and each invalidation removes.
//!
//! ```text
//! NamespaceToken, AllGroupsToken   random 16
//! Token                            seal 16 | namespace token 16 | random 16
//!
//! seal = digest of the server's identity and of the resource, stripe or group
//! ```
//!
//! A tombstone stands in the place of a token that may not exist for now: a write of unknown
//! outcome may still be committed. Start with [`Token`].

use std::fmt;
use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};
use uuid::Uuid;

use crate::backend::redis::connection::ServerIdentity;
use crate::key::Resource;
use crate::semantics::groups::Group;

macro_rules! random_token {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) struct $name([u8; 16]);

        impl $name {
            pub(crate) fn random() -> Self {
                Self(*Uuid::new_v4().as_bytes())
            }

            /// Parses the value of its key; `None` if another program has stored something there.
            pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
    };
}

random_token! {
    /// The token of a whole namespace. A clear removes it.
    NamespaceToken
}

random_token! {
    /// The token of all groups together. Each invalidation of a group removes it, before the token
    /// of that group.
    AllGroupsToken
}

/// The tombstone of a resource or a stripe. No fill can hold it: its length is that of no token. It
/// counts on every server and in every namespace token, so that neither a restart nor a clear ends
/// its time.
pub(crate) const TOMBSTONE: &[u8] = b"write of unknown outcome";

/// The value of the key of the token of all groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AllGroups {
    Token(AllGroupsToken),
    /// No member of any group may be stored. The random value changes with each invalidation of a
    /// group, so that flights are shared as with a token.
    Tombstone(AllGroupsToken),
}

impl AllGroups {
    const TOMBSTONE: u8 = b't';

    /// Parses the value of the key; `None` if another program has stored something there.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes.split_first()? {
            (&Self::TOMBSTONE, random) if random.len() == 16 => {
                AllGroupsToken::from_bytes(random).map(Self::Tombstone)
            }
            _ => AllGroupsToken::from_bytes(bytes).map(Self::Token),
        }
    }

    /// Returns the value of a new tombstone.
    pub(crate) fn random_tombstone() -> [u8; 17] {
        let mut tombstone = [Self::TOMBSTONE; 17];
        tombstone[1..].copy_from_slice(AllGroupsToken::random().as_ref());
        tombstone
    }

    /// Returns the token; `None` while no member may be stored.
    pub(crate) fn token(self) -> Option<AllGroupsToken> {
        match self {
            Self::Token(token) => Some(token),
            Self::Tombstone(_) => None,
        }
    }
}

/// The subject of a [`Token`].
#[derive(Clone, Copy)]
pub(crate) enum TokenScope<'s> {
    /// One resource: its lease.
    Resource(&'s Resource),
    /// The resources of one stripe, for writes that do not know their resource yet.
    Stripe,
    /// The responses of one group.
    Group(&'s Group),
}

impl TokenScope<'_> {
    /// Returns the digest that tokens of this scope on this server begin with.
    fn seal(self, server: ServerIdentity) -> [u8; 16] {
        let mut hasher = SipHasher13::new_with_key(server.as_bytes());
        match self {
            Self::Resource(resource) => hasher.write(&resource.digest().to_le_bytes()),
            Self::Stripe => hasher.write(b"stripe"),
            Self::Group(group) => {
                hasher.write(b"group");
                hasher.write(&group.digest().to_le_bytes());
            }
        }
        hasher.finish128().as_bytes()
    }
}

/// A random token of a resource, a stripe or a group.
///
/// It counts only for its scope, on the server and in the namespace that it was made for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token([u8; Self::LENGTH]);

impl Token {
    pub(crate) const LENGTH: usize = 48;
    /// Where its random part begins.
    pub(crate) const RANDOM: usize = 32;

    pub(crate) fn random(
        server: ServerIdentity,
        namespace: NamespaceToken,
        scope: TokenScope<'_>,
    ) -> Self {
        let mut bytes = [0; Self::LENGTH];
        bytes[..16].copy_from_slice(&scope.seal(server));
        bytes[16..32].copy_from_slice(&namespace.0);
        bytes[32..].copy_from_slice(Uuid::new_v4().as_bytes());
        Self(bytes)
    }

    /// Parses the value of a token's key; `None` if it does not count here.
    pub(crate) fn parse(
        bytes: &[u8],
        server: ServerIdentity,
        namespace: NamespaceToken,
        scope: TokenScope<'_>,
    ) -> Option<Self> {
        let token = Self::from_bytes(bytes)?;
        token
            .is_valid_for(server, namespace, scope)
            .then_some(token)
    }

    /// Parses the value of a lease, a token with a list of entries behind it; `None` if it does not
    /// count here.
    pub(crate) fn parse_lease(
        bytes: &[u8],
        server: ServerIdentity,
        namespace: NamespaceToken,
        resource: &Resource,
    ) -> Option<Self> {
        let token = bytes.get(..Self::LENGTH)?;
        Self::parse(token, server, namespace, TokenScope::Resource(resource))
    }

    /// Parses the reply of a script that returns or creates a token. `None` is an unexpected reply,
    /// `Some(None)` a tombstone.
    pub(crate) fn parse_created(
        bytes: &[u8],
        server: ServerIdentity,
        namespace: NamespaceToken,
        scope: TokenScope<'_>,
    ) -> Option<Option<Self>> {
        if bytes == TOMBSTONE {
            return Some(None);
        }
        Self::parse(bytes, server, namespace, scope).map(Some)
    }

    /// Takes a token from an entry, without asking whether it counts.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Returns whether the token was made for this server, namespace and scope.
    pub(crate) fn is_valid_for(
        &self,
        server: ServerIdentity,
        namespace: NamespaceToken,
        scope: TokenScope<'_>,
    ) -> bool {
        self.namespace() == namespace && self.is_of(server, scope)
    }

    /// Returns whether the token was made for this server and scope, in whatever namespace.
    pub(crate) fn is_of(&self, server: ServerIdentity, scope: TokenScope<'_>) -> bool {
        self.0[..16] == scope.seal(server)
    }

    /// Returns the namespace token that the token was made under.
    pub(crate) fn namespace(&self) -> NamespaceToken {
        let mut namespace = [0; 16];
        namespace.copy_from_slice(&self.0[16..32]);
        NamespaceToken(namespace)
    }
}

impl AsRef<[u8]> for Token {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Shows the random part alone.
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

    /// A restart, a failover, a clear, and another resource each make a token worthless.
    #[test]
    fn a_token_counts_for_its_server_namespace_and_resource_only() {
        let (server, namespace) = (ServerIdentity::new("run", "repl"), NamespaceToken::random());
        let a = resource("/a");
        let token = Token::random(server, namespace, TokenScope::Resource(&a));
        let parse = |server, namespace, resource| {
            Token::parse(
                token.as_ref(),
                server,
                namespace,
                TokenScope::Resource(&resource),
            )
        };
        assert_eq!(parse(server, namespace, a), Some(token));
        for other in [("run2", "repl"), ("run", "repl2"), ("runr", "epl")] {
            let other = ServerIdentity::new(other.0, other.1);
            assert_eq!(parse(other, namespace, a), None);
        }
        assert_eq!(parse(server, NamespaceToken::random(), a), None);
        assert_eq!(parse(server, namespace, resource("/b")), None);
        assert_eq!(
            Token::parse(token.as_ref(), server, namespace, TokenScope::Stripe),
            None
        );
        assert_eq!(
            Token::parse(b"", server, namespace, TokenScope::Resource(&a)),
            None
        );
        assert_ne!(
            Token::random(server, namespace, TokenScope::Resource(&a)),
            token
        );
    }
}
