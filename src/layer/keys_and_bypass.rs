//! Options for which requests share a stored response (RFC 9111 §2), and which bypass the cache.

use std::sync::Arc;

use http::{Extensions, Uri, request};

use super::CacheLayer;
use super::invalid_option::{InvalidOption, check_cookie_names, field_names, or_panic};
use crate::backend::Backend;
use crate::config::hook::{GuardedKey, HookGuard, subject};
use crate::key::canonical::cookies::IgnoredCookies;
use crate::key::{Authority, KeyBy, KeyParts, MakeCacheKey, QueryRules, Sites};
use crate::semantics::bypass_fields::BypassFields;

/// # Keys
///
/// Two requests share a stored response if they have the same cache key and agree on the fields
/// that the response names in `Vary`. By default the key is the authority, path and query of the
/// request: the authority in lower case and without the default port, everything else as received.
/// A request without an authority has an empty one. The scheme is no part of the key unless
/// [`KeyParts::with_scheme`] adds it. Every part of a request that changes the response must be in
/// the key or be named in `Vary`.
///
/// Requests with one default key reach the inner service as one, so that a client cannot shape by
/// its spelling what others get. A miss, a refresh and a write have their target in origin form
/// (RFC 9112 §3.2.1), in every version of HTTP, and the authority in normal form as the one `Host`;
/// the lines of `Cookie` are joined (RFC 9113 §8.2.3). The target keeps its absolute form if the
/// key has its scheme, which a client behind the cache needs:
///
/// ```
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// let layer = CacheLayer::new(MemoryBackend::default())
///     .key_by(|request, key| Some(key.with_scheme(request.uri.scheme_str()?)));
/// ```
///
/// The method (HEAD is answered by GET), the version, extensions and fields that `Vary` does not
/// name may differ; so may what a [key hook](Self::key) takes out of the key. An extension may hold
/// the target as the client spelled it, as axum's `OriginalUri` does: handlers that read it need
/// [`on_rewritten_target`](Self::on_rewritten_target).
///
/// Which stored responses a write invalidates together is documented at
/// [`Resource`](crate::key::Resource).
///
/// ```
/// use tower_response_cache::key::{Authority, QueryRules};
/// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
///
/// let layer = CacheLayer::new(MemoryBackend::default())
///     .authority(Authority::fixed("shop.example"))
///     .query(QueryRules::all().ignoring(["utm_source", "utm_medium"]))
///     .skip(|request| request.uri.path().starts_with("/account"));
/// ```
impl<B: Backend> CacheLayer<B> {
    /// Sets where the authority in a cache key comes from.
    ///
    /// Default: [`Authority::FromRequest`], the request's target or else its `Host` field.
    #[must_use]
    pub fn authority(self, authority: Authority) -> Self {
        self.with(|config| config.authority = authority)
    }

