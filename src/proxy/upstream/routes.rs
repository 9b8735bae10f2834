//! The choice of an upstream by path prefix and of one of its servers, and the URI and `Host` for
//! it.

use std::sync::Arc;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Uri, Version};

use crate::key::normalize_authority;
use crate::proxy::config_error::{InvalidUpstream, UpstreamProblem};
use crate::proxy::error::{ProxyError, ProxyErrorKind};
use crate::proxy::field_value::header_value;

use super::confinement::{Parameters, is_plain, may_leave_root, routed_path, widest_reading};
use super::options::ClientOptions;
use super::server::{ChosenServer, MAX_SERVERS, Servers, TriedServers, UpstreamServer};

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
    pub(super) servers: Servers,
    /// The path of the upstream's URL, without a slash at its end.
    pub(super) base_path: String,
}

/// Where one request goes.
pub(in crate::proxy) struct Destination<'r> {
    pub(super) routes: &'r UpstreamRoutes,
    pub(super) upstream: &'r Upstream,
    pub(in crate::proxy) server: ChosenServer,
    /// The host to connect to, or to name in the TLS handshake.
    pub(in crate::proxy) authority: Authority,
    /// The target in origin form.
    pub(in crate::proxy) path: PathAndQuery,
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

    /// Gives all servers clients with these options.
    pub(in crate::proxy) fn set_client_options(&mut self, options: &ClientOptions) {
        let prefixed = self.by_prefix.iter_mut().map(|(_, upstream)| upstream);
        for upstream in prefixed.chain([&mut self.default]) {
            let authorities: Vec<_> = upstream.servers.authorities().cloned().collect();
            upstream.servers = Servers::new(&upstream.scheme, authorities, options);
        }
    }

    /// Routes a prefix to another upstream.
    pub(in crate::proxy) fn add(&mut self, prefix: &str, url: &str) -> Result<(), InvalidUpstream> {
        if !prefix.starts_with('/') {
            let problem = UpstreamProblem::RelativePrefix;
            return Err(InvalidUpstream::new(prefix, problem));
        }
        let upstream = Upstream::parse(url)?;
        let normal = routed_path(prefix).trim_end_matches('/').to_owned();
        let invalid = |problem| Err(InvalidUpstream::new(prefix, problem));
        if normal.is_empty() {
            return invalid(UpstreamProblem::RootPrefix);
        }
        if self.by_prefix.iter().any(|(other, _)| *other == normal) {
            return invalid(UpstreamProblem::RepeatedPrefix);
        }
        self.by_prefix.push((normal, upstream));
        self.by_prefix
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let is_in_no_path = |byte: u8| matches!(byte, b'?' | b'#') || !byte.is_ascii_graphic();
        let is_possible = !prefix
            .bytes()
            .any(|byte| byte.is_ascii() && is_in_no_path(byte));
        match is_possible && self.is_confined(prefix) {
            true => Ok(()),
            false => invalid(UpstreamProblem::ImpossiblePrefix),
        }
    }

    /// All upstreams.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        let prefixed = self.by_prefix.iter().map(|(_, upstream)| upstream);
        prefixed.chain([&self.default])
    }

    /// The servers of all upstreams.
    pub(in crate::proxy) fn servers(&self) -> Vec<Arc<UpstreamServer>> {
        let servers = self
            .upstreams()
            .flat_map(|upstream| upstream.servers.iter());
        servers.cloned().collect()
    }

    /// Whether a path is for one upstream, and below the path of its URL, however its server reads
    /// it.
    pub(in crate::proxy) fn is_confined(&self, path: &str) -> bool {
        if is_plain(path) || (self.by_prefix.is_empty() && self.default.base_path.is_empty()) {
            return true;
        }
        let route = self.route_of(path);
        let upstream = route.map_or(&self.default, |(_, upstream)| upstream);
        let is_of_upstream = |parameters| {
            let reading = widest_reading(path, parameters);
            std::ptr::eq(upstream, self.upstream_of(&reading))
        };
        // The server of a prefix with parameters does not drop them.
        let keeps_parameters = route.is_some_and(|(prefix, _)| prefix.contains(';'));
        is_of_upstream(Parameters::Kept)
            && (keeps_parameters || is_of_upstream(Parameters::Dropped))
            && (upstream.base_path.is_empty() || !may_leave_root(path))
    }

    /// The upstream that is responsible for a path, by its normal form.
    pub(super) fn upstream_of(&self, path: &str) -> &Upstream {
        let route = self.route_of(path);
        route.map_or(&self.default, |(_, upstream)| upstream)
    }

    /// The longest prefix of a path in normal form, and its upstream.
    fn route_of(&self, path: &str) -> Option<&(String, Upstream)> {
        if self.by_prefix.is_empty() {
            return None;
        }
        let path = routed_path(path);
        let matches = |prefix: &str| {
            let rest = path.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.by_prefix.iter().find(|(prefix, _)| matches(prefix))
    }

    /// Adds the host that its upstream would be told to a request that may name none, and does not
    /// (RFC 9112 §3.2).
    pub(in crate::proxy) fn add_missing_host<B>(&self, request: &mut Request<B>) {
        if request.version() > Version::HTTP_10 {
            return;
        }
        let (uri, headers) = (request.uri(), request.headers());
        let names_host = headers.get_all(HOST).iter().any(|host| !host.is_empty());
        if names_host || uri.authority().is_some() {
            return;
        }
        let upstream = self.upstream_of(uri.path());
        let scheme = Some(upstream.scheme.as_str());
        let authority = upstream.servers.authorities().next();
        let host = authority.and_then(|first| normalize_authority(first.as_str(), scheme));
        if let Some(host) = host.and_then(header_value) {
            request.headers_mut().insert(HOST, host);
        }
    }

    /// The destination of a request in canonical form: a server of its upstream that was not tried
    /// for it. `None` if all were.
    pub(in crate::proxy) fn destination(
        &self,
        path: &PathAndQuery,
        host: Option<&HeaderValue>,
        policy: HostPolicy,
        tried: &mut TriedServers,
    ) -> Option<Result<Destination<'_>, ProxyError>> {
        let upstream = self.upstream_of(path.path());
        let server = upstream.servers.choose(tried)?;
        Some(self.destination_at(upstream, server, path, host, policy))
    }

    fn destination_at<'r>(
        &'r self,
        upstream: &'r Upstream,
        server: ChosenServer,
        path: &PathAndQuery,
        host: Option<&HeaderValue>,
        policy: HostPolicy,
    ) -> Result<Destination<'r>, ProxyError> {
        let host = match (policy, host) {
            (HostPolicy::Preserve, Some(host)) => host.clone(),
            _ => header_value(&server.authority).ok_or(ProxyErrorKind::Protocol)?,
        };
        let told = host
            .to_str()
            .ok()
            .filter(|_| server.client.is_keyed_by_host());
        let authority = match told.map(Authority::try_from) {
            Some(Ok(authority)) => authority,
            _ => server.authority.clone(),
        };
        Ok(Destination {
            routes: self,
            upstream,
            path: upstream.path(path)?,
            authority,
            server,
            host,
        })
    }
}

