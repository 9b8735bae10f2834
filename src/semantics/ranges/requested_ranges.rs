//! The `Range` of a request (RFC 9110 §14.1, §14.2).

use std::ops::Range;

use http::HeaderMap;
use http::header::RANGE;

use crate::semantics::fields;
use crate::semantics::fields::limits::MAX_REQUEST_FIELD;

/// The largest number of parts in a request; more is treated as an attack (RFC 9110 §14.2, §17.15).
pub const MAX_RANGES: usize = 16;

/// The parts of a representation that a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestedRanges {
    /// All of it: there is no `Range`, or one that is ignored (RFC 9110 §14.2).
    Whole,
    /// These parts, none empty, none beyond the end, in the order of the request.
    Parts(Vec<Range<u64>>),
    /// Only parts that the representation does not have.
    Unsatisfiable,
}

/// Reads `Range` for a representation of `length` bytes.
///
/// Other units than bytes, several lines, malformed values and those beyond [`MAX_REQUEST_FIELD`]
/// are ignored. So is a request for more than [`MAX_RANGES`] parts, or for overlapping ones, which
/// would send bytes more than once.
#[must_use]
pub fn requested_ranges(request: &HeaderMap, length: u64) -> RequestedRanges {
    let line = fields::single(request, &RANGE).filter(|line| line.len() <= MAX_REQUEST_FIELD);
    let Some(members) = line.and_then(|line| members_of(line.as_bytes())) else {
        return RequestedRanges::Whole;
    };
    let mut parts: Vec<Range<u64>> = Vec::new();
    for (number, member) in members.enumerate() {
        let Some(spec) = RangeSpec::parse(member).filter(|_| number < MAX_RANGES) else {
            return RequestedRanges::Whole;
        };
        let Some(part) = spec.within(length) else {
            continue;
        };
        if parts.iter().any(|other| is_overlapping(other, &part)) {
            return RequestedRanges::Whole;
        }
        parts.push(part);
    }
    if parts.is_empty() {
        return RequestedRanges::Unsatisfiable;
    }
    RequestedRanges::Parts(parts)
}

/// Returns whether two parts share a byte.
fn is_overlapping(one: &Range<u64>, other: &Range<u64>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Returns the members of a set of byte ranges; `None` for another unit or an empty set.
fn members_of(value: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let equals = value.iter().position(|byte| *byte == b'=')?;
    let (unit, set) = (&value[..equals], &value[equals + 1..]);
    let is_any = |member: &&[u8]| !member.is_empty();
    let members = || set.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let is_bytes = unit.trim_ascii().eq_ignore_ascii_case(b"bytes");
    (is_bytes && members().any(|member| is_any(&member))).then(|| members().filter(is_any))
}

/// One range as it is requested (RFC 9110 §14.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RangeSpec {
    From(u64),
    FromTo(u64, u64),
    Last(u64),
}

impl RangeSpec {
    /// Reads `first-last`, `first-` or `-length`.
    fn parse(member: &[u8]) -> Option<Self> {
        let dash = member.iter().position(|byte| *byte == b'-')?;
        let (first, last) = (&member[..dash], &member[dash + 1..]);
        match (first.is_empty(), last.is_empty()) {
            (true, true) => None,
            (true, false) => Some(Self::Last(fields::decimal(last)?)),
            (false, true) => Some(Self::From(fields::decimal(first)?)),
            (false, false) => {
                let (first, last) = (fields::decimal(first)?, fields::decimal(last)?);
                (first <= last).then_some(Self::FromTo(first, last))
            }
        }
    }

    /// Returns the part of a representation of `length` bytes; `None` if it is empty.
    fn within(self, length: u64) -> Option<Range<u64>> {
        let part = match self {
            Self::From(first) => first..length,
            Self::FromTo(first, last) => first..last.saturating_add(1).min(length),
            Self::Last(many) => length.saturating_sub(many)..length,
        };
        (part.start < part.end).then_some(part)
    }
}
