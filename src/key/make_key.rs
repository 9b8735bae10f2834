//! The hook that makes keys.

use http::request;

use super::key_parts::KeyParts;

/// Makes a request's key: a hook for what the URI does not tell.
///
/// It is called once per GET, HEAD and write, so that what a write invalidates is named the same way as what a GET
/// stores. It is handed the default key and answers the one to use, or `None` for "past the cache". It must depend on
/// nothing but the request. A panic in it is a panic of the request. A write for which it declines invalidates nothing.
///
/// What a write's answer names (`Location`, `Content-Location`) and what `also_invalidate` adds is taken to be under the
/// authority that it made for the write.
///
/// For a closure of that shape there is [`CacheLayer::key_by`](crate::CacheLayer::key_by).
pub trait MakeCacheKey: Send + Sync + 'static {
    /// The key to use for `request`, given the default one.
    fn make_key<'r>(&self, request: &'r request::Parts, key: KeyParts<'r>) -> Option<KeyParts<'r>>;
}

/// A key made by a closure.
pub(crate) struct KeyBy<F>(pub(crate) F);

impl<F> MakeCacheKey for KeyBy<F>
where
    F: for<'r> Fn(&'r request::Parts, KeyParts<'r>) -> Option<KeyParts<'r>> + Send + Sync + 'static,
{
    fn make_key<'r>(&self, request: &'r request::Parts, key: KeyParts<'r>) -> Option<KeyParts<'r>> {
        (self.0)(request, key)
    }
}

/// The default: the key is the request's target, as received.
#[derive(Clone, Copy, Debug, Default)]
pub struct UriKey;

impl MakeCacheKey for UriKey {
    fn make_key<'r>(&self, _: &'r request::Parts, key: KeyParts<'r>) -> Option<KeyParts<'r>> {
        Some(key)
    }
}
