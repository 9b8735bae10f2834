//! References in an upstream's responses, translated from the upstream's name space into that of
//! the clients (RFC 9110 §8.7, §10.2.2), as nginx' `proxy_redirect default` does.
//!
//! An upstream knows itself by the host it was told and by the base path of its URL. Clients, and a
//! cache in front, know neither.

use std::borrow::Cow;

use http::header::{CONTENT_LOCATION, HeaderName, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderValue};

use crate::key::normalize_authority;
use crate::semantics::invalidation::without_dot_segments;

use super::routes::{Destination, Upstream, UpstreamRoutes};

/// The data to translate the references of one response.
#[derive(Clone, Copy)]
pub(in crate::proxy) struct ResponseReferences<'r> {
    routes: &'r UpstreamRoutes,
    upstream: &'r Upstream,
    /// The `Host` that the upstream was told.
    host: &'r str,
}

impl<'r> ResponseReferences<'r> {
    /// The references of the response to a request that was sent to `destination`.
    pub(in crate::proxy) fn from_destination(destination: &'r Destination<'r>) -> Self {
        Self {
            routes: destination.routes,
            upstream: destination.upstream,
            host: destination.host.to_str().unwrap_or_default(),
        }
    }

    /// Translates `Location`, `Content-Location` and `Refresh`. `Link` stays, as the links in
    /// documents do.
    pub(in crate::proxy) fn translate_fields(self, headers: &mut HeaderMap) {
        for (name, value) in headers.iter_mut() {
            if ![LOCATION, CONTENT_LOCATION, REFRESH].contains(name) {
                continue;
            }
            // Some servers send raw UTF-8.
            let translated = std::str::from_utf8(value.as_bytes())
                .ok()
                .and_then(|text| self.translate_value(name, text))
                .and_then(|text| HeaderValue::from_bytes(text.as_bytes()).ok());
            if let Some(translated) = translated {
                *value = translated;
            }
        }
    }

    /// Translates `Path` and `Domain` of cookies (RFC 6265 §4.1.2): takes the upstream's own path
    /// off, and its own host out, so that the cookie is for the host that the client knows.
    pub(in crate::proxy) fn translate_cookies(self, headers: &mut HeaderMap) {
        if !headers.contains_key(SET_COOKIE) {
            return;
        }
        for (name, value) in headers.iter_mut() {
            if *name != SET_COOKIE {
                continue;
            }
            let translated = value.to_str().ok().map(|text| self.translate_cookie(text));
            if let Some(Ok(translated)) = translated.map(HeaderValue::try_from) {
                *value = translated;
            }
        }
    }

