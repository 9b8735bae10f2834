//! The entity tags of coded responses (RFC 9110 §8.8.3).
//!
//! A coded response has the tag of the identity with the name of the coding behind it, and that tag
//! is weak: content that is coded anew need not be equal byte for byte. `"a"` becomes `W/"a~br"`.

use http::header::IF_NONE_MATCH;
use http::{HeaderMap, HeaderValue};

use super::accepted::AcceptedCodings;
use super::coding::Coding;
use crate::semantics::fields;
use crate::semantics::fields::limits::{MAX_REQUEST_FIELD, is_longer_than};
use crate::semantics::validation::EntityTag;

/// The byte between the tag of the identity and the name of a coding.
const BETWEEN: u8 = b'~';

/// Returns the tag of a coded response, given that of the identity; `None` if that is malformed.
#[must_use]
pub fn coded_tag(identity: &HeaderValue, coding: Coding) -> Option<HeaderValue> {
    let tag = EntityTag::parse(identity.as_bytes().trim_ascii())?;
    let mut coded = b"W/".to_vec();
    coded.extend(tag.opaque().strip_suffix(b"\"")?);
    coded.push(BETWEEN);
    coded.extend(coding.name().as_bytes());
    coded.push(b'"');
    HeaderValue::from_bytes(&coded).ok()
}

/// One of the forms of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As the origin sent it.
    Identity,
    /// In a coding.
    Coded(Coding),
}

/// The tags of coded responses that a request names in `If-None-Match`, and whose codings it
/// accepts.
///
/// A tag counts only while its coding is accepted: a 304 to another would let a cache answer a
/// request with a response that its client cannot decode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodedTags {
    /// The coding, and the tag of the identity.
    named: Vec<(Coding, Box<[u8]>)>,
    /// The other tags of the list.
    others: Vec<Box<[u8]>>,
}

impl CodedTags {
    /// Reads the tags of a request. Those of a list beyond [`MAX_REQUEST_FIELD`] are ignored.
    #[must_use]
    pub fn from_headers(request: &HeaderMap, accepted: &AcceptedCodings) -> Self {
        let mut tags = Self::default();
        if is_longer_than(MAX_REQUEST_FIELD, request, &IF_NONE_MATCH) {
            return tags;
        }
        for member in fields::list(request, &IF_NONE_MATCH) {
            match identity_of(member).filter(|(coding, _)| accepted.accepts(*coding)) {
                Some((coding, identity)) => tags.named.push((coding, identity.into())),
                None => tags.others.push(member.into()),
            }
        }
        tags
    }

    /// Returns whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// Returns an `If-None-Match` that names the identity of each coded tag, too: it matches if one
    /// of them does.
    #[must_use]
    pub fn with_identities(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let own = fields::list(request, &IF_NONE_MATCH).map(<[u8]>::to_vec);
        let identities = self.named.iter().map(|(_, identity)| {
            // Weak, as the tag that was named.
            [b"W/", &**identity].concat()
        });
        let list: Vec<_> = own.chain(identities).collect();
        HeaderValue::from_bytes(&list.join(&b", "[..])).ok()
    }

    /// Returns the form that the client has of the response whose identity has this tag: the one
    /// that it would get, which is `preferred`, before all others. `None` if it names none of them.
    #[must_use]
    pub fn form_of(&self, identity: &HeaderValue, preferred: Option<Coding>) -> Option<Form> {
        let tag = EntityTag::parse(identity.as_bytes().trim_ascii())?;
        let is_own =
            |named: &[u8]| EntityTag::parse(named).is_some_and(|it| it.matches_weakly(&tag));
        let codings = || {
            let own = self.named.iter().filter(|(_, identity)| is_own(identity));
            own.map(|(coding, _)| *coding)
        };
        if let Some(coding) = preferred
            && codings().any(|named| named == coding)
        {
            return Some(Form::Coded(coding));
        }
        if self.others.iter().any(|other| is_own(other)) {
            return Some(Form::Identity);
        }
        codings().next().map(Form::Coded)
    }
}

