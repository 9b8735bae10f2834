//! Whether a stored response may answer a request that has credentials.

use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderName, StatusCode};

/// The request fields by which clients identify themselves.
const CREDENTIALS: [HeaderName; 6] = [
    AUTHORIZATION,
    COOKIE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-access-token"),
];

/// Returns whether a stored response refuses the credentials of other clients, or the lack of them,
/// and the request has its own.
///
/// 401 and 403 are about the credentials of the request (RFC 9110 §15.5.2, §15.5.4), which are in
/// no cache key: a stored one tells nothing about those of another client.
#[must_use]
pub fn refuses_other_credentials(status: StatusCode, request: &HeaderMap) -> bool {
    let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    is_refusal && CREDENTIALS.iter().any(|name| request.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9110 §15.5.2, §15.5.4.
    #[test]
    fn section_15_5_2_a_refusal_is_for_the_credentials_it_was_made_for() {
        for (status, name, expected) in [
            (401, "authorization", true),
            (401, "cookie", true),
            (401, "proxy-authorization", true),
            (401, "x-api-key", true),
            (401, "x-auth-token", true),
            (401, "x-access-token", true),
            (401, "accept", false),
            (403, "authorization", true),
            (403, "accept", false),
            (200, "authorization", false),
            (404, "authorization", false),
        ] {
            let mut request = HeaderMap::new();
            request.insert(name, "x".parse().expect("a field value"));
            let status = StatusCode::from_u16(status).expect("a status");
            let got = refuses_other_credentials(status, &request);
            assert_eq!(got, expected, "{status} {name}");
        }
    }
}
