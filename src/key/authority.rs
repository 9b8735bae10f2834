//! The authority of a request: which site it is for.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::sync::Arc;

use http::header::HOST;
use http::{HeaderMap, HeaderValue, Version, request};

use super::normal_path::{is_unreserved, percent_decoded};

/// The source of the authority in keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authority {
    /// The authority of the request in normal form: in lower case, without the root's dot and
    /// without the default port.
    ///
    /// It is that of the target (HTTP/2, or an absolute-form target, which wins over `Host`: RFC
    /// 9112 §3.2.2), or else `Host`. A request that has neither has an empty authority. A request
    /// whose authority is malformed, given twice or contradictory has no key: a write is refused
    /// with 400 (Bad Request), a GET or HEAD bypasses the cache.
    #[default]
    FromRequest,
    /// One site under many names and ports: every request has this authority.
    ///
    /// All hosts share stored responses, so a GET or HEAD reaches the inner service with this
    /// authority as its `Host`: no client can have a response stored that shows another host. A
    /// write keeps its own. A request with an invalid authority of its own has no key here, either.
    Fixed(Arc<str>),
}

/// The authority of a request is malformed, given twice or contradictory (RFC 9112 §3.2), or its
/// target is in authority form (§3.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InvalidAuthority;

impl Authority {
    /// Creates [`Fixed`](Self::Fixed), in lower case.
    #[must_use]
    pub fn fixed(authority: &str) -> Self {
        Self::Fixed(authority.to_ascii_lowercase().into())
    }

    /// Returns the authority of a request, in normal form; empty if it has none.
    pub(crate) fn resolve<'r>(
        &'r self,
        request: &'r request::Parts,
    ) -> Result<Cow<'r, str>, InvalidAuthority> {
        self.resolve_with(request, HostLines::from_headers(&request.headers))
    }

    /// Returns what [`resolve`](Self::resolve) does, for a request whose `Host` lines are known.
    pub(crate) fn resolve_with<'r>(
        &'r self,
        request: &'r request::Parts,
        hosts: HostLines<'r>,
    ) -> Result<Cow<'r, str>, InvalidAuthority> {
        let requested = authority_of(request, hosts)?;
        Ok(match self {
            Self::FromRequest => requested,
            Self::Fixed(authority) => Cow::Borrowed(authority),
        })
    }

    /// Returns whether the authority `named` in a response belongs to the site of the request.
    ///
    /// `scheme` is that of the reference, and decides which port is the default one. A request
    /// without an authority does not say which one is its own: any may be.
    pub(crate) fn is_same_site(
        &self,
        request: &request::Parts,
        scheme: Option<&str>,
        named: &str,
    ) -> bool {
        let Some(named) = normalize_authority(named, scheme) else {
            return false;
        };
        let is_fixed = matches!(self, Self::Fixed(fixed) if *named == **fixed);
        is_fixed || requested_authority(request).is_ok_and(|own| own.is_empty() || own == named)
    }
}

/// The `Host` lines of a request. A pass over all fields collects them at no cost.
#[derive(Clone, Copy, Default)]
pub(crate) struct HostLines<'r> {
    first: Option<&'r HeaderValue>,
    has_more: bool,
}

impl<'r> HostLines<'r> {
    pub(crate) fn from_headers(headers: &'r HeaderMap) -> Self {
        let mut lines = Self::default();
        headers
            .get_all(HOST)
            .iter()
            .for_each(|line| lines.add(line));
        lines
    }

    /// Whether there is no line.
    pub(crate) fn is_none(&self) -> bool {
        self.first.is_none()
    }

    /// Whether there is one line, with this value.
    pub(crate) fn is_one(&self, value: &str) -> bool {
        !self.has_more && self.first.is_some_and(|line| line == value)
    }

    /// Adds a line.
    pub(crate) fn add(&mut self, line: &'r HeaderValue) {
        self.has_more = self.first.is_some();
        self.first = Some(line);
    }
}

