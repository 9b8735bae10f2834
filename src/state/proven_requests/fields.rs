//! The fields of a request in few bytes.
//!
//! Knows header fields alone. Start at [`ProvenRequest::new`].

use http::header::{CONNECTION, COOKIE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::semantics::request_kind::CredentialFields;
use crate::semantics::reuse::is_condition_or_range;
use crate::state::noted_requests::RequestDigest;

/// The most bytes of a request that are kept.
const MAX_LENGTH: usize = 2048;

/// A request whose response was stored.
#[derive(Debug)]
pub(crate) struct ProvenRequest {
    pub(super) digest: RequestDigest,
    pub(super) fields: CompactFields,
    /// Whether the fields are those that it has in common with others.
    pub(super) is_common: bool,
}

impl ProvenRequest {
    /// Keeps the fields of a request; `None` if they are too long.
    pub(crate) fn new(
        headers: &HeaderMap,
        credentials: &CredentialFields,
        digest: RequestDigest,
    ) -> Option<Box<Self>> {
        let fields = CompactFields::new(headers, credentials)?;
        Some(Box::new(Self {
            digest,
            fields,
            is_common: false,
        }))
    }

    /// This request with those of its fields alone that another one has, too.
    pub(super) fn common_with(&self, other: &Self) -> Option<Self> {
        let fields = self.fields.common_with(&other.fields)?;
        Some(Self {
            digest: self.digest,
            fields,
            is_common: true,
        })
    }
}

/// Field lines, one behind the other: the lengths of name and value, two bytes each, then both.
#[derive(Debug)]
pub(super) struct CompactFields(Box<[u8]>);

/// Writes a field line. Its parts are shorter than [`MAX_LENGTH`].
fn write_line(name: &[u8], value: &[u8], bytes: &mut Vec<u8>) {
    for part in [name, value] {
        bytes.extend_from_slice(&u16::try_from(part.len()).unwrap_or(0).to_le_bytes());
    }
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(value);
}

impl CompactFields {
    /// Keeps these fields, apart from the host, conditions, ranges, cookies, credentials, and
    /// values that are marked as sensitive. `None` if they are too long.
    pub(super) fn new(headers: &HeaderMap, credentials: &CredentialFields) -> Option<Self> {
        let lines = || {
            headers.iter().filter(|(name, value)| {
                let is_left_out = matches!(**name, HOST | CONNECTION | COOKIE)
                    || is_condition_or_range(name)
                    || credentials.contains(name);
                !is_left_out && !value.is_sensitive()
            })
        };
        let line_length = |(name, value): (&HeaderName, &HeaderValue)| {
            4 + name.as_str().len() + value.as_bytes().len()
        };
        let length = lines().map(line_length).sum();
        if length > MAX_LENGTH {
            return None;
        }
        let mut bytes = Vec::with_capacity(length);
        for (name, value) in lines() {
            write_line(name.as_str().as_bytes(), value.as_bytes(), &mut bytes);
        }
        Some(Self(bytes.into()))
    }

    /// Keeps those of these lines that another request has, too. `None` if it has all of them.
    pub(super) fn common_with(&self, other: &Self) -> Option<Self> {
        let has_line = |line: &(&[u8], &[u8])| other.lines().any(|other| other == *line);
        if self.lines().all(|line| has_line(&line)) {
            return None;
        }
        let mut bytes = Vec::new();
        self.lines().filter(has_line).for_each(|(name, value)| {
            write_line(name, value, &mut bytes);
        });
        Some(Self(bytes.into()))
    }

    fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = &*self.0;
        std::iter::from_fn(move || {
            let (lengths, lines) = rest.split_first_chunk::<4>()?;
            let name_length = u16::from_le_bytes([lengths[0], lengths[1]]);
            let value_length = u16::from_le_bytes([lengths[2], lengths[3]]);
            let (name, lines) = lines.split_at_checked(name_length.into())?;
            let (value, lines) = lines.split_at_checked(value_length.into())?;
            rest = lines;
            Some((name, value))
        })
    }

    /// Puts these fields, or none, in place of those of another request, apart from those that it
    /// keeps.
    pub(super) fn replace(
        &self,
        headers: &mut HeaderMap,
        with_these: bool,
        keeps: impl Fn(&HeaderName) -> bool,
    ) {
        for (name, value) in std::mem::take(headers).iter() {
            if keeps(name) {
                headers.append(name, value.clone());
            }
        }
        for (name, value) in self.lines().filter(|_| with_these) {
            let name = HeaderName::from_bytes(name);
            if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    #[test]
    fn all_fields_come_back_but_those_of_one_client_or_connection() {
        let credentials = CredentialFields::default();
        let kept = [
            ("accept", "a"),
            ("x-empty", ""),
            ("accept", "b"),
            ("x-odd", "\t"),
        ];
        let left_out = [
            ("host", "a"),
            ("cookie", "a=1"),
            ("authorization", "Basic x"),
            ("x-api-key", "x"),
            ("connection", "close"),
            ("if-none-match", "*"),
            ("range", "bytes=0-1"),
        ];
        let mut all = headers(&[&kept[..], &left_out].concat());
        let mut secret = HeaderValue::from_static("secret");
        secret.set_sensitive(true);
        all.insert("x-secret", secret);
        let fields = CompactFields::new(&all, &credentials).expect("short");
        let mut replaced = headers(&[("host", "b"), ("accept", "c"), ("cookie", "b=2")]);
        fields.replace(&mut replaced, true, |name| *name == HOST);
        assert_eq!(replaced, headers(&[&[("host", "b")], &kept[..]].concat()));
    }

    #[test]
    fn common_fields_are_those_lines_that_both_have() {
        let credentials = CredentialFields::default();
        let fields =
            |lines: &[_]| CompactFields::new(&headers(lines), &credentials).expect("short");
        let lines_of = |fields: &CompactFields| {
            let mut all = HeaderMap::new();
            fields.replace(&mut all, true, |_| false);
            all
        };
        let own = fields(&[
            ("accept", "a"),
            ("accept", "b"),
            ("x-evil", "1"),
            ("x-proto", "s"),
        ]);
        for (other, expected) in [
            (
                &[("x-proto", "s"), ("accept", "b")][..],
                &[("accept", "b"), ("x-proto", "s")][..],
            ),
            (&[("x-proto", "t"), ("x-evil", "2"), ("accept", "ab")], &[]),
            (&[], &[]),
        ] {
            let common = own.common_with(&fields(other)).expect("fewer");
            assert_eq!(lines_of(&common), headers(expected), "{other:?}");
            assert!(common.common_with(&own).is_none(), "it has all of them");
        }
    }

    #[test]
    fn many_or_long_fields_are_not_kept() {
        let credentials = CredentialFields::default();
        // "x-long" and the lengths take ten bytes.
        for (length, is_kept) in [(MAX_LENGTH - 10, true), (MAX_LENGTH - 9, false)] {
            let value = HeaderValue::from_str(&"x".repeat(length)).expect("a value");
            let long = [(HeaderName::from_static("x-long"), value)];
            let fields = CompactFields::new(&HeaderMap::from_iter(long), &credentials);
            assert_eq!(fields.is_some(), is_kept, "{length}");
        }
    }
}
