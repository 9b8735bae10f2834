//! A stored response in the language that a request prefers to all others (RFC 9110 §12.5.4).
//!
//! `fr;q=0.5, de` and `en, de` are different lists. If the response to the latter says that it is
//! in German, it is what the former prefers, too.

use http::HeaderMap;
use http::header::{ACCEPT_LANGUAGE, CONTENT_LANGUAGE};

use super::normalize::members_with_weight;
use crate::semantics::fields;
use crate::semantics::fields::limits::{MAX_NORMALIZED, is_longer_than};

/// Returns the language that a request prefers to all others, in lower case.
///
/// `None` if two languages have the largest weight, if that is a wildcard, or if a member does not
/// follow the grammar: the order of members is no reliable preference (RFC 9110 §12.5.4).
#[must_use]
pub fn preferred_language(request: &HeaderMap) -> Option<Vec<u8>> {
    if is_longer_than(MAX_NORMALIZED, request, &ACCEPT_LANGUAGE) {
        return None;
    }
    let mut best: Option<(Vec<u8>, u16)> = None;
    let mut has_rival = false;
    for (language, weight) in members_with_weight(&ACCEPT_LANGUAGE, request) {
        let most = best.as_ref().map_or(0, |(_, most)| *most);
        if !is_language(&language) {
            return None;
        }
        if weight > most {
            (best, has_rival) = (Some((language, weight)), false);
        } else if weight == most {
            has_rival = true;
        }
    }
    let (language, _) = best.filter(|_| !has_rival)?;
    (language != b"*").then_some(language)
}

/// Returns the one language that a response is in, in lower case.
#[must_use]
pub fn content_language(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut members = fields::list(headers, &CONTENT_LANGUAGE);
    let language = members.next()?.to_ascii_lowercase();
    let is_only = members.next().is_none() && is_language(&language) && language != b"*";
    is_only.then_some(language)
}

/// Returns whether a member is a language range by its characters (RFC 4647 §2.1).
fn is_language(text: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    text == b"*" || (!text.is_empty() && text.iter().all(is_allowed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &'static str, lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, line.parse().expect("a field value"));
        }
        headers
    }

    fn text(language: Option<Vec<u8>>) -> Option<String> {
        language.map(|language| String::from_utf8(language).expect("ASCII"))
    }

    #[test]
    fn section_12_5_4_the_language_with_the_largest_weight() {
        for (lines, expected) in [
            (&["de"][..], Some("de")),
            (&["fr;q=0.5, DE"], Some("de")),
            (&["fr;q=0.5", "de-CH;q=0.6"], Some("de-ch")),
            (&["*;q=0.1, de;q=0.2"], Some("de")),
            (&["de;q=0.001"], Some("de")),
            (&["de, fr"], None),
            (&["de, DE"], None),
            (&["fr;q=0.5, en;q=0.5"], None),
            (&["fr;q=0.5, en;q=0.5, de"], Some("de")),
            (&["*"], None),
            (&["*, de;q=0.5"], None),
            (&["de;q=0"], None),
            (&["de;q=0, fr;q=0"], None),
            (&["de;q=2"], None),
            (&["de;x=1, fr;q=0.5"], None),
            (&["de_CH"], None),
            (&[""], None),
            (&[], None),
        ] {
            let got = preferred_language(&map("accept-language", lines));
            assert_eq!(text(got).as_deref(), expected, "{lines:?}");
        }
    }

    #[test]
    fn section_8_5_the_one_language_of_a_response() {
        for (lines, expected) in [
            (&["de"][..], Some("de")),
            (&["De-ch"], Some("de-ch")),
            (&["de, en"], None),
            (&["de", "en"], None),
            (&["*"], None),
            (&["de;q=1"], None),
            (&[""], None),
            (&[], None),
        ] {
            let got = content_language(&map("content-language", lines));
            assert_eq!(text(got).as_deref(), expected, "{lines:?}");
        }
    }
}
