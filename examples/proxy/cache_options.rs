//! The flags about the cache, over the table `[cache]` of the configuration file.

use std::time::Duration;

use clap::Args;
use tower_response_cache::backend::Backend;
use tower_response_cache::key::QueryRules;
use tower_response_cache::{CacheLayer, CacheOptions, DEFAULT_CREDENTIAL_FIELDS, Ttl};

use crate::quantity;

#[derive(Clone, Debug, Args)]
pub struct CacheFlags {
    /// The table of the file.
    #[arg(skip)]
    pub file: CacheOptions,

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
    /// (nginx: proxy_cache_background_update) [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration, verbatim_doc_comment)]
    pub stale_while_revalidate: Option<Duration>,

    /// Obey stale-while-revalidate and stale-if-error of responses beside s-maxage, which by RFC
    /// 9111 forbids stale use; for origins like Next.js [default: s-maxage wins]
    #[arg(long, verbatim_doc_comment)]
    pub stale_despite_s_maxage: bool,

    /// How long a stale response is served instead of a 500, 502, 503 or 504 of an upstream
    /// (nginx: proxy_cache_use_stale http_500 ..) [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration, verbatim_doc_comment)]
    pub stale_if_error: Option<Duration>,

    /// How long a stale response is served while an upstream cannot be reached
    /// (nginx: proxy_cache_use_stale error timeout) [default: 60s]
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration, verbatim_doc_comment)]
    pub stale_if_unreachable: Option<Duration>,

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

    /// Most bytes of removed responses that clients still read; beyond it only bodies of up to 64KiB
    /// are stored. Beyond half of it, the slowest connections of the client that keeps most of them
    /// end [default: 64MiB]
    #[arg(long, value_name = "SIZE", value_parser = quantity::size, verbatim_doc_comment)]
    pub max_lingering_bytes: Option<u64>,

    /// How long nothing is stored of the resource of such a write [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration)]
    pub write_grace: Option<Duration>,
}

/// What flags that decide more than the cache say.
const NOT_IN_TABLE: &str = "is set by a flag of the proxy";

impl CacheFlags {
    /// Sets the table of the file.
    ///
    /// # Errors
    /// If it has an option that other flags decide: `--host` and `--max-body`.
    pub fn set_file(&mut self, file: CacheOptions) -> Result<(), String> {
        for (is_set, name, flag) in [
            (file.authority.is_some(), "authority", "--host"),
            (file.sites.is_some(), "sites", "--host"),
            (file.max_body.is_some(), "max_body", "--max-body"),
        ] {
            if is_set {
                return Err(format!("cache: {name} {NOT_IN_TABLE}: {flag}"));
            }
        }
        self.file = file;
        Ok(())
    }

    /// The cache of a layer with these options.
    pub fn layer<B: Backend>(
        &self,
        cache: &CacheLayer<B>,
        max_body: u64,
    ) -> Result<CacheLayer<B>, String> {
        let layer = cache.with_options(&self.options());
        let layer = layer.map_err(|error| format!("options of the cache: {error}"))?;
        Ok(layer.max_body(max_body))
    }

    /// The options of the cache: those of the flags, and of the file where there is no flag.
    fn options(&self) -> CacheOptions {
        let mut options = self.file.clone();
        fn set<T>(option: &mut Option<T>, flag: Option<T>) {
            *option = flag.or_else(|| option.take());
        }
        set(&mut options.ttl, self.ttl.map(Ttl::For));
        set(&mut options.max_ttl, self.max_ttl);
        set(&mut options.negative_ttl, self.negative_ttl);
        let stale = self.stale_while_revalidate;
        set(&mut options.stale_while_revalidate, stale);
        set(&mut options.stale_if_error, self.stale_if_error);
        set(&mut options.stale_if_unreachable, self.stale_if_unreachable);
        set(&mut options.write_grace_window, self.write_grace);
        set(&mut options.max_lingering_bytes, self.max_lingering_bytes);
        let is_set = |flag: bool, value: bool| flag.then_some(value);
        let despite = is_set(self.stale_despite_s_maxage, true);
        set(&mut options.stale_despite_s_maxage, despite);
        let ignores = is_set(self.ignore_client_freshness, true);
        set(&mut options.ignore_client_freshness, ignores);
        set(
            &mut options.store_set_cookie,
            is_set(self.store_set_cookie, true),
        );
        set(
            &mut options.invalidate_on_unknown,
            is_set(self.keep_on_unknown, false),
        );
        let names = |names: &[String]| (!names.is_empty()).then(|| names.to_vec());
        set(
            &mut options.ignore_request_cookies,
            names(&self.ignore_cookies),
        );
        let credentials = names(&self.credential_fields).map(|names| {
            let default = DEFAULT_CREDENTIAL_FIELDS.map(str::to_owned);
            default.into_iter().chain(names).collect()
        });
        set(&mut options.credential_fields, credentials);
        let ignored = self.ignore_query.iter().map(String::as_str);
        let query = (!self.ignore_query.is_empty()).then(|| QueryRules::all().ignoring(ignored));
        set(&mut options.query, query);
        options
    }

    /// The options that decide which requests share a stored response.
    pub fn key_description(&self) -> String {
        self.options().key_description()
    }

    /// Takes these options from those that are in force.
    pub fn keep_keys(&mut self, running: &Self) {
        let Self { file, .. } = &running;
        self.credential_fields
            .clone_from(&running.credential_fields);
        self.ignore_cookies.clone_from(&running.ignore_cookies);
        self.ignore_query.clone_from(&running.ignore_query);
        self.store_set_cookie = running.store_set_cookie;
        self.file
            .credential_fields
            .clone_from(&file.credential_fields);
        self.file
            .ignore_request_cookies
            .clone_from(&file.ignore_request_cookies);
        self.file.bypass_fields.clone_from(&file.bypass_fields);
        self.file.query.clone_from(&file.query);
        self.file.scope.clone_from(&file.scope);
        self.file.store_set_cookie = file.store_set_cookie;
        self.file.key_covers_credentials = file.key_covers_credentials;
        if self.key_description() != running.key_description() {
            self.file.route.clone_from(&file.route);
        }
    }
}