    fn translate_cookie(self, cookie: &str) -> String {
        let mut parts = cookie.split(';');
        let mut translated = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let (name, value) = (name.trim(), value.trim());
            let is_path = name.eq_ignore_ascii_case("path") && value.starts_with('/');
            let path = match is_path {
                true => self.client_path(self.upstream, value),
                false => None,
            };
            match path {
                Some(path) => translated.push_str(&format!("; {name}={path}")),
                None if name.eq_ignore_ascii_case("domain") && self.is_own_domain(value) => {}
                None => translated.push_str(&format!(";{part}")),
            }
        }
        translated
    }

    /// Whether a cookie's domain is the host of one of the upstream's servers.
    fn is_own_domain(self, domain: &str) -> bool {
        let domain = domain.strip_prefix('.').unwrap_or(domain);
        let mut own = self.upstream.servers.authorities();
        own.any(|authority| authority.host().eq_ignore_ascii_case(domain))
    }

    fn translate_value(self, name: &HeaderName, value: &str) -> Option<String> {
        if *name != REFRESH {
            return self.translate(value);
        }
        // `5; url=REFERENCE`, quoted or not.
        let url_at = value.to_ascii_lowercase().find("url=")? + 4;
        let (before, reference) = value.split_at(url_at);
        let quote = reference.starts_with(['"', '\'']);
        let (before, reference) = value.split_at(before.len() + usize::from(quote));
        let end = match quote {
            true => reference.find(&before[before.len() - 1..])?,
            false => reference.len(),
        };
        let (reference, behind) = reference.split_at(end);
        Some(format!("{before}{}{behind}", self.translate(reference)?))
    }

    /// Returns a reference as clients know it; `None` if it stays as it is.
    fn translate(self, reference: &str) -> Option<String> {
        let (scheme, rest) = match reference.split_once("://") {
            Some((scheme, _)) if scheme.contains(['/', '?', '#']) => (None, reference),
            Some((scheme, _)) => (Some(scheme), &reference[scheme.len() + 1..]),
            None => (None, reference),
        };
        let Some(rest) = rest.strip_prefix("//") else {
            let path = Some(rest).filter(|path| path.starts_with('/'))?;
            // A path is in the name space of clients unless the upstream has a base path.
            let has_base = !self.upstream.base_path.is_empty();
            return has_base.then(|| self.client_path(self.upstream, path))?;
        };
        let path_at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_at);
        let others = self.routes.upstreams();
        for upstream in std::iter::once(self.upstream).chain(others) {
            if upstream.is_named_by(scheme, authority)
                && let Some(path) = self.client_path(upstream, path)
            {
                return Some(path);
            }
        }
        // Of the clients' own host, which may have been told, only the base path is foreign. A
        // redirect to `https://` remains one.
        let scheme = scheme.unwrap_or_default();
        let is_told = normalize_authority(authority, Some(scheme))? == self.host;
        if !is_told || self.upstream.base_path.is_empty() {
            return None;
        }
        let path = self.client_path(self.upstream, path)?;
        let before = &reference[..reference.len() - rest.len() + path_at];
        Some(format!("{before}{path}"))
    }

    /// Returns the path, query and fragment by which clients reach a path of `upstream`; `None` if
    /// they cannot.
    fn client_path(self, upstream: &Upstream, reference: &str) -> Option<String> {
        let path_ends = reference.find(['?', '#']).unwrap_or(reference.len());
        let (path, rest) = reference.split_at(path_ends);
        let path = match path {
            "" => Cow::Borrowed("/"),
            path => without_dot_segments(Cow::Borrowed(path)),
        };
        let behind_base = path.strip_prefix(&*upstream.base_path)?;
        let path = match behind_base {
            "" => "/",
            path if path.starts_with('/') => path,
            _ => return None,
        };
        if !std::ptr::eq(self.routes.upstream_of(path), upstream) {
            return None;
        }
        // `//host` and, for browsers, `/\host` are references to another host.
        let guard = match path.as_bytes() {
            [b'/', b'/' | b'\\', ..] => "/.",
            _ => "",
        };
        Some(format!("{guard}{path}{rest}"))
    }
}

#[cfg(test)]
mod tests {
    use http::uri::PathAndQuery;

    use super::*;
    use crate::proxy::HostPolicy;
    use crate::proxy::upstream::server::TriedServers;

    fn routes(base: &str) -> UpstreamRoutes {
        let mut routes = UpstreamRoutes::new(&format!("http://o:8000{base}")).expect("a URL");
        routes.add("/api", "http://two/v2").expect("a URL");
        routes
    }

