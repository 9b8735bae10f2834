//! Groups of stored responses that are invalidated together (RFC 9875).
//!
//! This file reads the two fields. A [`Group`] is a digest; the module `key` makes it, because a
//! group belongs to one origin.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, HeaderName};
use sfv::visitor::{EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor, Never};
use sfv::{BareItemFromInput, Parser};

use crate::semantics::fields::has_any;

/// The field that says in which groups a response is (RFC 9875 §2).
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// The field by which the answer to a write invalidates groups (RFC 9875 §3).
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The largest number of groups that a stored response can be in. RFC 9875 §2 demands 32.
pub const MAX_GROUPS: usize = 64;
/// The longest name of a group, in characters. RFC 9875 §2 demands 32.
pub const MAX_GROUP_NAME_LENGTH: usize = 256;
/// The largest number of groups that one response invalidates one by one.
pub const MAX_INVALIDATED_GROUPS: usize = 256;

/// The digest of a group: its origin and its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(u128);

impl Group {
    /// Creates the group with this digest.
    #[must_use]
    pub const fn from_digest(digest: u128) -> Self {
        Self(digest)
    }

    /// Returns the digest.
    #[must_use]
    pub const fn digest(&self) -> u128 {
        self.0
    }
}

impl fmt::Debug for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Group({:032x})", self.0)
    }
}

/// The group names in one of the two fields.
///
/// Each name is listed once, in byte order. Names are compared as they are: case counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupNames {
    /// These groups; none if the field is absent or no List of Strings.
    Listed(Vec<String>),
    /// More groups than the cache tracks, or a name that is too long or cannot be read.
    TooMany,
}

/// Reads tags as CDNs write them: names in these fields, with commas or spaces between them, as in
/// `Cache-Tag` and `Surrogate-Key`.
///
/// More than [`MAX_GROUPS`], a name of more than [`MAX_GROUP_NAME_LENGTH`] bytes, and one with
/// bytes that are not visible ASCII, are too many.
#[must_use]
pub fn tags(headers: &HeaderMap, fields: &[HeaderName]) -> GroupNames {
    let lines = fields.iter().flat_map(|field| headers.get_all(field));
    let is_separator = |byte: &u8| matches!(byte, b',' | b' ' | b'\t');
    let names = lines.flat_map(|line| line.as_bytes().split(is_separator));
    let mut tags: Vec<String> = Vec::new();
    for name in names.filter(|name| !name.is_empty()) {
        let is_readable = name.iter().all(u8::is_ascii_graphic);
        let name = String::from_utf8_lossy(name);
        if tags.iter().any(|known| *known == name) {
            continue;
        }
        if !is_readable || name.len() > MAX_GROUP_NAME_LENGTH || tags.len() == MAX_GROUPS {
            return GroupNames::TooMany;
        }
        tags.push(name.into_owned());
    }
    GroupNames::Listed(tags)
}

/// Reads the groups that a response is in (RFC 9875 §2).
///
/// More than [`MAX_GROUPS`], or a name of more than [`MAX_GROUP_NAME_LENGTH`] characters, are too
/// many: a response in a group that is not tracked could not be invalidated with it.
#[must_use]
pub fn member_groups(headers: &HeaderMap) -> GroupNames {
    if !has_any(headers, &[CACHE_GROUPS]) {
        return GroupNames::Listed(Vec::new());
    }
    let names = list_of_strings(headers, &CACHE_GROUPS);
    if names.len() > MAX_GROUPS || names.iter().any(|name| name.len() > MAX_GROUP_NAME_LENGTH) {
        return GroupNames::TooMany;
    }
    GroupNames::Listed(names)
}

/// Reads the groups that the response to an unsafe request invalidates (RFC 9875 §3).
///
/// More than [`MAX_INVALIDATED_GROUPS`] are too many. A name may have any length: no stored
/// response is in a group with a longer name than [`MAX_GROUP_NAME_LENGTH`].
#[must_use]
pub fn invalidated_groups(headers: &HeaderMap) -> GroupNames {
    let names = list_of_strings(headers, &CACHE_GROUP_INVALIDATION);
    if names.len() > MAX_INVALIDATED_GROUPS {
        return GroupNames::TooMany;
    }
    GroupNames::Listed(names)
}

