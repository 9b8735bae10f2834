//! Lists, tokens, quoted strings and numbers (RFC 9110 §5.6).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Returns the members of a list field over all its lines (RFC 9110 §5.6.1), trimmed, without empty
/// ones.
///
/// A comma inside a quoted string does not separate. A quote that never closes is an ordinary
/// character, so that it swallows nothing.
pub fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).into_iter().flat_map(|value| Members {
        rest: value.as_bytes(),
        never_closes: false,
    })
}

/// Returns whether a message has any of these fields. Of few fields that takes less time than to
/// find one by its hash.
// Compared with names that are known where it is called: a call would take several times as long.
#[inline(always)]
#[must_use]
pub fn has_any(headers: &HeaderMap, names: &[HeaderName]) -> bool {
    // No closure: one that all callers share is not compiled into them.
    for name in headers.keys() {
        if names.contains(name) {
            return true;
        }
    }
    false
}

/// Returns the value of a field with exactly one line; `None` if it is absent or has several.
#[must_use]
pub fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => Some(line),
        _ => None,
    }
}

/// The members of one line.
struct Members<'v> {
    /// The bytes that are not read yet.
    rest: &'v [u8],
    /// Whether an unclosed quote was found. No later quote closes either: searching again from each
    /// would take quadratic time in the length of a client's field.
    never_closes: bool,
}

impl<'v> Iterator for Members<'v> {
    type Item = &'v [u8];

    fn next(&mut self) -> Option<&'v [u8]> {
        while !self.rest.is_empty() {
            let end = self.member_end();
            let member = self.rest[..end].trim_ascii();
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}

impl Members<'_> {
    /// Returns the index of the comma that ends the first member, or the length of the rest.
    fn member_end(&mut self) -> usize {
        let mut at = 0;
        while at < self.rest.len() {
            match self.rest[at] {
                b',' => break,
                b'"' if !self.never_closes => match quoted_length(&self.rest[at..]) {
                    Some(length) => at += length,
                    None => self.never_closes = true,
                },
                _ => at += 1,
            }
        }
        at
    }
}

/// Returns the length of the quoted string at the start of `value`, quotes included; `None` if it
/// never closes.
fn quoted_length(value: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match value.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Splits `name=value` at the first `=` and unquotes the value (RFC 9110 §5.6.4, §5.6.6).
#[must_use]
pub fn parameter(member: &[u8]) -> (&[u8], Option<Cow<'_, [u8]>>) {
    match member.iter().position(|&byte| byte == b'=') {
        None => (member, None),
        Some(at) => (
            member[..at].trim_ascii_end(),
            Some(unquote(member[at + 1..].trim_ascii_start())),
        ),
    }
}

/// Returns whether a value is a token (RFC 9110 §5.6.2).
#[must_use]
pub fn is_token(value: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !value.is_empty() && value.iter().all(is_allowed)
}

/// Returns whether a value is one quoted string and nothing else (RFC 9110 §5.6.4).
#[must_use]
pub fn is_quoted_string(value: &[u8]) -> bool {
    value.first() == Some(&b'"') && quoted_length(value) == Some(value.len())
}

/// Removes the quotes and escapes of a quoted string; leaves any other value as it is.
fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    if !is_quoted_string(value) {
        return Cow::Borrowed(value);
    }
    let inside = &value[1..value.len() - 1];
    if !inside.contains(&b'\\') {
        return Cow::Borrowed(inside);
    }
    let mut plain = Vec::with_capacity(inside.len());
    let mut bytes = inside.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => plain.extend(bytes.next()),
            _ => plain.push(byte),
        }
    }
    Cow::Owned(plain)
}

/// Reads a non-negative decimal number; `None` if there is anything but digits. Saturates at
/// `u64::MAX`.
#[must_use]
pub fn decimal(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| {
        digits.iter().fold(0_u64, |sum, digit| {
            sum.saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::CACHE_CONTROL;

    fn members(lines: &[&'static str]) -> Vec<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(CACHE_CONTROL, line.parse().expect("a field value"));
        }
        list(&headers, &CACHE_CONTROL)
            .map(|member| String::from_utf8_lossy(member).into_owned())
            .collect()
    }

    #[test]
    fn section_5_6_1_lists() {
        for (lines, expected) in [
            (&["a, b"][..], &["a", "b"][..]),
            (&["a ,\tb", "c"], &["a", "b", "c"]),
            (&[",, a,,", ""], &["a"]),
            (&[r#"x="1,2", y"#], &[r#"x="1,2""#, "y"]),
            (&[r#"x="a\",b", y"#], &[r#"x="a\",b""#, "y"]),
            (&[r#"x="open, no-store"#], &[r#"x="open"#, "no-store"]),
            (&[r#"x="ends\"#], &[r#"x="ends\"#]),
        ] {
            assert_eq!(members(lines), expected, "{lines:?}");
        }
    }

    /// Reading a client's field takes time linear in its length.
    #[test]
    fn unclosed_quotes_take_linear_time() {
        let value = "\"\\".repeat(200_000);
        let mut headers = HeaderMap::new();
        headers.append(CACHE_CONTROL, value.parse().expect("a field value"));
        assert_eq!(list(&headers, &CACHE_CONTROL).count(), 1);
    }

    #[test]
    fn section_5_6_4_quoted_strings() {
        for (member, name, value) in [
            ("a", "a", None),
            ("a=b", "a", Some("b")),
            ("a=", "a", Some("")),
            (r#"a="b""#, "a", Some("b")),
            (r#"a = "b c""#, "a", Some("b c")),
            (r#"a="b\"c\\""#, "a", Some(r#"b"c\"#)),
            (r#"a="open"#, "a", Some(r#""open"#)),
            (r#"a="b"; c"#, "a", Some(r#""b"; c"#)),
        ] {
            let (got_name, got_value) = parameter(member.as_bytes());
            assert_eq!(got_name, name.as_bytes(), "{member}");
            assert_eq!(got_value.as_deref(), value.map(str::as_bytes), "{member}");
        }
    }
}
