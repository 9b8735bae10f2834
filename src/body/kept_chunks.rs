//! Chunks of a body that are kept in memory: small ones are copied out of their read buffer.

use bytes::{Bytes, BytesMut};

/// Chunks below this many bytes are copied when they are kept.
const SMALL: usize = 2048;

/// A chunk that may be kept: a small one is copied, because it may be a slice of a much larger
/// read buffer, which it would keep alive.
pub(crate) fn keepable(chunk: &Bytes) -> Bytes {
    if chunk.len() < SMALL {
        Bytes::copy_from_slice(chunk)
    } else {
        chunk.clone()
    }
}

/// The only chunk of a body in a buffer of its own. It [may be kept](keepable) already.
pub(crate) fn own(chunk: Bytes) -> Bytes {
    if chunk.len() < SMALL {
        chunk
    } else {
        Bytes::copy_from_slice(&chunk)
    }
}

/// The chunks in one buffer of their own, for the reason given at [`keepable`].
pub(crate) fn join(chunks: &[Bytes], length: usize) -> Bytes {
    if let [chunk] = chunks {
        return own(chunk.clone());
    }
    let mut body = BytesMut::with_capacity(length);
    for chunk in chunks {
        body.extend_from_slice(chunk);
    }
    body.freeze()
}
