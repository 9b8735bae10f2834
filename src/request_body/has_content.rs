//! Whether a body has content, of the types that are not converted.

use std::any::Any;

use bytes::Bytes;
use http_body::Body;
use http_body_util::Empty;

/// Whether a body of a common type has content, or content that may still come.
pub(super) fn has_content(body: &dyn Any) -> Option<bool> {
    let is_filled = |bytes: &[u8]| !bytes.is_empty();
    let vec = body.downcast_ref::<Vec<u8>>();
    vec.map(|bytes| is_filled(bytes))
        .or_else(|| body.downcast_ref::<Bytes>().map(|bytes| is_filled(bytes)))
        .or_else(|| has_more::<String>(body))
        .or_else(|| has_more::<Empty<Bytes>>(body))
        .or_else(|| received_has_more(body))
}

/// Whether a body of this type has not ended.
fn has_more<T: Body + 'static>(body: &dyn Any) -> Option<bool> {
    Some(!body.downcast_ref::<T>()?.is_end_stream())
}

/// Whether a body that hyper's servers receive has not ended.
#[cfg(feature = "proxy")]
fn received_has_more(body: &dyn Any) -> Option<bool> {
    use http_body_util::Either;
    use hyper::body::Incoming;

    has_more::<Incoming>(body).or_else(|| has_more::<Either<Incoming, Empty<Bytes>>>(body))
}

#[cfg(not(feature = "proxy"))]
fn received_has_more(_: &dyn Any) -> Option<bool> {
    None
}
