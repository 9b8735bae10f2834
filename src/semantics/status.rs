//! `Cache-Status` (RFC 9211).

use std::fmt;

use http::HeaderValue;

/// The largest integer of a structured field (RFC 8941 §3.3.1).
const LARGEST_INTEGER: u64 = 999_999_999_999_999;

/// This cache's name in `Cache-Status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheName(Box<str>);

/// A name that no `Cache-Status` can carry: empty, or not visible ASCII and spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidCacheName;

impl fmt::Display for InvalidCacheName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a cache name is one or more visible ASCII characters or spaces")
    }
}

impl std::error::Error for InvalidCacheName {}

impl CacheName {
    /// A name: written as a token where it is one, as a quoted string otherwise (RFC 8941 §3.3).
    ///
    /// # Errors
    /// When `name` is empty or holds anything but visible ASCII and spaces.
    pub fn new(name: &str) -> Result<Self, InvalidCacheName> {
        if name.is_empty() || !name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(InvalidCacheName);
        }
        if is_structured_token(name.as_bytes()) {
            return Ok(Self(name.into()));
        }
        let escaped = name.replace('\\', r"\\").replace('"', "\\\"");
        Ok(Self(format!("\"{escaped}\"").into()))
    }

    /// A hit; `ttl` in seconds, left out where the response stays until it is invalidated.
    #[must_use]
    pub fn hit(&self, ttl: Option<u64>) -> HeaderValue {
        let name = &self.0;
        value(match ttl.map(|ttl| ttl.min(LARGEST_INTEGER)) {
            Some(ttl) => format!("{name}; hit; ttl={ttl}"),
            None => format!("{name}; hit"),
        })
    }

    /// Forwarded to the inner service.
    #[must_use]
    pub fn forwarded(&self, fwd: &str, stored: bool, detail: Option<&str>) -> HeaderValue {
        let mut text = format!("{}; fwd={fwd}", self.0);
        if stored {
            text.push_str("; stored");
        }
        if let Some(detail) = detail {
            text.push_str("; detail=");
            text.push_str(detail);
        }
        value(text)
    }

    /// Answered by what another request's forwarding brought.
    #[must_use]
    pub fn collapsed(&self, fwd: &str) -> HeaderValue {
        value(format!("{}; fwd={fwd}; collapsed", self.0))
    }

    /// Answered by the cache itself, without the store or the inner service.
    #[must_use]
    pub fn own_answer(&self, detail: &str) -> HeaderValue {
        value(format!("{}; detail={detail}", self.0))
    }
}

impl Default for CacheName {
    fn default() -> Self {
        Self("tower-response-cache".into())
    }
}

fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("a checked name and tokens are visible ASCII")
}

/// RFC 8941 §3.3.4
fn is_structured_token(name: &[u8]) -> bool {
    (name[0].is_ascii_alphabetic() || name[0] == b'*')
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_2_members() {
        let name = CacheName::default();
        for (value, expected) in [
            (name.hit(Some(57)), "tower-response-cache; hit; ttl=57"),
            (name.hit(None), "tower-response-cache; hit"),
            (
                name.hit(Some(u64::MAX)),
                "tower-response-cache; hit; ttl=999999999999999",
            ),
            (
                name.forwarded("uri-miss", true, None),
                "tower-response-cache; fwd=uri-miss; stored",
            ),
            (
                name.forwarded("request", false, Some("private")),
                "tower-response-cache; fwd=request; detail=private",
            ),
            (
                name.own_answer("only-if-cached"),
                "tower-response-cache; detail=only-if-cached",
            ),
        ] {
            assert_eq!(value, expected);
        }
    }

    #[test]
    fn names_are_tokens_or_strings() {
        for (name, written) in [
            ("edge", Some("edge; hit")),
            ("a.b:c/d", Some("a.b:c/d; hit")),
            ("10.0.0.1", Some(r#""10.0.0.1"; hit"#)),
            ("CDN here", Some(r#""CDN here"; hit"#)),
            (r#"a"b\"#, Some(r#""a\"b\\"; hit"#)),
            ("", None),
            ("a\nb", None),
            ("caf\u{e9}", None),
        ] {
            let got = CacheName::new(name).ok().map(|name| name.hit(None));
            assert_eq!(got, written.map(HeaderValue::from_static), "{name:?}");
        }
    }
}
