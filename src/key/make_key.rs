//! The hook that makes keys, and its implementations.

use http::request;

use super::key_parts::KeyParts;

/// Makes the key of a request: a hook for everything that the URI does not tell.
///
/// It is called once per GET, HEAD and write, so that a write invalidates under the key by which a
/// GET stores. It gets the default key and returns the one to use; `None` bypasses the cache. It
/// must depend on the request alone. A write for which it returns `None` invalidates nothing. If it
/// panics, a read bypasses the cache. A write is answered with 500 and not sent to the inner
/// service: which resource it changes is unknown.
///
/// It is also called for resources that the response to a write names (`Location`,
/// `Content-Location`), and for those of
/// [`also_invalidate`](crate::CacheLayer::also_invalidate): with the GET that a client would send
/// for that resource, which has the fields and extensions of the write. If it makes no key then, or
/// the write's own resource, it is called once more without extensions: they may speak of the
/// write's target alone, as axum's `OriginalUri` does. The resources of all these keys are
/// invalidated, together with the one that has the authority of the write's key and the path that
/// was named. A panic in these calls makes no key.
///
/// A hook that puts a tenant into the authority needs [`Sites::ByAuthority`](super::Sites): by
/// default the authority is no part of a resource, and one tenant's write invalidates the responses
/// of all.
///
/// [`CacheLayer::key_by`](crate::CacheLayer::key_by) takes a closure instead.
pub trait MakeCacheKey: Send + Sync + 'static {
    /// Returns the key of `request`, given the default one; `None` bypasses the cache.
    fn make_key<'r>(&self, request: &'r request::Parts, key: KeyParts<'r>) -> Option<KeyParts<'r>>;
}

/// Makes keys by a closure.
pub(crate) struct KeyBy<F>(pub(crate) F);

impl<F> MakeCacheKey for KeyBy<F>
where
    F: for<'r> Fn(&'r request::Parts, KeyParts<'r>) -> Option<KeyParts<'r>> + Send + Sync + 'static,
{
    fn make_key<'r>(&self, request: &'r request::Parts, key: KeyParts<'r>) -> Option<KeyParts<'r>> {
        (self.0)(request, key)
    }
}

/// Makes the default key: the target of the request, as received.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UriKey;

impl MakeCacheKey for UriKey {
    fn make_key<'r>(&self, _: &'r request::Parts, key: KeyParts<'r>) -> Option<KeyParts<'r>> {
        Some(key)
    }
}
