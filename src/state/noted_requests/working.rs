//! Requests that have brought a response which was stored.
//!
//! A client whose requests hang, or fail, may send as many as it likes, and vary their fields. It
//! cannot make them bring a response. So a request with the fields of one that did makes the next
//! refresh, whatever other requests have done.
//!
//! Knows keys and digests. Start at [`WorkingRequests::contains`].

use std::time::Duration;

use super::{NotedKey, NotedRequests, RequestDigest};
use crate::semantics::moment::Moment;

/// The time for which a response speaks for requests like the one that brought it.
const WORKING_TTL: Duration = Duration::from_secs(60 * 60);

/// The note that a request has brought a response.
const STORED: u8 = 1;

/// The requests of each key that have brought a response last.
#[derive(Debug, Default)]
pub(crate) struct WorkingRequests(NotedRequests);

impl WorkingRequests {
    /// Notes that a request has brought a response, which is stored.
    pub(crate) fn note_stored(&self, (key, request): (NotedKey, RequestDigest), now: Moment) {
        self.0.note(key, request, STORED, now, WORKING_TTL);
    }

    /// Notes that a refresh begins. Its request has to bring a response again, to be known as one
    /// that does.
    pub(crate) fn note_begun(&self, (key, request): (NotedKey, RequestDigest)) {
        self.0.remove(key, request);
    }

    /// Whether a request with these fields has brought a response, and none that was begun later
    /// has not.
    pub(crate) fn contains(&self, (key, request): (NotedKey, RequestDigest), now: Moment) -> bool {
        self.0.find(key, now, || request).alike != 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::{HeaderMap, HeaderValue};

    use super::super::RequestDigester;
    use super::*;
    use crate::key::CacheKey;
    use crate::semantics::request_kind::RequestKind::Plain;

    #[test]
    fn a_request_works_from_its_response_until_its_next_refresh_begins() {
        let (working, digester) = (WorkingRequests::default(), RequestDigester::default());
        let noted = |path: &str, value: &'static str| {
            let fields =
                HeaderMap::from_iter([(http::header::ACCEPT, HeaderValue::from_static(value))]);
            let key = NotedKey::new(&CacheKey::for_path(path), Plain);
            (key, digester.digest(b"", &fields))
        };
        let at = |second| Moment::new(Duration::from_secs(second), SystemTime::UNIX_EPOCH);
        let (own, other, elsewhere) = (noted("/a", "a"), noted("/a", "b"), noted("/b", "a"));
        working.note_begun(own);
        assert!(!working.contains(own, at(0)), "nothing is known");
        working.note_stored(own, at(0));
        assert!(!working.contains(other, at(1)) && !working.contains(elsewhere, at(1)));
        working.note_stored(other, at(0));
        working.note_begun(other);
        assert!(working.contains(own, at(3599)) && !working.contains(other, at(1)));
        assert!(!working.contains(own, at(3600)), "for an hour");
    }
}
