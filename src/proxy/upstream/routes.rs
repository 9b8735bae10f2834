//! The choice of an upstream by path prefix, and the URI and `Host` for it.

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri, Version};

use crate::key::normalize_authority;
use crate::proxy::config_error::{InvalidUpstream, UpstreamProblem};
use crate::proxy::error::{ProxyError, ProxyErrorKind};
use crate::proxy::field_value::header_value;

/// The `Host` that an upstream receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostPolicy {
    /// The host that the client asked for, which is part of the cache key.
    #[default]
    Preserve,
    /// The host of the upstream's URL. All hosts that clients ask for are then one site: configure
    /// the cache with [`Authority::fixed`](crate::key::Authority::fixed).
    Upstream,
}

/// The upstreams of a proxy by path prefix.
#[derive(Clone, Debug)]
pub(in crate::proxy) struct UpstreamRoutes {
    /// Sorted by length, the longest prefix first.
    by_prefix: Vec<(String, Upstream)>,
    /// The upstream of all other paths.
    default: Upstream,
}

#[derive(Clone, Debug)]
pub(super) struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// The path of the upstream's URL, without a slash at its end.
    pub(super) base_path: String,
}

/// Where one request goes.
pub(in crate::proxy) struct Destination<'r> {
    pub(super) routes: &'r UpstreamRoutes,
    pub(super) upstream: &'r Upstream,
    pub(in crate::proxy) uri: Uri,
    /// The `Host` for the upstream.
    pub(in crate::proxy) host: HeaderValue,
}

impl UpstreamRoutes {
    /// Routes every path to one upstream.
    pub(in crate::proxy) fn new(url: &str) -> Result<Self, InvalidUpstream> {
        Ok(Self {
            by_prefix: Vec::new(),
            default: Upstream::parse(url)?,
        })
    }

    /// Routes a prefix to another upstream; replaces the route of an equal prefix.
    pub(in crate::proxy) fn add(&mut self, prefix: &str, url: &str) -> Result<(), InvalidUpstream> {
        if !prefix.starts_with('/') {
            let problem = UpstreamProblem::RelativePrefix;
            return Err(InvalidUpstream::new(prefix, problem));
        }
        let prefix = prefix.trim_end_matches('/').to_owned();
        let upstream = Upstream::parse(url)?;
        if prefix.is_empty() {
            self.default = upstream;
            return Ok(());
        }
        self.by_prefix.retain(|(other, _)| *other != prefix);
        self.by_prefix.push((prefix, upstream));
        self.by_prefix
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(())
    }

    /// All upstreams.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        let prefixed = self.by_prefix.iter().map(|(_, upstream)| upstream);
        prefixed.chain([&self.default])
    }

    /// The upstream that is responsible for a path.
    pub(super) fn upstream_of(&self, path: &str) -> &Upstream {
        let matches = |prefix: &str| {
            let rest = path.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let route = self.by_prefix.iter().find(|(prefix, _)| matches(prefix));
        route.map_or(&self.default, |(_, upstream)| upstream)
    }

    /// Adds the host that its upstream would be told to a request that may name none, and does not
    /// (RFC 9112 §3.2).
    pub(in crate::proxy) fn add_missing_host<B>(&self, request: &mut Request<B>) {
        let (uri, headers) = (request.uri(), request.headers());
        let names_host = headers.get_all(HOST).iter().any(|host| !host.is_empty());
        if names_host || uri.authority().is_some() || request.version() > Version::HTTP_10 {
            return;
        }
        let upstream = self.upstream_of(uri.path());
        let scheme = Some(upstream.scheme.as_str());
        let host = normalize_authority(upstream.authority.as_str(), scheme);
        if let Some(host) = host.and_then(header_value) {
            request.headers_mut().insert(HOST, host);
        }
    }

    /// The destination of a request in canonical form.
    pub(in crate::proxy) fn destination(
        &self,
        path: &PathAndQuery,
        host: Option<&HeaderValue>,
        policy: HostPolicy,
    ) -> Result<Destination<'_>, ProxyError> {
        let upstream = self.upstream_of(path.path());
        let host = match (policy, host) {
            (HostPolicy::Preserve, Some(host)) => host.clone(),
            _ => header_value(&upstream.authority).ok_or(ProxyErrorKind::Protocol)?,
        };
        Ok(Destination {
            routes: self,
            upstream,
            uri: upstream.uri(path)?,
            host,
        })
    }
}

impl Upstream {
    fn parse(url: &str) -> Result<Self, InvalidUpstream> {
        let invalid = |problem| InvalidUpstream::new(url, problem);
        let uri: Uri = url.parse().map_err(|_| invalid(UpstreamProblem::NotAUrl))?;
        // A URI of this type has none: it is dropped without a word.
        if url.contains('#') {
            return Err(invalid(UpstreamProblem::HasFragment));
        }
        let parts = uri.into_parts();
        let scheme = parts.scheme.ok_or(invalid(UpstreamProblem::NoScheme))?;
        if scheme == Scheme::HTTPS && cfg!(not(feature = "proxy-tls")) {
            return Err(invalid(UpstreamProblem::HttpsDisabled));
        }
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(invalid(UpstreamProblem::UnknownScheme));
        }
        let authority = parts.authority.ok_or(invalid(UpstreamProblem::NoHost))?;
        if authority.as_str().contains('@') {
            return Err(invalid(UpstreamProblem::HasUserInfo));
        }
        if !has_usable_port(&authority) {
            return Err(invalid(UpstreamProblem::InvalidPort));
        }
        let path = parts.path_and_query;
        if path.as_ref().is_some_and(|path| path.query().is_some()) {
            return Err(invalid(UpstreamProblem::HasQuery));
        }
        let base_path = path.as_ref().map_or("", |path| path.path());
        let base_path = base_path.trim_end_matches('/').to_owned();
        Ok(Self {
            scheme,
            authority,
            base_path,
        })
    }

    /// Whether a reference with this scheme, if it has one, and this authority names this upstream.
    pub(super) fn is_named_by(&self, scheme: Option<&str>, authority: &str) -> bool {
        let own = self.scheme.as_str();
        let normal = |authority| normalize_authority(authority, Some(own));
        scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case(own))
            && normal(authority)
                .is_some_and(|authority| normal(self.authority.as_str()) == Some(authority))
    }

    /// The URI of a path at this upstream.
    fn uri(&self, path: &PathAndQuery) -> Result<Uri, ProxyError> {
        let path = match self.base_path.is_empty() {
            true => path.clone(),
            false => PathAndQuery::try_from(format!("{}{path}", self.base_path))
                .map_err(|error| ProxyErrorKind::Protocol.caused_by(error))?,
        };
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|error| ProxyErrorKind::Protocol.caused_by(error))
    }
}

/// Returns whether the port can be connected to. `Uri` takes any digits for one.
fn has_usable_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    match port.and_then(|port| port.strip_prefix(':')) {
        None | Some("") => true,
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
    }
}
