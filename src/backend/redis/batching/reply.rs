//! The meaning of a batch's reply for one of its keys.

use std::sync::Arc;

use crate::backend::redis::connection::{Connection, ServerIdentity};
use crate::backend::redis::protocol::entry::{GroupTokens, decode_entry};
use crate::backend::redis::protocol::tokens::{AllGroups, NamespaceToken, TOMBSTONE, Token};
use crate::backend::{Lookup, StoredResponse};
use crate::key::{CacheKey, Resource};
use crate::semantics::moment::Moment;

/// What Redis holds for one key, in one atomic reading.
#[derive(Clone, Debug)]
pub(crate) struct LookupReply {
    pub(crate) entry: EntryReply,
    /// `None` if the token is absent.
    pub(crate) all_groups: Option<AllGroups>,
}

/// The lease and the entry of one key.
#[derive(Clone, Debug)]
pub(crate) enum EntryReply {
    /// The resource has a lease; the entry was compared with it.
    Leased(Lookup<Token>),
    /// A response stored under the lease; the tokens of its groups have yet to be compared.
    GroupMember {
        response: Arc<StoredResponse>,
        groups: GroupTokens,
        lease: Token,
    },
    /// The resource has no lease that counts on this server in this namespace.
    NoLease {
        server: ServerIdentity,
        namespace: Option<NamespaceToken>,
    },
    /// A tombstone is in the lease's place: nothing may be read or stored.
    Tombstone,
}

/// Compares lease and entry of a key; `values` are the values of their keys.
pub(crate) fn parse_lookup(
    key: &CacheKey,
    now: Moment,
    (namespace, all_groups): (Option<NamespaceToken>, Option<AllGroups>),
    (lease, entry): (Option<Vec<u8>>, Option<Vec<u8>>),
    connection: &Connection,
) -> LookupReply {
    if lease.as_deref() == Some(TOMBSTONE) {
        return LookupReply {
            entry: EntryReply::Tombstone,
            all_groups,
        };
    }
    let server = connection.identity();
    let entry = match parse_lease(lease, server, namespace, key.resource()) {
        None => EntryReply::NoLease { server, namespace },
        Some(lease) => {
            let max_age = |stamp| connection.max_age(stamp);
            match decode_entry(entry, lease, now, max_age) {
                (Lookup::Found(response, lease), groups) if !groups.is_empty() => {
                    EntryReply::GroupMember {
                        response,
                        groups,
                        lease,
                    }
                }
                (lookup, _) => EntryReply::Leased(lookup),
            }
        }
    };
    LookupReply { entry, all_groups }
}

fn parse_lease(
    lease: Option<Vec<u8>>,
    server: ServerIdentity,
    namespace: Option<NamespaceToken>,
    resource: &Resource,
) -> Option<Token> {
    Token::parse_lease(&lease?, server, namespace?, resource)
}
