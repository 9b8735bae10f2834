//! Writes responses whose body is stored elsewhere, with a checksum of each of its chunks.

use bytes::{BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::encode::{put_response, wrap};
use super::format::DETACHED;
use crate::random::unpredictable_u128;
use crate::semantics::moment::Moment;
use crate::semantics::stored::{DetachedBody, StoredResponse};

/// Encodes a response without its body, as [`encode`](super::encode) does.
///
/// A chunk of the body that does not match its checksum is of another response, or damaged. The
/// checksums depend on a random number, so that a client cannot find two bodies with the same ones.
#[must_use]
pub(crate) fn encode_detached(
    response: &StoredResponse,
    now: Moment,
    stamp: u64,
    prefix: &[u8],
) -> Bytes {
    let (body, seed) = (response.body_bytes(), unpredictable_u128() as u64);
    let length = body.len() as u64;
    let chunks = body.chunks(DetachedBody::chunk_length(length) as usize);
    let mut meta = Vec::with_capacity(16 + 8 * chunks.len() + response.packed_fields().len() + 64);
    meta.put_u64_le(length);
    meta.put_u64_le(seed);
    for chunk in chunks {
        meta.put_u64_le(xxh3_64_with_seed(chunk, seed));
    }
    put_response(&mut meta, response, now);
    wrap(DETACHED, stamp, prefix, &meta, &[])
}

/// Returns whether bytes from `start`, which is that of a chunk, are those of the body.
pub(crate) fn matches_body(body: &DetachedBody, start: u64, bytes: &[u8]) -> bool {
    body.matches(start, bytes, xxh3_64_with_seed)
}
