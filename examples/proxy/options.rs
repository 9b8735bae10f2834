//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use tower_response_cache::proxy::{
    Forwarding, HealthCheck, HostPolicy, InvalidUpstream, ReverseProxy,
};

use crate::admin::AdminOptions;
use crate::cache_options::CacheFlags;
use crate::client_limits::ClientLimits;
use crate::config_file;
use crate::connection::ConnectionTimeouts;
use crate::file_limit;
use crate::log::LogOptions;
use crate::quantity;
use crate::request_memory::{self, RequestMemory};
use crate::server::ConnectionSettings;
use crate::store::{Owner, StoreOptions};
use crate::tls::ClientTls;

/// The shortest time that a connection has, whatever the options say.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);

/// A caching reverse proxy for HTTP/1.1 and HTTP/2, like nginx proxy_cache or Varnish.
///
/// Example:
///   proxy --upstream http://127.0.0.1:8000 --ttl 60s
///   curl -i 127.0.0.1:8080/
///
/// Prints `listening on http://ADDR` when it is ready. SIGINT and SIGTERM stop it after the
/// requests in flight. Logs to stderr; the environment variable RUST_LOG selects what, for example
/// RUST_LOG=warn or RUST_LOG=info,tower_response_cache=debug [default: info].
#[derive(Clone, Debug, Parser)]
#[command(name = "proxy", verbatim_doc_comment)]
#[command(after_help = "DURATION is a whole number with ms, s, m, h or d. \
                        SIZE is a whole number with B, KiB, MiB or GiB.")]