/// Reads a List of Strings over all lines of a field. Parameters have no meaning.
///
/// A field that is anything else is ignored as a whole (RFC 9651 §4.2).
fn list_of_strings(headers: &HeaderMap, field: &HeaderName) -> Vec<String> {
    let mut lines = headers.get_all(field).iter();
    let Some(first) = lines.next() else {
        return Vec::new();
    };
    let mut whole = Cow::Borrowed(first.as_bytes());
    for line in lines {
        let whole = whole.to_mut();
        whole.extend_from_slice(b", ");
        whole.extend_from_slice(line.as_bytes());
    }
    let parsed = Parser::new(&*whole).parse_list_with_visitor(StringListVisitor::default());
    let mut names = parsed.unwrap_or_default();
    names.sort_unstable();
    names.dedup();
    names
}

/// Collects the members of a List of Strings.
#[derive(Default)]
struct StringListVisitor(Vec<String>);

/// A member of the list is not a String.
#[derive(Debug)]
struct NotAString;

impl fmt::Display for NotAString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member is not a String")
    }
}

impl std::error::Error for NotAString {}

impl<'de> ListVisitor<'de> for StringListVisitor {
    type Out = Vec<String>;
    type Error = NotAString;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, NotAString> {
        Ok(StringVisitor(&mut self.0))
    }

    fn finish(self) -> Result<Vec<String>, NotAString> {
        Ok(self.0)
    }
}

/// Takes one member of a list.
struct StringVisitor<'s>(&'s mut Vec<String>);

