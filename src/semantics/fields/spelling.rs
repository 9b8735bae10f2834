//! Spellings of field names that some services take for one name.

/// Returns whether a field name is one spelling of another: the same, but for the characters
/// between its letters and digits.
///
/// CGI and what is like it (PHP, WSGI, Rack) make one variable of `X-Host`, `X_Host` and `X.Host`.
/// Both names are in lower case.
#[must_use]
pub fn is_spelling_of(name: &[u8], other: &[u8]) -> bool {
    let is_separator = |byte: u8| !byte.is_ascii_alphanumeric();
    let mut pairs = name.iter().zip(other);
    name.len() == other.len()
        && pairs.all(|(&a, &b)| a == b || (is_separator(a) && is_separator(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3875 §4.1.18.
    #[test]
    fn names_are_one_but_for_what_separates_their_words() {
        for (name, expected) in [
            ("x-forwarded-host", true),
            ("x_forwarded_host", true),
            ("x.forwarded-host", true),
            ("x-forwarded_host", true),
            ("x-forwarded-hos", false),
            ("x-forwarded-hosts", false),
            ("xxforwarded-host", false),
            ("x-forwarded-port", false),
        ] {
            let got = is_spelling_of(name.as_bytes(), b"x-forwarded-host");
            assert_eq!(got, expected, "{name}");
        }
    }
}