impl Upstream {
    /// Reads the URLs of one or more servers, separated by commas, with the same scheme and path.
    fn parse(urls: &str) -> Result<Self, InvalidUpstream> {
        let invalid = |problem| InvalidUpstream::new(urls, problem);
        let parsed: Result<Vec<_>, _> = split_urls(urls).map(parse_url).collect();
        let mut parsed = parsed?.into_iter();
        let (scheme, authority, base_path) =
            parsed.next().ok_or(invalid(UpstreamProblem::NotAUrl))?;
        let mut authorities = vec![authority];
        for (other_scheme, authority, other_path) in parsed {
            if (&other_scheme, &other_path) != (&scheme, &base_path) {
                return Err(invalid(UpstreamProblem::DifferentServers));
            }
            authorities.push(authority);
        }
        if authorities.len() > MAX_SERVERS {
            return Err(invalid(UpstreamProblem::TooManyServers));
        }
        Ok(Self {
            servers: Servers::new(&scheme, authorities, &ClientOptions::default()),
            scheme,
            base_path,
        })
    }

    /// Whether a reference with this scheme, if it has one, and this authority names this upstream.
    pub(super) fn is_named_by(&self, scheme: Option<&str>, authority: &str) -> bool {
        let own = self.scheme.as_str();
        let normal = |authority| normalize_authority(authority, Some(own));
        scheme.is_none_or(|scheme| scheme.eq_ignore_ascii_case(own))
            && normal(authority).is_some_and(|authority| {
                let mut own = self.servers.authorities();
                own.any(|own| normal(own.as_str()).as_ref() == Some(&authority))
            })
    }

    /// A path at this upstream.
    fn path(&self, path: &PathAndQuery) -> Result<PathAndQuery, ProxyError> {
        if self.base_path.is_empty() {
            return Ok(path.clone());
        }
        PathAndQuery::try_from(format!("{}{path}", self.base_path))
            .map_err(|error| ProxyErrorKind::Protocol.caused_by(error))
    }
}

/// Splits a list of URLs. A comma that no scheme follows is part of a path.
fn split_urls(urls: &str) -> impl Iterator<Item = &str> {
    let is_end = |at: usize| urls[at + 1..].starts_with("http");
    let mut begin = 0;
    let ends = urls.match_indices(',').map(|(at, _)| at);
    let ends: Vec<_> = ends.filter(|at| is_end(*at)).chain([urls.len()]).collect();
    ends.into_iter().map(move |end| {
        let url = &urls[begin..end];
        begin = end + 1;
        url
    })
}

/// Reads the URL of a server: its scheme, its host and port, and the path without a slash at its
/// end.
fn parse_url(url: &str) -> Result<(Scheme, Authority, String), InvalidUpstream> {
    let invalid = |problem| InvalidUpstream::new(url, problem);
    let host = url.split_once("://").map_or(url, |(_, behind)| behind);
    // A URI takes it for a part of the name.
    if host
        .split('/')
        .next()
        .is_some_and(|host| host.contains(','))
    {
        return Err(invalid(UpstreamProblem::SeveralHosts));
    }
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
    Ok((
        scheme,
        authority,
        base_path.trim_end_matches('/').to_owned(),
    ))
}

/// Returns whether the port can be connected to. `Uri` takes any digits for one.
fn has_usable_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host());
    match port.and_then(|port| port.strip_prefix(':')) {
        None | Some("") => true,
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0),
    }
}
