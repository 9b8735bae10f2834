//! The normal form of a path: one spelling for all that an origin may take for one path.

use std::borrow::Cow;

/// Returns a path in normal form. Borrowed if the path is normal, as most are.
///
/// Percent-encoded characters that a path may have unencoded are decoded, all others are encoded
/// with upper-case digits; then repeated slashes are merged and dot segments removed (RFC 3986
/// §6.2.2, RFC 9110 §4.2.3). An empty path is `/`. Kept as received are invalid percent sequences,
/// parameters behind `;`, and a path without a leading slash, such as `*`.
pub(crate) fn normal_path(path: &str) -> Cow<'_, str> {
    if is_normal(path) {
        return Cow::Borrowed(path);
    }
    if path.is_empty() {
        return Cow::Owned("/".to_owned());
    }
    let decoded = with_normal_encoding(path);
    match decoded.strip_prefix('/') {
        Some(segments) => Cow::Owned(without_needless_segments(segments)),
        None => Cow::Owned(decoded),
    }
}

/// A slash: half of the next class, see [`is_normal`].
const SLASH: u8 = 1;
/// A byte that must not follow a slash in a normal path: another one, or a dot.
const NOT_BEHIND_SLASH: u8 = 2;
/// A byte that is in no normal path, or that begins a percent sequence.
const OTHER: u8 = 4;
/// What each byte means for the question whether a path is normal. Every hit asks it, hence a
/// table.
const CLASSES: [u8; 256] = {
    let mut classes = [OTHER; 256];
    let mut byte = 0;
    while byte < 256 {
        if is_path_character(byte as u8) {
            classes[byte] = 0;
        }
        byte += 1;
    }
    classes[b'/' as usize] = SLASH | NOT_BEHIND_SLASH;
    classes[b'.' as usize] = NOT_BEHIND_SLASH;
    classes
};

/// The number of bytes that [`is_plain`] looks at together.
const BLOCK: usize = 16;

/// Returns whether a path is certainly in normal form.
fn is_normal(path: &str) -> bool {
    is_plain(path.as_bytes()) || is_normal_by_class(path)
}

/// Returns whether a path has a leading slash and only letters, digits, `-`, `.`, `_` and slashes,
/// none of which is followed by a slash or a dot: nearly all paths of more than a few bytes.
///
/// Every hit asks it. Whole blocks without branches are what the compiler makes vectors of.
fn is_plain(path: &[u8]) -> bool {
    let (Some(b'/'), Some(last)) = (path.first(), path.len().checked_sub(BLOCK + 1)) else {
        return false;
    };
    let mut from = 0;
    loop {
        let block = path[from..].first_chunk::<{ BLOCK + 1 }>();
        if block.is_none_or(has_unusual_character) {
            return false;
        }
        if from == last {
            return true;
        }
        // The last block overlaps the one before.
        from = last.min(from + BLOCK);
    }
}

/// Returns whether one of the characters behind the first one is not of a plain path.
#[inline]
fn has_unusual_character(block: &[u8; BLOCK + 1]) -> bool {
    let mut unusual = 0;
    for index in 0..BLOCK {
        let (before, byte) = (block[index], block[index + 1]);
        let is_letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        // From the hyphen to the digits there are these, the dot and the slash.
        let is_other = byte.wrapping_sub(b'-') < 13 || byte == b'_';
        let is_behind_slash = before == b'/' && byte.wrapping_sub(b'.') < 2;
        unusual |= u8::from(!(is_letter | is_other) | is_behind_slash);
    }
    unusual != 0
}

/// Returns whether a path is certainly in normal form, by a look at each byte alone.
fn is_normal_by_class(path: &str) -> bool {
    let (mut unusual, mut previous) = (0, 0);
    // Without branches, which cost more than the rest of a path that is not normal.
    for byte in path.bytes() {
        let class = CLASSES[usize::from(byte)];
        unusual |= class & (OTHER | previous << 1);
        previous = class;
    }
    unusual == 0 && !path.is_empty()
}

/// Returns whether a segment of a path may have this character unencoded: a `pchar` of RFC 3986
/// §3.3.
const fn is_path_character(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

/// Returns whether a character means the same encoded and unencoded everywhere (RFC 3986 §2.3).
pub(super) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Decodes and encodes a path, so that each character has one spelling.
fn with_normal_encoding(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match percent_decoded(byte, behind) {
            Some(decoded) => {
                push_normal(&mut normal, decoded);
                rest = &behind[2..];
            }
            None if byte == b'/' || byte == b'%' => normal.push(char::from(byte)),
            None => push_normal(&mut normal, byte),
        }
    }
    normal
}

/// Returns the byte that a percent sequence stands for; `None` if there is none here.
pub(super) fn percent_decoded(first: u8, behind: &[u8]) -> Option<u8> {
    let digits = behind.first_chunk::<2>().filter(|_| first == b'%')?;
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from(high? << 4 | low?).ok()
}

