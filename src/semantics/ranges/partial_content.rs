//! The parts of a representation that are stored (RFC 9111 §3.3).

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// The largest number of parts that are kept of one representation. A client that fetches more
/// pieces starts anew.
pub const MAX_SPANS: usize = 16;

/// The parts of a representation that a stored response holds. They follow each other in its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialContent {
    /// The length of the whole representation.
    complete: u64,
    /// The parts: in order, none empty, none touching another.
    spans: Box<[Range<u64>]>,
}

impl PartialContent {
    /// Creates the parts of a representation of `complete` bytes.
    ///
    /// `None` unless they are in order, none empty, none touching another and none beyond the end.
    #[must_use]
    pub(crate) fn new(complete: u64, spans: impl Into<Box<[Range<u64>]>>) -> Option<Self> {
        let spans = spans.into();
        let is_apart = |pair: &[Range<u64>]| pair[0].end < pair[1].start;
        let is_sound = !spans.is_empty()
            && spans.iter().all(|span| span.start < span.end)
            && spans.windows(2).all(is_apart)
            && spans.last().is_some_and(|last| last.end <= complete);
        is_sound.then_some(Self { complete, spans })
    }

    /// Returns the length of the whole representation.
    #[must_use]
    pub fn complete_length(&self) -> u64 {
        self.complete
    }

    /// Returns the parts that are stored.
    #[must_use]
    pub fn spans(&self) -> &[Range<u64>] {
        &self.spans
    }

    /// Returns how many bytes are stored.
    #[must_use]
    pub fn stored_bytes(&self) -> u64 {
        self.spans.iter().map(|span| span.end - span.start).sum()
    }

    /// Returns whether all bytes are stored.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.stored_bytes() == self.complete
    }

    /// Returns where a part of the representation is in the body; `None` unless all of it is
    /// stored.
    #[must_use]
    pub(crate) fn find(&self, part: &Range<u64>) -> Option<Range<u64>> {
        let holds = |span: &Range<u64>| span.start <= part.start && part.end <= span.end;
        self.spans.iter().any(holds).then(|| {
            let start = self.stored_before(part.start);
            start..start + (part.end - part.start)
        })
    }

    /// Returns the missing part of `wanted`, from its first missing byte to its last.
    ///
    /// Bytes in between may be stored. Empty if nothing is missing.
    #[must_use]
    pub(crate) fn gap(&self, wanted: &Range<u64>) -> Range<u64> {
        let around = |place: u64| self.spans.iter().find(move |span| span.contains(&place));
        let start = around(wanted.start).map_or(wanted.start, |span| span.end);
        if start >= wanted.end {
            return wanted.end..wanted.end;
        }
        let last = wanted.end - 1;
        start..around(last).map_or(wanted.end, |span| span.start)
    }

    /// Adds a part of the same representation. Where both have the same bytes, the new ones count.
    ///
    /// `None` for more than [`MAX_SPANS`] parts, and for a part beyond the end.
    #[must_use]
    pub(crate) fn with(&self, part: &Range<u64>) -> Option<Self> {
        let touches = |span: &&Range<u64>| span.start <= part.end && part.start <= span.end;
        let one = self
            .spans
            .iter()
            .filter(touches)
            .fold(part.clone(), |one, span| {
                one.start.min(span.start)..one.end.max(span.end)
            });
        let mut spans: Vec<_> = self.spans.to_vec();
        spans.retain(|span| !touches(&span));
        spans.push(one);
        spans.sort_unstable_by_key(|span| span.start);
        (spans.len() <= MAX_SPANS)
            .then(|| Self::new(self.complete, spans))
            .flatten()
    }

    /// Returns `body`, which has the bytes of these parts, with the bytes of another part added.
    #[must_use]
    pub(crate) fn join(&self, body: &Bytes, part: &Range<u64>, bytes: &Bytes) -> Bytes {
        let (before, after) = (self.stored_before(part.start), self.stored_before(part.end));
        // Both are within memory, so a `usize` holds them.
        let (before, after) = (&body[..before as usize], &body[after as usize..]);
        let mut joined = BytesMut::with_capacity(before.len() + bytes.len() + after.len());
        for piece in [before, bytes, after] {
            joined.extend_from_slice(piece);
        }
        joined.freeze()
    }

    /// Returns how many bytes before an offset are stored.
    fn stored_before(&self, place: u64) -> u64 {
        let before = |span: &Range<u64>| span.end.min(place).saturating_sub(span.start);
        self.spans.iter().map(before).sum()
    }

    /// Returns the bytes of memory that this takes.
    #[must_use]
    pub fn weight(&self) -> usize {
        size_of::<Self>() + size_of_val(&*self.spans)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(complete: u64, spans: &[(u64, u64)]) -> Option<PartialContent> {
        let spans: Box<[Range<u64>]> = spans.iter().map(|(start, end)| *start..*end).collect();
        PartialContent::new(complete, spans)
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
        assert_eq!((parts.stored_bytes(), parts.complete_length()), (9, 10));
    }

    /// All sets of parts of eight bytes, with every other part: the body has the bytes of the
    /// representation.
    #[test]
    fn section_3_4_parts_are_combined() {
        let whole: Vec<u8> = (10..18).collect();
        let all: Vec<Range<u64>> = (0..8)
            .flat_map(|start| (start + 1..=8).map(move |end| start..end))
            .collect();
        for first in &all {
            for second in &all {
                let Some(held) = PartialContent::new(8, [first.clone()])
                    .expect("sound")
                    .with(second)
                else {
                    panic!("two are not too many");
                };
                let body: Bytes = taken(&held, &whole);
                for part in &all {
                    combines(&held, &body, part, &whole);
                }
            }
        }
    }

    fn taken(parts: &PartialContent, whole: &[u8]) -> Bytes {
        let spans = parts.spans().iter();
        spans
            .flat_map(|span| &whole[span.start as usize..span.end as usize])
            .copied()
            .collect()
    }

    fn combines(held: &PartialContent, body: &Bytes, part: &Range<u64>, whole: &[u8]) {
        let bytes = &whole[part.start as usize..part.end as usize];
        let has = |place: &u64| held.spans().iter().any(|span| span.contains(place));
        match held.find(part) {
            Some(found) => assert_eq!(&body[found.start as usize..found.end as usize], bytes),
            None => assert!(!part.clone().all(|place| has(&place)), "{held:?} {part:?}"),
        }
        let gap = held.gap(part);
        let missing: Vec<_> = part.clone().filter(|place| !has(place)).collect();
        let ends = missing.first().zip(missing.last());
        assert_eq!(gap.is_empty(), ends.is_none(), "{held:?} {part:?}");
        if let Some((first, last)) = ends {
            assert_eq!(gap, *first..last + 1, "{held:?} {part:?}");
        }
        let more = held.with(part).expect("three are not too many");
        let joined = held.join(body, part, &Bytes::copy_from_slice(bytes));
        assert_eq!(joined, taken(&more, whole), "{held:?} {part:?}");
        assert_eq!(more.is_whole(), joined.len() == whole.len());
    }

    #[test]
    fn parts_are_bounded() {
        let many = |count: usize| (0..count as u64).map(|n| 2 * n..2 * n + 1);
        let parts = PartialContent::new(1000, many(MAX_SPANS).collect::<Vec<_>>()).expect("sound");
        assert_eq!(parts.with(&(500..501)), None);
        let fewer = parts.with(&(1..2)).expect("it closes a gap");
        assert_eq!(fewer.spans().len(), MAX_SPANS - 1);
        assert_eq!(parts.with(&(500..1001)), None, "beyond the end");
    }
}
