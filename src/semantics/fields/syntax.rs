//! Lists, tokens and quoted strings, the grammar most header fields share (RFC 9110 §5.6).

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The members of a list field over all its lines (RFC 9110 §5.6.1): trimmed, empty ones left out.
///
/// Commas inside a quoted string do not separate. A quote that never closes is an ordinary character, so that nothing
/// behind it is swallowed.
pub fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).into_iter().flat_map(|value| Members {
        rest: value.as_bytes(),
        never_closes: false,
    })
}

/// The value of a field that is there once; `None` where it is absent or has several lines.
#[must_use]
pub fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (Some(line), None) => Some(line),
        _ => None,
    }
}

struct Members<'v> {
    rest: &'v [u8],
    /// Whether a quote was found that never closes. None behind it closes either: looking again at each would take time
    /// quadratic in what a stranger sends.
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

/// The length of the quoted string that `value` begins with, quotes included; `None` when it never closes.
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

/// Splits `name=value` at the first `=`; the value is unquoted (RFC 9110 §5.6.4, §5.6.6).
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

fn unquote(value: &[u8]) -> Cow<'_, [u8]> {
    if value.first() != Some(&b'"') {
        return Cow::Borrowed(value);
    }
    let Some(length) = quoted_length(value) else {
        return Cow::Borrowed(value);
    };
    let inside = &value[1..length - 1];
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

/// A non-negative decimal number; `None` where there is anything else. One too large for `u64` saturates.
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

    /// A stranger's field costs time in proportion to its length: looking for an end takes one pass.
    #[test]
    fn quotes_that_never_close_are_looked_at_once() {
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
        ] {
            let (got_name, got_value) = parameter(member.as_bytes());
            assert_eq!(got_name, name.as_bytes(), "{member}");
            assert_eq!(got_value.as_deref(), value.map(str::as_bytes), "{member}");
        }
    }
}
