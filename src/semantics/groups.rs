//! Groups of stored responses that are invalidated together (RFC 9875).

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, HeaderName};
use sfv::visitor::{EntryVisitor, Ignored, InnerListVisitor, ItemVisitor, ListVisitor, Never};
use sfv::{BareItemFromInput, Parser};

/// RFC 9875 §2
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");
/// RFC 9875 §3
const CACHE_GROUP_INVALIDATION: HeaderName = HeaderName::from_static("cache-group-invalidation");

/// The most groups a stored response is in. RFC 9875 §2 demands 32.
pub const MAX_GROUPS: usize = 64;
/// The longest name of a stored response's group, in characters. RFC 9875 §2 demands 32.
pub const MAX_GROUP_NAME_LENGTH: usize = 256;
/// The most groups that are invalidated one by one at a response's word.
pub const MAX_INVALIDATED_GROUPS: usize = 256;

/// A group, by the digest of its origin and its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Group(u128);

impl Group {
    /// The group with this digest.
    #[must_use]
    pub const fn from_digest(digest: u128) -> Self {
        Self(digest)
    }

    /// The digest.
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

/// What one of the two fields names, each name once, in the order of their bytes. Names are compared as they are: case counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupNames {
    /// These groups; none where there is no such field, or one that is not a List of Strings.
    Listed(Vec<String>),
    /// More than are kept track of, or too long names.
    TooMany,
}

/// The groups that a response says it is in (RFC 9875 §2).
///
/// More than [`MAX_GROUPS`] of them, or one of more than [`MAX_GROUP_NAME_LENGTH`] characters, are too many: a response that is in
/// a group which nobody keeps track of could not be invalidated with it.
#[must_use]
pub fn member_groups(headers: &HeaderMap) -> GroupNames {
    let names = list_of_strings(headers, &CACHE_GROUPS);
    if names.len() > MAX_GROUPS || names.iter().any(|name| name.len() > MAX_GROUP_NAME_LENGTH) {
        return GroupNames::TooMany;
    }
    GroupNames::Listed(names)
}

/// The groups that the response to an unsafe request invalidates (RFC 9875 §3). On others the field means nothing.
///
/// More than [`MAX_INVALIDATED_GROUPS`] are too many. A name may be of any length: nothing that is stored is in such a group.
#[must_use]
pub fn invalidated_groups(headers: &HeaderMap) -> GroupNames {
    let names = list_of_strings(headers, &CACHE_GROUP_INVALIDATION);
    if names.len() > MAX_INVALIDATED_GROUPS {
        return GroupNames::TooMany;
    }
    GroupNames::Listed(names)
}

/// The members of a List of Strings, all lines of it together; their parameters have no meaning. A field that is anything
/// else is ignored as a whole (RFC 9651 §4.2).
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
    let parsed = Parser::new(&*whole).parse_list_with_visitor(Strings::default());
    let mut names = parsed.unwrap_or_default();
    names.sort_unstable();
    names.dedup();
    names
}

#[derive(Default)]
struct Strings(Vec<String>);

/// A member is something else than a String.
#[derive(Debug)]
struct NoString;

impl fmt::Display for NoString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member is not a String")
    }
}

impl std::error::Error for NoString {}

impl<'de> ListVisitor<'de> for Strings {
    type Out = Vec<String>;
    type Error = NoString;

    fn entry(&mut self) -> Result<impl EntryVisitor<'de>, NoString> {
        Ok(Member(&mut self.0))
    }

    fn finish(self) -> Result<Vec<String>, NoString> {
        Ok(self.0)
    }
}

struct Member<'s>(&'s mut Vec<String>);

impl<'de> EntryVisitor<'de> for Member<'_> {
    type Error = NoString;

    fn item(self) -> Result<impl ItemVisitor<'de>, NoString> {
        Ok(|item: BareItemFromInput<'de>| match item {
            BareItemFromInput::String(name) => {
                self.0.push(name.as_str().to_owned());
                Ok(Ignored)
            }
            _ => Err(NoString),
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'de>, NoString> {
        Err::<Never, _>(NoString)
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

    /// RFC 9875 §2, §3; P17
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

    /// M09
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
    fn a_name_said_twice_counts_once() {
        let twice = vec![many(MAX_GROUPS, 8); 2].join(",");
        let headers = lines(&CACHE_GROUPS, &[&twice]);
        assert!(
            matches!(member_groups(&headers), GroupNames::Listed(names) if names.len() == MAX_GROUPS)
        );
    }
}
