//! Large bodies: read and stored apart from their entries.
//!
//! Reads and stores have connections of their own, so that neither delays the other, nor a small
//! reply. Whatever is under the key of a body, bytes count only if they match the checksums in the
//! entry.
//!
//! This module knows connections and the bodies' checksums. It does not know entries or tokens.
//! Start with [`BodyReads::read`] and [`BodyStores::store`].

mod reads;
mod stores;

pub(crate) use self::reads::BodyReads;
pub(crate) use self::stores::BodyStores;
pub(super) use self::stores::LateBody;

/// Reads and stores large bodies. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Transfers {
    pub(super) reads: BodyReads,
    pub(super) stores: BodyStores,
}

impl Transfers {
    pub(crate) fn new(reads: BodyReads, stores: BodyStores) -> Self {
        Self { reads, stores }
    }
}
