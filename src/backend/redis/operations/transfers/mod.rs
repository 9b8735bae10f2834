//! Large bodies: read and stored apart from their entries.
//!
//! Reads and stores have connections of their own, so that neither delays the other, nor a small
//! reply. Whatever is under the key of a body, bytes count only if they match the checksums in the
//! entry.
//!
//! This module knows connections and the bodies' checksums. It does not know entries or tokens.
//! Start with [`Transfers::read`] and [`BodyStores::store`].

mod late;
mod reads;
mod stores;

use std::ops::Range;

use bytes::Bytes;

pub(super) use self::late::LateBody;
pub(crate) use self::reads::BodyReads;
pub(crate) use self::stores::BodyStores;
use crate::backend::redis::connection::CommandError;
use crate::semantics::stored::DetachedBody;

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

    /// Reads a range of a body; `None` if it is gone.
    ///
    /// # Errors
    /// Also if too many bodies are being read.
    pub(super) async fn read(
        &self,
        body: &DetachedBody,
        range: Range<u64>,
    ) -> Result<Option<Bytes>, CommandError> {
        let Some(chunks) = body.whole_chunks(&range) else {
            return Ok(None);
        };
        let read = match self.stores.late_chunks(body, &chunks) {
            Some(late) => Some(late),
            None => self.reads.read(body, &chunks).await?,
        };
        let offset = (range.start - chunks.start) as usize;
        let length = (range.end - range.start) as usize;
        Ok(read.map(|bytes| bytes.slice(offset..offset + length)))
    }
}
