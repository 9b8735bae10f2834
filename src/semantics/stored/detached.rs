//! A large body that stays in the backend until it is wanted.

#[cfg(any(test, feature = "redis"))]
use std::ops::Range;
use std::sync::Arc;

/// Where the body of a stored response is that has been found without it, and how to tell that it
/// has not been replaced or damaged since.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachedBody {
    /// Where the backend keeps it, in the backend's own words.
    pub(crate) location: Box<str>,
    /// The length of the whole body, in bytes.
    pub(crate) length: u64,
    /// A random number that the checksums depend on.
    pub(crate) seed: u64,
    /// The checksum of each chunk.
    pub(crate) checksums: Arc<[u64]>,
}

/// The shortest chunk, in bytes.
const MIN_CHUNK: u64 = 8 * 1024;
/// The most chunks of a body: their checksums are read with the head.
const MAX_CHUNKS: u64 = 256;

impl DetachedBody {
    /// Returns the length of the chunks of a body of this length: only a whole chunk has a
    /// checksum.
    pub(crate) fn chunk_length(length: u64) -> u64 {
        length.div_ceil(MAX_CHUNKS).max(MIN_CHUNK)
    }

    /// Returns the number of chunks of a body of this length.
    pub(crate) fn chunk_count(length: u64) -> u64 {
        length.div_ceil(Self::chunk_length(length))
    }
}

#[cfg(any(test, feature = "redis"))]
impl DetachedBody {
    /// Returns the bytes of the chunks that a range touches. `None` if it is not within the body.
    pub(crate) fn whole_chunks(&self, range: &Range<u64>) -> Option<Range<u64>> {
        let chunk = Self::chunk_length(self.length);
        let is_within = range.start < range.end && range.end <= self.length;
        let end = range.end.div_ceil(chunk).saturating_mul(chunk);
        is_within.then(|| range.start / chunk * chunk..end.min(self.length))
    }

    /// Returns whether bytes from `start`, which is that of a chunk, are those of the body.
    /// `checksum` computes that of a chunk.
    pub(crate) fn matches(
        &self,
        start: u64,
        bytes: &[u8],
        checksum: impl Fn(&[u8], u64) -> u64,
    ) -> bool {
        let length = Self::chunk_length(self.length);
        let Ok(first) = usize::try_from(start / length) else {
            return false;
        };
        let expected = self.checksums.get(first..).unwrap_or_default();
        let mut chunks = bytes.chunks(length as usize);
        expected.len() >= chunks.len()
            && chunks
                .by_ref()
                .zip(expected)
                .all(|(chunk, expected)| checksum(chunk, self.seed) == *expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(length: u64) -> DetachedBody {
        let count = DetachedBody::chunk_count(length);
        DetachedBody {
            location: "".into(),
            length,
            seed: 7,
            // Each chunk consists of its number.
            checksums: (0..count).collect(),
        }
    }

    #[test]
    fn a_range_takes_the_chunks_that_it_touches() {
        const KIB: u64 = 1024;
        for (length, range, chunks) in [
            (900_000, 0..10, Some(0..8 * KIB)),
            (900_000, 8191..8193, Some(0..16 * KIB)),
            (900_000, 8192..16384, Some(8 * KIB..16 * KIB)),
            (900_000, 899_999..900_000, Some(109 * 8 * KIB..900_000)),
            (900_000, 899_999..900_001, None),
            (900_000, 10..10, None),
            (8 << 20, 0..10, Some(0..32 * KIB)),
        ] {
            assert_eq!(body(length).whole_chunks(&range), chunks, "{range:?}");
        }
        assert_eq!(DetachedBody::chunk_count(2 << 20), 256);
        assert_eq!(DetachedBody::chunk_count(1 << 40), 256);
    }

    #[test]
    fn bytes_match_in_their_place_only() {
        let body = body(20_000);
        let checksum = |chunk: &[u8], seed| u64::from(chunk[0]) + seed - 7;
        let [zero, one] = [0_u8, 1].map(|number| vec![number; 8192]);
        let both = [zero.clone(), one.clone()].concat();
        assert!(body.matches(0, &both, checksum));
        assert!(body.matches(8192, &one, checksum));
        assert!(!body.matches(0, &one, checksum));
        assert!(!body.matches(8192, &both, checksum));
        assert!(!body.matches(24_576, &one, checksum), "behind its end");
        assert!(!body.matches(16_384, &[both, one].concat(), checksum));
    }
}