/// The coding that a tag is of, and the tag of its identity with its quotes.
fn identity_of(tag: &[u8]) -> Option<(Coding, Vec<u8>)> {
    let tag = EntityTag::parse(tag).filter(|tag| tag.is_weak)?;
    let inside = tag.opaque().strip_suffix(b"\"")?;
    let of = |coding: Coding| {
        let identity = inside.strip_suffix(coding.name().as_bytes())?;
        let identity = identity.strip_suffix(&[BETWEEN])?;
        Some((coding, [identity, b"\""].concat()))
    };
    Coding::ALL.into_iter().find_map(of)
}

#[cfg(test)]
mod tests {
    use super::Coding::{Brotli, Gzip, Zstd};
    use super::*;
    use http::header::ACCEPT_ENCODING;

    fn value(text: &str) -> HeaderValue {
        text.parse().expect("a field value")
    }

    fn tags(accepted: &str, named: &str) -> (HeaderMap, CodedTags) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, value(accepted));
        headers.insert(IF_NONE_MATCH, value(named));
        let accepted = AcceptedCodings::from_headers(&headers);
        let tags = CodedTags::from_headers(&headers, &accepted);
        (headers, tags)
    }

    #[test]
    fn section_8_8_3_each_coding_has_a_weak_tag_of_its_own() {
        for (identity, expected) in [
            ("\"a\"", Some("W/\"a~br\"")),
            ("W/\"a\"", Some("W/\"a~br\"")),
            ("\"\"", Some("W/\"~br\"")),
            ("\"a~br\"", Some("W/\"a~br~br\"")),
            ("a", None),
            ("\"a", None),
        ] {
            let coded = coded_tag(&value(identity), Brotli);
            assert_eq!(coded, expected.map(value), "{identity}");
            if let Some(coded) = coded {
                let (_, tags) = tags("br", coded.to_str().expect("ASCII"));
                let form = tags.form_of(&value(identity), None);
                assert_eq!(form, Some(Form::Coded(Brotli)), "{identity}");
                assert_eq!(tags.form_of(&value("\"other\""), None), None);
            }
        }
    }

    #[test]
    fn the_tags_of_accepted_codings_are_named_with_their_identities() {
        for (accepted, named, expected) in [
            ("br", "W/\"a~br\"", Some("W/\"a~br\", W/\"a\"")),
            (
                "br, gzip",
                "\"x\", W/\"a~br\",W/\"b~gzip\"",
                Some("\"x\", W/\"a~br\", W/\"b~gzip\", W/\"a\", W/\"b\""),
            ),
            // A 304 would be stored for clients that cannot decode.
            ("gzip", "W/\"a~br\"", None),
            ("br;q=0, *", "W/\"a~br\"", None),
            // No tag of this cache is strong.
            ("br", "\"a~br\"", None),
            ("br", "W/\"abr\"", None),
            ("br", "*", None),
        ] {
            let (headers, tags) = tags(accepted, named);
            let rewritten = (!tags.is_empty())
                .then(|| tags.with_identities(&headers))
                .flatten();
            assert_eq!(rewritten, expected.map(value), "{accepted}: {named}");
        }
    }

    #[test]
    fn of_several_tags_the_preferred_coding_counts_then_the_identity() {
        let identity = value("\"a\"");
        let all = "W/\"a~gzip\", W/\"a~br\", \"a\"";
        for (named, preferred, expected) in [
            (all, Some(Brotli), Some(Form::Coded(Brotli))),
            (all, Some(Zstd), Some(Form::Identity)),
            (all, None, Some(Form::Identity)),
            (
                "W/\"a~gzip\", W/\"a~br\"",
                Some(Zstd),
                Some(Form::Coded(Gzip)),
            ),
            ("W/\"b~gzip\"", Some(Gzip), None),
            ("\"a\"", Some(Gzip), Some(Form::Identity)),
            ("*", Some(Gzip), None),
        ] {
            let (_, tags) = tags("gzip, br, zstd", named);
            assert_eq!(tags.form_of(&identity, preferred), expected, "{named}");
        }
    }
}
