//! URI references, as in `Location` and `Content-Location` (RFC 3986 §5.2).

use std::borrow::Cow;

/// A resolved URI reference without its fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference<'r> {
    /// The scheme, if the reference has one.
    pub scheme: Option<&'r str>,
    /// The authority without user information, if the reference has one; otherwise the base's.
    pub authority: Option<&'r str>,
    /// The absolute path, without dot segments.
    pub path: Cow<'r, str>,
    /// The query, if the reference has one.
    pub query: Option<&'r str>,
}

/// Resolves a reference against the path of the request's target (RFC 3986 §5.2).
///
/// `None` for a reference to no resource of an HTTP authority: another scheme, a scheme without
/// authority, an empty reference.
#[must_use]
pub fn resolve<'r>(base_path: &str, reference: &'r str) -> Option<Reference<'r>> {
    let reference = reference
        .split_once('#')
        .map_or(reference, |(before, _)| before);
    let (hierarchy, query) = match reference.split_once('?') {
        Some((hierarchy, query)) => (hierarchy, Some(query)),
        None => (reference, None),
    };
    let (scheme, rest) = split_scheme(hierarchy);
    if scheme.is_some_and(|s| !s.eq_ignore_ascii_case("http") && !s.eq_ignore_ascii_case("https")) {
        return None;
    }
    if let Some(rest) = rest.strip_prefix("//") {
        let path_at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(path_at);
        // Clients take user information for credentials, and follow the rest (RFC 3986 §3.2.1).
        let authority = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let path = if path.is_empty() { "/" } else { path };
        return (!authority.is_empty()).then(|| Reference {
            scheme,
            authority: Some(authority),
            path: without_dot_segments(Cow::Borrowed(path)),
            query,
        });
    }
    if scheme.is_some() {
        return None;
    }
    let path = match rest {
        "" if query.is_some() => Cow::Owned(base_path.to_owned()),
        "" => return None,
        _ if rest.starts_with('/') => without_dot_segments(Cow::Borrowed(rest)),
        _ => {
            let directory = &base_path[..base_path.rfind('/').map_or(0, |at| at + 1)];
            without_dot_segments(Cow::Owned(format!(
                "/{}{rest}",
                directory.trim_start_matches('/')
            )))
        }
    };
    Some(Reference {
        scheme: None,
        authority: None,
        path,
        query,
    })
}

/// Encodes the characters of a reference that no URI may have, as clients do: bytes beyond ASCII,
/// and some visible characters.
#[must_use]
pub fn encode(reference: &[u8]) -> Cow<'_, str> {
    const NEVER_IN_URIS: &[u8] = b" \"<>\\^`{|}";
    let is_allowed = |byte: &u8| byte.is_ascii_graphic() && !NEVER_IN_URIS.contains(byte);
    match std::str::from_utf8(reference) {
        Ok(text) if reference.iter().all(is_allowed) => return Cow::Borrowed(text),
        _ => {}
    }
    let mut encoded = String::with_capacity(reference.len() + 16);
    for byte in reference {
        if is_allowed(byte) {
            encoded.push(char::from(*byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    Cow::Owned(encoded)
}

/// Splits the scheme off.
fn split_scheme(reference: &str) -> (Option<&str>, &str) {
    match reference.find([':', '/']) {
        Some(at) if reference.as_bytes()[at] == b':' && at > 0 => {
            (Some(&reference[..at]), &reference[at + 1..])
        }
        _ => (None, reference),
    }
}

/// Removes the dot segments of an absolute path (RFC 3986 §5.2.4).
#[must_use]
pub fn without_dot_segments(path: Cow<'_, str>) -> Cow<'_, str> {
    if !path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return path;
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    Cow::Owned(format!("/{}", kept.join("/")))
}
