//! The meaning of a batch's reply for one of its keys.

use std::sync::Arc;

use crate::backend::redis::connection::{Connection, ServerIdentity};
use crate::backend::redis::protocol::entry::{GroupTokens, ReadLease, decode_entry};
use crate::backend::redis::protocol::keys::Namespace;
use crate::backend::redis::protocol::tokens::{AllGroups, NamespaceToken, TOMBSTONE, Token};
use crate::backend::{Lookup, StoredResponse};
use crate::key::{CacheKey, Resource};
use crate::semantics::moment::Moment;

/// What Redis holds for one key, in one atomic reading.
#[derive(Clone, Debug)]
pub(crate) struct LookupReply {
    pub(crate) entry: EntryReply,
    /// The variant that was looked up with it, if `entry` is a rule.
    pub(crate) variant: Option<EntryReply>,
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

/// The value of a key in Redis.
type StoredValue = Option<Vec<u8>>;
/// The values of a lease, an entry and, if a variant was looked up with it, that of the variant.
pub(crate) type LookupValues<'k> = (
    StoredValue,
    StoredValue,
    Option<(&'k CacheKey, StoredValue)>,
);

/// Compares the lease of a key with its entry and, if that is a rule, with the entry of the variant
/// that was looked up with it.
pub(crate) fn parse_lookup(
    (key, now): (&CacheKey, Moment),
    (namespace, all_groups): (Option<NamespaceToken>, Option<AllGroups>),
    (lease, entry, variant): LookupValues<'_>,
    read_with: (&Connection, &Namespace),
) -> LookupReply {
    let reply = |entry, variant| LookupReply {
        entry,
        variant,
        all_groups,
    };
    if lease.as_deref() == Some(TOMBSTONE) {
        return reply(EntryReply::Tombstone, None);
    }
    let server = read_with.0.identity();
    let Some(lease) = parse_lease(lease, (server, namespace), key.resource()) else {
        return reply(EntryReply::NoLease { server, namespace }, None);
    };
    let entry = leased((key, entry), &lease, now, read_with);
    let is_rule = matches!(entry, EntryReply::Leased(Lookup::Varies(..)));
    let variant = variant.filter(|_| is_rule);
    reply(
        entry,
        variant.map(|variant| leased(variant, &lease, now, read_with)),
    )
}

/// Compares an entry with the lease of its resource.
fn leased(
    (key, entry): (&CacheKey, StoredValue),
    lease: &ReadLease,
    now: Moment,
    (connection, names): (&Connection, &Namespace),
) -> EntryReply {
    let max_age = |stamp| connection.max_age(stamp);
    match decode_entry(entry, lease, now, max_age, || names.body(key)) {
        (Lookup::Found(response, lease), groups) if !groups.is_empty() => EntryReply::GroupMember {
            response,
            groups,
            lease,
        },
        (lookup, _) => EntryReply::Leased(lookup),
    }
}

fn parse_lease(
    lease: Option<Vec<u8>>,
    (server, namespace): (ServerIdentity, Option<NamespaceToken>),
    resource: &Resource,
) -> Option<ReadLease> {
    let value = lease?;
    let token = Token::parse_lease(&value, server, namespace?, resource)?;
    Some(ReadLease { token, value })
}
