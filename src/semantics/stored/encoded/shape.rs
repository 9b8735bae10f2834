//! Header maps of the same names, whose values differ.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::values::{StoredValue, take_value};
use super::{Names, dates};
use crate::semantics::validation::not_modified_headers;

/// The longest buffer that is remembered for values in it, in bytes.
pub(super) const MAX_IMAGE: usize = 4096;
/// The longest names of which a map is remembered, in bytes.
pub(super) const MAX_NAMES: usize = 512;

/// What a head is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum HeadKind {
    /// The stored response.
    Whole,
    /// A 304 in its place (RFC 9110 §15.4.5).
    NotModified,
}

/// A header map made for the names of one or more stored responses, with the values of the one that
/// was answered from last.
///
/// Copying it and replacing the values takes half the time of inserting each field.
#[derive(Debug)]
pub(super) struct Shape {
    kind: HeadKind,
    names: Box<[u8]>,
    map: HeaderMap,
    lines: Box<[Line]>,
}

/// A line of a shape.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    /// Whether the map has it.
    is_kept: bool,
    /// How often its value was another one, since it was the same last.
    changes: u8,
    /// The seconds, if the value in the map is a date.
    date: Option<u32>,
}

/// The number of changes after which a value is taken for one of its response alone.
const MAX_CHANGES: u8 = 8;

impl Shape {
    /// Creates the map of these names. `None` if it would have the lines in another order.
    pub(super) fn new(names: &[u8], kind: HeadKind) -> Option<Self> {
        let all: Vec<HeaderName> = Names(names).map_while(|name| name.to_name()).collect();
        let mut map = HeaderMap::with_capacity(all.len());
        for name in &all {
            let empty = HeaderValue::from_static("");
            map.try_append(name.clone(), empty).ok()?;
        }
        if map.iter().map(|(name, _)| name).ne(&all) {
            return None;
        }
        if kind == HeadKind::NotModified {
            map = not_modified_headers(&map);
        }
        let line = |name| Line {
            is_kept: map.contains_key(name),
            ..Line::default()
        };
        let lines: Box<[Line]> = all.iter().map(line).collect();
        let kept = all.iter().zip(&lines).filter(|(_, line)| line.is_kept);
        if map
            .iter()
            .map(|(name, _)| name)
            .ne(kept.map(|(name, _)| name))
        {
            return None;
        }
        Some(Self {
            kind,
            names: names.into(),
            map,
            lines,
        })
    }

    /// Returns whether it is for these names.
    #[inline]
    pub(super) fn is_for(&self, names: &[u8], kind: HeadKind) -> bool {
        self.kind == kind && *self.names == *names
    }

    /// Returns the map with values, which are slices of `image`: they are encoded in this range, and
    /// the dates are written at `next_date` and behind. `None` if they do not fit.
    ///
    /// A value that is the one of the last answer is taken from that. Most of the values of a service
    /// are the same in all its responses.
    pub(super) fn filled(
        &mut self,
        image: &Bytes,
        range: Range<usize>,
        mut next_date: usize,
    ) -> Option<HeaderMap> {
        let mut values = image.get(range.clone())?;
        let mut map = self.map.clone();
        let (mut slots, mut last) = (map.values_mut(), self.map.values_mut());
        for line in &mut self.lines {
            let value = take_value(&mut values)?;
            let place = match value {
                StoredValue::Known(_) => 0..0,
                StoredValue::Bytes(bytes, _) => {
                    let end = range.end - values.len();
                    end - bytes.len()..end
                }
                StoredValue::Date(_) => {
                    next_date += dates::LENGTH;
                    next_date - dates::LENGTH..next_date
                }
            };
            if !line.is_kept {
                continue;
            }
            let (slot, last) = (slots.next()?, last.next()?);
            let new = match value {
                StoredValue::Known(value) => {
                    *slot = value.clone();
                    continue;
                }
                StoredValue::Date(seconds) if line.date == Some(seconds) => continue,
                StoredValue::Date(_) => HeaderValue::from_maybe_shared(image.slice(place)).ok()?,
                StoredValue::Bytes(bytes, false) if line.is_same(slot, bytes) => continue,
                StoredValue::Bytes(_, is_sensitive) => {
                    let mut value = HeaderValue::from_maybe_shared(image.slice(place)).ok()?;
                    value.set_sensitive(is_sensitive);
                    value
                }
            };
            if line.changes < MAX_CHANGES {
                *last = line.remembered(value, &new, image.len());
            }
            *slot = new;
        }
        Some(map)
    }
}

impl Line {
    /// Returns the value to be remembered in place of one that has changed. It keeps `image` bytes.
    fn remembered(
        &mut self,
        stored: StoredValue<'_>,
        value: &HeaderValue,
        image: usize,
    ) -> HeaderValue {
        self.changes += 1;
        self.date = None;
        if self.changes == MAX_CHANGES || image > MAX_IMAGE {
            return HeaderValue::from_static("");
        }
        if let StoredValue::Date(seconds) = stored {
            self.date = Some(seconds);
        }
        value.clone()
    }

    /// Returns whether the value in the map is this one.
    #[inline]
    fn is_same(&mut self, last: &HeaderValue, bytes: &[u8]) -> bool {
        let is_same = last.as_bytes() == bytes && !last.is_sensitive();
        if is_same {
            self.changes = 0;
        }
        is_same
    }
}
