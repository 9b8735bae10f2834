//! The flags about the cache.

use std::time::Duration;

use clap::Args;
use tower_response_cache::backend::Backend;
use tower_response_cache::key::QueryRules;
use tower_response_cache::{CacheLayer, DEFAULT_CREDENTIAL_FIELDS, Ttl};

use crate::quantity;

#[derive(Clone, Debug, Args)]
pub struct CacheOptions {
    /// How long a response without a lifetime of its own is fresh (nginx: proxy_cache_valid).
    /// Without this flag such a response is validated for each request, or not stored
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration, verbatim_doc_comment)]
    pub ttl: Option<Duration>,

    /// Longest time for which a stored response is fresh, whatever its origin says [default: none]
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration)]
    pub max_ttl: Option<Duration>,

    /// Header fields by which upstreams know their clients, beside Authorization, X-API-Key,
    /// X-Auth-Token and X-Access-Token. The response to a request with one of them is stored only
    /// if it says public, s-maxage or must-revalidate
    #[arg(
        long,
        value_name = "NAME[,NAME]",
        value_delimiter = ',',
        verbatim_doc_comment
    )]
    pub credential_fields: Vec<String>,

    /// Request cookies that no response depends on, such as _ga,_ga_* of analytics; a * at the end
    /// of a name matches any rest. GET and HEAD requests go to upstreams without them. A page that
    /// does depend on one of them is then the same for all clients [default: all cookies count]
    #[arg(
        long,
        value_name = "NAME[,NAME]",
        value_delimiter = ',',
        verbatim_doc_comment
    )]
    pub ignore_cookies: Vec<String>,

    /// How long a stale response is served while it is refreshed in the background
    /// (nginx: proxy_cache_background_update)
    #[arg(long, value_name = "DURATION", default_value = "0s",
          value_parser = quantity::duration, verbatim_doc_comment)]
    pub stale_while_revalidate: Duration,

    /// Obey stale-while-revalidate and stale-if-error of responses beside s-maxage, which by RFC
    /// 9111 forbids stale use; for origins like Next.js [default: s-maxage wins]
    #[arg(long, verbatim_doc_comment)]
    pub stale_despite_s_maxage: bool,

    /// How long a stale response is served instead of a 500, 502, 503 or 504 of an upstream
    /// (nginx: proxy_cache_use_stale http_500 ..)
    #[arg(long, value_name = "DURATION", default_value = "0s",
          value_parser = quantity::duration, verbatim_doc_comment)]
    pub stale_if_error: Duration,

    /// How long a stale response is served while an upstream cannot be reached
    /// (nginx: proxy_cache_use_stale error timeout)
    #[arg(long, value_name = "DURATION", default_value = "60s",
          value_parser = quantity::duration, verbatim_doc_comment)]
    pub stale_if_unreachable: Duration,

    /// How long a 404, 410 or another negative response without a lifetime of its own is fresh
    /// [default: as --ttl]
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration, verbatim_doc_comment)]
    pub negative_ttl: Option<Duration>,

    /// Query parameters that no response depends on, such as utm_source,utm_medium; requests go to
    /// upstreams without them [default: all count]
    #[arg(
        long,
        value_name = "NAME[,NAME]",
        value_delimiter = ',',
        verbatim_doc_comment
    )]
    pub ignore_query: Vec<String>,

    /// Ignore Cache-Control: no-cache, max-age and min-fresh, and Pragma, of requests: clients
    /// cannot send a request to upstreams that the cache can answer [default: obeyed]
    #[arg(long, verbatim_doc_comment)]
    pub ignore_client_freshness: bool,

    /// Store responses with Set-Cookie if they say that they may be stored; all clients then get
    /// the cookie [default: not stored]
    #[arg(long, verbatim_doc_comment)]
    pub store_set_cookie: bool,

    /// Keep stored responses when a write is answered 5xx or not at all, as RFC 9111 asks for no
    /// more [default: removed, as the write may have happened]
    #[arg(long, verbatim_doc_comment)]
    pub keep_on_unknown: bool,

    /// How long nothing is stored of the resource of such a write
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = quantity::duration)]
    pub write_grace: Duration,
}

impl CacheOptions {
    /// The cache with these options.
    pub fn layer<B: Backend>(&self, backend: B, max_body: u64) -> Result<CacheLayer<B>, String> {
        let credentials = self.credential_fields.iter().map(String::as_str);
        let ignored = self.ignore_cookies.iter().map(String::as_str);
        let mut cache = CacheLayer::new(backend)
            .stale_while_revalidate(self.stale_while_revalidate)
            .stale_despite_s_maxage(self.stale_despite_s_maxage)
            .stale_if_error(self.stale_if_error)
            .stale_if_unreachable(self.stale_if_unreachable)
            .ignore_client_freshness(self.ignore_client_freshness)
            .store_set_cookie(self.store_set_cookie)
            .invalidate_on_unknown(!self.keep_on_unknown)
            .write_grace_window(self.write_grace)
            .max_body(max_body)
            .try_credential_fields(DEFAULT_CREDENTIAL_FIELDS.into_iter().chain(credentials))
            .map_err(|error| format!("--credential-fields: {error}"))?
            .try_ignore_request_cookies(ignored)
            .map_err(|error| format!("--ignore-cookies: {error}"))?;
        if !self.ignore_query.is_empty() {
            let names = self.ignore_query.iter().map(String::as_str);
            cache = cache.query(QueryRules::all().ignoring(names));
        }
        if let Some(ttl) = self.ttl {
            cache = cache.ttl(Ttl::For(ttl));
        }
        if let Some(ttl) = self.negative_ttl {
            cache = cache.negative_ttl(ttl);
        }
        if let Some(max_ttl) = self.max_ttl {
            cache = cache.max_ttl(max_ttl);
        }
        Ok(cache)
    }

    /// The options that change stored responses or their keys, for the owner of a namespace.
    pub fn of_keys(&self) -> String {
        let mut keys = format!(
            "ignore cookies {}; credentials {}",
            sorted(&self.ignore_cookies),
            sorted(&self.credential_fields),
        );
        if !self.ignore_query.is_empty() {
            keys.push_str(&format!("; ignore query {}", sorted(&self.ignore_query)));
        }
        if self.store_set_cookie {
            keys.push_str("; store set-cookie");
        }
        keys
    }
}

/// The names of a list, whatever their order.
fn sorted(names: &[String]) -> String {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names.join(",")
}
