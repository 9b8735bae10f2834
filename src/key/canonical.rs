//! The canonical form of a request: one spelling of its target, its host, its cookies, and of the
//! fields that end at this recipient.
//!
//! Pure functions of the request's head; they know neither stored responses nor options. Start
//! with [`canonicalize`].

use http::header::{CONNECTION, COOKIE, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri, request};

use super::authority::{InvalidAuthority, normalize_authority, requested_authority};
use crate::semantics::fields::{self, hop_by_hop};

/// Puts a request into the form that an intermediary keys and forwards.
///
/// The target is in origin form, and its authority is the one `Host`, in normal form. Fields of the
/// connection are gone, those that `Connection` names included (RFC 9110 §7.6.1). Kept of them are:
/// `TE: trailers`, which no version needs `Connection` for but HTTP/1.1; `Transfer-Encoding`, as a
/// sign that there is content; `Upgrade`, if `keeps_upgrade`. `Cookie` is one line.
///
/// A request without authority keeps none. Applying it again changes nothing.
pub(crate) fn canonicalize(
    request: &mut request::Parts,
    keeps_upgrade: bool,
) -> Result<(), InvalidAuthority> {
    let authority = canonical_authority(request)?;
    let headers = &mut request.headers;
    let accepts_trailers = fields::list(headers, &TE).any(is_trailers);
    let is_chunked = headers.contains_key(TRANSFER_ENCODING);
    let protocol = headers.get(UPGRADE).filter(|_| keeps_upgrade).cloned();
    hop_by_hop::remove(headers);
    if accepts_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if is_chunked {
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    if let Some(protocol) = protocol {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
    join_cookies(headers);
    set_authority(request, &authority);
    Ok(())
}

/// Returns the authority in the form that it has behind a target in origin form, where port 80 is
/// the default one: the scheme is gone with the target.
fn canonical_authority(request: &request::Parts) -> Result<String, InvalidAuthority> {
    let requested = requested_authority(request)?;
    if requested.is_empty() {
        return Ok(String::new());
    }
    let normal = normalize_authority(&requested, None).ok_or(InvalidAuthority)?;
    Ok(normal.into_owned())
}

/// Puts the target into origin form (RFC 9112 §3.2.1), and `authority` into the one `Host`. An
/// empty one removes it.
pub(crate) fn set_authority(request: &mut request::Parts, authority: &str) {
    if request.uri.authority().is_some() || request.uri.scheme().is_some() {
        let path = request.uri.path_and_query().cloned();
        request.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    let headers = &mut request.headers;
    if authority.is_empty() {
        headers.remove(HOST);
        return;
    }
    if headers.get(HOST).is_none_or(|host| host != authority)
        && let Ok(host) = HeaderValue::from_str(authority)
    {
        headers.insert(HOST, host);
    }
}

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
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Returns whether a member of `TE` is `trailers`, with or without parameters.
fn is_trailers(member: &[u8]) -> bool {
    let name = member.split(|byte| *byte == b';').next();
    name.is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"trailers"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Version};

    fn canonical(
        version: Version,
        uri: &str,
        lines: &[(&str, &str)],
    ) -> Option<(String, Vec<String>)> {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (mut head, ()) = request.body(()).expect("a request").into_parts();
        canonicalize(&mut head, false).ok()?;
        let once = (head.uri.clone(), head.headers.clone());
        canonicalize(&mut head, false).expect("the canonical form is valid");
        assert_eq!((head.uri, head.headers), once, "{uri} {lines:?}");
        let (uri, headers) = once;
        let lines = headers.iter().map(|(name, value)| {
            let value = value.to_str().expect("visible ASCII");
            format!("{name}: {value}")
        });
        let mut lines: Vec<String> = lines.collect();
        lines.sort_unstable();
        Some((uri.to_string(), lines))
    }

    /// RFC 9110 §4.2.3, §7.2; RFC 9112 §3.2.2; RFC 9113 §8.3.1.
    #[test]
    fn every_spelling_of_a_target_has_one_canonical_form() {
        for (uri, host) in [
            ("/d", "SITE.test."),
            ("/d", "site.test:80"),
            ("/d", "site.test"),
            ("http://site.test:80/d", "SITE.test"),
            ("https://Site.Test:443/d", "site.test"),
            ("https://site.test:80/d", "site.test:80"),
        ] {
            let expected = ("/d".to_owned(), vec!["host: site.test".to_owned()]);
            for version in [Version::HTTP_11, Version::HTTP_2] {
                let got = canonical(version, uri, &[("host", host)]);
                assert_eq!(got.as_ref(), Some(&expected), "{version:?} {uri} {host}");
            }
        }
        let host = |host| [("host", host)];
        let wins = canonical(Version::HTTP_11, "http://a/", &host("b"));
        assert_eq!(wins, Some(("/".to_owned(), vec!["host: a".to_owned()])));
        for (version, uri, lines) in [
            (Version::HTTP_2, "http://a/", &[("host", "b")][..]),
            (Version::HTTP_11, "/", &[("host", "a"), ("host", "a")]),
            (Version::HTTP_11, "/", &[("host", "a b")]),
        ] {
            assert_eq!(canonical(version, uri, lines), None, "{version:?} {uri}");
        }
        let none = canonical(Version::HTTP_10, "/?", &[]);
        assert_eq!(none, Some(("/?".to_owned(), Vec::new())));
    }

    /// RFC 9110 §7.6.1, §10.1.4; RFC 9113 §8.2.2, §8.2.3.
    #[test]
    fn fields_of_the_connection_are_gone_and_cookies_are_one_line() {
        for (lines, expected) in [
            (
                &[
                    (
                        "connection",
                        "close, x-hop, host, cache-control, authorization",
                    ),
                    ("x-hop", "1"),
                    ("authorization", "Basic x"),
                    ("cache-control", "no-cache"),
                ][..],
                &["cache-control: no-cache", "host: a"][..],
            ),
            (&[("te", "gzip, trailers")], &["host: a", "te: trailers"]),
            (&[("te", "gzip"), ("keep-alive", "1")], &["host: a"]),
            (
                &[
                    ("connection", "te, transfer-encoding"),
                    ("transfer-encoding", "gzip, chunked"),
                ],
                &["host: a", "transfer-encoding: chunked"],
            ),
            (
                &[("upgrade", "h2c"), ("connection", "upgrade")],
                &["host: a"],
            ),
            (
                &[("cookie", "a=1 "), ("cookie", "b=2; c"), ("cookie", "d")],
                &["cookie: a=1; b=2; c; d", "host: a"],
            ),
        ] {
            let lines: Vec<_> = [("host", "a")].iter().chain(lines).copied().collect();
            let got = canonical(Version::HTTP_11, "/", &lines).expect("a valid request");
            assert_eq!(got.1, expected, "{lines:?}");
        }
    }
}
