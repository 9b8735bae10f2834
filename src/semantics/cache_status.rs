//! The `Cache-Status` field (RFC 9211): its members, written.
//!
//! Knows tokens and numbers only. The service decides which member an answer gets.

use std::fmt;

use http::{HeaderName, HeaderValue, StatusCode};

use crate::semantics::reason::{Bypass, FetchReason, Reason};

/// The name of the field.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The largest integer of a structured field (RFC 8941 §3.3.1).
const LARGEST_INTEGER: i64 = 999_999_999_999_999;

/// The name of this cache in `Cache-Status`. Default: `tower-response-cache`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheName(Box<str>);

/// The error of a name that `Cache-Status` cannot carry: empty, or not visible ASCII and spaces.
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
    /// Creates a name. It is written as a token if it is one, otherwise as a quoted string (RFC
    /// 8941 §3.3).
    ///
    /// # Errors
    ///
    /// If `name` is empty or holds anything but visible ASCII and spaces.
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

    /// The name as it was given, without quotes.
    pub(crate) fn text(&self) -> String {
        let Some(quoted) = self.0.strip_prefix('"').and_then(|it| it.strip_suffix('"')) else {
            return self.0.to_string();
        };
        let mut is_escaped = false;
        let plain = quoted.chars().filter(|character| {
            is_escaped = *character == '\\' && !is_escaped;
            !is_escaped
        });
        plain.collect()
    }

    /// Writes the member of a hit.
    ///
    /// `ttl` is in seconds and negative for a stale response. It is left out for one that stays
    /// until it is invalidated.
    #[must_use]
    pub fn hit(&self, ttl: Option<i64>, detail: Option<&str>) -> HeaderValue {
        value(format!(
            "{}; hit{}{}",
            self.0,
            TtlParameter(ttl),
            DetailParameter(detail)
        ))
    }

    /// Writes the member of a stale response that was served because forwarding failed.
    ///
    /// `status` is that of the inner service's answer; `None` if there was no answer.
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

    /// Writes the member of an answer from the inner service.
    #[must_use]
    pub fn forwarded(&self, info: Forwarded<'_>) -> HeaderValue {
        let mut text = format!("{}; fwd={}", self.0, info.fwd);
        if let Some(status) = info.status {
            text.push_str("; fwd-status=");
            text.push_str(status.as_str());
        }
        if info.stored {
            text.push_str("; stored");
        }
        value(format!("{text}{}", DetailParameter(info.detail)))
    }

    /// Writes the member of an answer that another request's forwarding brought.
    #[must_use]
    pub fn collapsed(&self, fwd: &str) -> HeaderValue {
        value(format!("{}; fwd={fwd}; collapsed", self.0))
    }

    /// Writes the member of an answer that the cache itself made, such as a 504.
    #[must_use]
    pub fn generated(&self, detail: &str) -> HeaderValue {
        value(format!("{}{}", self.0, DetailParameter(Some(detail))))
    }
}

/// What `Cache-Status` tells of a request that was forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarded<'a> {
    /// Why it was forwarded: a registered token (RFC 9211 §2.2).
    pub fwd: &'a str,
    /// The status of the inner service, if the answer has another one (RFC 9211 §2.3).
    pub status: Option<StatusCode>,
    /// Whether the answer is being stored.
    pub stored: bool,
    /// More about the reason.
    pub detail: Option<&'a str>,
}

/// The `ttl` parameter, if there is a value.
struct TtlParameter(Option<i64>);

impl fmt::Display for TtlParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(ttl) => write!(f, "; ttl={}", ttl.clamp(-LARGEST_INTEGER, LARGEST_INTEGER)),
            None => Ok(()),
        }
    }
}

/// The `detail` parameter, if there is a value.
struct DetailParameter<'a>(Option<&'a str>);

impl fmt::Display for DetailParameter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(detail) => write!(f, "; detail={detail}"),
            None => Ok(()),
        }
    }
}

impl FetchReason {
    /// Returns the registered token of the `fwd` parameter (RFC 9211 §2.2).
    #[must_use]
    pub(crate) fn fwd(self) -> &'static str {
        match self {
            Self::UriMiss | Self::OtherKey => "uri-miss",
            Self::VaryMiss | Self::LongSelectingFields => "vary-miss",
            Self::Stale => "stale",
            Self::RequestNoCache
            | Self::RequestMaxAge
            | Self::RequestMinFresh
            | Self::RequestCredentials => "request",
            Self::Partial => "partial",
            Self::BackendFailed => "miss",
        }
    }

    /// Returns the reason's own name where the registered token says less.
    #[must_use]
    pub(crate) fn detail(self) -> Option<&'static str> {
        (self.fwd() != self.as_str()).then(|| self.as_str())
    }
}

impl Bypass {
    /// Returns the registered token of the `fwd` parameter (RFC 9211 §2.2).
    #[must_use]
    pub(crate) fn fwd(self) -> &'static str {
        match self {
            Self::Method => "method",
            _ => "bypass",
        }
    }

    /// Returns the reason's own name where the registered token says less.
    #[must_use]
    pub(crate) fn detail(self) -> Option<&'static str> {
        (self.fwd() != self.as_str()).then(|| self.as_str())
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

/// Returns whether a name is a token of structured fields (RFC 8941 §3.3.4).
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
