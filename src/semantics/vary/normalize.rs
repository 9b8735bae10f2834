//! Request values in normal form, in which equal meanings are equal bytes (RFC 9110 §12.5, RFC 9111
//! §4.1).

use std::borrow::Cow;

use http::header::{ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::semantics::fields;
use crate::semantics::fields::limits::{MAX_NORMALIZED, length_within};

/// What a request says in a selecting field.
pub(super) enum SelectingValue<'r> {
    /// Nothing, which differs from an empty value.
    Absent,
    /// This value in normal form, from lines of this length together.
    Value(Cow<'r, [u8]>, usize),
    /// More than the limit.
    BeyondLimit,
}

/// Returns a request's value of a selecting field in normal form, if its lines are not longer than
/// `limit` together.
///
/// Lines form one list (RFC 9110 §5.2), those of `Cookie` one sequence of pairs (RFC 9113 §8.2.3).
/// White space, letter case, weights and, where it means nothing, the order of members are
/// normalized in the fields whose grammar allows it, up to [`MAX_NORMALIZED`] bytes; in all others
/// only lines are joined.
pub(super) fn selecting_value<'r>(
    name: &HeaderName,
    request: &'r HeaderMap,
    limit: usize,
) -> SelectingValue<'r> {
    let lines = request.get_all(name);
    let Some(first) = lines.iter().next() else {
        return SelectingValue::Absent;
    };
    let Some(length) = length_within(limit, &lines) else {
        return SelectingValue::BeyondLimit;
    };
    let is_short = length <= MAX_NORMALIZED;
    let weighted = |order| Cow::Owned(weighted(name, request, order));
    let value = match *name {
        ACCEPT_ENCODING | ACCEPT_CHARSET if is_short => weighted(Order::Nothing),
        ACCEPT_LANGUAGE if is_short => weighted(Order::Preference),
        ACCEPT if is_short => Cow::Owned(media_ranges(request)),
        _ => {
            let separator = if *name == COOKIE { b"; " } else { b", " };
            joined_lines(first, lines.iter().skip(1), separator)
        }
    };
    SelectingValue::Value(value, length)
}

/// Returns a request's value of a selecting field in normal form, however long it is.
#[must_use]
pub fn normalized_value<'r>(name: &HeaderName, request: &'r HeaderMap) -> Option<Cow<'r, [u8]>> {
    match selecting_value(name, request, usize::MAX) {
        SelectingValue::Value(value, _) => Some(value),
        SelectingValue::Absent | SelectingValue::BeyondLimit => None,
    }
}

/// Joins the lines of a field.
fn joined_lines<'r>(
    first: &'r HeaderValue,
    others: impl Iterator<Item = &'r HeaderValue>,
    separator: &[u8],
) -> Cow<'r, [u8]> {
    let mut joined = Cow::Borrowed(first.as_bytes().trim_ascii());
    for line in others {
        let joined = joined.to_mut();
        joined.extend_from_slice(separator);
        joined.extend_from_slice(line.as_bytes().trim_ascii());
    }
    joined
}

/// The meaning of the order of members with equal weight.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// None.
    Nothing,
    /// The preference, as some recipients take it (RFC 9110 §12.5.4).
    Preference,
}

/// The byte between members. No field value holds it, so one member cannot pass for two.
const BETWEEN: u8 = 1;
/// The byte before a weight. No field value holds it either.
const WEIGHT: u8 = 0;
/// The weight 1, in thousandths.
const FULL_WEIGHT: u16 = 1000;

/// Returns the members of a list, each in lower case and with its weight in thousandths.
pub(crate) fn members_with_weight(
    name: &HeaderName,
    request: &HeaderMap,
) -> impl Iterator<Item = (Vec<u8>, u16)> {
    fields::list(request, name).map(member)
}

