//! Header maps of encoded fields, some of which each thread remembers.
//!
//! A hit costs the copy of a ready map where the response was used twice in a row on this thread,
//! as far as its slot tells. All others are made of a map with the same names: the fields of most
//! responses of a service have the same.
//!
//! A ready head is used only where its bytes are those of the stored fields, and its kind is the
//! one asked for: it depends on nothing else. Its values and small bodies are copies of the
//! thread's own, so that two threads never share a reference count. All that a thread remembers
//! takes at most [`MAX_BYTES`], header maps included.

use std::cell::RefCell;

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, HeaderValue};

use super::HeadFields;
use super::shape::{HeadKind, MAX_NAMES, Shape, weight_without_values};
use crate::semantics::allocation::allocated;
use crate::semantics::cache_status::CACHE_STATUS;
use crate::semantics::stored::weight::SHARED_BUFFER;
use crate::semantics::validation::not_modified_headers;

/// The number of ready heads that each thread remembers at most.
const READY: usize = 256;
/// The number of sets of names that each thread remembers at most.
const SHAPES: usize = 32;
/// The bytes that all of these take in each thread at most.
const MAX_BYTES: usize = 640 * 1024;
/// The largest one that is remembered, in bytes.
const MAX_WEIGHT: usize = MAX_BYTES / 32;

/// The values of one answer: those of `Age` and `Cache-Status`.
pub trait AnswerValues {
    /// Returns what the values depend on, if writing them twice is no different from once. No
    /// other values have the same.
    fn key(&self) -> Option<AnswerKey>;

    /// Writes the values.
    fn write(&self, headers: &mut HeaderMap);
}

/// What the values of an answer depend on. Its last number is not zero.
pub type AnswerKey = [u64; 3];

/// Leaves the slots as they are stored.
pub(in super::super) struct EmptySlots;

/// The key of empty slots.
const EMPTY: AnswerKey = [0; 3];

impl AnswerValues for EmptySlots {
    fn key(&self) -> Option<AnswerKey> {
        Some(EMPTY)
    }

    fn write(&self, _: &mut HeaderMap) {}
}

/// The stored bytes that a head is made of.
#[derive(Clone, Copy)]
pub(in super::super) struct HeadSource<'s> {
    /// The encoded fields, and a body behind them.
    pub(in super::super) bytes: &'s [u8],
    /// The length of that body.
    pub(in super::super) body: usize,
    pub(in super::super) kind: HeadKind,
}

impl<'s> HeadSource<'s> {
    fn fields(&self) -> HeadFields<'s> {
        let mut bytes = self.bytes;
        HeadFields::take(&mut bytes).unwrap_or_default()
    }

    fn body(&self) -> &'s [u8] {
        &self.bytes[self.bytes.len() - self.body..]
    }
}

/// A head that a thread remembers.
#[derive(Debug)]
struct ReadyHead {
    /// A copy of the bytes that it was made of, in which its body is.
    image: Bytes,
    kind: HeadKind,
    map: HeaderMap,
    /// What the values of its slots depend on.
    key: AnswerKey,
    body: Bytes,
    /// The bytes that it takes.
    weight: usize,
    /// Whether it was used since another one wanted its slot.
    is_used: bool,
}

impl ReadyHead {
    fn new(source: HeadSource<'_>, map: HeaderMap, weight: usize) -> Self {
        let image = Bytes::copy_from_slice(source.bytes);
        let body = image.slice(image.len() - source.body..);
        Self {
            image,
            kind: source.kind,
            map,
            key: EMPTY,
            body,
            weight,
            is_used: false,
        }
    }

    /// Returns the bytes that one made of these takes at most.
    fn weight_of(source: HeadSource<'_>, map: &HeaderMap) -> usize {
        let image = allocated(source.bytes.len()) + SHARED_BUFFER;
        let map_weight = weight_without_values(map, source.fields().names);
        let values = map
            .values()
            .map(|value| allocated(value.len()) + SHARED_BUFFER);
        allocated(size_of::<Self>()) + image + map_weight + values.sum::<usize>()
    }

    /// Copies the map, with the values of an answer, which are kept if they are the same for all
    /// answers of a second.
    #[inline]
    fn copy_with(&mut self, values: &impl AnswerValues) -> HeaderMap {
        let key = values.key();
        let kept = key.unwrap_or(EMPTY);
        if self.key != kept {
            if kept == EMPTY {
                self.empty_slots();
            } else {
                values.write(&mut self.map);
            }
            self.key = kept;
        }
        let mut headers = self.map.clone();
        if key.is_none() {
            values.write(&mut headers);
        }
        headers
    }

    /// Removes the values of an answer.
    fn empty_slots(&mut self) {
        for name in [AGE, CACHE_STATUS] {
            if let Some(slot) = self.map.get_mut(name) {
                *slot = HeaderValue::from_static("");
            }
        }
    }
}

