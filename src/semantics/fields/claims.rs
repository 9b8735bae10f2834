//! Fields by which a request claims another host, scheme, path or client than it has.
//!
//! A service that believes them answers another request than the one whose target and `Host` a
//! cache knows.

use http::HeaderName;

use super::spelling::is_spelling_of;

/// The beginning of most of them.
const PREFIX: &[u8] = b"x-forwarded-";

/// The others.
const OTHERS: [&[u8]; 6] = [
    b"forwarded",
    b"x-host",
    b"x-original-host",
    b"x-original-url",
    b"x-real-ip",
    b"x-rewrite-url",
];

/// Those that claim a client's address and nothing else.
const ADDRESSES: [&[u8]; 2] = [b"x-forwarded-for", b"x-real-ip"];

/// Returns whether a field is a claim, in [whatever spelling](is_spelling_of).
#[must_use]
pub fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    // Most names begin with another letter.
    matches!(name.first(), Some(b'x' | b'f'))
        && (begins_as_most(name) || OTHERS.iter().any(|other| is_spelling_of(name, other)))
}

/// Returns whether a claim is of the client's address alone.
#[must_use]
pub fn is_address(name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    ADDRESSES.iter().any(|other| is_spelling_of(name, other))
}

fn begins_as_most(name: &[u8]) -> bool {
    let begin = name.get(..PREFIX.len());
    begin.is_some_and(|begin| is_spelling_of(begin, PREFIX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An upstream that believes such a field lets any client poison the cache.
    #[test]
    fn fields_that_claim_another_host_path_or_client_are_found() {
        for (name, expected) in [
            ("forwarded", true),
            ("x-forwarded-for", true),
            ("x-forwarded-anything", true),
            ("x_forwarded_host", true),
            ("x.forwarded.host", true),
            ("x-real-ip", true),
            ("x_real-ip", true),
            ("x-original-url", true),
            ("x.original.url", true),
            ("x-forwarded", false),
            ("x-request-id", false),
            ("host", false),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(is_claim(&name), expected, "{name}");
        }
    }

    #[test]
    fn claims_of_an_address_alone_are_told_from_the_others() {
        for (name, expected) in [
            ("x-forwarded-for", true),
            ("x_forwarded_for", true),
            ("x-real-ip", true),
            ("x-forwarded-host", false),
            ("forwarded", false),
        ] {
            let name = HeaderName::from_static(name);
            assert_eq!(is_address(&name), expected, "{name}");
        }
    }
}