/// Writes a list of members with weights.
fn weighted(name: &HeaderName, request: &HeaderMap, order: Order) -> Vec<u8> {
    let mut members: Vec<(Vec<u8>, u16)> = members_with_weight(name, request).collect();
    match order {
        Order::Nothing => members.sort_unstable(),
        Order::Preference => members.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight)),
    }
    members.dedup();
    let mut text = Vec::new();
    for (range, weight) in members {
        if !text.is_empty() {
            text.push(BETWEEN);
        }
        text.extend_from_slice(&range);
        if weight != FULL_WEIGHT {
            text.push(WEIGHT);
            text.extend_from_slice(weight.to_string().as_bytes());
        }
    }
    text
}

/// Returns a member in lower case and its weight. One that does not follow the grammar is kept as
/// it is.
fn member(text: &[u8]) -> (Vec<u8>, u16) {
    let text = text.to_ascii_lowercase();
    let mut parts = text.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let range = parts.next().unwrap_or_default();
    let weight = match (parts.next(), parts.next()) {
        (None, _) => Some(FULL_WEIGHT),
        (Some(part), None) => weight(part),
        (Some(_), Some(_)) => None,
    };
    match (range, weight) {
        // Old names of the codings (RFC 9110 §8.4.1).
        (b"x-gzip", Some(weight)) => (b"gzip".to_vec(), weight),
        (b"x-compress", Some(weight)) => (b"compress".to_vec(), weight),
        (range, Some(weight)) => (range.to_vec(), weight),
        (_, None) => (text, FULL_WEIGHT),
    }
}

/// Reads `q=0.5`, in thousandths (RFC 9110 §12.4.2).
fn weight(part: &[u8]) -> Option<u16> {
    let value = part.strip_prefix(b"q=")?;
    let (whole, rest) = value.split_first()?;
    let decimals = match rest {
        [] => &[],
        [b'.', decimals @ ..] if decimals.len() <= 3 => decimals,
        _ => return None,
    };
    if !decimals.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |place: usize| u16::from(decimals.get(place).map_or(0, |digit| digit - b'0'));
    let thousandths = digit(0) * 100 + digit(1) * 10 + digit(2);
    match (whole, thousandths) {
        (b'0', _) => Some(thousandths),
        (b'1', 0) => Some(FULL_WEIGHT),
        _ => None,
    }
}

