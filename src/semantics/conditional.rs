//! Validators and the conditions made of them (RFC 9110 §8.8, §13; RFC 9111 §4.3).

use std::time::SystemTime;

use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, TRAILER,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use siphasher::sip128::SipHasher13;

use super::moment::Moment;
use super::{date, fields};

/// An entity tag (RFC 9110 §8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'v> {
    /// Whether it only says "as good as", not "byte for byte".
    pub is_weak: bool,
    /// With its quotes.
    opaque: &'v [u8],
}

impl<'v> EntityTag<'v> {
    /// Reads one; `None` for what is none, an unquoted word above all.
    #[must_use]
    pub fn parse(value: &'v [u8]) -> Option<Self> {
        let (is_weak, opaque) = match value.strip_prefix(b"W/") {
            Some(opaque) => (true, opaque),
            None => (false, value),
        };
        let [b'"', inside @ .., b'"'] = opaque else {
            return None;
        };
        let is_allowed = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..=0xff);
        inside
            .iter()
            .all(is_allowed)
            .then_some(Self { is_weak, opaque })
    }

    /// The one a message carries; `None` where it has none, several, or one that cannot be read.
    #[must_use]
    pub fn of(headers: &'v HeaderMap) -> Option<Self> {
        Self::parse(fields::single(headers, &ETAG)?.as_bytes().trim_ascii())
    }

    /// Strong comparison (§8.8.3.2): byte for byte the same.
    #[must_use]
    pub fn is_strongly(&self, other: &Self) -> bool {
        !self.is_weak && !other.is_weak && self.opaque == other.opaque
    }

    /// Weak comparison (§8.8.3.2): one is as good as the other.
    #[must_use]
    pub fn is_weakly(&self, other: &Self) -> bool {
        self.opaque == other.opaque
    }
}

/// Whether a request's own conditions say that it has the response already (RFC 9111 §4.3.2): `If-None-Match`, or else
/// `If-Modified-Since` (RFC 9110 §13.1.3). Both are for successful responses only (§13.2.1).
#[must_use]
pub fn is_unmodified(
    asked: &HeaderMap,
    status: StatusCode,
    stored: &HeaderMap,
    received: Moment,
) -> bool {
    if !status.is_success() {
        return false;
    }
    match asked.get(IF_NONE_MATCH) {
        Some(line) if is_quoted(line) && stored.get(ETAG) == Some(line) => true,
        Some(_) => names(asked, stored),
        None => asked.contains_key(IF_MODIFIED_SINCE) && is_not_newer(asked, stored, received),
    }
}

/// Whether a value looks like a tag, which is all that most requests are found to be by: the very one that was sent.
fn is_quoted(value: &HeaderValue) -> bool {
    matches!(
        value.as_bytes(),
        [b'"', .., b'"'] | [b'W', b'/', b'"', .., b'"']
    )
}

/// §13.1.2: whether the list is `*` or names the response's tag, by weak comparison. What is no tag names nothing.
fn names(asked: &HeaderMap, stored: &HeaderMap) -> bool {
    let own = EntityTag::of(stored);
    fields::list(asked, &IF_NONE_MATCH).any(|member| {
        let is_own = |tag: EntityTag<'_>| own.is_some_and(|own| own.is_weakly(&tag));
        member == b"*" || EntityTag::parse(member).is_some_and(is_own)
    })
}

/// §13.1.3, with RFC 9111 §4.3.2 for responses without `Last-Modified`: then it is as old as its `Date`, or its receipt.
fn is_not_newer(asked: &HeaderMap, stored: &HeaderMap, received: Moment) -> bool {
    let Some(since) = only_date(asked, &IF_MODIFIED_SINCE, received) else {
        return false;
    };
    let modified = match stored.contains_key(LAST_MODIFIED) {
        true => only_date(stored, &LAST_MODIFIED, received),
        false => Some(only_date(stored, &DATE, received).unwrap_or(received.wall())),
    };
    modified.is_some_and(|modified| modified <= since)
}

/// A field's date; `None` where it has several lines, or one that is no date (§13.1.3: ignored).
fn only_date(headers: &HeaderMap, name: &HeaderName, now: Moment) -> Option<SystemTime> {
    date::parse(fields::single(headers, name)?.as_bytes(), now.wall())
}

/// Whether a message has anything that it could be validated by.
#[must_use]
pub fn has_validator(headers: &HeaderMap) -> bool {
    EntityTag::of(headers).is_some() || headers.contains_key(LAST_MODIFIED)
}

/// What the tags that this cache makes begin with.
const GENERATED: &[u8] = b"\"trc-";

