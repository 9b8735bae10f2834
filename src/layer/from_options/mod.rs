//! A layer from options that are data.

#[cfg(test)]
mod tests;

use super::CacheLayer;
use super::invalid_option::InvalidOption;
use crate::backend::Backend;
use crate::options::CacheOptions;

/// Sets the options that have a value to clones of it.
macro_rules! set {
    ($layer:ident, $options:ident: $($name:ident),+) => {$(
        if let Some(value) = &$options.$name {
            $layer = $layer.$name(value.clone());
        }
    )+};
}

/// Sets the options of names that have a value.
macro_rules! try_names {
    ($layer:ident, $options:ident: $($name:ident = $option:ident),+) => {$(
        if let Some(names) = &$options.$name {
            $layer = $layer.$option(names.iter().map(String::as_str))?;
        }
    )+};
}

impl<B: Backend> CacheLayer<B> {
    /// Creates a cache over a backend, with options from configuration; with the feature `serde`.
    ///
    /// [`CacheOptions`] has an example. Options that it does not set have their defaults. Those
    /// that are functions can be set on the layer that is returned.
    ///
    /// # Errors
    /// If a value is out of range or malformed: a field name, the name of a cookie, the pattern of
    /// a route.
    pub fn from_options(backend: B, options: &CacheOptions) -> Result<Self, InvalidOption> {
        Self::new(backend).with_options(options)
    }

    /// Returns a layer of the same cache with other options: for a program that reads its
    /// configuration again while it runs.
    ///
    /// Stored responses, counters, calls in flight and all else that clones
    /// [share](Self#shared-state) go on. Options that `options` does not set have their defaults,
    /// those that are functions, too: set them again. Services that were made before keep their
    /// options, and so do handles.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_response_cache::{CacheLayer, CacheOptions, Ttl, backend::MemoryBackend};
    ///
    /// # fn main() -> Result<(), tower_response_cache::InvalidOption> {
    /// let mut options = CacheOptions::default();
    /// let layer = CacheLayer::from_options(MemoryBackend::default(), &options)?;
    /// options.ttl = Some(Ttl::For(Duration::from_secs(30)));
    /// let layer = layer.with_options(&options)?;
    /// # drop(layer);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`from_options`](Self::from_options).
    pub fn with_options(&self, options: &CacheOptions) -> Result<Self, InvalidOption> {
        let mut layer = self.with_defaults();
        set!(layer, options: ttl, negative_ttl, max_ttl, ignore_request_directives);
        set!(layer, options: ignore_client_freshness, max_body, max_head, max_buffered_bytes);
        set!(layer, options: max_lingering_bytes, store_set_cookie, store_parts, generate_etags);
        set!(layer, options: keep_group_fields, authority, sites, key_covers_credentials, query);
        set!(layer, options: write_through, store_posts, invalidate_on_unknown);
        set!(layer, options: write_grace_window, detached_write_timeout, max_detached_writes);
        set!(layer, options: coalesce_takeover_timeout, coalesce_timeout, fill_timeout);
        set!(layer, options: slow_reader_timeout, uncacheable_ttl, max_parallel_retries);
        set!(layer, options: max_waiting_fills, stale_while_revalidate, stale_if_error);
        set!(layer, options: stale_if_unreachable, stale_despite_s_maxage, revalidation_window);
        set!(layer, options: failure_backoff, cache_status, log_query, max_private_entries);
        set!(layer, options: cache_queries, max_refreshes);
        #[cfg(feature = "compress")]
        {
            set!(layer, options: compress, min_compressed_body, max_compressed_body);
        }
        layer.with_checked(options)
    }

    /// Sets the options whose values may be invalid.
    fn with_checked(self, options: &CacheOptions) -> Result<Self, InvalidOption> {
        let mut layer = self;
        try_names!(layer, options: targeted_cache_control = try_targeted_cache_control);
        try_names!(layer, options: credential_fields = try_credential_fields);
        try_names!(layer, options: group_fields = try_group_fields);
        try_names!(layer, options: group_prefixes = try_group_prefixes);
        try_names!(layer, options: ignore_request_cookies = try_ignore_request_cookies);
        try_names!(layer, options: bypass_fields = try_bypass_fields);
        if let Some(scope) = &options.scope {
            layer = layer.scope(scope);
        }
        if let Some(fraction) = options.ttl_jitter {
            layer = layer.try_ttl_jitter(fraction)?;
        }
        if let Some(beta) = options.early_refresh {
            layer = layer.try_early_refresh(beta)?;
        }
        if let Some(name) = &options.cache_status_name {
            layer = layer.try_cache_status_name(name)?;
        }
        // Last: each change of an option makes those of all routes anew.
        for (pattern, rules) in &options.route {
            layer = layer.try_route(pattern, rules.clone())?;
        }
        Ok(layer)
    }
}
