//! Options for the groups that stored responses are invalidated in (RFC 9875).

use std::sync::Arc;

use http::{request, response};

use super::CacheLayer;
use super::invalid_option::{InvalidOption, field_names, or_panic};
use crate::backend::Backend;
use crate::config::GroupOptions;
use crate::config::hook::{HookGuard, subject};
use crate::key::normal_path::normal_path;

/// # Groups
///
/// A stored response is in the groups that its `Cache-Groups` names (RFC 9875), in those of its
/// [`CachePolicy`](crate::CachePolicy), and in those that these options give it. They are groups of
/// one kind: [`CacheHandle::invalidate_group`](crate::CacheHandle::invalidate_group) removes all
/// members, [`CacheHandle::expire_group`](crate::CacheHandle::expire_group) makes them stale, and
/// so does a write whose response names the group in `Cache-Group-Invalidation`. Each takes the
/// same time for any number of members, and a member that was being fetched meanwhile is not
/// stored.
///
/// A group belongs to the [site](crate::key::Sites) and the [`scope`](Self::scope) of the response.
/// Names are compared as they are: case counts. A response is in at most 64 groups, whose names
/// have at most 256 bytes. With more, or with a name that cannot be read, it goes to its client and
/// is not stored ([`Refusal::Groups`](crate::stats::Refusal::Groups)): it could not be invalidated
/// with them. A 304 that names no groups leaves the response in those that it was stored in.
///
/// ```
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower_response_cache::backend::BackendError> {
/// let layer = CacheLayer::new(MemoryBackend::default())
///     .group_fields(["cache-tag", "surrogate-key"])
///     .group_prefixes(["/img/"])
///     .groups_by(|request, _response| {
///         let tenant = request.headers.get("x-tenant").and_then(|value| value.to_str().ok());
///         tenant.map(|tenant| format!("tenant-{tenant}"))
///     });
/// let cache = layer.handle();
/// cache.invalidate_group("", "tenant-7").await?;
/// cache.expire_group("", "/img/").await?;
/// # Ok(())
/// # }
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Sets a function that names groups of a response. It gets the heads of the request and of the
    /// response, as [`ttl_by`](Self::ttl_by) does.
    ///
    /// Default: no function. It is called once for each response that would be stored. If it
    /// panics, the response is not stored
    /// ([`Refusal::HookPanicked`](crate::stats::Refusal::HookPanicked)).
    #[must_use]
    pub fn groups_by<N: IntoIterator<Item = String>>(
        self,
        names: impl Fn(&request::Parts, &response::Parts) -> N + Send + Sync + 'static,
    ) -> Self {
        let guard = HookGuard::new("groups_by");
        self.with_groups(|groups| {
            groups.by = Some(Arc::new(move |request, head| {
                guard.call(subject(request), || {
                    names(request, head).into_iter().collect()
                })
            }));
        })
    }

    /// Sets the response fields that name groups as CDNs write them: names with commas or spaces
    /// between them, as in `Cache-Tag: a, b` and `Surrogate-Key: a b`. It replaces an earlier list.
    ///
    /// Default: none. The fields are taken off the responses, also those that are not stored, as
    /// CDNs do: see [`keep_group_fields`](Self::keep_group_fields).
    ///
    /// # Panics
    /// If a name is not a valid field name; see [`try_group_fields`](Self::try_group_fields).
    #[must_use]
    #[track_caller]
    pub fn group_fields<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        or_panic(self.try_group_fields(names))
    }

    /// Sets [`group_fields`](Self::group_fields) to names that come from configuration.
    ///
    /// # Errors
    /// If a name is not a valid field name.
    pub fn try_group_fields<'n>(
        self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Self, InvalidOption> {
        let names = field_names("group_fields", names)?;
        Ok(self.with_groups(|groups| groups.fields = names))
    }

    /// Leaves the [`group_fields`](Self::group_fields) on the responses, for a cache further
    /// outside.
    ///
    /// Default: `false`.
    #[must_use]
    pub fn keep_group_fields(self, keep: bool) -> Self {
        self.with_groups(|groups| groups.keeps_fields = keep)
    }

    /// Sets prefixes of paths: every stored response whose path is one, or below it, is in a group
    /// with the prefix as its name. It replaces an earlier list.
    ///
    /// Default: none. `/img/` has `/img/a.png` and `/img/icons/b.png`, and `/img` has these and
    /// `/img` itself, but not `/images`. Prefixes and paths are compared in normal form: percent
    /// encoding, dot segments and repeated slashes make no difference, and the normal form is the
    /// name.
    ///
    /// # Panics
    /// If a prefix does not begin with `/`; see [`try_group_prefixes`](Self::try_group_prefixes).
    #[must_use]
    #[track_caller]
    pub fn group_prefixes<'n>(self, prefixes: impl IntoIterator<Item = &'n str>) -> Self {
        or_panic(self.try_group_prefixes(prefixes))
    }

    /// Sets [`group_prefixes`](Self::group_prefixes) to paths that come from configuration.
    ///
    /// # Errors
    /// If a prefix does not begin with `/`, or has a query.
    pub fn try_group_prefixes<'n>(
        self,
        prefixes: impl IntoIterator<Item = &'n str>,
    ) -> Result<Self, InvalidOption> {
        let normal = |prefix: &str| match prefix.starts_with('/') && !prefix.contains(['?', '#']) {
            true => Ok(normal_path(prefix).into()),
            false => Err(InvalidOption::path("group_prefixes", prefix)),
        };
        let prefixes: Vec<_> = prefixes.into_iter().map(normal).collect::<Result<_, _>>()?;
        Ok(self.with_groups(|groups| groups.prefixes = prefixes))
    }

    fn with_groups(self, set: impl FnOnce(&mut GroupOptions)) -> Self {
        self.with(|config| set(Arc::make_mut(config.groups.get_or_insert_default())))
    }
}