/// What a thread remembers.
struct Ready {
    heads: [Option<Box<ReadyHead>>; READY],
    /// The place of the response that was last not found in its slot.
    candidates: [usize; READY],
    shapes: [Option<Box<Shape>>; SHAPES],
    /// The bytes that all heads and shapes take.
    bytes: usize,
    /// The head that leaves next if there is no room.
    next_to_leave: usize,
}

/// Returns the header map, with the values of an answer, and a copy of the body that stands behind
/// the fields.
///
/// `place` only tells where to look.
#[inline]
pub(in super::super) fn answer(
    place: usize,
    source: HeadSource<'_>,
    values: &impl AnswerValues,
) -> (HeaderMap, Bytes) {
    thread_local! {
        static REMEMBERED: RefCell<Ready> = const {
            RefCell::new(Ready {
                heads: [const { None }; READY],
                candidates: [0; READY],
                shapes: [const { None }; SHAPES],
                bytes: 0,
                next_to_leave: 0,
            })
        };
    }
    let answer = REMEMBERED.try_with(|ready| ready.borrow_mut().answer(place, source, values));
    // The thread is being torn down: its ready heads are gone.
    answer.unwrap_or_else(|_| {
        let mut headers = made_alone(source);
        values.write(&mut headers);
        (headers, Bytes::copy_from_slice(source.body()))
    })
}

impl Ready {
    #[inline]
    fn answer(
        &mut self,
        place: usize,
        source: HeadSource<'_>,
        values: &impl AnswerValues,
    ) -> (HeaderMap, Bytes) {
        // Allocations are 16 bytes apart.
        let spread = (place >> 4) ^ (place >> 12) ^ (source.kind as usize);
        let index = spread % READY;
        if let Some(ready) = &mut self.heads[index]
            && ready.kind == source.kind
            && ready.image == *source.bytes
        {
            ready.is_used = true;
            return (ready.copy_with(values), ready.body.clone());
        }
        let mut headers = self.make(index, place, source);
        values.write(&mut headers);
        (headers, Bytes::copy_from_slice(source.body()))
    }

    /// Makes a head, and remembers it if it is asked for a second time.
    #[inline(never)]
    fn make(&mut self, index: usize, place: usize, source: HeadSource<'_>) -> HeaderMap {
        let Some(map) = self.made_of_shape(source) else {
            return made_alone(source);
        };
        let is_free = match &mut self.heads[index] {
            Some(ready) => !std::mem::take(&mut ready.is_used),
            None => true,
        };
        if is_free && self.candidates[index] == place {
            self.remember(index, source, &map);
        }
        self.candidates[index] = place;
        map
    }

    fn remember(&mut self, index: usize, source: HeadSource<'_>, map: &HeaderMap) {
        let weight = ReadyHead::weight_of(source, map);
        self.leave(index);
        if weight <= MAX_WEIGHT && self.make_room(weight) {
            let head = ReadyHead::new(source, map.clone(), weight);
            self.heads[index] = Some(Box::new(head));
        }
    }

    /// Lets heads leave until there is room for so many bytes, and counts these; `false` if there
    /// is no room without any.
    fn make_room(&mut self, weight: usize) -> bool {
        for _ in 0..READY {
            if self.bytes + weight <= MAX_BYTES {
                break;
            }
            self.leave(self.next_to_leave);
            self.next_to_leave = (self.next_to_leave + 1) % READY;
        }
        let has_room = self.bytes + weight <= MAX_BYTES;
        self.bytes += if has_room { weight } else { 0 };
        has_room
    }

    fn leave(&mut self, index: usize) {
        self.bytes -= self.heads[index].take().map_or(0, |head| head.weight);
    }

    /// Makes a map of one with the same names; `None` if there can be none.
    fn made_of_shape(&mut self, source: HeadSource<'_>) -> Option<HeaderMap> {
        let fields = source.fields();
        let names = fields.names;
        if names.len() > MAX_NAMES {
            return None;
        }
        let last = names.last().copied().unwrap_or_default();
        let index = (names.len() * 5 + usize::from(last) + source.kind as usize) % SHAPES;
        if let Some(shape) = &mut self.shapes[index]
            && shape.is_for(names, source.kind)
        {
            return shape.filled(fields.values);
        }
        let mut shape = Shape::new(names, source.kind)?;
        let map = shape.filled(fields.values);
        self.bytes -= self.shapes[index].take().map_or(0, |it| it.weight());
        if shape.weight() <= MAX_WEIGHT && self.make_room(shape.weight()) {
            self.shapes[index] = Some(Box::new(shape));
        }
        map
    }
}

/// Makes a map of nothing else.
#[cold]
fn made_alone(source: HeadSource<'_>) -> HeaderMap {
    let map = source.fields().to_map();
    match source.kind {
        HeadKind::Whole => map,
        HeadKind::NotModified => not_modified_headers(&map),
    }
}