/// Writes the media ranges of `Accept`.
///
/// Types and names of parameters have no case (RFC 9110 §8.3.1); their values may. A member with a
/// quoted string is kept as it is.
fn media_ranges(request: &HeaderMap) -> Vec<u8> {
    let mut text = Vec::new();
    for member in fields::list(request, &ACCEPT) {
        if !text.is_empty() {
            text.push(BETWEEN);
        }
        if member.contains(&b'"') {
            text.extend_from_slice(member);
            continue;
        }
        for (number, part) in member.split(|byte| *byte == b';').enumerate() {
            if number > 0 {
                text.push(b';');
            }
            let part = part.trim_ascii();
            let caseless = if number == 0 {
                part.len()
            } else {
                part.iter()
                    .position(|byte| *byte == b'=')
                    .unwrap_or(part.len())
            };
            text.extend(part[..caseless].to_ascii_lowercase());
            text.extend_from_slice(&part[caseless..]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: HeaderName, lines: &[&'static str]) -> Option<String> {
        let mut request = HeaderMap::new();
        for line in lines {
            request.append(name.clone(), line.parse().expect("a field value"));
        }
        let value = normalized_value(&name, &request)?;
        let text = String::from_utf8_lossy(&value);
        Some(text.replace('\0', ";q=").replace('\x01', ","))
    }

    /// RFC 9110 §12.5.3.
    #[test]
    fn section_12_5_3_accept_encoding() {
        for (lines, expected) in [
            (&["gzip, br"][..], "br,gzip"),
            (&["br", "GZIP"], "br,gzip"),
            (&["br;q=1.0 ,gzip ; Q=1"], "br,gzip"),
            (&["gzip,gzip, x-gzip"], "gzip"),
            (&["gzip;q=0.50"], "gzip;q=500"),
            (&["gzip;q=0.5"], "gzip;q=500"),
            (&["gzip;q=0"], "gzip;q=0"),
            (&["gzip;q=0.000, *;q=0"], "*;q=0,gzip;q=0"),
            (&["identity"], "identity"),
            (&[""], ""),
            (&[" , ,"], ""),
            (&["*"], "*"),
            (&["gzip;q=2"], "gzip;q=2"),
            (&["gzip;q=0.1234"], "gzip;q=0.1234"),
            (&["gzip;level=9;q=1"], "gzip;level=9;q=1"),
            (&[";q=1,=,;;"], ";;,="),
        ] {
            assert_eq!(
                text(ACCEPT_ENCODING, lines).as_deref(),
                Some(expected),
                "{lines:?}"
            );
        }
        assert_eq!(text(ACCEPT_ENCODING, &[]), None);
        let bytes = |line: &'static str| {
            let mut request = HeaderMap::new();
            request.insert(ACCEPT_ENCODING, line.parse().expect("a field value"));
            normalized_value(&ACCEPT_ENCODING, &request).map(Cow::into_owned)
        };
        assert_ne!(
            bytes("gzip;q=500"),
            bytes("gzip;q=0.5"),
            "that is no weight"
        );
    }

    /// Another order is another value then; equal values stay equal.
    #[test]
    fn a_long_value_is_compared_as_it_is() {
        let value = |members: usize, line: &str| {
            let mut request = HeaderMap::new();
            let line = format!("{}{line}", "x,".repeat(members));
            request.insert(ACCEPT_ENCODING, line.parse().expect("a field value"));
            let value = normalized_value(&ACCEPT_ENCODING, &request);
            value.map(Cow::into_owned)
        };
        let (short, long) = (MAX_NORMALIZED / 2 - 6, MAX_NORMALIZED / 2);
        assert_eq!(value(short, "gzip, br"), value(short, "br,gzip"));
        assert_ne!(value(long, "gzip, br"), value(long, "br,gzip"));
        assert_eq!(value(long, "gzip, br"), value(long, "gzip, br"));
    }

    #[test]
    fn section_12_5_4_accept_language() {
        for (lines, expected) in [
            (&["de, en;q=0.5"][..], "de,en;q=500"),
            (&["en;q=0.5,DE"], "de,en;q=500"),
            (&["da, de"], "da,de"),
            (&["de, da"], "de,da"),
            (&["de", "da"], "de,da"),
            (&["de-CH,de;q=0.900"], "de-ch,de;q=900"),
        ] {
            assert_eq!(
                text(ACCEPT_LANGUAGE, lines).as_deref(),
                Some(expected),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn section_12_5_1_accept() {
        for (lines, expected) in [
            (
                &["Text/HTML , application/JSON;Q=0.5"][..],
                "text/html,application/json;q=0.5",
            ),
            (&["text/html; level=A"], "text/html;level=A"),
            (&["text/html", "*/*"], "text/html,*/*"),
            (&["a/b;x=\"C;D\""], "a/b;x=\"C;D\""),
        ] {
            assert_eq!(text(ACCEPT, lines).as_deref(), Some(expected), "{lines:?}");
        }
    }

    /// RFC 9113 §8.2.3; cloudflare/pingora#892.
    #[test]
    fn cookies_in_several_lines_are_one_sequence_and_no_list() {
        for (lines, expected) in [
            (&["a=1", "b=2"][..], "a=1; b=2"),
            (&["a=1; b=2"], "a=1; b=2"),
            (&["a=1", " b=2; c=3 ", "d"], "a=1; b=2; c=3; d"),
            (&["a=1, b=2"], "a=1, b=2"),
            (&["b=2", "a=1"], "b=2; a=1"),
        ] {
            assert_eq!(text(COOKIE, lines).as_deref(), Some(expected), "{lines:?}");
        }
    }

    #[test]
    fn rfc_9110_section_5_2_other_fields_keep_all_but_their_lines() {
        let own = HeaderName::from_static("x-own");
        for (lines, expected) in [
            (&["A,b"][..], "A,b"),
            (&["A,  b"], "A,  b"),
            (&["A", "b"], "A, b"),
            (&[" A "], "A"),
            (&[""], ""),
        ] {
            assert_eq!(
                text(own.clone(), lines).as_deref(),
                Some(expected),
                "{lines:?}"
            );
        }
        assert_eq!(text(own, &[]), None);
    }
}
