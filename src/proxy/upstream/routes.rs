//! The choice of an upstream by path prefix, and the URI and `Host` for it.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

use crate::proxy::config_error::{InvalidUpstream, UpstreamProblem};
use crate::proxy::error::{ProxyError, ProxyErrorKind};
use crate::proxy::field_value::header_value;
use crate::proxy::validate_request::RequestTarget;

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
    /// Sorted by length, the longest prefix first; the last one is empty and matches every path.
    by_prefix: Vec<(String, Upstream)>,
}

#[derive(Clone, Debug)]
struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// The path of the upstream's URL, without a slash at its end.
    base_path: String,
}

impl UpstreamRoutes {
    /// Routes every path to one upstream.
    pub(in crate::proxy) fn new(url: &str) -> Result<Self, InvalidUpstream> {
        let by_prefix = vec![(String::new(), Upstream::parse(url)?)];
        Ok(Self { by_prefix })
    }

    /// Routes a prefix to another upstream; replaces the route of an equal prefix.
    pub(in crate::proxy) fn add(&mut self, prefix: &str, url: &str) -> Result<(), InvalidUpstream> {
        if !prefix.starts_with('/') {
            let problem = UpstreamProblem::RelativePrefix;
            return Err(InvalidUpstream::new(prefix, problem));
        }
        let prefix = prefix.trim_end_matches('/').to_owned();
        let upstream = Upstream::parse(url)?;
        self.by_prefix.retain(|(other, _)| *other != prefix);
        self.by_prefix.push((prefix, upstream));
        self.by_prefix
            .sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Ok(())
    }

    /// The URI that a request is sent to, and its `Host`.
    pub(in crate::proxy) fn destination(
        &self,
        target: &RequestTarget,
        policy: HostPolicy,
    ) -> Result<(Uri, HeaderValue), ProxyError> {
        let path = target.path.path();
        let matches = |prefix: &str| {
            let rest = path.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let route = self.by_prefix.iter().find(|(prefix, _)| matches(prefix));
        // Cannot fail: the empty prefix matches every path.
        let (_, upstream) = route.ok_or(ProxyErrorKind::Internal)?;
        let host = match (policy, &target.host) {
            (HostPolicy::Preserve, Some(host)) => host,
            _ => &upstream.authority,
        };
        let host = header_value(host).ok_or(ProxyErrorKind::Protocol)?;
        Ok((upstream.uri(&target.path)?, host))
    }
}

impl Upstream {
    fn parse(url: &str) -> Result<Self, InvalidUpstream> {
        let invalid = |problem| InvalidUpstream::new(url, problem);
        let uri: Uri = url.parse().map_err(|_| invalid(UpstreamProblem::NotAUrl))?;
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
