//! The authority of a request: which site it is for.

use std::borrow::Cow;
use std::sync::Arc;

use http::header::HOST;
use http::request;

/// The source of the authority in keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Authority {
    /// The authority of the target, or else the one valid `Host`, in lower case and without the
    /// default port.
    ///
    /// A request whose authority is missing, malformed, given twice or contradictory bypasses the
    /// cache.
    #[default]
    FromRequest,
    /// One site under many names and ports: every request has this authority.
    Fixed(Arc<str>),
}

impl Authority {
    /// Creates [`Fixed`](Self::Fixed), in lower case.
    #[must_use]
    pub fn fixed(authority: &str) -> Self {
        Self::Fixed(authority.to_ascii_lowercase().into())
    }

    /// Returns the authority of a request; `None` if it has no valid one.
    pub(crate) fn resolve<'r>(&'r self, request: &'r request::Parts) -> Option<Cow<'r, str>> {
        match self {
            Self::FromRequest => requested(request),
            Self::Fixed(authority) => Some(Cow::Borrowed(authority)),
        }
    }

    /// Returns whether the authority `named` in a response belongs to the site of the request.
    ///
    /// `scheme` is that of the reference, and decides which port is the default one.
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
        is_fixed || requested(request).is_some_and(|own| own == named)
    }
}

/// Returns the authority that the request itself states, if it is valid and stated once.
fn requested(request: &request::Parts) -> Option<Cow<'_, str>> {
    let scheme = request.uri.scheme_str();
    let mut hosts = request.headers.get_all(HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return None;
    }
    let host = host
        .map(|host| {
            host.to_str()
                .ok()
                .and_then(|host| normalize_authority(host, scheme))
        })
        .map_or(Ok(None), |host| host.map(Some).ok_or(()))
        .ok()?;
    match request.uri.authority() {
        None => host,
        Some(target) => {
            let target = normalize_authority(target.as_str(), scheme)?;
            host.is_none_or(|host| host == target).then_some(target)
        }
    }
}

/// Returns an authority in the form of keys: in lower case, without the dot of the root and the
/// default port.
///
/// `None` unless it is a host with an optional port (RFC 9110 §4.2, §7.2). User information is
/// refused.
pub(crate) fn normalize_authority<'a>(
    authority: &'a str,
    scheme: Option<&str>,
) -> Option<Cow<'a, str>> {
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
    if host.is_empty() || !is_host(host) {
        return None;
    }
    let host_ends = host.len() - usize::from(host.ends_with('.'));
    // No name ends with two dots, and removing one would leave another name that is not normal.
    if host_ends == 0 || host[..host_ends].ends_with('.') {
        return None;
    }
    let is_https = scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let is_default = port.is_empty() || port == if is_https { "443" } else { "80" };
    let kept = match (is_default, host_ends == host.len()) {
        (true, _) => Cow::Borrowed(&host[..host_ends]),
        (false, true) => Cow::Borrowed(authority),
        (false, false) => Cow::Owned(format!("{}:{port}", &host[..host_ends])),
    };
    Some(if kept.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(kept.to_ascii_lowercase())
    } else {
        kept
    })
}

/// Returns whether a host has only characters of a registered name or an IP literal (RFC 3986
/// §3.2.2).
fn is_host(host: &str) -> bool {
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match literal {
        Some(address) => {
            !address.is_empty()
                && address
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b":.-_~!$&'()*+,;=".contains(&byte))
        }
        None => host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)),
    }
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

    #[test]
    fn rfc_9110_section_7_2_one_valid_authority_or_none() {
        for (uri, hosts, expected) in [
            ("/", &["Example.com"][..], Some("example.com")),
            ("/", &["example.com:80"], Some("example.com")),
            ("/", &["example.com:"], Some("example.com")),
            ("/", &["example.com."], Some("example.com")),
            ("/", &["example.com.:8080"], Some("example.com:8080")),
            ("/", &["."], None),
            ("/", &["example.com.."], None),
            ("/", &["example.com..:8080"], None),
            ("/", &["example.com:443"], Some("example.com:443")),
            ("/", &["example.com:8080"], Some("example.com:8080")),
            ("/", &["127.0.0.1:3000"], Some("127.0.0.1:3000")),
            ("/", &["[::1]:3000"], Some("[::1]:3000")),
            ("/", &["[::1]"], Some("[::1]")),
            ("http://a/", &[], Some("a")),
            ("http://A:80/", &["a"], Some("a")),
            ("https://a:443/", &["a"], Some("a")),
            ("https://a:80/", &[], Some("a:80")),
            ("http://a/", &["b"], None),
            ("/", &[], None),
            ("/", &["a", "a"], None),
            ("/", &["a", "b"], None),
            ("/", &[""], None),
            ("/", &["user@a"], None),
            ("/", &["a/b"], None),
            ("/", &["a b"], None),
            ("/", &["a:b"], None),
            ("/", &["[::1"], None),
            ("/", &["[]"], None),
            ("/", &["::1"], None),
        ] {
            let request = request(uri, hosts);
            let got = Authority::FromRequest.resolve(&request);
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
        ] {
            let request = request("/", &[host]);
            let got = rule.is_same_site(&request, scheme, named);
            assert_eq!(got, is_own, "{rule:?} {host} {named}");
        }
    }
}
