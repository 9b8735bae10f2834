//! The head of a coded response.

use http::header::{ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, VARY};
use http::{HeaderMap, HeaderValue};

use super::coding::Coding;
use super::entity_tags::coded_tag;
use crate::semantics::fields::{self, digest};

/// Turns the head of the identity into that of a coded response with content of this length; `None`
/// if that is not known.
///
/// The entity tag becomes that of the coding, or goes if there is no telling what it is. The digests
/// go: they are those of the identity.
pub fn make_coded(headers: &mut HeaderMap, coding: Coding, length: Option<u64>) {
    headers.insert(CONTENT_ENCODING, coding.field_value());
    // Ranges are cut from the identity.
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    match length {
        Some(length) => headers.insert(CONTENT_LENGTH, HeaderValue::from(length)),
        None => headers.remove(CONTENT_LENGTH),
    };
    match fields::single(headers, &ETAG).and_then(|tag| coded_tag(tag, coding)) {
        Some(tag) => headers.insert(ETAG, tag),
        None => headers.remove(ETAG),
    };
    digest::remove_from_content(headers);
    headers.remove(digest::REPR_DIGEST);
    headers.remove(digest::DIGEST);
}

/// Says that the response depends on `Accept-Encoding`, unless its `Vary` says so.
pub fn add_vary(headers: &mut HeaderMap) {
    let names_it = |member: &[u8]| {
        member == b"*" || member.eq_ignore_ascii_case(ACCEPT_ENCODING.as_str().as_bytes())
    };
    if fields::list(headers, &VARY).any(names_it) {
        return;
    }
    let joined = fields::single(headers, &VARY).and_then(|line| {
        let joined = [line.as_bytes(), b", accept-encoding"].concat();
        let is_list = !line.as_bytes().trim_ascii().is_empty();
        is_list.then(|| HeaderValue::from_bytes(&joined).ok())?
    });
    match joined {
        Some(joined) => {
            headers.insert(VARY, joined);
        }
        None => {
            // A map that is full stays as it is.
            let _ = headers.try_append(VARY, HeaderValue::from_static("accept-encoding"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().expect("a field value"));
        }
        headers
    }

    #[test]
    fn a_coded_head_describes_the_coded_content() {
        let identity = map(&[
            ("etag", "\"a\""),
            ("content-length", "2000"),
            ("content-type", "text/html"),
            ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
            ("accept-ranges", "bytes"),
            ("content-digest", "sha-256=:x:"),
            ("content-md5", "x"),
            ("repr-digest", "sha-256=:x:"),
            ("digest", "sha-256=x"),
        ]);
        let mut coded = identity.clone();
        make_coded(&mut coded, Coding::Gzip, Some(300));
        let expected = map(&[
            ("etag", "W/\"a~gzip\""),
            ("content-length", "300"),
            ("content-type", "text/html"),
            ("last-modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
            ("accept-ranges", "none"),
            ("content-encoding", "gzip"),
        ]);
        assert_eq!(coded, expected);
        let mut unknown = identity;
        unknown.insert("etag", HeaderValue::from_static("a"));
        make_coded(&mut unknown, Coding::Gzip, None);
        assert!(!unknown.contains_key(CONTENT_LENGTH) && !unknown.contains_key(ETAG));
    }

    #[test]
    fn section_12_5_5_vary_names_the_field_once() {
        for (lines, expected) in [
            (&[][..], &["accept-encoding"][..]),
            (&["Accept-Language"], &["Accept-Language, accept-encoding"]),
            (&["Origin, Accept-Encoding"], &["Origin, Accept-Encoding"]),
            (&["a", "b"], &["a", "b", "accept-encoding"]),
            (&["*"], &["*"]),
            (&[""], &["", "accept-encoding"]),
        ] {
            let lines: Vec<_> = lines.iter().map(|line| ("vary", *line)).collect();
            let mut headers = map(&lines);
            add_vary(&mut headers);
            let got: Vec<_> = headers.get_all(VARY).iter().collect();
            assert_eq!(got, expected, "{lines:?}");
        }
    }
}
