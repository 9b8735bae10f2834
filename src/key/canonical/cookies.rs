//! The cookies of a request: their one line, and those that no response depends on.
//!
//! Cookies are separated by `;` alone (RFC 6265 §4.2.1): quotes have no meaning.

use std::sync::Arc;

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};

use crate::key::name_pattern::NamePattern;

/// Joins the lines of `Cookie`, which HTTP/2 may split, into the one that everything else expects
/// (RFC 9113 §8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    let lines = headers.get_all(COOKIE);
    if lines.iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = lines
        .iter()
        .map(|line| line.as_bytes().trim_ascii())
        .collect();
    let joined = lines.join(&b"; "[..]);
    set_line(headers, &joined);
}

/// Gives a request one line of `Cookie`, or none if it is empty.
fn set_line(headers: &mut HeaderMap, line: &[u8]) {
    let mut lines = headers.get_all(COOKIE).iter();
    let is_sensitive = lines.any(HeaderValue::is_sensitive);
    match HeaderValue::from_bytes(line) {
        Ok(mut line) if !line.is_empty() => {
            line.set_sensitive(is_sensitive);
            headers.insert(COOKIE, line);
        }
        // Parts of field values are a field value: it is empty.
        _ => {
            headers.remove(COOKIE);
        }
    }
}

/// The cookies, by name, that no response depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IgnoredCookies(Arc<[NamePattern]>);

impl IgnoredCookies {
    /// Creates a list of these names. A `*` at the end of a name matches any rest.
    pub(crate) fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        Self(names.into_iter().map(NamePattern::new).collect())
    }

    /// Takes the ignored cookies off a request, and `Cookie` if none is left. The others become one
    /// line, in their order, with one separator. Returns the lines as they were, if they change.
    pub(crate) fn take_from(&self, headers: &mut HeaderMap) -> Option<CookieLines> {
        if !headers.contains_key(COOKIE) {
            return None;
        }
        let lines = headers.get_all(COOKIE);
        let kept: Vec<&[u8]> = lines
            .iter()
            .flat_map(cookies_of)
            .filter(|cookie| !cookie.is_empty() && !self.ignores(cookie))
            .collect();
        let kept = kept.join(&b"; "[..]);
        let own = CookieLines(lines.iter().cloned().collect());
        if matches!(&*own.0, [line] if *line == kept[..] && !kept.is_empty()) {
            return None;
        }
        set_line(headers, &kept);
        Some(own)
    }

    /// Returns whether a cookie is one of them.
    fn ignores(&self, cookie: &[u8]) -> bool {
        let name = cookie.split(|byte| *byte == b'=').next();
        let name = name.unwrap_or_default().trim_ascii_end();
        self.0.iter().any(|pattern| pattern.matches(name))
    }
}

/// The cookies of a line.
fn cookies_of(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    let cookies = line.as_bytes().split(|byte| *byte == b';');
    cookies.map(<[u8]>::trim_ascii)
}

/// The lines of `Cookie` as the client sent them.
#[derive(Debug)]
pub(crate) struct CookieLines(Vec<HeaderValue>);

impl CookieLines {
    /// Gives the lines back to their request.
    pub(crate) fn put_back(self, headers: &mut HeaderMap) {
        headers.remove(COOKIE);
        for line in self.0 {
            headers.append(COOKIE, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(values: &[&str]) -> HeaderMap {
        let values = values
            .iter()
            .map(|value| (COOKIE, value.parse().expect("a value")));
        values.collect()
    }

    /// RFC 6265 §4.2.1, §5.4.
    #[test]
    fn section_4_2_1_ignored_cookies_are_taken_off_by_name() {
        let ignored = IgnoredCookies::new(["_ga*", "_gid", "a.b"]);
        for (own, expected) in [
            (&[][..], &[][..]),
            (&["a=1"], &["a=1"]),
            (&["a=1; b=2"], &["a=1; b=2"]),
            (&["_ga=1"], &[]),
            (&["_ga=GA1.2; a=1; _ga_X=2; b=2; _gid=3"], &["a=1; b=2"]),
            (&["_ga=1;a=1;_gid=2"], &["a=1"]),
            (&["a=1;b=2"], &["a=1; b=2"]),
            (&["a=1 ;\tb=2 ; ;; "], &["a=1; b=2"]),
            (&["a=1", "_ga=1; b=2", "_gid=2"], &["a=1; b=2"]),
            (&["_ga=1", "_gid"], &[]),
            (&["_ga", "_gid =1", "a.b=", "a"], &["a"]),
            (
                &["_gids=1; _GA=2; xa.b=3; a-b=4"],
                &["_gids=1; _GA=2; xa.b=3; a-b=4"],
            ),
            (&["a=1; a=2; _ga=1; _ga=2"], &["a=1; a=2"]),
            (&["a=_ga=1; b=_gid"], &["a=_ga=1; b=_gid"]),
            (&["a=\"x; _ga=1; y\""], &["a=\"x; y\""]),
            (&["_ga=\"x; a=1\""], &["a=1\""]),
            (&[""], &[]),
            (&["", " ; "], &[]),
            (&["=1; ="], &["=1; ="]),
        ] {
            let mut headers = lines(own);
            let taken = ignored.take_from(&mut headers);
            assert_eq!(headers, lines(expected), "{own:?}");
            assert_eq!(taken.is_some(), own != expected, "{own:?}");
            assert!(
                ignored.take_from(&mut headers).is_none(),
                "{own:?}: once is enough"
            );
            if let Some(taken) = taken {
                taken.put_back(&mut headers);
            }
            assert_eq!(headers, lines(own), "{own:?}: as it was");
        }
    }

    #[test]
    fn a_line_that_is_not_to_be_compressed_stays_one() {
        let mut headers = lines(&["a=1; _ga=2", "b=1"]);
        for line in headers.iter_mut().map(|(_, line)| line).skip(1) {
            line.set_sensitive(true);
        }
        IgnoredCookies::new(["_ga"]).take_from(&mut headers);
        assert!(headers[COOKIE].is_sensitive());
        assert_eq!(headers[COOKIE], "a=1; b=1");
    }
}
