//! Header maps of encoded fields, some of which each thread remembers.
//!
//! A hit costs the copy of a ready map where the response was used twice in a row on this thread,
//! as far as its slot tells. All others are made of a map with the same names: the fields of most
//! responses of a service have the same.
//!
//! A ready head is used only where its bytes are those of the stored fields, and its kind is the
//! one asked for: it depends on nothing else. Its values and small bodies are copies of the thread's
//! own, so that two threads never share a reference count. All of them take at most [`READY`] times
//! [`MAX_IMAGE`] bytes and a map in each thread.

use std::cell::RefCell;

use bytes::Bytes;
use http::header::AGE;
use http::{HeaderMap, HeaderValue};

use super::HeadFields;
use super::dates;
use super::shape::{HeadKind, MAX_IMAGE, MAX_NAMES, Shape};
use super::values::{StoredValue, take_value};
use crate::semantics::cache_status::CACHE_STATUS;
use crate::semantics::validation::not_modified_headers;

/// The number of ready heads that each thread remembers at most.
const READY: usize = 256;
/// The number of sets of names that each thread remembers at most.
const SHAPES: usize = 32;

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

    /// Returns a copy of the bytes, with all dates written behind.
    fn to_image(self) -> Bytes {
        let mut image = Vec::with_capacity(self.bytes.len() + 2 * dates::LENGTH);
        image.extend_from_slice(self.bytes);
        let mut values = self.fields().values;
        while let Some(value) = take_value(&mut values) {
            if let StoredValue::Date(seconds) = value {
                image.extend_from_slice(&dates::write(seconds));
            }
        }
        Bytes::from(image)
    }
}

/// A head that a thread remembers.
#[derive(Debug)]
struct ReadyHead {
    /// A copy of the bytes that it was made of, in which its values and its body are. Behind them
    /// its dates are written.
    image: Bytes,
    /// The length of the bytes that it was made of.
    length: usize,
    kind: HeadKind,
    map: HeaderMap,
    /// What the values of its slots depend on.
    key: AnswerKey,
    body: Bytes,
    /// Whether it was used since another one wanted its slot.
    is_used: bool,
}

impl ReadyHead {
    /// Copies the map, with the values of an answer, which are kept if they are the same for all
    /// answers of a second.
    #[inline]
    fn copy_with(&mut self, values: &impl AnswerValues, headers: &mut HeaderMap) {
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
        *headers = self.map.clone();
        if key.is_none() {
            values.write(headers);
        }
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
}

/// Sets the header map, with the values of an answer, and returns a copy of the body that stands
/// behind the fields.
///
/// `place` only tells where to look.
#[inline]
pub(in super::super) fn answer(
    place: usize,
    source: HeadSource<'_>,
    values: &impl AnswerValues,
    headers: &mut HeaderMap,
) -> Bytes {
    thread_local! {
        static REMEMBERED: RefCell<Ready> = const {
            RefCell::new(Ready {
                heads: [const { None }; READY],
                candidates: [0; READY],
                shapes: [const { None }; SHAPES],
            })
        };
    }
    let body = REMEMBERED.try_with(|ready| {
        let mut ready = ready.borrow_mut();
        ready.answer(place, source, values, headers)
    });
    // The thread is being torn down: its ready heads are gone.
    body.unwrap_or_else(|_| {
        *headers = made_alone(source);
        values.write(headers);
        Bytes::copy_from_slice(&source.bytes[source.bytes.len() - source.body..])
    })
}

impl Ready {
    #[inline]
    fn answer(
        &mut self,
        place: usize,
        source: HeadSource<'_>,
        values: &impl AnswerValues,
        headers: &mut HeaderMap,
    ) -> Bytes {
        // Allocations are 16 bytes apart.
        let spread = (place >> 4) ^ (place >> 12) ^ (source.kind as usize);
        let index = spread % READY;
        if let Some(ready) = &mut self.heads[index]
            && ready.kind == source.kind
            && ready.length == source.bytes.len()
            && ready.image[..ready.length] == *source.bytes
        {
            ready.is_used = true;
            ready.copy_with(values, headers);
            return ready.body.clone();
        }
        let body = self.make(index, place, source, headers);
        values.write(headers);
        body
    }

    /// Makes a head, and remembers it if it is asked for a second time.
    #[inline(never)]
    fn make(
        &mut self,
        index: usize,
        place: usize,
        source: HeadSource<'_>,
        headers: &mut HeaderMap,
    ) -> Bytes {
        let image = source.to_image();
        let length = source.bytes.len();
        let body = image.slice(length - source.body..length);
        let Some(map) = self.made_of_shape(source, &image) else {
            *headers = made_alone(source);
            return body;
        };
        let is_free = match &mut self.heads[index] {
            Some(ready) => !std::mem::take(&mut ready.is_used),
            None => true,
        };
        if is_free && self.candidates[index] == place && image.len() <= MAX_IMAGE {
            self.heads[index] = Some(Box::new(ReadyHead {
                image,
                length,
                kind: source.kind,
                map: map.clone(),
                key: EMPTY,
                body: body.clone(),
                is_used: false,
            }));
        }
        self.candidates[index] = place;
        *headers = map;
        body
    }

    /// Makes a map of one with the same names; `None` if there can be none.
    fn made_of_shape(&mut self, source: HeadSource<'_>, image: &Bytes) -> Option<HeaderMap> {
        let fields = source.fields();
        let names = fields.names;
        if names.len() > MAX_NAMES {
            return None;
        }
        let last = names.last().copied().unwrap_or_default();
        let index = (names.len() * 5 + usize::from(last) + source.kind as usize) % SHAPES;
        let shape = &mut self.shapes[index];
        if !shape
            .as_ref()
            .is_some_and(|it| it.is_for(names, source.kind))
        {
            *shape = Some(Box::new(Shape::new(names, source.kind)?));
        }
        let end = source.bytes.len() - source.body;
        let values = end - fields.values.len()..end;
        shape.as_mut()?.filled(image, values, source.bytes.len())
    }
}

/// Makes a map of nothing else.
#[cold]
fn made_alone(source: HeadSource<'_>) -> HeaderMap {
    let map = source.fields().to_map(|_| true);
    match source.kind {
        HeadKind::Whole => map,
        HeadKind::NotModified => not_modified_headers(&map),
    }
}
