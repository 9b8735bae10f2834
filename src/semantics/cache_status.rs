//! `Cache-Status` (RFC 9211).

use std::fmt;

use http::{HeaderName, HeaderValue, StatusCode};

/// The field of RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The largest integer of a structured field (RFC 8941 §3.3.1).
const LARGEST_INTEGER: i64 = 999_999_999_999_999;

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

    /// A hit; `ttl` in seconds, negative for what is stale, left out where the response stays until it is invalidated.
    #[must_use]
    pub fn hit(&self, ttl: Option<i64>, detail: Option<&str>) -> HeaderValue {
        value(format!(
            "{}; hit{}{}",
            self.0,
            TtlParameter(ttl),
            DetailParameter(detail)
        ))
    }

    /// A stored response that was used because forwarding brought nothing better: an answer of this status, or none.
    #[must_use]
    pub fn served_stale(
        &self,
        fwd: &str,
        status: Option<StatusCode>,
        ttl: Option<i64>,
        detail: &str,
    ) -> HeaderValue {
        let mut text = format!("{}; fwd={fwd}", self.0);
        if let Some(status) = status {
            text.push_str("; fwd-status=");
            text.push_str(status.as_str());
        }
        value(format!(
            "{text}{}{}",
            TtlParameter(ttl),
            DetailParameter(Some(detail))
        ))
    }

    /// Forwarded to the inner service.
    #[must_use]
    pub fn forwarded(&self, told: Forwarded<'_>) -> HeaderValue {
        let mut text = format!("{}; fwd={}", self.0, told.fwd);
        if let Some(status) = told.status {
            text.push_str("; fwd-status=");
            text.push_str(status.as_str());
        }
        if told.stored {
            text.push_str("; stored");
        }
        value(format!("{text}{}", DetailParameter(told.detail)))
    }

    /// ResponseHead by what another request's forwarding brought.
    #[must_use]
    pub fn collapsed(&self, fwd: &str) -> HeaderValue {
        value(format!("{}; fwd={fwd}; collapsed", self.0))
    }

    /// ResponseHead by the cache itself, without the store or the inner service.
    #[must_use]
    pub fn generated(&self, detail: &str) -> HeaderValue {
        value(format!("{}{}", self.0, DetailParameter(Some(detail))))
    }
}

/// What is said of a request that was forwarded.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// Why.
    pub fwd: &'a str,
    /// The status that came, where it is not the answer's own (§2.3).
    pub status: Option<StatusCode>,
    /// Whether the answer is being stored.
    pub stored: bool,
    /// More of the reason.
    pub detail: Option<&'a str>,
}

struct TtlParameter(Option<i64>);

impl fmt::Display for TtlParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ttl) => write!(f, "; ttl={}", ttl.clamp(-LARGEST_INTEGER, LARGEST_INTEGER)),
            None => Ok(()),
        }
    }
}

struct DetailParameter<'a>(Option<&'a str>);

impl fmt::Display for DetailParameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(detail) => write!(f, "; detail={detail}"),
            None => Ok(()),
        }
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

    fn forwarded(
        fwd: &'static str,
        status: Option<u16>,
        stored: bool,
        detail: Option<&'static str>,
    ) -> Forwarded<'static> {
        let status = status.map(|status| StatusCode::from_u16(status).expect("a status"));
        Forwarded {
            fwd,
            status,
            stored,
            detail,
        }
    }

    #[test]
    fn section_2_members() {
        let name = CacheName::default();
        for (value, expected) in [
            (
                name.hit(Some(57), None),
                "tower-response-cache; hit; ttl=57",
            ),
            (name.hit(None, None), "tower-response-cache; hit"),
            (
                name.hit(Some(i64::MAX), None),
                "tower-response-cache; hit; ttl=999999999999999",
            ),
            (
                name.hit(Some(-3), Some("stale-while-revalidate")),
                "tower-response-cache; hit; ttl=-3; detail=stale-while-revalidate",
            ),
            (
                name.served_stale(
                    "stale",
                    Some(StatusCode::BAD_GATEWAY),
                    Some(-3),
                    "stale-if-error",
                ),
                "tower-response-cache; fwd=stale; fwd-status=502; ttl=-3; detail=stale-if-error",
            ),
            (
                name.forwarded(forwarded("uri-miss", None, true, None)),
                "tower-response-cache; fwd=uri-miss; stored",
            ),
            (
                name.forwarded(forwarded("stale", Some(304), true, None)),
                "tower-response-cache; fwd=stale; fwd-status=304; stored",
            ),
            (
                name.forwarded(forwarded("request", None, false, Some("private"))),
                "tower-response-cache; fwd=request; detail=private",
            ),
            (
                name.generated("only-if-cached"),
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
            let got = CacheName::new(name).ok().map(|name| name.hit(None, None));
            assert_eq!(got, written.map(HeaderValue::from_static), "{name:?}");
        }
    }
}
