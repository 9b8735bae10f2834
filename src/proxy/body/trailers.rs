//! Trailer fields that may go on (RFC 9110 §6.5.1).
//!
//! A recipient that merges them with the head would frame, route or store the message by them. Of
//! HTTP/2, some are errors (RFC 9113 §8.2.2).

use http::HeaderName;
use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_TYPE, COOKIE, DATE, EXPECT, EXPIRES, HOST, MAX_FORWARDS, SET_COOKIE, TRAILER, VARY,
    VIA,
};
use http_body::Frame;

use crate::semantics::fields::claims::is_claim;
use crate::semantics::fields::hop_by_hop;

/// Fields that count only in the head.
const OF_HEADS: [HeaderName; 17] = [
    AGE,
    AUTHORIZATION,
    CACHE_CONTROL,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    DATE,
    EXPECT,
    EXPIRES,
    HOST,
    MAX_FORWARDS,
    SET_COOKIE,
    TRAILER,
    VARY,
    VIA,
];

/// Removes the fields that count only in the head from a frame, if it is one of trailers.
pub(super) fn clean_trailers<T>(frame: &mut Frame<T>) {
    let Some(trailers) = frame.trailers_mut() else {
        return;
    };
    hop_by_hop::remove(trailers);
    let is_of_heads = |name: &&HeaderName| OF_HEADS.contains(name) || is_claim(name);
    for name in trailers
        .keys()
        .filter(is_of_heads)
        .cloned()
        .collect::<Vec<_>>()
    {
        trailers.remove(name);
    }
}