/// Returns the authority that a request is for, see [`authority_of`].
fn requested_authority(request: &request::Parts) -> Result<Cow<'_, str>, InvalidAuthority> {
    authority_of(request, HostLines::from_headers(&request.headers))
}

/// Returns the authority that a request is for, in normal form; empty if it names none.
///
/// That of an absolute-form target wins over `Host` (RFC 9112 §3.2.2). HTTP/2 has no such rule: a
/// `Host` that differs from `:authority` makes the request malformed (RFC 9113 §8.3.1).
pub(super) fn authority_of<'r>(
    request: &'r request::Parts,
    hosts: HostLines<'r>,
) -> Result<Cow<'r, str>, InvalidAuthority> {
    let scheme = request.uri.scheme_str();
    if hosts.has_more {
        return Err(InvalidAuthority);
    }
    let host = match hosts.first {
        None => None,
        // The field is empty where the target has no authority (RFC 9110 §7.2).
        Some(host) if host.is_empty() => Some(Cow::Borrowed("")),
        Some(host) => Some(normal_host(host, scheme).ok_or(InvalidAuthority)?),
    };
    let Some(target) = request.uri.authority() else {
        return Ok(host.unwrap_or_default());
    };
    // Without a scheme it is an authority-form target, which is for CONNECT alone (RFC 9112
    // §3.2.3).
    scheme.ok_or(InvalidAuthority)?;
    let target = normalize_authority(target.as_str(), scheme).ok_or(InvalidAuthority)?;
    let target_wins = request.version < Version::HTTP_2;
    match host {
        Some(host) if !target_wins && host != target => Err(InvalidAuthority),
        _ => Ok(target),
    }
}

/// Returns the value of `Host` in normal form, see [`normalize_authority`].
fn normal_host<'a>(host: &'a HeaderValue, scheme: Option<&str>) -> Option<Cow<'a, str>> {
    // Looked at first: its characters are known to be text then, which takes less time to see for
    // all of them together than for each.
    match is_normal(host.as_bytes()) {
        true => str::from_utf8(host.as_bytes()).ok().map(Cow::Borrowed),
        false => normalize_unusual(host.to_str().ok()?, scheme),
    }
}

/// Returns an authority in normal form: in lower case, without the dot of the root and the default
/// port, with one spelling of its port and of an IPv6 address.
///
/// `None` unless it is a host with an optional port (RFC 9110 §4.2, §7.2). User information is
/// refused.
pub(crate) fn normalize_authority<'a>(
    authority: &'a str,
    scheme: Option<&str>,
) -> Option<Cow<'a, str>> {
    // Nearly all authorities are normal. Every hit pays for this look.
    match is_normal(authority.as_bytes()) {
        true => Some(Cow::Borrowed(authority)),
        false => normalize_unusual(authority, scheme),
    }
}

/// Returns whether an authority is a name with an optional port, both in normal form.
#[inline]
fn is_normal(authority: &[u8]) -> bool {
    let colon = authority.iter().rposition(|byte| *byte == b':');
    let (name, port) = authority.split_at(colon.unwrap_or(authority.len()));
    // Without branches, which cost more than the rest of a name that is not normal.
    let is_name = name.iter().fold(true, |is_name, byte| {
        is_name & IS_NORMAL_NAME[usize::from(*byte)]
    });
    is_name && !matches!(name, [] | [.., b'.']) && (port.is_empty() || is_normal_port(port))
}

/// Whether a name in normal form has each character. Every hit asks it, hence a table.
const IS_NORMAL_NAME: [bool; 256] = {
    let mut is_normal = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        let character = byte as u8;
        is_normal[byte] = character.is_ascii_lowercase()
            || character.is_ascii_digit()
            || matches!(character, b'.' | b'-' | b'_');
        byte += 1;
    }
    is_normal
};

