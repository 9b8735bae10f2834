//! The options of stacked layers, together.

use std::sync::Arc;

use super::{AlsoInvalidate, ClassifyWrite, Config};

impl Config {
    /// The options of a layer for the response to a request that has passed another layer of the
    /// same cache further inside.
    ///
    /// All are listed, so that a new one cannot be forgotten. Those of the inner layer judge the
    /// response. Those that judge the request, bound its waiting or make a hit have been in use
    /// before, and stay those of this layer.
    pub(crate) fn with_response_options_of(&self, inner: &Self) -> Self {
        Self {
            ttl: inner.ttl,
            negative_ttl: inner.negative_ttl,
            ttl_by: inner.ttl_by.clone(),
            max_ttl: inner.max_ttl,
            ttl_jitter: inner.ttl_jitter,
            targeted_cache_control: inner.targeted_cache_control.clone(),
            ignore_request_directives: self.ignore_request_directives.clone(),
            ignore_client_freshness: self.ignore_client_freshness,
            ignored: self.ignored,
            max_body: inner.max_body,
            max_head: inner.max_head,
            max_buffered_bytes: self.max_buffered_bytes,
            // A response is stored only if neither layer sees credentials in its request.
            credential_fields: self.credential_fields.union(&inner.credential_fields),
            max_lingering_bytes: self.max_lingering_bytes,
            store_set_cookie: inner.store_set_cookie,
            private_by: self.private_by.clone(),
            max_private_entries: self.max_private_entries,
            store_if: inner.store_if.clone(),
            store_parts: inner.store_parts,
            generate_etags: inner.generate_etags,
            groups: inner.groups.clone(),
            request_bodies: self.request_bodies.clone(),
            authority: self.authority.clone(),
            sites: self.sites,
            key: self.key.clone(),
            key_covers_credentials: self.key_covers_credentials,
            query: self.query.clone(),
            before_routing: self.before_routing.clone(),
            is_of_route: self.is_of_route,
            on_rewritten_target: self.on_rewritten_target.clone(),
            scope: self.scope.clone(),
            skip: self.skip.clone(),
            bypass_fields: self.bypass_fields.clone(),
            cache_queries: self.cache_queries,
            read_only_posts: self.read_only_posts.clone(),
            also_invalidate: self.also_invalidate_with(inner),
            // The fence of such a response was captured before the call, if this layer stores it.
            write_through: self.write_through && inner.write_through,
            store_posts: self.store_posts && inner.store_posts,
            classify_writes: self.classify_writes_with(inner),
            invalidate_on_unknown: inner.invalidate_on_unknown,
            write_grace_window: inner.write_grace_window,
            detached_write_timeout: inner.detached_write_timeout,
            max_detached_writes: self.max_detached_writes,
            coalesce: self.coalesce,
            client_by: self.client_by.clone(),
            compress: self.compress.clone(),
            stale: inner.stale,
            failure_backoff: self.failure_backoff,
            max_refreshes: self.max_refreshes,
            early_refresh: self.early_refresh,
            origin_monitor: self.origin_monitor.clone(),
            log_query: self.log_query,
            cache_status: self.cache_status,
            cache_status_name: self.cache_status_name.clone(),
            clock: self.clock.clone(),
            random: self.random.clone(),
        }
    }

    /// The hook of the inner layer, or else of this one.
    fn classify_writes_with(&self, inner: &Self) -> Option<Arc<ClassifyWrite>> {
        let inner = inner.classify_writes.clone();
        inner.or_else(|| self.classify_writes.clone())
    }

    /// The hooks of this layer and of another one, each once.
    fn also_invalidate_with(&self, inner: &Self) -> Vec<Arc<AlsoInvalidate>> {
        let mut hooks = self.also_invalidate.clone();
        for hook in &inner.also_invalidate {
            if hooks.iter().all(|known| !Arc::ptr_eq(known, hook)) {
                hooks.push(hook.clone());
            }
        }
        hooks
    }
}