    fn translated(
        routes: &UpstreamRoutes,
        policy: HostPolicy,
        path: &'static str,
        field: (&'static str, &str),
    ) -> String {
        let host = HeaderValue::from_static("site.test");
        let path = PathAndQuery::from_static(path);
        let tried = &mut TriedServers::default();
        let destination = routes.destination(&path, Some(&host), policy, tried);
        let destination = destination.expect("a server").expect("a destination");
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_bytes(field.1.as_bytes()).expect("a field value");
        headers.insert(field.0, value);
        let references = ResponseReferences::from_destination(&destination);
        references.translate_fields(&mut headers);
        references.translate_cookies(&mut headers);
        String::from_utf8_lossy(headers[field.0].as_bytes()).into_owned()
    }

    /// RFC 9110 §10.2.2; nginx `proxy_redirect default`. The first column is the upstream's base.
    #[test]
    fn references_to_the_upstream_are_translated_and_all_others_stay() {
        use HostPolicy::{Preserve, Upstream};
        for (base, policy, reference, expected) in [
            ("", Upstream, "http://o:8000/items?q#f", "/items?q#f"),
            ("", Upstream, "HTTP://O.:08000/items", "/items"),
            ("", Upstream, "//o:8000/items", "/items"),
            ("", Upstream, "http://o:8000", "/"),
            ("", Upstream, "http://o:8000?q", "/?q"),
            ("", Upstream, "/items", "/items"),
            ("", Upstream, "http://o:8000/\u{e4}", "/\u{e4}"),
            // Its sibling, as clients reach it.
            ("", Upstream, "http://two/v2/api/x", "/api/x"),
            ("", Preserve, "http://o:8000/items", "/items"),
            (
                "",
                Preserve,
                "http://site.test/items",
                "http://site.test/items",
            ),
            ("/base", Upstream, "http://o:8000/base/items", "/items"),
            ("/base", Upstream, "http://o:8000/base", "/"),
            ("/base", Upstream, "/base/items", "/items"),
            (
                "/base",
                Upstream,
                "/base/./a/../items?/../x",
                "/items?/../x",
            ),
            (
                "/base",
                Preserve,
                "http://site.test/base/items",
                "http://site.test/items",
            ),
            (
                "/base",
                Preserve,
                "https://Site.test:443/base?q",
                "https://Site.test:443/?q",
            ),
            ("/base", Preserve, "//site.test/base/x", "//site.test/x"),
        ] {
            let got = translated(&routes(base), policy, "/orders", ("location", reference));
            assert_eq!(got, expected, "{base} {policy:?} {reference}");
        }
        for (base, reference) in [
            ("", "http://other/items"),
            ("", "http://o/items"),
            ("", "https://o:8000/items"),
            ("", "ftp://o:8000/items"),
            ("", "items"),
            ("", "?q"),
            ("", ""),
            ("", "mailto:x@o"),
            ("", "/go?to=http://o:8000/items"),
            ("", "http://o:8000@other/items"),
            // Clients reach another upstream by this path.
            ("", "http://o:8000/api/x"),
            ("", "http://two/v2/x"),
            ("/base", "/basement"),
            ("/base", "/other"),
            ("/base", "/base/../other"),
            ("/base", "http://o:8000/other"),
        ] {
            let got = translated(&routes(base), Upstream, "/orders", ("location", reference));
            assert_eq!(got, reference, "{base}");
        }
    }

    /// A path that begins with two slashes is a reference to another host, for browsers also one
    /// with a backslash.
    #[test]
    fn a_translated_path_is_never_another_host() {
        for (base, reference, expected) in [
            ("", "http://o:8000//evil.test/x", "/.//evil.test/x"),
            ("", "http://o:8000/\\evil.test", "/./\\evil.test"),
            ("/base", "/base//evil.test", "/.//evil.test"),
            (
                "/base",
                "/base/..//base//evil.test",
                "/base/..//base//evil.test",
            ),
        ] {
            let upstream = HostPolicy::Upstream;
            let got = translated(&routes(base), upstream, "/", ("location", reference));
            assert_eq!(got, expected, "{base} {reference}");
        }
    }

    /// RFC 6265 §4.1.2; nginx `proxy_cookie_path`, `proxy_cookie_domain`.
    #[test]
    fn path_and_domain_of_cookies_are_translated() {
        for (base, cookie, expected) in [
            ("/base", "a=1; Path=/base", "a=1; Path=/"),
            ("/base", "a=1; path=/base/x; Secure", "a=1; path=/x; Secure"),
            ("/base", "a=/base; Path=/other", "a=/base; Path=/other"),
            ("/base", "a=1; Domain=o; HttpOnly", "a=1; HttpOnly"),
            ("", "a=1;Domain=.O;Path=/x", "a=1; Path=/x"),
            (
                "",
                "a=1; Domain=other; Path=/x",
                "a=1; Domain=other; Path=/x",
            ),
            ("", "a=1", "a=1"),
            ("", "a=1; Path", "a=1; Path"),
        ] {
            let field = ("set-cookie", cookie);
            let got = translated(&routes(base), HostPolicy::Preserve, "/", field);
            assert_eq!(got, expected, "{base} {cookie}");
        }
    }

    #[test]
    fn the_fields_that_refer_to_resources_are_translated() {
        for (name, value, expected) in [
            ("content-location", "http://o:8000/base/x", "/x"),
            ("refresh", "5; url=http://o:8000/base/x", "5; url=/x"),
            ("refresh", "5;URL='http://o:8000/base/x' ", "5;URL='/x' "),
            ("refresh", "5", "5"),
            (
                "refresh",
                "5; url='http://o:8000/base/x",
                "5; url='http://o:8000/base/x",
            ),
            ("link", "<http://o:8000/base/x>", "<http://o:8000/base/x>"),
            ("x-location", "http://o:8000/base/x", "http://o:8000/base/x"),
        ] {
            let got = translated(&routes("/base"), HostPolicy::Upstream, "/", (name, value));
            assert_eq!(got, expected, "{name}");
        }
    }
}