pub struct Options {
    /// Server to forward to (nginx: proxy_pass), http://HOST[:PORT][/PATH], or several of them
    /// (nginx: upstream, least_conn); repeat it as /PREFIX=URL for paths that begin with /PREFIX.
    /// https:// needs a build with --features proxy-tls
    #[arg(
        long,
        value_name = "[/PREFIX=]URL[,URL]",
        required = true,
        verbatim_doc_comment
    )]
    pub upstream: Vec<Upstream>,

    /// Address to listen on; port 0 picks a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub listen: String,

    /// TOML file with these flags by their names, such as ttl = "60s", upstream = ["http://a"] and
    /// access-log = true; flags on the command line override it. The table [cache] has options of
    /// the cache by the names of the library (CacheOptions), such as max_head = "64KiB", and
    /// [[cache.route]] those of single routes; flags override it. SIGHUP reads the file again: new
    /// connections are served with the new options, old ones end after their requests, and stored
    /// responses are kept. The log says which options need a restart
    #[arg(long, value_name = "FILE", verbatim_doc_comment)]
    pub config: Option<PathBuf>,

    /// Check the options, and the files that they name, and exit
    #[arg(long)]
    pub check: bool,

    /// Certificate chain for clients, as PEM; clients then use TLS, with HTTP/2 and HTTP/1.1.
    /// SIGHUP reads it again (nginx: ssl_certificate)
    #[cfg(feature = "proxy-tls")]
    #[arg(long, value_name = "FILE", requires = "tls_key", verbatim_doc_comment)]
    pub tls_cert: Option<PathBuf>,

    /// Private key of --tls-cert, as PEM (nginx: ssl_certificate_key)
    #[cfg(feature = "proxy-tls")]
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Address without TLS whose clients are redirected to https:// on the port of --listen
    /// (nginx: return 308 https://$host$request_uri)
    #[cfg(feature = "proxy-tls")]
    #[arg(
        long,
        value_name = "HOST:PORT",
        requires = "tls_cert",
        verbatim_doc_comment
    )]
    pub redirect_listen: Option<String>,

    #[command(flatten)]
    pub store: StoreOptions,

    #[command(flatten)]
    pub cache: CacheFlags,

    /// Host header for upstreams (nginx: proxy_set_header Host)
    #[arg(long, value_enum, default_value_t = HostHeader::Preserve)]
    pub host: HostHeader,

    /// Header fields that tell upstreams the client's address, the host and the scheme
    #[arg(long, value_enum, default_value_t = ForwardingFields::None)]
    pub forwarding: ForwardingFields,

    /// Keep Forwarded, X-Forwarded-* and X-Real-IP of requests; use it only behind a proxy of your
    /// own that sets them [default: they are removed]
    #[arg(long, verbatim_doc_comment)]
    pub trust_forwarded: bool,

    /// Translate Path and Domain of cookies that upstreams set into those that clients know
    /// (nginx: proxy_cookie_path, proxy_cookie_domain)
    #[arg(long, verbatim_doc_comment)]
    pub translate_cookies: bool,

    /// Use HTTP/2 for upstreams, without TLS for http://; implies --host upstream
    /// [default: HTTP/1.1]
    #[arg(long, verbatim_doc_comment)]
    pub http2_upstream: bool,

    /// Longest use of a connection to an upstream; new ones follow changes of DNS
    /// (nginx: keepalive_time)
    #[arg(long, value_name = "DURATION", default_value = "60s",
          value_parser = quantity::duration, verbatim_doc_comment)]
    pub upstream_max_age: Duration,

    /// Host that TLS handshakes with https:// upstreams name, and the certificate is for
    /// (nginx: proxy_ssl_server_name, proxy_ssl_name)
    #[cfg(feature = "proxy-tls")]
    #[arg(long, value_enum, default_value_t = TlsName::Host, verbatim_doc_comment)]
    pub upstream_tls_name: TlsName,

    /// Longest time for connecting to an upstream (nginx: proxy_connect_timeout)
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = quantity::duration)]
    pub connect_timeout: Duration,

    /// Longest wait for the head of an upstream's response (nginx: proxy_read_timeout)
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = quantity::duration)]
    pub head_timeout: Duration,

    /// Longest pause within a body, of an upstream or a client, in reading or in writing; a client
    /// of HTTP/2 that takes less than 32 KiB of a response meanwhile loses that one
    /// (nginx: proxy_read_timeout, client_body_timeout, send_timeout)
    #[arg(long, value_name = "DURATION", default_value = "60s",
          value_parser = quantity::duration, verbatim_doc_comment)]
    pub idle_timeout: Duration,

    /// Longest wait for the response to a write whose client broke its content off: the upstream
    /// may have acted on a part of it. Without a response the write counts as rejected
    #[arg(long, value_name = "DURATION", default_value = "5s",
          value_parser = quantity::duration, verbatim_doc_comment)]
    pub broken_upload_timeout: Duration,

    /// Most of these writes that wait at once; one more ends the wait of the oldest
    #[arg(long, value_name = "NUMBER", default_value_t = 128)]
    pub max_broken_uploads: usize,

    /// Most requests that are with upstreams at once; others wait. A client has about half of them
    /// at most, unless --trust-forwarded is set. Cache hits are not counted, nor uploads that stall
    #[arg(long, value_name = "NUMBER", default_value_t = 1024,
          value_parser = quantity::positive, verbatim_doc_comment)]
    pub concurrency: usize,

    /// Most of these requests whose content is not whole yet; others wait. A client has about half
    /// of them, too. Content that fits into --max-buffered-upload is not counted
    /// [default: half of --concurrency]
    #[arg(long, value_name = "NUMBER", verbatim_doc_comment)]
    pub max_uploads: Option<usize>,

    /// Longest content of a request, if its length is announced, that is received before an
    /// upstream is asked; longer content is streamed; 0B for none
    /// (nginx: proxy_request_buffering, client_body_buffer_size)
    #[arg(long, value_name = "SIZE", default_value = "64KiB",
          value_parser = quantity::size, verbatim_doc_comment)]
    pub max_buffered_upload: u64,

    /// Memory of the requests over HTTP/2 that have no response yet: their heads, and content that
    /// is collected. One more is answered 503 at once; a client may take about half
    /// (at least 1MiB)
    #[arg(long, value_name = "SIZE", default_value = "256MiB",
          value_parser = request_memory::parse_max, verbatim_doc_comment)]
    pub max_request_memory: u64,

    /// Longest wait of such a request, which is then answered 503
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = quantity::duration)]
    pub queue_timeout: Duration,

    /// Lowest rate at which clients may send content, per second, averaged over --rate-window; 0B
    /// for none. A slower upload is answered 408
    #[arg(long, value_name = "SIZE", default_value = "512B",
          value_parser = quantity::size, verbatim_doc_comment)]
    pub min_upload_rate: u64,

    /// Lowest rate at which clients may read what upstreams send, per second; 0B for none. A slower
    /// response breaks off
    #[arg(long, value_name = "SIZE", default_value = "512B",
          value_parser = quantity::size, verbatim_doc_comment)]
    pub min_download_rate: u64,

    /// Time over which these rates are averaged; the time for which upstreams are waited for does
    /// not count
    #[arg(long, value_name = "DURATION", default_value = "60s",
          value_parser = quantity::duration, verbatim_doc_comment)]
    pub rate_window: Duration,

    /// How long a WebSocket is kept over which nothing is sent (nginx: proxy_read_timeout)
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = quantity::duration)]
    pub tunnel_timeout: Duration,

    /// Most WebSockets at once. Beyond it Upgrade is ignored; but a client with fewer of them than
    /// another gets one, and that one's oldest is closed
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1024,
        verbatim_doc_comment
    )]
    pub max_tunnels: usize,

    /// Longest wait for the head of a client's next request
    /// (nginx: client_header_timeout, keepalive_timeout)
    #[arg(long, value_name = "DURATION", default_value = "30s",
          value_parser = quantity::duration, verbatim_doc_comment)]
    pub client_timeout: Duration,

    /// Most client connections at once. Beyond it the oldest ones without a request are closed,
    /// first those of the client that has most; if there are none, others wait. It is less if the
    /// limit of open files (ulimit -n) is (nginx: worker_connections, worker_rlimit_nofile)
    #[arg(long, value_name = "NUMBER", default_value_t = 16384,
          value_parser = quantity::positive, verbatim_doc_comment)]
    pub max_connections: usize,

    /// Most connections of one client, by its IP address or IPv6 network of 64 bits; more are
    /// closed at once; 0 for no limit (nginx: limit_conn) [default: a quarter of --max-connections,
    /// but no limit with --trust-forwarded]
    #[arg(long, value_name = "NUMBER", verbatim_doc_comment)]
    pub max_connections_per_client: Option<usize>,

    /// Most header fields of a request, and of an upstream's response over HTTP/1.1
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = quantity::positive)]
    pub max_head_fields: usize,

    /// Path by which each server of an upstream is checked; one that answers with 400 or more, or
    /// not, gets no requests while others do (nginx plus: health_check) [default: not checked]
    #[arg(long, value_name = "PATH", verbatim_doc_comment)]
    pub health_path: Option<String>,

    /// Time between two checks of a server
    #[arg(long, requires = "health_path", value_name = "DURATION", default_value = "5s", value_parser = quantity::duration)]
    pub health_interval: Duration,

    /// Longest time for a check
    #[arg(long, requires = "health_path", value_name = "DURATION", default_value = "2s", value_parser = quantity::duration)]
    pub health_timeout: Duration,

    /// Checks in a row that fail before a server gets no more requests
    #[arg(
        long,
        requires = "health_path",
        value_name = "NUMBER",
        default_value_t = 3
    )]
    pub health_failures: u32,

    /// Checks in a row that succeed before it gets requests again
    #[arg(
        long,
        requires = "health_path",
        value_name = "NUMBER",
        default_value_t = 2
    )]
    pub health_successes: u32,

    /// Most requests at once on an HTTP/2 connection (nginx: http2_max_concurrent_streams)
    #[arg(long, value_name = "NUMBER", default_value_t = 128,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub max_streams: u32,

    /// Log every request to stderr (nginx: access_log) when its response has been sent: a number that
    /// other lines about it have, bytes, times, and what the cache did. Lines are dropped, and
    /// counted, if they are not read fast enough [default: off]
    #[arg(long, verbatim_doc_comment)]
    pub access_log: bool,

    /// Log the queries of requests, too, in the access log and in lines at level debug; they may hold
    /// secrets [default: off]
    #[arg(long, verbatim_doc_comment)]
    pub log_query: bool,

    #[command(flatten)]
    pub admin: AdminOptions,

    #[command(flatten)]
    pub log: LogOptions,

    /// Show requests, hit ratio, p99 and bytes on a line of the terminal, once a second
    #[arg(long)]
    pub watch: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum HostHeader {
    /// The client's
    Preserve,
    /// The upstream's; all hosts that clients ask for are then one site
    Upstream,
}

