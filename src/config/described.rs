//! What a layer was told, as text that tests compare.

use super::{Config, GroupOptions};

impl Config {
    /// Every option that is data. A new field has to be named here, and if it is data, it needs a
    /// field of `CacheOptions`, too.
    #[rustfmt::skip]
    pub(crate) fn described(&self) -> Vec<String> {
        let Self {
            ttl, negative_ttl, ttl_by: _, max_ttl, ttl_jitter, targeted_cache_control,
            ignore_request_directives: _, ignore_client_freshness: _, ignored,
            max_body, max_head, max_buffered_bytes, credential_fields, max_lingering_bytes,
            store_set_cookie, private_by: _, max_private_entries, store_if: _, store_parts, generate_etags, groups,
            request_bodies: _, authority, sites, key: _, key_covers_credentials, query,
            before_routing: _, is_of_route: _, on_rewritten_target: _, scope, skip: _,
            bypass_fields, cache_queries, read_only_posts: _, also_invalidate: _, write_through, store_posts, classify_writes: _,
            invalidate_on_unknown, write_grace_window, detached_write_timeout,
            max_detached_writes, coalesce, client_by: _, compress, stale, failure_backoff, max_refreshes, early_refresh, log_query,
            cache_status, cache_status_name, clock: _, random: _, origin_monitor: _,
        } = self;
        let groups = groups.as_deref().cloned().unwrap_or_default();
        let GroupOptions { by: _, fields, keeps_fields, prefixes, names } = groups;
        let name = &cache_status_name.name;
        let (cookies, routes) = (self.ignored_cookies(), self.rules_of_routes());
        vec![
            format!("{ttl:?} {negative_ttl:?} {max_ttl:?} {ttl_jitter} {targeted_cache_control:?}"),
            format!("{ignored:?} {max_body} {max_head} {max_buffered_bytes} {credential_fields:?}"),
            format!("{max_lingering_bytes} {store_set_cookie} {store_parts} {generate_etags}"),
            format!("{fields:?} {keeps_fields} {prefixes:?} {names:?} {authority:?} {sites:?}"),
            format!("{key_covers_credentials} {query:?} {cookies:?} {scope} {bypass_fields:?}"),
            format!("{write_through} {store_posts} {invalidate_on_unknown} {write_grace_window:?}"),
            format!("{detached_write_timeout:?} {max_detached_writes} {coalesce:?} {stale:?}"),
            format!("{max_private_entries} {failure_backoff:?} {max_refreshes} {early_refresh:?} {log_query} {cache_status} {name:?}"),
            format!("{routes:?} {cache_queries:?} {compress:?}"),
        ]
    }
}
