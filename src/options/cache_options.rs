//! `CacheOptions`: the options of a layer as data, for configuration files.
//!
//! Start with [`CacheOptions`].

use std::time::Duration;

use serde::Deserialize;

use super::{Rules, deserialize, read_routes};
use crate::key::{Authority, QueryRules, Sites};
use crate::semantics::cache_control::RequestDirective;
#[cfg(feature = "compress")]
use crate::semantics::content_coding::Coding;
use crate::semantics::freshness::Ttl;

/// The options of a [`CacheLayer`](crate::CacheLayer) that are data, for
/// [`CacheLayer::from_options`](crate::CacheLayer::from_options); with the feature `serde`.
///
/// Each field has the name of its option and is read from configuration under this name. An option
/// that is not set keeps its default, and an unknown name is an error. Durations are text such as
/// `"60s"` or `"1h 30m"`; sizes are numbers of bytes, or text such as `"64MiB"`; enumerations are
/// text in kebab case. Options that are functions are set in code, on the layer that is made:
///
/// ```
/// use tower_response_cache::{CacheLayer, CacheOptions, backend::MemoryBackend};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = r#"
///     ttl = "60s"
///     max_body = "4MiB"
///     ignore_request_directives = ["no-cache", "max-age"]
///     query = { ignoring = ["utm_*"] }
///
///     [[route]]
///     path = "/assets/{*file}"
///     ttl = "until-invalidated"
///     groups = ["assets"]
/// "#;
/// let options: CacheOptions = toml::from_str(file)?;
/// let layer = CacheLayer::from_options(MemoryBackend::default(), &options)?
///     .skip(|request| request.headers.contains_key("x-preview"));
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CacheOptions {
    /// [`CacheLayer::ttl`](crate::CacheLayer::ttl), or `"until-invalidated"`.
    pub ttl: Option<Ttl>,
    /// [`CacheLayer::negative_ttl`](crate::CacheLayer::negative_ttl).
    #[serde(deserialize_with = "deserialize::duration")]
    pub negative_ttl: Option<Duration>,
    /// [`CacheLayer::max_ttl`](crate::CacheLayer::max_ttl).
    #[serde(deserialize_with = "deserialize::duration")]
    pub max_ttl: Option<Duration>,
    /// [`CacheLayer::ttl_jitter`](crate::CacheLayer::ttl_jitter).
    pub ttl_jitter: Option<f64>,
    /// [`CacheLayer::targeted_cache_control`](crate::CacheLayer::targeted_cache_control).
    pub targeted_cache_control: Option<Vec<String>>,
    /// [`CacheLayer::ignore_request_directives`](crate::CacheLayer::ignore_request_directives), such as `["no-cache"]`.
    pub ignore_request_directives: Option<Vec<RequestDirective>>,
    /// [`CacheLayer::ignore_client_freshness`](crate::CacheLayer::ignore_client_freshness).
    pub ignore_client_freshness: Option<bool>,
    /// [`CacheLayer::max_body`](crate::CacheLayer::max_body).
    #[serde(deserialize_with = "deserialize::size")]
    pub max_body: Option<u64>,
    /// [`CacheLayer::max_head`](crate::CacheLayer::max_head).
    #[serde(deserialize_with = "deserialize::size")]
    pub max_head: Option<usize>,
    /// [`CacheLayer::max_buffered_bytes`](crate::CacheLayer::max_buffered_bytes).
    #[serde(deserialize_with = "deserialize::size")]
    pub max_buffered_bytes: Option<u64>,
    /// [`CacheLayer::credential_fields`](crate::CacheLayer::credential_fields).
    pub credential_fields: Option<Vec<String>>,
    /// [`CacheLayer::max_lingering_bytes`](crate::CacheLayer::max_lingering_bytes).
    #[serde(deserialize_with = "deserialize::size")]
    pub max_lingering_bytes: Option<u64>,
    /// [`CacheLayer::store_set_cookie`](crate::CacheLayer::store_set_cookie).
    pub store_set_cookie: Option<bool>,
    /// [`CacheLayer::max_private_entries`](crate::CacheLayer::max_private_entries).
    pub max_private_entries: Option<usize>,
    /// [`CacheLayer::store_parts`](crate::CacheLayer::store_parts).
    pub store_parts: Option<bool>,
    /// [`CacheLayer::generate_etags`](crate::CacheLayer::generate_etags).
    pub generate_etags: Option<bool>,
    /// [`CacheLayer::group_fields`](crate::CacheLayer::group_fields).
    pub group_fields: Option<Vec<String>>,
    /// [`CacheLayer::keep_group_fields`](crate::CacheLayer::keep_group_fields).
    pub keep_group_fields: Option<bool>,
    /// [`CacheLayer::group_prefixes`](crate::CacheLayer::group_prefixes).
    pub group_prefixes: Option<Vec<String>>,
    /// [`CacheLayer::authority`](crate::CacheLayer::authority): a fixed one, such as `"www.example.com"`.
    #[serde(deserialize_with = "deserialize::authority")]
    pub authority: Option<Authority>,
    /// [`CacheLayer::sites`](crate::CacheLayer::sites): `"one"` or `"by-authority"`.
    pub sites: Option<Sites>,
    /// [`CacheLayer::key_covers_credentials`](crate::CacheLayer::key_covers_credentials).
    pub key_covers_credentials: Option<bool>,
    /// [`CacheLayer::query`](crate::CacheLayer::query): a table of `only`, `ignoring` and `sorted`.
    pub query: Option<QueryRules>,
    /// [`CacheLayer::ignore_request_cookies`](crate::CacheLayer::ignore_request_cookies).
    pub ignore_request_cookies: Option<Vec<String>>,
    /// [`CacheLayer::scope`](crate::CacheLayer::scope).
    pub scope: Option<String>,
    /// [`CacheLayer::bypass_fields`](crate::CacheLayer::bypass_fields).
    pub bypass_fields: Option<Vec<String>>,
    /// [`CacheLayer::cache_queries`](crate::CacheLayer::cache_queries).
    #[serde(deserialize_with = "deserialize::size")]
    pub cache_queries: Option<usize>,
    /// [`CacheLayer::write_through`](crate::CacheLayer::write_through).
    pub write_through: Option<bool>,
    /// [`CacheLayer::store_posts`](crate::CacheLayer::store_posts).
    pub store_posts: Option<bool>,
    /// [`CacheLayer::invalidate_on_unknown`](crate::CacheLayer::invalidate_on_unknown).
    pub invalidate_on_unknown: Option<bool>,
    /// [`CacheLayer::write_grace_window`](crate::CacheLayer::write_grace_window).
    #[serde(deserialize_with = "deserialize::duration")]
    pub write_grace_window: Option<Duration>,
    /// [`CacheLayer::detached_write_timeout`](crate::CacheLayer::detached_write_timeout).
    #[serde(deserialize_with = "deserialize::duration")]
    pub detached_write_timeout: Option<Duration>,
    /// [`CacheLayer::max_detached_writes`](crate::CacheLayer::max_detached_writes).
    pub max_detached_writes: Option<usize>,
    /// [`CacheLayer::coalesce_takeover_timeout`](crate::CacheLayer::coalesce_takeover_timeout).
    #[serde(deserialize_with = "deserialize::duration")]
    pub coalesce_takeover_timeout: Option<Duration>,
    /// [`CacheLayer::coalesce_timeout`](crate::CacheLayer::coalesce_timeout).
    #[serde(deserialize_with = "deserialize::duration")]
    pub coalesce_timeout: Option<Duration>,
    /// [`CacheLayer::fill_timeout`](crate::CacheLayer::fill_timeout).
    #[serde(deserialize_with = "deserialize::duration")]
    pub fill_timeout: Option<Duration>,
    /// [`CacheLayer::slow_reader_timeout`](crate::CacheLayer::slow_reader_timeout).
    #[serde(deserialize_with = "deserialize::duration")]
    pub slow_reader_timeout: Option<Duration>,
    /// [`CacheLayer::uncacheable_ttl`](crate::CacheLayer::uncacheable_ttl).
    #[serde(deserialize_with = "deserialize::duration")]
    pub uncacheable_ttl: Option<Duration>,
    /// [`CacheLayer::max_parallel_retries`](crate::CacheLayer::max_parallel_retries).
    pub max_parallel_retries: Option<usize>,
    /// [`CacheLayer::max_waiting_fills`](crate::CacheLayer::max_waiting_fills).
    pub max_waiting_fills: Option<usize>,
    /// [`CacheLayer::stale_while_revalidate`](crate::CacheLayer::stale_while_revalidate).
    #[serde(deserialize_with = "deserialize::duration")]
    pub stale_while_revalidate: Option<Duration>,
    /// [`CacheLayer::stale_if_error`](crate::CacheLayer::stale_if_error).
    #[serde(deserialize_with = "deserialize::duration")]
    pub stale_if_error: Option<Duration>,
    /// [`CacheLayer::stale_if_unreachable`](crate::CacheLayer::stale_if_unreachable).
    #[serde(deserialize_with = "deserialize::duration")]
    pub stale_if_unreachable: Option<Duration>,
    /// [`CacheLayer::stale_despite_s_maxage`](crate::CacheLayer::stale_despite_s_maxage).
    pub stale_despite_s_maxage: Option<bool>,
    /// [`CacheLayer::revalidation_window`](crate::CacheLayer::revalidation_window).
    #[serde(deserialize_with = "deserialize::duration")]
    pub revalidation_window: Option<Duration>,
    /// [`CacheLayer::max_refreshes`](crate::CacheLayer::max_refreshes).
    pub max_refreshes: Option<usize>,
    /// [`CacheLayer::failure_backoff`](crate::CacheLayer::failure_backoff).
    #[serde(deserialize_with = "deserialize::duration")]
    pub failure_backoff: Option<Duration>,
    /// [`CacheLayer::early_refresh`](crate::CacheLayer::early_refresh).
    pub early_refresh: Option<f64>,
    /// [`CacheLayer::cache_status`](crate::CacheLayer::cache_status).
    pub cache_status: Option<bool>,
    /// [`CacheLayer::cache_status_name`](crate::CacheLayer::cache_status_name).
    pub cache_status_name: Option<String>,
    /// [`CacheLayer::log_query`](crate::CacheLayer::log_query).
    pub log_query: Option<bool>,
    /// `CacheLayer::compress`, such as `["zstd", "brotli", "gzip"]`; with the feature `compress`.
    #[cfg(feature = "compress")]
    pub compress: Option<Vec<Coding>>,
    /// `CacheLayer::min_compressed_body`; with the feature `compress`.
    #[cfg(feature = "compress")]
    #[serde(deserialize_with = "deserialize::size")]
    pub min_compressed_body: Option<u64>,
    /// `CacheLayer::max_compressed_body`; with the feature `compress`.
    #[cfg(feature = "compress")]
    #[serde(deserialize_with = "deserialize::size")]
    pub max_compressed_body: Option<u64>,
    /// [`CacheLayer::route`](crate::CacheLayer::route), by pattern: an array of tables, each of a
    /// `path` and [`Rules`].
    #[serde(deserialize_with = "read_routes::routes")]
    pub route: Vec<(String, Rules)>,
}

