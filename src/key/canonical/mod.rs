//! The canonical form of a request: one spelling of its target, its host, its cookies, and of the
//! fields that end at this recipient.
//!
//! Pure functions of the request's head. Start with [`canonicalize`], which the proxy uses before
//! the key is made, and [`spell_by_key`], which the cache uses for requests that go to the inner
//! service.

pub(crate) mod cookies;

use std::borrow::Cow;

use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Uri, request, uri};

use self::cookies::join_cookies;
use super::authority::{Authority, HostLines, InvalidAuthority, authority_of, normalize_authority};
use crate::semantics::fields::{self, hop_by_hop};

/// Puts a request into the form that an intermediary keys and forwards.
///
/// The target is in origin form, and its authority is the one `Host`, in normal form. Fields of the
/// connection are gone, with those that `Connection` named (RFC 9110 §7.6.1), except
/// `TE: trailers`, `Transfer-Encoding` as a sign of content, and `Upgrade` if `keeps_upgrade` says
/// so. `Cookie` is one line.
///
/// A request without authority keeps none. Applying it again changes nothing.
#[cfg_attr(
    not(any(feature = "proxy", fuzzing)),
    allow(dead_code, reason = "the proxy uses it")
)]
pub(crate) fn canonicalize(
    request: &mut request::Parts,
    keeps_upgrade: bool,
) -> Result<(), InvalidAuthority> {
    set_canonical_authority(request)?;
    let headers = &mut request.headers;
    if headers.keys().any(hop_by_hop::is_of_connection) {
        remove_connection_fields(headers, keeps_upgrade);
    }
    join_cookies(headers);
    Ok(())
}

/// Removes the fields of the connection, but for those that concern the next one, too.
fn remove_connection_fields(headers: &mut HeaderMap, keeps_upgrade: bool) {
    // `Connection` may name it.
    let host = headers.get(HOST).cloned();
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
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
}

/// Spells the target and `Host` as a target in origin form needs it, where port 80 is the default
/// one: the scheme is gone with the target.
fn set_canonical_authority(request: &mut request::Parts) -> Result<(), InvalidAuthority> {
    let hosts = HostLines::from_headers(&request.headers);
    let requested = authority_of(request, hosts)?;
    // Without a scheme it is in that form already.
    let is_final = requested.is_empty() || request.uri.scheme().is_none();
    let authority = match is_final {
        true => requested,
        false => normalize_authority(&requested, None).ok_or(InvalidAuthority)?,
    };
    if let Some(authority) = other_spelling(request, hosts, authority) {
        set_authority(request, &authority, false);
    }
    Ok(())
}

/// Spells a request that goes to the inner service by its key's `rule` for authorities: its target
/// is in origin form, and the authority of the key is the one `Host`. `keeps_scheme` leaves the
/// target in absolute form. A request with an invalid authority, which has no key, stays as it is.
pub(crate) fn spell_by_key(request: &mut request::Parts, rule: &Authority, keeps_scheme: bool) {
    join_cookies(&mut request.headers);
    let hosts = HostLines::from_headers(&request.headers);
    let Ok(authority) = rule.resolve_with(request, hosts) else {
        return;
    };
    if let Some(authority) = other_spelling(request, hosts, authority) {
        set_authority(request, &authority, keeps_scheme);
    }
}

/// Returns the authority if the request spells it otherwise.
fn other_spelling(
    request: &request::Parts,
    hosts: HostLines<'_>,
    authority: Cow<'_, str>,
) -> Option<String> {
    (!has_spelling(request, hosts, &authority)).then(|| authority.into_owned())
}

/// Returns whether a request has its target in origin form, and this authority in `Host`, or no
/// `Host` if it is empty. Nearly all requests of HTTP/1.1 have.
pub(crate) fn has_spelling(
    request: &request::Parts,
    hosts: HostLines<'_>,
    authority: &str,
) -> bool {
    let has_host = match authority.is_empty() {
        true => hosts.is_none(),
        false => hosts.is_one(authority),
    };
    has_host && request.uri.authority().is_none()
}

/// Puts the target into origin form (RFC 9112 §3.2.1) unless it keeps its scheme, and `authority`
/// into the one `Host`. An empty one removes it.
fn set_authority(request: &mut request::Parts, authority: &str, keeps_scheme: bool) {
    if request.uri.authority().is_some() {
        let scheme = request.uri.scheme().filter(|_| keeps_scheme).cloned();
        set_site(
            &mut request.uri,
            scheme.and_then(|it| Some((it, authority.parse().ok()?))),
        );
    }
    match HeaderValue::from_str(authority) {
        Ok(host) if !authority.is_empty() => {
            request.headers.insert(HOST, host);
        }
        _ => {
            request.headers.remove(HOST);
        }
    }
}

/// Gives a target this scheme and authority, or puts it into origin form.
pub(crate) fn set_site(target: &mut Uri, site: Option<(Scheme, uri::Authority)>) {
    let mut parts = std::mem::take(target).into_parts();
    let root = || PathAndQuery::from_static("/");
    parts.path_and_query = Some(parts.path_and_query.unwrap_or_else(root));
    (parts.scheme, parts.authority) = site.unzip();
    // Cannot fail: there are all parts, or the path alone.
    *target = Uri::from_parts(parts).unwrap_or_default();
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