#[cfg(feature = "proxy-tls")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TlsName {
    /// The one that upstreams receive in Host
    Host,
    /// The one of the upstream's URL
    Upstream,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ForwardingFields {
    /// No such fields
    None,
    /// Forwarded (RFC 7239)
    Forwarded,
    /// X-Forwarded-For, X-Forwarded-Host and X-Forwarded-Proto
    XForwarded,
    /// All of them
    Both,
}

/// A value of `--upstream`.
#[derive(Clone, Debug)]
pub struct Upstream {
    prefix: Option<String>,
    url: String,
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let servers = self.url.split(',').map(|url| url.trim_end_matches('/'));
        let mut servers: Vec<&str> = servers.collect();
        servers.sort_unstable();
        let servers = servers.join(",");
        match &self.prefix {
            Some(prefix) => write!(f, "{prefix}={servers}"),
            None => f.write_str(&servers),
        }
    }
}

impl std::str::FromStr for Upstream {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, InvalidUpstream> {
        let prefixed = text.strip_prefix('/').and_then(|text| text.split_once('='));
        let (prefix, url) = match prefixed {
            Some((prefix, url)) => (Some(format!("/{prefix}")), url.to_owned()),
            None => (None, text.to_owned()),
        };
        ReverseProxy::new(&url)?;
        Ok(Self { prefix, url })
    }
}