impl<'de> EntryVisitor<'de> for StringVisitor<'_> {
    type Error = NotAString;

    fn item(self) -> Result<impl ItemVisitor<'de>, NotAString> {
        Ok(|item: BareItemFromInput<'de>| match item {
            BareItemFromInput::String(name) => {
                self.0.push(name.as_str().to_owned());
                Ok(Ignored)
            }
            _ => Err(NotAString),
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, NotAString> {
        Err::<Never, _>(NotAString)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(field: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            let value = value.parse().expect("a field value");
            headers.append(field, value);
        }
        headers
    }

    fn these(names: &[&str]) -> GroupNames {
        GroupNames::Listed(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// RFC 9875 §2, §3.
    /// As CDNs write them: `Cache-Tag` with commas, `Surrogate-Key` with spaces. Bad input is
    /// refused, never read in part.
    #[test]
    fn tags_are_names_between_commas_and_spaces() {
        let fields = ["cache-tag", "surrogate-key"].map(HeaderName::from_static);
        let many: String = (0..1000).map(|n| format!("t{n} ")).collect();
        let most: String = (0..MAX_GROUPS).map(|n| format!("t{n},t{n} ")).collect();
        let long = "x".repeat(MAX_GROUP_NAME_LENGTH + 1);
        let listed = |names: &[&str]| GroupNames::Listed(names.iter().map(|&n| n.into()).collect());
        type Lines<'l> = &'l [(&'l str, &'l [u8])];
        let rows: [(Lines<'_>, GroupNames); 10] = [
            (&[], listed(&[])),
            (&[("cache-tag", b"a, b,c")], listed(&["a", "b", "c"])),
            (&[("surrogate-key", b" a b\tA ")], listed(&["a", "b", "A"])),
            (&[("cache-tag", b",, ,")], listed(&[])),
            (
                &[("cache-tag", b"a"), ("surrogate-key", b"b a")],
                listed(&["a", "b"]),
            ),
            (
                &[("cache-tag", b"a"), ("cache-tag", b"b")],
                listed(&["a", "b"]),
            ),
            (&[("cache-tag", b"a,\xff")], GroupNames::TooMany),
            (&[("cache-tag", "b,ä".as_bytes())], GroupNames::TooMany),
            (&[("cache-tag", many.as_bytes())], GroupNames::TooMany),
            (&[("cache-tag", long.as_bytes())], GroupNames::TooMany),
        ];
        for (lines, expected) in rows {
            let line = |(name, value): &(&str, &[u8])| {
                let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
                (name, http::HeaderValue::from_bytes(value).expect("a value"))
            };
            let headers: HeaderMap = lines.iter().map(line).collect();
            assert_eq!(tags(&headers, &fields), expected, "{lines:?}");
        }
        let most = HeaderMap::from_iter([(fields[0].clone(), most.parse().expect("a value"))]);
        assert!(matches!(tags(&most, &fields), GroupNames::Listed(all) if all.len() == MAX_GROUPS));
    }

    #[test]
    fn a_field_is_a_list_of_strings_or_is_ignored() {
        #[rustfmt::skip]
        let rows: &[(&str, &[&str], &[&str])] = &[
            ("no field", &[], &[]),
            ("empty", &[""], &[]),
            ("one", &[r#""scripts""#], &["scripts"]),
            ("two", &[r#""scripts", "ExampleJS""#], &["ExampleJS", "scripts"]),
            ("two lines are one list", &[r#""b""#, r#""a""#], &["a", "b"]),
            ("order and repetition have no meaning", &[r#""b","a" , "b""#], &["a", "b"]),
            ("case counts", &[r#""A", "a""#], &["A", "a"]),
            ("parameters are ignored", &[r#""a";revalidate, "b";x=1;y"#], &["a", "b"]),
            ("the empty name is one", &[r#""""#], &[""]),
            ("a comma, a space and a quote in a name", &[r#""a, b", "c\"d\\""#], &["a, b", "c\"d\\"]),
            ("a token", &["scripts"], &[]),
            ("a token among strings", &[r#""a", b"#], &[]),
            ("a number", &["1"], &[]),
            ("bytes", &[":YQ==:"], &[]),
            ("a display string", &[r#"%"a""#], &[]),
            ("an inner list", &[r#"("a" "b")"#], &[]),
            ("an inner list among strings", &[r#""a", ("b")"#], &[]),
            ("no end", &[r#""a"#], &[]),
            ("a comma at the end", &[r#""a","#], &[]),
            ("no comma", &[r#""a" "b""#], &[]),
            ("a bad escape", &[r#""a\n""#], &[]),
            ("not ASCII", &["\"\u{e4}\""], &[]),
            ("a tab in a name", &["\"a\tb\""], &[]),
            ("a bad parameter", &[r#""a";="#], &[]),
            ("one bad line spoils all", &[r#""a""#, "b"], &[]),
        ];
        for (case, values, expected) in rows {
            let headers = lines(&CACHE_GROUPS, values);
            assert_eq!(member_groups(&headers), these(expected), "{case}");
            let headers = lines(&CACHE_GROUP_INVALIDATION, values);
            assert_eq!(invalidated_groups(&headers), these(expected), "{case}");
            assert_eq!(
                member_groups(&headers),
                these(&[]),
                "{case}: the other field"
            );
        }
    }

    fn many(count: usize, length: usize) -> String {
        let names = (0..count).map(|n| format!("\"{n:0length$}\""));
        names.collect::<Vec<_>>().join(", ")
    }

    /// RFC 9875 §2: a response in more groups than are tracked is not stored.
    #[test]
    fn section_2_limits() {
        #[rustfmt::skip]
        let rows = [
            // How many, how long: may it be stored, is it invalidated one by one.
            (32, 32, true, true),
            (MAX_GROUPS, MAX_GROUP_NAME_LENGTH, true, true),
            (MAX_GROUPS + 1, 8, false, true),
            (1, MAX_GROUP_NAME_LENGTH + 1, false, true),
            (MAX_INVALIDATED_GROUPS, MAX_GROUP_NAME_LENGTH, false, true),
            (MAX_INVALIDATED_GROUPS + 1, 8, false, false),
        ];
        for (count, length, is_stored, is_invalidated) in rows {
            let value = many(count, length);
            let of = |named: GroupNames| match named {
                GroupNames::Listed(names) => {
                    assert_eq!(names.len(), count);
                    true
                }
                GroupNames::TooMany => false,
            };
            let headers = lines(&CACHE_GROUPS, &[&value]);
            assert_eq!(of(member_groups(&headers)), is_stored, "{count} {length}");
            let headers = lines(&CACHE_GROUP_INVALIDATION, &[&value]);
            assert_eq!(
                of(invalidated_groups(&headers)),
                is_invalidated,
                "{count} {length}"
            );
        }
    }

    #[test]
    fn a_repeated_name_counts_once() {
        let twice = vec![many(MAX_GROUPS, 8); 2].join(",");
        let headers = lines(&CACHE_GROUPS, &[&twice]);
        assert!(
            matches!(member_groups(&headers), GroupNames::Listed(names) if names.len() == MAX_GROUPS)
        );
    }
}
