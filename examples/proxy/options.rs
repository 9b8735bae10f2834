//! The command line.

use std::time::Duration;

use clap::{Parser, ValueEnum};
use tower_response_cache::Ttl;
use tower_response_cache::proxy::{Forwarding, HostPolicy, InvalidUpstream, ReverseProxy};

use crate::quantity;
use crate::store::StoreOptions;

/// A caching reverse proxy: HTTP/1.1 and HTTP/2 before any origin.
#[derive(Debug, Parser)]
#[command(name = "proxy")]
pub struct Options {
    /// Where requests go, http://HOST[:PORT][/PATH]; once more as /PREFIX=URL for what begins so. https:// needs the
    /// feature proxy-tls
    #[arg(long, value_name = "[/PREFIX=]URL", required = true)]
    pub upstream: Vec<Upstream>,

    /// Where to listen; port 0 picks a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub listen: String,

    #[command(flatten)]
    pub store: StoreOptions,

    /// For how long a response that says no lifetime stays fresh; without this, it is validated each time, or not stored
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration)]
    pub ttl: Option<Duration>,

    /// For how long what is stale may answer while it is being refreshed
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = quantity::duration)]
    pub stale_while_revalidate: Duration,

    /// For how long what is stale may answer for an upstream that says 500, 502, 503 or 504
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = quantity::duration)]
    pub stale_if_error: Duration,

    /// For how long what is stale may answer for an upstream that cannot be reached
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = quantity::duration)]
    pub stale_if_unreachable: Duration,

    /// Which host upstreams are told; with upstream, all names that clients use are one site
    #[arg(long, value_enum, default_value_t = Host::Preserve)]
    pub host: Host,

    /// In which fields upstreams are told who asked
    #[arg(long, value_enum, default_value_t = Told::None)]
    pub forwarding: Told,

    /// Keep Forwarded, X-Forwarded-* and X-Real-IP of requests: only behind a proxy of one's own that sets them
    #[arg(long)]
    pub trust_forwarded: bool,

    /// Speak HTTP/2 with upstreams, with http:// by prior knowledge; the host is then the upstream's
    #[arg(long)]
    pub http2_upstream: bool,

    /// How long connecting to an upstream may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = quantity::duration)]
    pub connect_timeout: Duration,

    /// How long an upstream may take to begin its answer
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = quantity::duration)]
    pub head_timeout: Duration,

    /// How long an upstream, or a client that sends or takes content, may pause in it
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = quantity::duration)]
    pub idle_timeout: Duration,

    /// How many requests may wait for upstreams at once; hits are none of them
    #[arg(long, value_name = "NUMBER", default_value_t = 1024, value_parser = quantity::number)]
    pub concurrency: usize,

    /// How long a client may take for the head of its next request
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = quantity::duration)]
    pub client_timeout: Duration,

    /// How many clients may be connected at once; more wait for one of them to go
    #[arg(long, value_name = "NUMBER", default_value_t = 16384, value_parser = quantity::number)]
    pub max_connections: usize,

    /// Log every request, on stderr
    #[arg(long)]
    pub access_log: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Host {
    Preserve,
    Upstream,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Told {
    None,
    Forwarded,
    XForwarded,
    Both,
}

#[derive(Clone, Debug)]
pub struct Upstream {
    prefix: Option<String>,
    url: String,
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
    /// The service behind the cache.
    pub fn origin(&self) -> Result<ReverseProxy, String> {
        let mut main = self
            .upstream
            .iter()
            .filter(|upstream| upstream.prefix.is_none());
        let (Some(first), None) = (main.next(), main.next()) else {
            return Err("one --upstream URL is needed, beside those with a prefix".to_owned());
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
                Told::None => Forwarding::None,
                Told::Forwarded => Forwarding::Forwarded,
                Told::XForwarded => Forwarding::XForwarded,
                Told::Both => Forwarding::Both,
            })
            .connect_timeout(self.connect_timeout)
            .head_timeout(self.head_timeout)
            .idle_timeout(self.idle_timeout)
            .host(match self.host {
                Host::Preserve => HostPolicy::Preserve,
                Host::Upstream => HostPolicy::Upstream,
            });
        Ok(origin
            .trust_forwarded(self.trust_forwarded)
            .http2_only(self.http2_upstream))
    }

    /// Whether all hosts are one.
    pub fn is_one_site(&self) -> bool {
        self.host == Host::Upstream || self.http2_upstream
    }

    pub fn ttl(&self) -> Option<Ttl> {
        self.ttl.map(Ttl::For)
    }
}