/// Appends a character, encoded unless a segment may have it unencoded.
fn push_normal(normal: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if is_path_character(byte) {
        normal.push(char::from(byte));
    } else {
        normal.push('%');
        normal.push(char::from(DIGITS[usize::from(byte >> 4)]));
        normal.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Merges repeated slashes and removes dot segments. `segments` is the path behind its first slash.
fn without_needless_segments(segments: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_slash = true;
    for segment in segments.split('/') {
        ends_in_slash = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let mut path = String::with_capacity(segments.len() + 1);
    for segment in &kept {
        path.push('/');
        path.push_str(segment);
    }
    if ends_in_slash {
        path.push('/');
    }
    path
}

/// Returns whether a path is a prefix, or below it, in normal form.
pub(crate) fn is_below(path: &str, prefix: &str) -> bool {
    let path = normal_path(path);
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3986 §6.2.2, §6.2.3; RFC 9110 §4.2.3.
    #[test]
    fn every_spelling_of_a_path_has_one_normal_form() {
        for (path, normal) in [
            // Percent-encoding (RFC 3986 §6.2.2.1, §6.2.2.2).
            ("/%78", "/x"),
            ("/%7Eme", "/~me"),
            ("/%7eme", "/~me"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%3fb", "/a%3Fb"),
            ("/a%23b", "/a%23b"),
            ("/a%2540", "/a%2540"),
            ("/a%21%40b", "/a!@b"),
            ("/%c3%a9", "/%C3%A9"),
            ("/\u{e9}", "/%C3%A9"),
            ("/{id}", "/%7Bid%7D"),
            ("/a%00", "/a%00"),
            ("/a%20b", "/a%20b"),
            // Sequences that are none stay as they are.
            ("/%", "/%"),
            ("/%7", "/%7"),
            ("/%zz", "/%zz"),
            ("/%é1", "/%%C3%A91"),
            ("/100%", "/100%"),
            // Dot segments (RFC 3986 §5.2.4), encoded or not.
            ("/a/../x", "/x"),
            ("/./x", "/x"),
            ("/a/b/../../x", "/x"),
            ("/../../x", "/x"),
            ("/a/.", "/a/"),
            ("/a/..", "/"),
            ("/a/%2e%2e/x", "/x"),
            ("/a/.%2E/x", "/x"),
            ("/%2e/x", "/x"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/a../b", "/a../b"),
            ("/a/..%2fx", "/a/..%2Fx"),
            // Repeated slashes.
            ("//x", "/x"),
            ("/a//b///c", "/a/b/c"),
            ("/a//../x", "/x"),
            ("//", "/"),
            ("/a//", "/a/"),
            // A slash at the end belongs to the path.
            ("/a/", "/a/"),
            ("/a", "/a"),
            // Parameters are a part of their segment.
            ("/a;v=1/b", "/a;v=1/b"),
            ("/a/..;v=1/b", "/a/..;v=1/b"),
            ("/a%3Bv=1", "/a;v=1"),
            ("/", "/"),
            ("", "/"),
            ("*", "*"),
            ("no-slash/../x", "no-slash/../x"),
        ] {
            assert_eq!(normal_path(path), normal, "{path}");
            assert_eq!(normal_path(normal), normal, "the normal form of {normal}");
        }
    }

    /// Both ways to look at a path agree, where the faster one says that it is normal.
    #[test]
    fn a_plain_path_is_a_normal_one() {
        let plain = "/products/00000042-4c1b-9d70-00c04fd430c8/Images_2/a.b";
        assert!(is_plain(plain.as_bytes()));
        let longest = plain.len();
        for length in [
            BLOCK,
            BLOCK + 1,
            BLOCK + 2,
            2 * BLOCK + 1,
            3 * BLOCK,
            longest,
        ] {
            let path = &plain[..length];
            assert_eq!(is_plain(path.as_bytes()), length > BLOCK, "{path}");
            for at in 0..length {
                for other in [
                    "/", ".", "%", "~", " ", "@", "[", "`", "{", ":", "é", "A", "z",
                ] {
                    let path = format!("{}{other}{}", &path[..at], &path[at + 1..]);
                    let is_normal = is_normal_by_class(&path);
                    assert!(is_normal || !is_plain(path.as_bytes()), "{path}");
                    assert_eq!(is_normal, matches!(normal_path(&path), Cow::Borrowed(_)));
                }
            }
        }
    }

    /// Most paths are normal: looking at one must not copy it.
    #[test]
    fn a_normal_path_is_borrowed() {
        for path in ["/", "/items/42", "/a.b/c..d", "/a;v=1,2/(x)@y:z", "*"] {
            assert!(matches!(normal_path(path), Cow::Borrowed(_)), "{path}");
        }
    }
}
