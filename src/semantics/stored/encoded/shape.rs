//! Header maps of the same names, whose values differ.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Names;
use super::values::{StoredValue, take_value};
use crate::semantics::validation::not_modified_headers;

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

/// A header map with empty values, made for the names of one or more stored responses.
///
/// To copy it and to put values in costs half of what it costs to insert each field.
#[derive(Debug)]
pub(super) struct Shape {
    kind: HeadKind,
    names: Box<[u8]>,
    map: HeaderMap,
    /// Whether the map has this line.
    keeps: Box<[bool]>,
}

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
        let keeps: Box<[bool]> = all.iter().map(|name| map.contains_key(name)).collect();
        let kept = all.iter().zip(&keeps).filter(|(_, is_kept)| **is_kept);
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
            keeps,
        })
    }

    /// Returns whether it is for these names.
    #[inline]
    pub(super) fn is_for(&self, names: &[u8], kind: HeadKind) -> bool {
        self.kind == kind && *self.names == *names
    }

    /// Returns the map with values, which are slices of `image`, where they are encoded in this
    /// range. `None` if they do not fit.
    pub(super) fn filled(&self, image: &Bytes, range: Range<usize>) -> Option<HeaderMap> {
        let mut map = self.map.clone();
        let mut slots = map.values_mut();
        let mut values = image.get(range.clone())?;
        for is_kept in &self.keeps {
            let value = take_value(&mut values)?;
            if !is_kept {
                continue;
            }
            let slot = slots.next()?;
            match value {
                StoredValue::Known(value) => *slot = value.clone(),
                // The slot is empty.
                StoredValue::Bytes([], false) => {}
                StoredValue::Bytes(bytes, is_sensitive) => {
                    let end = range.end - values.len();
                    let bytes = image.slice(end - bytes.len()..end);
                    *slot = HeaderValue::from_maybe_shared(bytes).ok()?;
                    slot.set_sensitive(is_sensitive);
                }
            }
        }
        Some(map)
    }
}
