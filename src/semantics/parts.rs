//! What is stored of a response that is not whole (RFC 9111 §3.3).

use std::ops::Range;

/// The parts of a representation that a stored 206 holds, one behind the other in its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    complete: u64,
    spans: Box<[Range<u64>]>,
}

impl Parts {
    /// Parts of a representation of `complete` bytes: in order, none empty, none touching another, none beyond its end.
    ///
    /// `None` if they are not.
    #[must_use]
    pub fn new(complete: u64, spans: impl Into<Box<[Range<u64>]>>) -> Option<Self> {
        let spans = spans.into();
        let is_apart = |pair: &[Range<u64>]| pair[0].end < pair[1].start;
        let is_sound = !spans.is_empty()
            && spans.iter().all(|span| span.start < span.end)
            && spans.windows(2).all(is_apart)
            && spans.last().is_some_and(|last| last.end <= complete);
        is_sound.then_some(Self { complete, spans })
    }

    /// The length of the whole representation.
    #[must_use]
    pub fn complete(&self) -> u64 {
        self.complete
    }

    /// The parts that are there.
    #[must_use]
    pub fn spans(&self) -> &[Range<u64>] {
        &self.spans
    }

    /// How many bytes are there.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.spans.iter().map(|span| span.end - span.start).sum()
    }

    /// Bytes of memory this takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(complete: u64, spans: &[(u64, u64)]) -> Option<Parts> {
        let spans: Box<[Range<u64>]> = spans.iter().map(|(start, end)| *start..*end).collect();
        Parts::new(complete, spans)
    }

    #[test]
    fn section_3_3_parts_are_apart_and_within() {
        for (complete, spans, is_sound) in [
            (10, &[(0, 1)][..], true),
            (10, &[(0, 10)], true),
            (10, &[(0, 2), (3, 10)], true),
            (10, &[], false),
            (10, &[(3, 3)], false),
            (10, &[(0, 2), (2, 4)], false),
            (10, &[(4, 5), (0, 2)], false),
            (10, &[(0, 11)], false),
            (u64::MAX, &[(u64::MAX - 1, u64::MAX)], true),
        ] {
            let got = parts(complete, spans).is_some();
            assert_eq!(got, is_sound, "{spans:?} of {complete}");
        }
        let parts = parts(10, &[(0, 2), (3, 10)]).expect("sound");
        assert_eq!((parts.held(), parts.complete()), (9, 10));
    }
}
