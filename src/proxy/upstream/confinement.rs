//! Paths that a server may take for others: an upstream gets only those that are its own.
//!
//! Some servers decode `%2F` and `%5C`, take a backslash for a slash, or drop `;parameters` before
//! they resolve dot segments. The widest reading of a path has all of that.

use std::borrow::Cow;

use crate::key::normal_path::normal_path;

/// Whether all readings of a path mean the same, as of most: nothing in it is encoded, no segment
/// begins with a dot, no slash is repeated.
pub(super) fn is_plain(path: &str) -> bool {
    let mut previous = 0;
    path.bytes().all(|byte| {
        let is_plain = !matches!(
            (previous, byte),
            (_, b'%' | b'\\' | b';' | 128..) | (b'/', b'/' | b'.')
        );
        previous = byte;
        is_plain
    })
}

/// Whether a reading of a path has the parameters of its segments, `;` and what is behind it. Some
/// servers drop them, also before they choose what serves the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameters {
    Kept,
    Dropped,
}

/// The widest reading of a path: as some server might resolve it.
pub(super) fn widest_reading(path: &str, parameters: Parameters) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let decoded = decode_separators(path);
    for segment in decoded.split(['/', '\\']) {
        match dots(segment) {
            Some(0 | 1) => {}
            Some(_) => {
                segments.pop();
            }
            None if parameters == Parameters::Kept => segments.push(segment),
            None => segments.push(without_parameters(segment)),
        }
    }
    format!("/{}", segments.join("/"))
}

/// Whether some server might resolve a path to one above its root.
pub(super) fn may_leave_root(path: &str) -> bool {
    let mut depth = 0_usize;
    decode_separators(path).split(['/', '\\']).any(|segment| {
        let above = match dots(segment) {
            Some(0 | 1) => Some(depth),
            Some(_) => depth.checked_sub(1),
            None => Some(depth + 1),
        };
        depth = above.unwrap_or_default();
        above.is_none()
    })
}

/// The number of dots of an empty or a dot segment, whatever its parameters; `None` of any other.
fn dots(segment: &str) -> Option<usize> {
    let name = without_parameters(segment);
    let is_dots = name.len() <= 2 && name.bytes().all(|byte| byte == b'.');
    is_dots.then_some(name.len())
}

fn without_parameters(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default()
}

/// Decodes dots and separators, and nothing else.
fn decode_separators(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut decoded = path.to_owned();
    for (code, character) in [("%2e", "."), ("%2f", "/"), ("%5c", "\\"), ("%3b", ";")] {
        let upper = code.to_ascii_uppercase();
        decoded = decoded.replace(code, character).replace(&upper, character);
    }
    Cow::Owned(decoded)
}

/// The form of a path by which an upstream is chosen.
pub(super) fn routed_path(path: &str) -> Cow<'_, str> {
    match is_plain(path) {
        true => Cow::Borrowed(path),
        false => with_unencoded_marks(normal_path(path)),
    }
}

/// Decodes the characters that a path should not have unencoded, but may have: clients differ, and
/// [`is_plain`] does not look for them.
fn with_unencoded_marks(path: Cow<'_, str>) -> Cow<'_, str> {
    if !path.contains('%') {
        return path;
    }
    let mut decoded = path.into_owned();
    for mark in ['"', '<', '>', '[', ']', '^', '`', '{', '|', '}'] {
        decoded = decoded.replace(
            &format!("%{:02X}", u32::from(mark)),
            mark.encode_utf8(&mut [0]),
        );
    }
    Cow::Owned(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_above_the_root_is_found() {
        for (path, expected) in [
            ("/a/b", false),
            ("/a/../b", false),
            ("/a/./../b", false),
            ("/..a/.../..", false),
            ("/a;/..", false),
            ("/;x/..", true),
            ("/..", true),
            ("/../b", true),
            ("/%2e%2E/b", true),
            ("/.%2e/b", true),
            ("//../b", true),
            ("/a/..%2f..%2Fb", true),
            ("/a%2f..%2f..%2fb", true),
            ("/a/..\\..\\b", true),
            ("/..%5Cb", true),
            ("/..;x=1/b", true),
            ("/a/..;/..;/b", true),
            ("/..%3bx/b", true),
            ("/a/../../a", true),
        ] {
            assert_eq!(may_leave_root(path), expected, "{path}");
        }
    }

    #[test]
    fn a_path_is_read_as_widely_as_any_server_does() {
        for (path, kept, dropped) in [
            ("/a/b", "/a/b", "/a/b"),
            ("//a//b/", "/a/b", "/a/b"),
            ("/a/%2e%2e/b", "/b", "/b"),
            ("/a/..%2fb", "/b", "/b"),
            ("/a/..;p/b", "/b", "/b"),
            ("/a\\..\\b", "/b", "/b"),
            ("/a;p/b;/;/c%3bq", "/a;p/b;/c;q", "/a/b/c"),
            ("/a;p%2fb", "/a;p/b", "/a/b"),
            ("/", "/", "/"),
        ] {
            assert_eq!(widest_reading(path, Parameters::Kept), kept, "{path}");
            assert_eq!(widest_reading(path, Parameters::Dropped), dropped, "{path}");
        }
    }

    /// RFC 3986 §2.4: no client need encode them, and any may.
    #[test]
    fn an_upstream_is_chosen_by_characters_in_whatever_encoding() {
        for (path, expected) in [
            ("/{a}", "/{a}"),
            ("/%7ba%7D", "/{a}"),
            ("/{a%7D/%62", "/{a}/b"),
            ("/%5Ba|b%7c%5E%22", "/[a|b|^\""),
            ("/%2525", "/%2525"),
            ("/a%3Ab%2f", "/a:b%2F"),
        ] {
            assert_eq!(routed_path(path), expected, "{path}");
        }
    }

    #[test]
    fn plain_paths_are_recognized() {
        for (path, expected) in [
            ("/a/b.c", true),
            ("/", true),
            ("/a/.b", false),
            ("/a//b", false),
            ("/%61", false),
            ("/a;b", false),
            ("/a\\b", false),
        ] {
            assert_eq!(is_plain(path), expected, "{path}");
        }
    }
}