impl CacheOptions {
    /// Describes the options that decide which requests share a stored response: keys, and what
    /// makes a request or a response personal.
    ///
    /// Instances whose descriptions differ must not use each other's stored responses: make it a
    /// part of the owner of a shared store's namespace, as in `RedisOptions::owner`. It is empty
    /// without such options, and the order of names does not count.
    #[must_use]
    pub fn key_description(&self) -> String {
        let mut described = Vec::new();
        let mut add = |name: &str, value: Option<String>| {
            described.extend(value.map(|value| format!("{name} {value}")));
        };
        let names = |names: &Option<Vec<String>>| names.as_ref().map(|names| sorted(names));
        add(
            "authority",
            self.authority
                .as_ref()
                .map(|authority| format!("{authority:?}")),
        );
        add("sites", self.sites.map(|sites| format!("{sites:?}")));
        add("scope", self.scope.clone());
        add("query", self.query.as_ref().map(ToString::to_string));
        add(
            "ignore_request_cookies",
            names(&self.ignore_request_cookies),
        );
        add("credential_fields", names(&self.credential_fields));
        add("bypass_fields", names(&self.bypass_fields));
        add(
            "key_covers_credentials",
            self.key_covers_credentials.map(|is| is.to_string()),
        );
        add(
            "store_set_cookie",
            self.store_set_cookie.map(|is| is.to_string()),
        );
        for (path, rules) in &self.route {
            add(path, rules.query.as_ref().map(ToString::to_string));
            add(path, names(&rules.ignore_request_cookies));
        }
        described.join("; ")
    }
}

