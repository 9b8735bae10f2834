//! Whether a stored response may answer a request that has credentials.

use http::StatusCode;

use crate::semantics::request_kind::RequestKind;

/// Returns whether a stored response refuses the credentials of other clients, or the lack of them,
/// and the request has its own. `kind` is called only for a refusal.
///
/// 401 and 403 are about the credentials of the request (RFC 9110 §15.5.2, §15.5.4), which are in
/// no cache key: a stored one tells nothing about those of another client.
#[must_use]
pub fn refuses_other_credentials(status: StatusCode, kind: impl FnOnce() -> RequestKind) -> bool {
    let is_refusal = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    is_refusal && kind() != RequestKind::Plain
}

#[cfg(test)]
mod tests {
    use super::RequestKind::{Plain, WithBoth, WithCookies, WithCredentials};
    use super::*;

    /// RFC 9110 §15.5.2, §15.5.4.
    #[test]
    fn section_15_5_2_a_refusal_is_for_the_credentials_it_was_made_for() {
        for (status, kind, expected) in [
            (401, WithCredentials, true),
            (401, WithCookies, true),
            (401, WithBoth, true),
            (401, Plain, false),
            (403, WithCredentials, true),
            (403, WithCookies, true),
            (403, Plain, false),
            (200, WithCredentials, false),
            (404, WithBoth, false),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            let got = refuses_other_credentials(status, || kind);
            assert_eq!(got, expected, "{status} {kind:?}");
        }
    }
}