    /// Sets which hosts are one site: a write under one name of a site invalidates under all of its
    /// names.
    ///
    /// Default: [`Sites::One`], all of them. Set [`Sites::ByAuthority`] where hosts are different
    /// sites, or where the key hook puts a tenant into the authority.
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend, key::Sites};
    ///
    /// let layer = CacheLayer::new(MemoryBackend::default()).sites(Sites::ByAuthority);
    /// ```
    #[must_use]
    pub fn sites(self, sites: Sites) -> Self {
        self.with(|config| config.sites = sites)
    }

    /// Sets how cache keys are made.
    ///
    /// Default: [`UriKey`](crate::key::UriKey), the request's target as received.
    #[must_use]
    pub fn key(self, key: impl MakeCacheKey) -> Self {
        self.with(|config| config.key = Some(Arc::new(GuardedKey::new(key))))
    }

    /// Sets how cache keys are made, by a closure instead of a [`MakeCacheKey`].
    ///
    /// `None` makes a read bypass the cache, and a write invalidate nothing.
    ///
    /// ```
    /// # use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    /// # use tower_response_cache::key::Sites;
    /// // One stored response per tenant; requests without a tenant bypass the cache. A write of
    /// // one tenant leaves the responses of others alone.
    /// let layer = CacheLayer::new(MemoryBackend::default())
    ///     .sites(Sites::ByAuthority)
    ///     .key_by(|request, key| {
    ///         let tenant = request.headers.get("x-tenant")?.to_str().ok()?;
    ///         let authority = format!("{tenant}@{}", key.authority());
    ///         Some(key.with_authority(authority))
    ///     });
    /// ```
    #[must_use]
    pub fn key_by<F>(self, key: F) -> Self
    where
        F: for<'r> Fn(&'r request::Parts, KeyParts<'r>) -> Option<KeyParts<'r>>
            + Send
            + Sync
            + 'static,
    {
        self.key(KeyBy(key))
    }

    /// Lets requests with credentials or cookies be answered from the store and be coalesced like
    /// others, because the key hook puts into the key what tells their clients apart.
    ///
    /// Default: `false`. With `true`, a request whose key the hook has changed counts as one
    /// without `Cookie` and without [`credential_fields`](Self::credential_fields): for storing,
    /// for sharing the fill of a concurrent request, and for a stored 401 or 403. A request whose
    /// key the hook returns as it was counts as before, and without a hook the option has no
    /// effect. Responses with `Set-Cookie`, `private` or `no-store` are not stored either way.
    ///
    /// # Danger
    /// The cache cannot check the key. If the hook forgets one field that a response depends on,
    /// one client gets the page of another one: with the tenant in the key, but not the user, all
    /// users of a tenant get the page of the first one. The key must hold a verified user, or the
    /// credentials themselves: a name that a client only claims gets it the page of that user.
    ///
    /// ```
    /// # use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    /// #[derive(Clone)]
    /// struct VerifiedUser(u64);
    ///
    /// // A layer outside of the cache has checked the credentials. No authority of a request has
    /// // an `@`, so no client can choose the key of a user.
    /// let layer = CacheLayer::new(MemoryBackend::default())
    ///     .key_by(|request, key| {
    ///         let Some(VerifiedUser(user)) = request.extensions.get() else {
    ///             return Some(key);
    ///         };
    ///         let authority = format!("{user}@{}", key.authority());
    ///         Some(key.with_authority(authority))
    ///     })
    ///     .key_covers_credentials(true);
    /// ```
    #[must_use]
    pub fn key_covers_credentials(self, covers: bool) -> Self {
        self.with(|config| config.key_covers_credentials = covers)
    }

    /// Sets which query parameters belong to the cache key of a GET or HEAD.
    ///
    /// Default: the whole query, as received. Parameters that do not belong to the key are also
    /// removed from the request that the inner service receives. [`key`](Self::key) and
    /// [`key_by`](Self::key_by) see the query that is left. Copies of the target that other layers
    /// put into extensions keep the whole query, see
    /// [`on_rewritten_target`](Self::on_rewritten_target).
    #[must_use]
    pub fn query(self, rules: QueryRules) -> Self {
        self.with(|config| config.query = rules)
    }

    /// Sets the names of the request cookies that no response to a GET or HEAD depends on, such as
    /// those of analytics; it replaces an earlier list. A `*` at the end of a name matches any
    /// rest; `*` alone is all cookies.
    ///
    /// Default: an empty list, all cookies count. The listed ones are taken off a GET or HEAD
    /// before its key is made: the [key hook](Self::key) and [`skip`](Self::skip) do not see them,
    /// `Vary: Cookie` does not compare them, and the inner service does not get them. A request
    /// without other cookies counts as one without `Cookie`, so its response may be stored without
    /// a lifetime of its own. The other cookies are sent as one line, separated by `; `. Requests
    /// that bypass the cache, and writes, keep all of theirs; the key of a write is made without
    /// the listed ones. With stacked layers, the list of the outermost one counts.
    ///
    /// Names are case-sensitive and compared as received. Quotes have no meaning (RFC 6265 §4.2.1).
    ///
    /// # Danger
    /// A handler for GET or HEAD does not find a listed cookie: never list a session, a language, a
    /// test group or a token against request forgery. If a layer outside of the cache copies
    /// cookies to an extension, and a handler reads them there, the response to one client's cookie
    /// is stored and answers all clients.
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend};
    ///
    /// let layer = CacheLayer::new(MemoryBackend::default())
    ///     .ignore_request_cookies(["_ga", "_ga_*", "_gid", "_fbp"]);
    /// ```
    ///
    /// # Panics
    /// If a name is empty or has whitespace, `=` or `;`; see
    /// [`try_ignore_request_cookies`](Self::try_ignore_request_cookies).
    #[must_use]
    #[track_caller]
    pub fn ignore_request_cookies<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        or_panic(self.try_ignore_request_cookies(names))
    }

    /// Sets [`ignore_request_cookies`](Self::ignore_request_cookies) to names that come from
    /// configuration.
    ///
    /// # Errors
    /// If a name is empty or has whitespace, `=` or `;`.
    pub fn try_ignore_request_cookies<'n>(
        self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Self, InvalidOption> {
        let names: Vec<&str> = names.into_iter().collect();
        check_cookie_names(names.iter().copied())?;
        let cookies = (!names.is_empty()).then(|| IgnoredCookies::new(names));
        Ok(self.with(|config| config.set_ignored_cookies(cookies)))
    }

    /// Sets a function that rewrites copies of the target in the extensions of a request, as the
    /// cache rewrites the target itself.
    ///
    /// Default: none. It is called for a GET or HEAD that goes to the inner service and whose
    /// target may have changed: ignored query parameters are gone (see [`query`](Self::query)), or
    /// the target came in absolute form, as always in HTTP/2. It gets the extensions and a function
    /// that applies the query rules to a URI and takes off its scheme and authority, or gives it
    /// those in the key if the key has its scheme. Set it wherever handlers read the target from
    /// extensions, as with axum's `OriginalUri`: a handler that shows an ignored parameter, or the
    /// scheme or the spelling of the host that one client chose, would have a response stored that
    /// others get.
    ///
    /// ```
    /// use axum::extract::OriginalUri;
    /// use tower_response_cache::{CacheLayer, backend::MemoryBackend, key::QueryRules};
    ///
    /// let layer = CacheLayer::new(MemoryBackend::default())
    ///     .query(QueryRules::all().ignoring(["utm_*"]))
    ///     .on_rewritten_target(|extensions, rewrite| {
    ///         if let Some(OriginalUri(target)) = extensions.get_mut() {
    ///             rewrite(target);
    ///         }
    ///     });
    /// ```
    #[must_use]
    pub fn on_rewritten_target(
        self,
        hook: impl Fn(&mut Extensions, &dyn Fn(&mut Uri)) + Send + Sync + 'static,
    ) -> Self {
        let guard = HookGuard::new("on_rewritten_target");
        self.with(|config| {
            config.on_rewritten_target = Some(Arc::new(move |subject, extensions, rewrite| {
                guard.call(subject, || hook(extensions, rewrite))
            }));
        })
    }

    /// Separates mounts of one layer that see the same paths: a response that is stored in one
    /// scope is neither found nor invalidated in another.
    ///
    /// Default: the empty scope. Clones of one layer may have different scopes.
    #[must_use]
    pub fn scope(self, scope: &str) -> Self {
        let scope = Arc::from(scope);
        self.with(|config| config.scope = scope)
    }

    /// Sets the request fields that make a GET or HEAD bypass the cache, in place of an earlier
    /// list.
    ///
    /// Default: [`DEFAULT_BYPASS_FIELDS`](crate::DEFAULT_BYPASS_FIELDS), which are
    /// `X-HTTP-Method-Override`, `X-HTTP-Method` and `X-Method-Override`, which name another method
    /// to some frameworks, and `X-Original-URL` and `X-Rewrite-URL`, which name another target. A
    /// service that obeys them would have the response to another request stored under the key of
    /// this one. The request goes to the service as it came, and its response is not stored;
    /// `Cache-Status` says `fwd=bypass; detail=bypass-field`. An empty list lets no field decide.
    /// Other characters between the words of a name, as in `X_HTTP_Method`, make no difference: some
    /// services know none.
    ///
    /// The method of a request says whether it is a write, whatever these fields say: a POST
    /// invalidates, and a GET does not. A service should obey an override in a POST only. A method
    /// in the query (`_method`) is in the key and needs no entry.
    ///
    /// A field that a trusted proxy adds to every request does not belong here, because nothing
    /// would be stored: `Forwarded`, `X-Forwarded-Host`, `X-Forwarded-Proto`, `X-Forwarded-Prefix`.
    /// If responses depend on one of these, name it in `Vary` or put it into the
    /// [key](Self::key_by), and let no client set it.
    ///
    /// ```
    /// use tower_response_cache::{CacheLayer, DEFAULT_BYPASS_FIELDS, backend::MemoryBackend};
    ///
    /// let layer = CacheLayer::new(MemoryBackend::default())
    ///     .bypass_fields(DEFAULT_BYPASS_FIELDS.into_iter().chain(["x-preview"]));
    /// ```
    ///
    /// # Panics
    /// If a name is not a valid field name; see [`try_bypass_fields`](Self::try_bypass_fields).
    #[must_use]
    #[track_caller]
    pub fn bypass_fields<'n>(self, names: impl IntoIterator<Item = &'n str>) -> Self {
        or_panic(self.try_bypass_fields(names))
    }

    /// Sets [`bypass_fields`](Self::bypass_fields) to names that come from configuration.
    ///
    /// # Errors
    /// If a name is not a valid field name.
    pub fn try_bypass_fields<'n>(
        self,
        names: impl IntoIterator<Item = &'n str>,
    ) -> Result<Self, InvalidOption> {
        let names = field_names("bypass_fields", names)?;
        Ok(self.with(|config| config.bypass_fields = BypassFields::new(names)))
    }

    /// Lets GET and HEAD requests bypass the cache if this function returns `true` for them.
    ///
    /// Default: no function. `Cache-Status` says `fwd=bypass` for these requests. The function is
    /// not called for writes, which always invalidate. A request for which it panics bypasses the
    /// cache, too.
    #[must_use]
    pub fn skip(self, skip: impl Fn(&request::Parts) -> bool + Send + Sync + 'static) -> Self {
        let guard = HookGuard::new("skip");
        let skip = move |request: &_| guard.call(subject(request), || skip(request));
        self.with(|config| config.skip = Some(Arc::new(skip)))
    }
}
