//! Cache keys with the scheme that `X-Forwarded-Proto` or `Forwarded` tells the upstream.
//!
//! Knows the fields that tell it, and the hook of the cache that makes keys.

use std::borrow::Cow;

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName, request};

use crate::key::{KeyParts, MakeCacheKey};
use crate::semantics::fields;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// A key hook for [`CacheLayer::key`](crate::CacheLayer::key) that adds the scheme of
/// `X-Forwarded-Proto` or `Forwarded`.
///
/// An upstream that redirects from `http` to `https` has another response for each. The scheme is
/// the list of all `X-Forwarded-Proto` lines, followed by `proto` of all `Forwarded` elements:
/// upstreams differ in the one that they read. Without any, the key is the default one. A write
/// invalidates the responses of all schemes.
///
/// It belongs behind [`request_layer`](super::ReverseProxy::request_layer), which removes these
/// fields or sets them:
///
/// ```no_run
/// use tower::ServiceBuilder;
/// use tower_response_cache::proxy::{ErrorResponderLayer, ForwardedScheme, Forwarding, ReverseProxy};
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let upstream = ReverseProxy::new("http://127.0.0.1:8000")?.forwarding(Forwarding::XForwarded);
/// let cached = ServiceBuilder::new()
///     .layer(ErrorResponderLayer::new())
///     .layer(upstream.request_layer())
///     .layer(CacheLayer::new(MemoryBackend::default()).key(ForwardedScheme))
///     .service(upstream);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardedScheme;

impl MakeCacheKey for ForwardedScheme {
    fn make_key<'r>(&self, request: &'r request::Parts, key: KeyParts<'r>) -> Option<KeyParts<'r>> {
        Some(match told_scheme(&request.headers) {
            Some(scheme) => key.with_scheme(scheme),
            None => key,
        })
    }
}

/// The scheme that a request in canonical form tells its upstream.
fn told_scheme(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut scheme = Cow::Borrowed("");
    for line in headers.get_all(&X_FORWARDED_PROTO) {
        append(&mut scheme, String::from_utf8_lossy(line.as_bytes()));
    }
    // Upstreams differ in the element that they read.
    for element in fields::list(headers, &FORWARDED) {
        let pairs = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        pairs
            .filter_map(|pair| pair.split_at_checked(6))
            .filter(|(name, _)| name.eq_ignore_ascii_case(b"proto="))
            .map(|(_, proto)| String::from_utf8_lossy(unquoted(proto)).to_ascii_lowercase())
            .for_each(|proto| append(&mut scheme, proto.into()));
    }
    (!scheme.is_empty()).then_some(scheme)
}

/// Adds a scheme behind the others. A single one is not copied.
fn append<'h>(schemes: &mut Cow<'h, str>, scheme: Cow<'h, str>) {
    if schemes.is_empty() {
        *schemes = scheme;
        return;
    }
    let schemes = schemes.to_mut();
    schemes.push(',');
    schemes.push_str(&scheme);
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_is_the_one_that_the_upstream_is_told() {
        for (lines, expected) in [
            (&[][..], None),
            (&[("x-forwarded-proto", "https")][..], Some("https")),
            (
                &[
                    ("x-forwarded-proto", "https"),
                    ("x-forwarded-proto", "http"),
                ],
                Some("https,http"),
            ),
            (
                &[("forwarded", "for=a;proto=http, for=b; Proto=\"HTTPS\"")],
                Some("http,https"),
            ),
            (
                &[("forwarded", "for=a;proto=http"), ("forwarded", "for=b")],
                Some("http"),
            ),
            (
                &[("forwarded", "proto=http"), ("x-forwarded-proto", "https")],
                Some("https,http"),
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in lines {
                headers.append(*name, value.parse().expect("a field value"));
            }
            assert_eq!(told_scheme(&headers).as_deref(), expected, "{lines:?}");
        }
    }
}