/// Returns whether a port with its colon is in normal form, and is the default one of no scheme.
fn is_normal_port(port: &[u8]) -> bool {
    match port {
        b":80" | b":443" => false,
        [b':', b'1'..=b'9', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Normalizes any authority, see [`normalize_authority`].
#[inline(never)]
fn normalize_unusual<'a>(authority: &'a str, scheme: Option<&str>) -> Option<Cow<'a, str>> {
    let port_at = match authority.strip_prefix('[') {
        Some(_) => authority.find(']')? + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at(port_at);
    let port = match port.strip_prefix(':') {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits,
        None if port.is_empty() => "",
        _ => return None,
    };
    let host = match host.strip_prefix('[') {
        Some(literal) => normal_ip_literal(literal.strip_suffix(']')?)?,
        None => normal_name(host)?,
    };
    let port = match port.trim_start_matches('0') {
        "" if !port.is_empty() => "0",
        significant => significant,
    };
    let is_https = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let is_default = port.is_empty() || port == if is_https { "443" } else { "80" };
    let normal = if is_default {
        host
    } else {
        format!("{host}:{port}")
    };
    Some(match normal == authority {
        true => Cow::Borrowed(authority),
        false => Cow::Owned(normal),
    })
}

/// Returns a registered name or an IPv4 address in normal form (RFC 3986 §3.2.2, §6.2.2).
fn normal_name(name: &str) -> Option<String> {
    let mut normal = String::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match percent_decoded(byte, behind) {
            Some(decoded) if is_unreserved(decoded) => {
                normal.push(char::from(decoded));
                rest = &behind[2..];
            }
            // Its digits follow, and are put into lower case with the rest.
            Some(_) => normal.push('%'),
            None if is_unreserved(byte) || b"!$&'()*+,;=".contains(&byte) => {
                normal.push(char::from(byte));
            }
            None => return None,
        }
    }
    normal.make_ascii_lowercase();
    if normal.ends_with('.') {
        normal.pop();
    }
    // No name ends with two dots, and removing one would leave another name that is not normal.
    (!normal.is_empty() && !normal.ends_with('.')).then_some(normal)
}

/// Returns an IP literal in normal form, with its brackets (RFC 3986 §3.2.2, RFC 5952).
fn normal_ip_literal(literal: &str) -> Option<String> {
    if let Ok(address) = literal.parse::<Ipv6Addr>() {
        return Some(format!("[{address}]"));
    }
    let future = literal.strip_prefix(['v', 'V'])?;
    let is_allowed = |byte: u8| is_unreserved(byte) || b":!$&'()*+,;=".contains(&byte);
    let is_valid = future.contains('.') && future.bytes().all(is_allowed);
    is_valid.then(|| format!("[{}]", literal.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn request(uri: &str, hosts: &[&str]) -> request::Parts {
        let mut builder = Request::get(uri);
        for host in hosts {
            builder = builder.header(HOST, *host);
        }
        builder.body(()).expect("a request").into_parts().0
    }

    /// RFC 9110 §4.2.3, §7.2; RFC 9112 §3.2.
    #[test]
    fn one_valid_authority_or_none() {
        for (uri, hosts, expected) in [
            ("/", &["Example.com"][..], Some("example.com")),
            ("/", &["example.com:80"], Some("example.com")),
            ("/", &["example.com:080"], Some("example.com")),
            ("/", &["example.com:08080"], Some("example.com:8080")),
            ("/", &["example.com:"], Some("example.com")),
            ("/", &["example.com:0"], Some("example.com:0")),
            ("/", &["example.com:000"], Some("example.com:0")),
            ("/", &["example.com."], Some("example.com")),
            ("/", &["example.com.:8080"], Some("example.com:8080")),
            ("/", &["example%2Ecom"], Some("example.com")),
            ("/", &["ex%C3%A9.com"], Some("ex%c3%a9.com")),
            ("/", &["ex%zz.com"], None),
            ("/", &["."], None),
            ("/", &["example.com.."], None),
            ("/", &["example.com..:8080"], None),
            ("/", &["example.com:443"], Some("example.com:443")),
            ("/", &["example.com:8080"], Some("example.com:8080")),
            ("/", &["127.0.0.1:3000"], Some("127.0.0.1:3000")),
            ("/", &["[::1]:3000"], Some("[::1]:3000")),
            ("/", &["[::1]"], Some("[::1]")),
            ("/", &["[0:0:0:0:0:0:0:1]:080"], Some("[::1]")),
            ("/", &["[2001:DB8::A]"], Some("[2001:db8::a]")),
            ("/", &["[V1.x]"], Some("[v1.x]")),
            ("/", &["[::g]"], None),
            ("http://a/", &[], Some("a")),
            ("http://A:80/", &["a"], Some("a")),
            ("https://a:443/", &["a"], Some("a")),
            ("https://a:0443/", &["a"], Some("a")),
            ("https://a:80/", &[], Some("a:80")),
            // The target wins (RFC 9112 §3.2.2).
            ("http://a/", &["b"], Some("a")),
            ("http://a/", &[""], Some("a")),
            ("http://a/", &["b", "b"], None),
            ("http://a/", &["b c"], None),
            ("http://user@a/", &[], None),
            // A target in authority form.
            ("a:80", &["a"], None),
            ("a", &[], None),
            // No authority.
            ("/", &[], Some("")),
            ("/", &[""], Some("")),
            ("/", &["a", "a"], None),
            ("/", &["a", "b"], None),
            ("/", &["user@a"], None),
            ("/", &["a/b"], None),
            ("/", &["a b"], None),
            ("/", &["a:b"], None),
            ("/", &["a:8O"], None),
            ("/", &[":80"], None),
            ("/", &["[::1"], None),
            ("/", &["[]"], None),
            ("/", &["::1"], None),
        ] {
            let request = request(uri, hosts);
            let got = Authority::FromRequest.resolve(&request).ok();
            assert_eq!(got.as_deref(), expected, "{uri} {hosts:?}");
            if let Some(normal) = got {
                let again = normalize_authority(&normal, request.uri.scheme_str());
                assert!(
                    normal.is_empty() || again.as_ref() == Some(&normal),
                    "{uri} {hosts:?}"
                );
            }
        }
    }

    /// RFC 9113 §8.3.1: there, the two must agree.
    #[test]
    fn in_http_2_a_host_agrees_with_the_authority_or_is_invalid() {
        for (uri, hosts, expected) in [
            ("http://a/", &[][..], Some("a")),
            ("http://a/", &["A.:80"], Some("a")),
            ("http://a/", &["b"], None),
            ("http://a/", &["a:81"], None),
            ("http://a/", &[""], None),
            ("http://a/", &["a", "a"], None),
        ] {
            let mut request = request(uri, hosts);
            request.version = Version::HTTP_2;
            let got = requested_authority(&request).ok();
            assert_eq!(got.as_deref(), expected, "{uri} {hosts:?}");
        }
    }

    /// RFC 9111 §4.4: a response invalidates resources of its own site only.
    #[test]
    fn references_of_the_same_site() {
        let site = Authority::fixed("Site");
        let open = Authority::FromRequest;
        for (rule, host, scheme, named, is_own) in [
            (&open, "a", None, "a", true),
            (&open, "a:80", Some("http"), "A", true),
            (&open, "a", None, "b", false),
            (&open, "a:81", None, "a", false),
            (&open, "a", None, "not a host", false),
            (&site, "a", None, "a", true),
            (&site, "a", None, "SITE", true),
            (&site, "a", None, "b", false),
            (&open, "", None, "b", true),
        ] {
            let request = request("/", &[host]);
            let got = rule.is_same_site(&request, scheme, named);
            assert_eq!(got, is_own, "{rule:?} {host} {named}");
        }
    }
}
