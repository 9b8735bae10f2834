//! Finds a text in a short list of known ones.

/// Slots of an index: several times the length of the longest list.
const SLOTS: usize = 512;
/// A slot without a text.
const EMPTY: u8 = u8::MAX;

/// The places of at most 255 texts, by length and a few of their bytes.
#[derive(Debug)]
pub(super) struct TextIndex([u8; SLOTS]);

impl TextIndex {
    /// Creates the index of a list.
    pub(super) fn new(texts: impl Iterator<Item = &'static [u8]>) -> Self {
        let mut slots = [EMPTY; SLOTS];
        for (index, text) in texts.enumerate() {
            let mut slot = first_slot(text);
            while slots[slot] != EMPTY {
                slot = (slot + 1) % SLOTS;
            }
            slots[slot] = u8::try_from(index).expect("a short list");
        }
        Self(slots)
    }

    /// Returns the place of a text in the list; `text_at` reads the list.
    #[inline]
    pub(super) fn find(
        &self,
        text: &[u8],
        text_at: impl Fn(usize) -> &'static [u8],
    ) -> Option<usize> {
        let mut slot = first_slot(text);
        while self.0[slot] != EMPTY {
            let index = usize::from(self.0[slot]);
            if text_at(index) == text {
                return Some(index);
            }
            slot = (slot + 1) % SLOTS;
        }
        None
    }
}

/// The slot in which a text is looked for first.
#[inline]
fn first_slot(text: &[u8]) -> usize {
    let (first, middle, last) = match text {
        [] => (0, 0, 0),
        [first, .., last] => (*first, text[text.len() / 2], *last),
        [only] => (*only, *only, *only),
    };
    let bytes = [first, middle, last].map(usize::from);
    (text.len() * 31 + bytes[0] * 7 + bytes[1] * 67 + bytes[2] * 131) % SLOTS
}