impl Options {
    /// Reads the command line, and the file that it names. Wrong flags end the process.
    pub fn from_arguments() -> Result<Self, String> {
        let arguments = std::env::args_os().collect();
        let (merged, cache) = config_file::with_config_file(arguments, &Self::command())?;
        let parsed = Self::try_parse_from(merged);
        let mut options = parsed.map_err(|error| match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => error.exit(),
            _ => error
                .to_string()
                .trim_start_matches("error: ")
                .trim_end()
                .to_owned(),
        })?;
        options.cache.set_file(cache)?;
        Ok(options)
    }

    /// The certificate for clients; `None` without TLS.
    #[cfg(feature = "proxy-tls")]
    pub fn client_tls(&self) -> Result<Option<ClientTls>, String> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => ClientTls::load(certificate, key).map(Some),
            _ => Ok(None),
        }
    }

    #[cfg(not(feature = "proxy-tls"))]
    pub fn client_tls(&self) -> Result<Option<ClientTls>, String> {
        Ok(None)
    }

    /// The address whose clients are redirected to `https://`.
    #[cfg(feature = "proxy-tls")]
    pub fn redirect_address(&self) -> Option<&str> {
        self.redirect_listen.as_deref()
    }

    #[cfg(not(feature = "proxy-tls"))]
    pub fn redirect_address(&self) -> Option<&str> {
        None
    }

    /// Whether SIGHUP reads something again, instead of stopping the program.
    pub fn reloads(&self) -> bool {
        #[cfg(feature = "proxy-tls")]
        let has_certificate = self.tls_cert.is_some();
        #[cfg(not(feature = "proxy-tls"))]
        let has_certificate = false;
        self.config.is_some() || has_certificate || self.admin.admin_token_file.is_some()
    }

    /// The options of connections of clients.
    pub fn settings(&self) -> ConnectionSettings {
        ConnectionSettings {
            timeouts: ConnectionTimeouts {
                client: self.client_timeout.max(SHORTEST_TIMEOUT),
                idle: self.idle_timeout.max(SHORTEST_TIMEOUT),
            },
            max_streams: self.max_streams,
            max_head_fields: self.max_head_fields,
            max_body: self.store.max_body,
        }
    }

    /// Takes the options that need a restart from those that are in force. Returns the names of
    /// those that differ.
    pub fn keep_fixed(&mut self, running: &Self) -> Vec<&'static str> {
        let mut kept = Vec::new();
        macro_rules! keep {
            ($($field:ident).+, $name:literal) => {
                if format!("{:?}", self.$($field).+) != format!("{:?}", running.$($field).+) {
                    self.$($field).+.clone_from(&running.$($field).+);
                    kept.push($name);
                }
            };
        }
        keep!(upstream, "upstream");
        keep!(listen, "listen");
        keep!(host, "host");
        keep!(forwarding, "forwarding");
        keep!(trust_forwarded, "trust-forwarded");
        keep!(http2_upstream, "http2-upstream");
        keep!(max_connections, "max-connections");
        keep!(max_connections_per_client, "max-connections-per-client");
        keep!(max_request_memory, "max-request-memory");
        keep!(access_log, "access-log");
        keep!(log_query, "log-query");
        keep!(admin, "admin, admin-host and admin-token-file");
        keep!(log, "log-format");
        keep!(watch, "watch");
        if self.cache.key_description() != running.cache.key_description() {
            self.cache.keep_keys(&running.cache);
            kept.push("the options of cache keys");
        }
        keep!(store, "the options of the store");
        #[cfg(feature = "proxy-tls")]
        {
            keep!(tls_cert, "tls-cert");
            keep!(tls_key, "tls-key");
            keep!(redirect_listen, "redirect-listen");
            keep!(upstream_tls_name, "upstream-tls-name");
        }
        kept
    }

    /// Builds the service behind the cache.
    pub fn reverse_proxy(&self) -> Result<ReverseProxy, String> {
        let mut main = self
            .upstream
            .iter()
            .filter(|upstream| upstream.prefix.is_none());
        let (Some(first), None) = (main.next(), main.next()) else {
            return Err("expected exactly one --upstream URL without a /PREFIX=".to_owned());
        };
        let mut origin = ReverseProxy::new(&first.url).map_err(|error| error.to_string())?;
        for Upstream { prefix, url } in &self.upstream {
            if let Some(prefix) = prefix {
                let added = origin.upstream(prefix, url);
                origin = added.map_err(|error| error.to_string())?;
            }
        }
        let origin = origin
            .forwarding(match self.forwarding {
                ForwardingFields::None => Forwarding::None,
                ForwardingFields::Forwarded => Forwarding::Forwarded,
                ForwardingFields::XForwarded => Forwarding::XForwarded,
                ForwardingFields::Both => Forwarding::Both,
            })
            .connect_timeout(self.connect_timeout)
            .head_timeout(self.head_timeout)
            .idle_timeout(self.idle_timeout)
            .reader_timeout(self.idle_timeout)
            .max_concurrent_requests(self.concurrency)
            .queue_timeout(self.queue_timeout)
            .max_buffered_upload(self.max_buffered_upload)
            .min_upload_rate(self.min_upload_rate)
            .min_download_rate(self.min_download_rate)
            .rate_window(self.rate_window)
            .tunnel_timeout(self.tunnel_timeout)
            .max_tunnels(self.max_tunnels)
            .broken_upload_timeout(self.broken_upload_timeout)
            .max_broken_uploads(self.max_broken_uploads)
            .host(match self.host {
                HostHeader::Preserve => HostPolicy::Preserve,
                HostHeader::Upstream => HostPolicy::Upstream,
            });
        let origin = match self.max_uploads {
            Some(max) => origin.max_uploads(max),
            None => origin,
        };
        #[cfg(feature = "proxy-tls")]
        let origin = origin.tls_by_host(self.upstream_tls_name == TlsName::Host);
        let origin = origin
            .try_max_head_fields(self.max_head_fields)
            .map_err(|error| format!("--max-head-fields: {error}"))?;
        Ok(origin
            .max_connection_age(self.upstream_max_age)
            .translate_cookies(self.translate_cookies)
            .trust_forwarded(self.trust_forwarded)
            .http2_only(self.http2_upstream))
    }

    /// The checks of servers; `None` if there are none.
    pub fn health_check(&self) -> Result<Option<HealthCheck>, String> {
        let Some(path) = &self.health_path else {
            return Ok(None);
        };
        let check = HealthCheck::try_new(path);
        let check = check.map_err(|error| format!("--health-path: {error}"))?;
        Ok(Some(
            check
                .interval(self.health_interval)
                .timeout(self.health_timeout)
                .failure_threshold(self.health_failures)
                .success_threshold(self.health_successes),
        ))
    }

    /// The limits of connections, within the limit of open files.
    pub fn client_limits(&self) -> ClientLimits {
        let max = self.max_connections;
        // Requests that count, those of slow clients, and WebSockets.
        let others = self.concurrency.saturating_mul(2);
        let others = others.saturating_add(self.max_tunnels);
        let max = match file_limit::max_connections(max, others) {
            Some(possible) if possible < max => {
                tracing::warn!(max, possible, "--max-connections is limited by open files");
                possible.max(1)
            }
            _ => max,
        };
        // A proxy of one's own is the client of all connections.
        let default = if self.trust_forwarded {
            0
        } else {
            (max / 4).max(1)
        };
        let of_one = self.max_connections_per_client.unwrap_or(default);
        let memory = usize::try_from(self.max_request_memory).unwrap_or(usize::MAX);
        // For the same reason, it has no share.
        let memory = RequestMemory::new(memory, !self.trust_forwarded);
        ClientLimits::new(max, Some(of_one).filter(|of_one| *of_one > 0), memory)
    }

    /// Whether fields may tell upstreams the scheme, the host and the like.
    pub fn tells_claims(&self) -> bool {
        self.trust_forwarded || !matches!(self.forwarding, ForwardingFields::None)
    }

    /// Whether all hosts that clients ask for are one site.
    pub fn is_one_site(&self) -> bool {
        self.host == HostHeader::Upstream || self.http2_upstream
    }

    /// What the cache is for: other upstreams have other pages under the same keys.
    pub fn owner(&self) -> Owner {
        let mut upstreams: Vec<String> = self.upstream.iter().map(Upstream::to_string).collect();
        upstreams.sort();
        let (host, forwarding) = (self.host, self.forwarding);
        Owner {
            program: "proxy",
            site: format!(
                "upstream {}; host {host:?}; one site {}{}",
                upstreams.join(" "),
                self.is_one_site(),
                self.tls_name(),
            ),
            keys: format!(
                "forwarding {forwarding:?}; trust forwarded {}; {}",
                self.trust_forwarded,
                self.cache.key_description(),
            ),
        }
    }

    /// An upstream may choose the site by the name in the handshake.
    #[cfg(feature = "proxy-tls")]
    fn tls_name(&self) -> String {
        format!("; TLS name {:?}", self.upstream_tls_name)
    }

    #[cfg(not(feature = "proxy-tls"))]
    fn tls_name(&self) -> String {
        String::new()
    }
}
