//! Header maps of the same names, whose values differ.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::values::{StoredValue, take_value};
use super::{Names, StoredName};
use crate::semantics::allocation::allocated;
use crate::semantics::fields::small_number::small_number_of;
use crate::semantics::stored::weight::{MAP_ENTRY, MAP_EXTRA_VALUE, SHARED_BUFFER};
use crate::semantics::validation::not_modified_headers;

/// The longest value that a shape remembers, in bytes.
const MAX_VALUE: usize = 128;
/// The longest names of which a map is remembered, in bytes.
pub(super) const MAX_NAMES: usize = 512;

/// Bytes that the index of a map takes for each field that it has room for: three of four places
/// are used.
const BYTES_PER_SLOT: usize = 6;

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

    /// Returns the bytes that it takes at most, whatever values it remembers.
    pub(super) fn weight(&self) -> usize {
        let own = allocated(size_of::<Self>()) + allocated(self.names.len());
        let lines = allocated(size_of_val(&*self.lines));
        let values = self.lines.len() * (allocated(MAX_VALUE) + SHARED_BUFFER);
        own + lines + weight_without_values(&self.map, &self.names) + values
    }

    /// Returns the map with these values. `None` if they do not fit.
    ///
    /// A value that is the one of the last answer is taken from that. Most of the values of a
    /// service are the same in all its responses.
    pub(super) fn filled(&mut self, mut values: &[u8]) -> Option<HeaderMap> {
        let mut map = self.map.clone();
        let (mut slots, mut last) = (map.values_mut(), self.map.values_mut());
        for line in &mut self.lines {
            let value = take_value(&mut values)?;
            if !line.is_kept {
                continue;
            }
            let (slot, last) = (slots.next()?, last.next()?);
            let new = match value {
                StoredValue::Known(value) => {
                    *slot = value.clone();
                    continue;
                }
                _ if line.is_same(slot, value) => continue,
                StoredValue::Bytes(bytes, false) => match small_number_of(bytes) {
                    Some(small) => small,
                    None => value.to_value()?,
                },
                _ => value.to_value()?,
            };
            if line.changes < MAX_CHANGES {
                *last = line.remembered(value, &new);
            }
            *slot = new;
        }
        Some(map)
    }
}

/// Returns the bytes that a map takes which has these names, its values aside.
pub(super) fn weight_without_values(map: &HeaderMap, names: &[u8]) -> usize {
    let (entries, all) = (map.keys_len(), map.len());
    let index = allocated(map.capacity() * BYTES_PER_SLOT);
    let extra_values = allocated((all - entries) * MAP_EXTRA_VALUE) * usize::from(all > entries);
    let texts = Names(names).map(|name| match name {
        StoredName::Custom(text) => allocated(text.len()) + SHARED_BUFFER,
        StoredName::Known(_) => 0,
    });
    index + allocated(entries * MAP_ENTRY) + extra_values + texts.sum::<usize>()
}

impl Line {
    /// Returns the value to be remembered in place of one that has changed.
    fn remembered(&mut self, stored: StoredValue<'_>, value: &HeaderValue) -> HeaderValue {
        self.changes += 1;
        self.date = None;
        if self.changes == MAX_CHANGES || value.len() > MAX_VALUE {
            return HeaderValue::from_static("");
        }
        if let StoredValue::Date(seconds) = stored {
            self.date = Some(seconds);
        }
        value.clone()
    }

    /// Returns whether the value in the map is this one.
    #[inline]
    fn is_same(&mut self, last: &HeaderValue, value: StoredValue<'_>) -> bool {
        let is_same = match value {
            StoredValue::Date(seconds) => self.date == Some(seconds),
            StoredValue::Bytes(bytes, false) => last.as_bytes() == bytes && !last.is_sensitive(),
            _ => false,
        };
        if is_same {
            self.changes = 0;
        }
        is_same
    }
}
