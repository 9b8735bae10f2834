//! Digests of the fields of a request.

use std::hash::{BuildHasher, RandomState};

use http::HeaderMap;
use http::header::{COOKIE, HOST};

use crate::semantics::reuse::is_condition_or_range;
use crate::shares::ClientId;

/// A digest of the fields of a request, and the client that it is from. Two requests are the same
/// if their fields are, whatever client they are from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestDigest {
    fields: u32,
    /// `None` if it is not known.
    client: Option<ClientId>,
}

impl PartialEq for RequestDigest {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
    }
}

impl Eq for RequestDigest {}

impl RequestDigest {
    /// The digest as a number, for code that knows no requests.
    pub(crate) fn as_number(self) -> u32 {
        self.fields
    }

    /// The client that the request is from, if it is known.
    pub(crate) fn client(self) -> Option<ClientId> {
        self.client
    }

    /// The digest of a request from this client.
    pub(crate) fn with_client(self, client: Option<ClientId>) -> Self {
        Self { client, ..self }
    }
}

/// Makes digests, keyed with a secret of this process: no client can choose fields that have the
/// digest of others.
#[derive(Debug, Default)]
pub(crate) struct RequestDigester(RandomState);

impl RequestDigester {
    /// The secret by which digests are keyed.
    pub(crate) fn secret(&self) -> &RandomState {
        &self.0
    }

    /// The digest of a request with this authority and these fields, in whatever order and lines
    /// they come. `Host` is left out in favour of `authority`. So are conditions and ranges: the
    /// cache takes them off, or what the request causes concerns its client alone.
    ///
    /// All others count, those of the connection too: any field may be the reason of a failure.
    pub(crate) fn digest(&self, authority: &[u8], fields: &HeaderMap) -> RequestDigest {
        let digest_of = |name: &str, value: &[u8]| self.0.hash_one((name, value.trim_ascii()));
        let mut digest = digest_of(HOST.as_str(), authority);
        for (name, value) in fields {
            let (is_cookie, value) = (*name == COOKIE, value.as_bytes());
            if *name == HOST || is_condition_or_range(name) {
                continue;
            }
            // HTTP/2 may split them, which the inner service does not see.
            for part in value.split(|byte| is_cookie && *byte == b';') {
                digest = digest.wrapping_add(digest_of(name.as_str(), part));
            }
        }
        RequestDigest {
            fields: (digest >> 32) as u32,
            client: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            let name = HeaderName::from_static(name);
            fields.append(name, HeaderValue::from_static(value));
        }
        fields
    }

    #[test]
    fn a_digest_tells_all_fields_apart_but_conditions_and_ranges() {
        let digester = RequestDigester::default();
        let digest =
            |authority: &str, lines: &[_]| digester.digest(authority.as_bytes(), &fields(lines));
        let own = digest("a", &[("accept", "x"), ("user-agent", "y")]);
        for alike in [
            &[("user-agent", "y"), ("accept", "x")][..],
            &[("accept", "x"), ("host", "other"), ("user-agent", "y")],
            &[("accept", "x"), ("user-agent", "y"), ("if-none-match", "z")],
            &[("range", "bytes=0-1"), ("accept", "x"), ("user-agent", "y")],
        ] {
            assert_eq!(digest("a", alike), own, "{alike:?}");
        }
        for other in [
            &[("accept", "x")][..],
            &[("accept", "y"), ("user-agent", "x")],
            &[("accept", "x"), ("accept", "x"), ("user-agent", "y")],
            &[("accept", "x"), ("user-agent", "y"), ("te", "z")],
            &[("accept", "x"), ("user-agent", "y"), ("connection", "z")],
        ] {
            assert_ne!(digest("a", other), own, "{other:?}");
        }
        assert_ne!(digest("b", &[("accept", "x"), ("user-agent", "y")]), own);
        assert_ne!(
            RequestDigester::default().digest(b"a", &fields(&[])),
            digest("a", &[])
        );
    }

    /// RFC 9113 §8.2.3: lines of `Cookie` are joined on their way to the inner service.
    #[test]
    fn a_digest_is_that_of_all_cookies_however_many_lines_they_take() {
        let digester = RequestDigester::default();
        let digest = |lines: &[_]| digester.digest(b"", &fields(lines));
        let joined = digest(&[("cookie", "a=1; b=2; c=3")]);
        assert_eq!(digest(&[("cookie", "a=1;b=2 "), ("cookie", "c=3")]), joined);
        assert_ne!(digest(&[("cookie", "a=1; b=2; c=4")]), joined);
        assert_ne!(digest(&[("cookies", "a=1; b=2; c=3")]), joined);
    }
}