/// A strong entity tag for content that came without a validator: the same for the same bytes (RFC 9110 §8.8.3.1).
#[must_use]
pub fn tag_of(content: &[u8]) -> HeaderValue {
    let digest = SipHasher13::new().hash(content).as_u128();
    let tag = format!("\"trc-{digest:032x}\"");
    HeaderValue::try_from(tag).expect("hexadecimal digits")
}

/// The fields of a 304: of the representation's own only those that tell which one it is (RFC 9110 §15.4.5).
///
/// Made anew: to copy all and remove some costs more, and this is to cost no more than the whole.
#[must_use]
pub fn not_modified(headers: &HeaderMap) -> HeaderMap {
    // Most responses lose three of theirs. A map that is too large costs more than one that has to grow.
    let mut kept = HeaderMap::with_capacity(headers.keys_len().saturating_sub(3));
    let mut is_tagged = false;
    for (name, value) in headers {
        match *name {
            CONTENT_LENGTH | CONTENT_TYPE | CONTENT_ENCODING | CONTENT_LANGUAGE | CONTENT_RANGE
            | TRAILER | LAST_MODIFIED => continue,
            ETAG => is_tagged = true,
            _ => {}
        }
        kept.append(name, value.clone());
    }
    if !is_tagged && let Some(modified) = headers.get(LAST_MODIFIED) {
        kept.insert(LAST_MODIFIED, modified.clone());
    }
    kept
}

/// The conditions that validate a stored response (RFC 9111 §4.3.1): its entity tag, and its `Last-Modified` where it has
/// one. A tag that this cache made means nothing to an origin.
pub fn validating(stored: &HeaderMap) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
    let is_an_origins = |tag: &EntityTag<'_>| !tag.opaque.starts_with(GENERATED);
    let tag = EntityTag::of(stored).filter(is_an_origins);
    let tag = tag.and_then(|_| stored.get(ETAG));
    let modified = stored.get(LAST_MODIFIED);
    let tag = tag.map(|value| (IF_NONE_MATCH, value));
    tag.into_iter()
        .chain(modified.map(|value| (IF_MODIFIED_SINCE, value)))
}

/// What a 304 to a stored response's validators says of it (RFC 9111 §4.3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validated {
    /// It is still right; its fields are to be updated.
    This,
    /// The 304 is about another response: it says nothing of the stored one, and must not be used for it.
    Another,
}

/// Decides by the validators of both.
///
/// A strong tag must be the same, strongly compared; a weak one must match; without a tag `Last-Modified` must not
/// contradict. A 304 without any validator is taken for the answer to the conditions it was asked by: only one stored
/// response was named in them.
#[must_use]
pub fn validated(stored: &HeaderMap, not_modified: &HeaderMap) -> Validated {
    let is_this = match (EntityTag::of(stored), EntityTag::of(not_modified)) {
        (Some(own), Some(new)) if !new.is_weak => own.is_strongly(&new),
        (Some(own), Some(new)) => own.is_weakly(&new),
        // A tag that was not there before: of something else, as far as anybody can know.
        (None, Some(new)) => new.is_weak && agree(stored, not_modified, &LAST_MODIFIED),
        (_, None) => agree(stored, not_modified, &LAST_MODIFIED),
    };
    if is_this {
        Validated::This
    } else {
        Validated::Another
    }
}

/// Whether a field of the new message is the stored one's, where it has it.
fn agree(stored: &HeaderMap, new: &HeaderMap, name: &HeaderName) -> bool {
    new.get(name)
        .is_none_or(|value| stored.get(name).is_none_or(|own| own == value))
}

/// What a 200 to HEAD says of the response that is stored for GET (RFC 9111 §4.3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Described {
    /// It is the same: its fields are to be updated.
    Same,
    /// It is another one: what is stored is out of date.
    Another,
    /// Nothing: without a validator nobody can know. Two responses of the same length may differ in all else.
    Nothing,
}

