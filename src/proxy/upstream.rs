//! Where requests go.

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};

use super::error::{InvalidUpstream, ProxyError, ProxyErrorKind};
use super::target::{HostPolicy, Target};

#[derive(Clone, Debug)]
pub(super) struct Upstreams {
    /// The longest prefix first; the last one is empty.
    by_prefix: Vec<(String, Upstream)>,
}

#[derive(Clone, Debug)]
struct Upstream {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end.
    base: String,
}

impl Upstreams {
    pub(super) fn new(url: &str) -> Result<Self, InvalidUpstream> {
        let by_prefix = vec![(String::new(), Upstream::parse(url)?)];
        Ok(Self { by_prefix })
    }

    pub(super) fn add(&mut self, prefix: &str, url: &str) -> Result<(), InvalidUpstream> {
        if !prefix.starts_with('/') {
            return Err(InvalidUpstream {
                url: prefix.to_owned(),
                problem: "a prefix begins with a slash",
            });
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
    pub(super) fn place(
        &self,
        target: &Target,
        policy: HostPolicy,
    ) -> Result<(Uri, HeaderValue), ProxyError> {
        let path = target.path.path();
        let holds = |prefix: &str| {
            let rest = path.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let found = self.by_prefix.iter().find(|(prefix, _)| holds(prefix));
        // The empty prefix holds every path.
        let (_, upstream) = found.ok_or(ProxyErrorKind::Internal)?;
        let host = match (policy, &target.host) {
            (HostPolicy::Preserve, Some(host)) => host,
            _ => &upstream.authority,
        };
        let host = super::text(host).ok_or(ProxyErrorKind::Protocol)?;
        Ok((upstream.at(&target.path)?, host))
    }
}

impl Upstream {
    fn parse(url: &str) -> Result<Self, InvalidUpstream> {
        let invalid = |problem| InvalidUpstream {
            url: url.to_owned(),
            problem,
        };
        let uri: Uri = url.parse().map_err(|_| invalid("it is no URL"))?;
        let parts = uri.into_parts();
        let scheme = parts
            .scheme
            .ok_or(invalid("it has no scheme: http://HOST:PORT"))?;
        if scheme == Scheme::HTTPS && cfg!(not(feature = "proxy-tls")) {
            return Err(invalid("https needs the feature proxy-tls"));
        }
        if scheme != Scheme::HTTP && scheme != Scheme::HTTPS {
            return Err(invalid("its scheme is neither http nor https"));
        }
        let authority = parts.authority.ok_or(invalid("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("it has a user's name"));
        }
        let path = parts.path_and_query;
        if path.as_ref().is_some_and(|path| path.query().is_some()) {
            return Err(invalid("it has a query"));
        }
        let base = path.as_ref().map_or("", |path| path.path());
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self {
            scheme,
            authority,
            base,
        })
    }

    fn at(&self, path: &PathAndQuery) -> Result<Uri, ProxyError> {
        let path = match self.base.is_empty() {
            true => path.clone(),
            false => PathAndQuery::try_from(format!("{}{path}", self.base))
                .map_err(|error| ProxyErrorKind::Protocol.because(error))?,
        };
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|error| ProxyErrorKind::Protocol.because(error))
    }
}