/// The names of a list, whatever their order.
fn sorted(names: &[String]) -> String {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Instances that differ in one of them must not share stored responses.
    #[test]
    fn options_that_change_keys_are_described_in_any_order_and_no_others_are() {
        let described = |json: &str| {
            let options: CacheOptions = serde_json::from_str(json).expect(json);
            options.key_description()
        };
        for json in [
            r#"{}"#,
            r#"{"ttl": "60s", "max_body": 7, "cache_status": false}"#,
            r#"{"route": [{"path": "/a", "ttl": "60s", "groups": ["a"], "bypass": true}]}"#,
        ] {
            assert_eq!(described(json), "", "{json}");
        }
        let mut all = std::collections::BTreeSet::new();
        let different = [
            r#"{"authority": "a"}"#,
            r#"{"sites": "by-authority"}"#,
            r#"{"scope": "a"}"#,
            r#"{"query": {"ignoring": ["a"]}}"#,
            r#"{"query": {"only": ["a"]}}"#,
            r#"{"query": {"only": []}}"#,
            r#"{"query": {"sorted": true}}"#,
            r#"{"ignore_request_cookies": ["a"]}"#,
            r#"{"credential_fields": ["a"]}"#,
            r#"{"bypass_fields": ["a"]}"#,
            r#"{"key_covers_credentials": true}"#,
            r#"{"store_set_cookie": true}"#,
            r#"{"route": [{"path": "/a", "query": {"sorted": true}}]}"#,
            r#"{"route": [{"path": "/a", "ignore_request_cookies": ["a"]}]}"#,
        ];
        for json in different {
            let text = described(json);
            assert!(
                !text.is_empty() && all.insert(text.clone()),
                "{json}: {text}"
            );
        }
        let pairs = [
            r#"{"ignore_request_cookies": ["a", "b"], "query": {"only": ["x", "y"]}}"#,
            r#"{"ignore_request_cookies": ["b", "a"], "query": {"only": ["y", "x"]}}"#,
        ];
        assert_eq!(described(pairs[0]), described(pairs[1]));
    }
}