/// Decides by the validators that the answer to HEAD has, and its `Content-Length`.
#[must_use]
pub fn described(head: &HeaderMap, stored: &HeaderMap) -> Described {
    let is_same = |name: &HeaderName| {
        head.get(name)
            .is_none_or(|value| stored.get(name) == Some(value))
    };
    if ![ETAG, LAST_MODIFIED, CONTENT_LENGTH].iter().all(is_same) {
        Described::Another
    } else if has_validator(head) {
        Described::Same
    } else {
        Described::Nothing
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    type Lines = &'static [(&'static str, &'static str)];

    fn map(lines: Lines) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a field value"));
        }
        headers
    }

    /// Sun, 06 Nov 1994 08:49:37 GMT
    fn now() -> Moment {
        let passed = Duration::from_secs(784_111_777);
        Moment::new(passed, UNIX_EPOCH + passed)
    }

    #[test]
    fn rfc_9110_section_8_8_3_entity_tags() {
        for (text, expected) in [
            (r#""""#, Some(false)),
            (r#""a""#, Some(false)),
            (r#"W/"a""#, Some(true)),
            (r#""a,b\c""#, Some(false)),
            (r#"w/"a""#, None),
            (r#""a"#, None),
            ("a", None),
            ("", None),
            ("\"", None),
            (r#""a b""#, None),
            (r#""a"b""#, None),
            ("W/", None),
        ] {
            let tag = EntityTag::parse(text.as_bytes());
            assert_eq!(tag.map(|tag| tag.is_weak), expected, "{text}");
        }
    }

    #[test]
    fn rfc_9110_section_8_8_3_2_comparison() {
        for (one, other, strong, weak) in [
            (r#"W/"1""#, r#"W/"1""#, false, true),
            (r#"W/"1""#, r#"W/"2""#, false, false),
            (r#"W/"1""#, r#""1""#, false, true),
            (r#""1""#, r#""1""#, true, true),
            (r#""1""#, r#""2""#, false, false),
            (r#""a""#, r#""A""#, false, false),
        ] {
            let tag = |text: &'static str| EntityTag::parse(text.as_bytes()).expect("a tag");
            let (one, other) = (tag(one), tag(other));
            assert_eq!(one.is_strongly(&other), strong, "{one:?} {other:?}");
            assert_eq!(one.is_weakly(&other), weak, "{one:?} {other:?}");
        }
    }

    const TAGGED: Lines = &[
        ("etag", "\"a\""),
        ("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT"),
    ];
    const DATED: Lines = &[("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT")];

    /// H14
    #[test]
    fn section_4_3_2_what_the_client_has() {
        #[rustfmt::skip]
        let rows: &[(&str, Lines, u16, Lines, bool)] = &[
            ("nothing asked", &[], 200, TAGGED, false),
            ("the same tag", &[("if-none-match", "\"a\"")], 200, TAGGED, true),
            ("weakly the same", &[("if-none-match", "W/\"a\"")], 200, TAGGED, true),
            ("stored weak", &[("if-none-match", "\"a\"")], 200, &[("etag", "W/\"a\"")], true),
            ("another", &[("if-none-match", "\"b\"")], 200, TAGGED, false),
            ("in a list", &[("if-none-match", "\"x,y\", W/\"a\",")], 200, TAGGED, true),
            ("on a second line", &[("if-none-match", "\"x\""), ("if-none-match", "\"a\"")], 200, TAGGED, true),
            ("without quotes it is none", &[("if-none-match", "a")], 200, TAGGED, false),
            ("any", &[("if-none-match", "*")], 200, TAGGED, true),
            ("any, of one without a tag", &[("if-none-match", "*")], 200, &[], true),
            ("a tag, of one without", &[("if-none-match", "\"a\"")], 200, DATED, false),
            ("the tag goes before the date: other", &[("if-none-match", "\"b\""), ("if-modified-since", "Sun, 06 Nov 1994 08:00:00 GMT")], 200, TAGGED, false),
            ("the tag goes before the date: same", &[("if-none-match", "\"a\""), ("if-modified-since", "Sun, 06 Nov 1994 07:00:00 GMT")], 200, TAGGED, true),
            ("the same date", &[("if-modified-since", "Sun, 06 Nov 1994 08:00:00 GMT")], 200, TAGGED, true),
            ("a later one", &[("if-modified-since", "Sun, 06 Nov 1994 08:00:01 GMT")], 200, TAGGED, true),
            ("an earlier one", &[("if-modified-since", "Sun, 06 Nov 1994 07:59:59 GMT")], 200, TAGGED, false),
            ("RFC 850", &[("if-modified-since", "Sunday, 06-Nov-94 08:00:00 GMT")], 200, TAGGED, true),
            ("asctime", &[("if-modified-since", "Sun Nov  6 08:00:00 1994")], 200, TAGGED, true),
            ("no date", &[("if-modified-since", "yesterday")], 200, TAGGED, false),
            ("two dates", &[("if-modified-since", "Sun, 06 Nov 1994 08:00:00 GMT"), ("if-modified-since", "Sun, 06 Nov 1994 08:00:00 GMT")], 200, TAGGED, false),
            ("without Last-Modified its Date counts", &[("if-modified-since", "Sun, 06 Nov 1994 08:00:00 GMT")], 200, &[("date", "Sun, 06 Nov 1994 08:00:00 GMT")], true),
            ("without either its receipt", &[("if-modified-since", "Sun, 06 Nov 1994 08:49:36 GMT")], 200, &[], false),
            ("receipt", &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], 200, &[], true),
            ("a Last-Modified that is no date", &[("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], 200, &[("last-modified", "0")], false),
            ("not of an error", &[("if-none-match", "*")], 404, TAGGED, false),
            ("nor of a redirect", &[("if-none-match", "\"a\"")], 301, TAGGED, false),
            ("another success", &[("if-none-match", "\"a\"")], 203, TAGGED, true),
        ];
        for (case, asked, status, stored, expected) in rows {
            let status = StatusCode::from_u16(*status).expect("a status");
            let got = is_unmodified(&map(asked), status, &map(stored), now());
            assert_eq!(got, *expected, "{case}");
        }
    }

    #[test]
    fn section_4_3_1_what_is_sent() {
        let sent = |lines: Lines| {
            let stored = map(lines);
            let sent: Vec<_> = validating(&stored)
                .map(|(name, value)| format!("{name}: {}", value.to_str().expect("text")))
                .collect();
            sent
        };
        let date = "if-modified-since: Sun, 06 Nov 1994 08:00:00 GMT";
        assert_eq!(sent(TAGGED), ["if-none-match: \"a\"", date]);
        assert_eq!(sent(DATED), [date]);
        assert_eq!(sent(&[("etag", "W/\"a\"")]), ["if-none-match: W/\"a\""]);
        assert!(sent(&[("etag", "a")]).is_empty(), "no tag");
        assert!(sent(&[]).is_empty());
    }

    #[test]
    fn rfc_9110_section_8_8_3_1_a_tag_of_the_content() {
        let (one, other) = (tag_of(b"one"), tag_of(b"other"));
        assert_eq!(one, tag_of(b"one"));
        assert_ne!(one, other);
        let tag = EntityTag::parse(one.as_bytes()).expect("a tag");
        assert!(!tag.is_weak);
        let mut stored = HeaderMap::new();
        stored.insert(ETAG, one.clone());
        assert_eq!(validating(&stored).count(), 0, "it is no origin's");
    }

    #[test]
    fn section_4_3_4_whom_a_304_is_about() {
        use Validated::{Another, This};
        for (case, stored, new, expected) in [
            (
                "the same strong tag",
                TAGGED,
                &[("etag", "\"a\"")][..],
                This,
            ),
            ("another strong tag", TAGGED, &[("etag", "\"b\"")], Another),
            (
                "a strong one of a weak one",
                &[("etag", "W/\"a\"")],
                &[("etag", "\"a\"")],
                Another,
            ),
            (
                "a weak one of a strong one",
                TAGGED,
                &[("etag", "W/\"a\"")],
                This,
            ),
            (
                "another weak one",
                &[("etag", "W/\"a\"")],
                &[("etag", "W/\"b\"")],
                Another,
            ),
            ("a new strong tag", DATED, &[("etag", "\"a\"")], Another),
            ("no validator", TAGGED, &[], This),
            (
                "the same date",
                DATED,
                &[("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT")],
                This,
            ),
            (
                "another date",
                DATED,
                &[("last-modified", "Sun, 06 Nov 1994 08:00:01 GMT")],
                Another,
            ),
        ] {
            assert_eq!(validated(&map(stored), &map(new)), expected, "{case}");
        }
    }

    #[test]
    fn section_4_3_5_what_head_describes() {
        use Described::{Another, Nothing, Same};
        let stored: Lines = &[("etag", "\"a\""), ("content-length", "4")];
        for (case, head, expected) in [
            (
                "the same",
                &[("etag", "\"a\""), ("content-length", "4")][..],
                Same,
            ),
            ("the tag alone", &[("etag", "\"a\"")], Same),
            (
                "another tag",
                &[("etag", "\"b\""), ("content-length", "4")],
                Another,
            ),
            (
                "another length",
                &[("etag", "\"a\""), ("content-length", "5")],
                Another,
            ),
            ("a length alone", &[("content-length", "4")], Nothing),
            ("another length alone", &[("content-length", "5")], Another),
            (
                "a validator that is not stored",
                &[("last-modified", "Sun, 06 Nov 1994 08:00:00 GMT")],
                Another,
            ),
            ("nothing", &[], Nothing),
        ] {
            assert_eq!(described(&map(head), &map(stored)), expected, "{case}");
        }
    }
}
