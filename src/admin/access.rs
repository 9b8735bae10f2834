//! Who may do what: the token, and requests that another site makes a browser send.

use std::fmt;
use std::net::IpAddr;

use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request;
use http::uri::Authority;
use subtle::ConstantTimeEq;

use super::route::Need;

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// 403: another site has made a browser send the request.
    ForeignOrigin,
    /// 403: no token is set, and nothing is allowed without one.
    NoTokenSet,
    /// 403: without a token, the host must be known.
    ForeignHost,
    /// 401: the request has no token.
    TokenMissing,
    /// 401: the request has another token.
    WrongToken,
}

/// The error of a token that is too short, or that `Authorization` cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InvalidToken;

impl fmt::Display for InvalidToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token is at least 16 letters, digits, or characters of -._~+/=")
    }
}

impl std::error::Error for InvalidToken {}

/// The rules of access.
#[derive(Clone, Default)]
pub(super) struct Access {
    token: Option<Box<[u8]>>,
    pub(super) reads_are_open: bool,
    pub(super) writes_are_open: bool,
    pub(super) hosts: Vec<String>,
    /// The port at which the service has an address of its own.
    pub(super) port: Option<u16>,
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("has_token", &self.token.is_some())
            .field("reads_are_open", &self.reads_are_open)
            .field("writes_are_open", &self.writes_are_open)
            .field("hosts", &self.hosts)
            .field("port", &self.port)
            .finish()
    }
}

/// The fewest characters of a token.
const MIN_TOKEN: usize = 16;

impl Access {
    pub(super) fn set_token(&mut self, token: &str) -> Result<(), InvalidToken> {
        let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        if token.len() < MIN_TOKEN || !token.bytes().all(is_token_byte) {
            return Err(InvalidToken);
        }
        self.token = Some(token.as_bytes().into());
        Ok(())
    }

    /// Checks the access of a request to a route with this need.
    pub(super) fn check(&self, request: &request::Parts, need: Need) -> Result<(), Denial> {
        let is_open = match need {
            Need::Nothing => return Ok(()),
            Need::ToRead => self.reads_are_open || self.writes_are_open,
            Need::ToWrite => self.writes_are_open,
        };
        if self.is_foreign(request) {
            return Err(Denial::ForeignOrigin);
        }
        match (bearer(request), &self.token) {
            (Some(presented), Some(token)) => match presented.ct_eq(token).into() {
                true => Ok(()),
                false => Err(Denial::WrongToken),
            },
            _ if is_open => match self.knows_hosts(request) {
                true => Ok(()),
                false => Err(Denial::ForeignHost),
            },
            (None, Some(_)) => Err(Denial::TokenMissing),
            (_, None) => Err(Denial::NoTokenSet),
        }
    }

    /// Whether a request without a token was not sent under a foreign name: a page of another site
    /// may let its own name resolve to this machine.
    fn knows_hosts(&self, request: &request::Parts) -> bool {
        // The host of a PURGE is that of the stored responses. A browser adds `Origin` to it.
        let is_purge = request.method.as_str() == "PURGE";
        let host = host(request).filter(|_| !is_purge);
        let origin = request.headers.get(ORIGIN);
        let origin = origin.map(|origin| Origin::parse(origin.as_bytes()));
        let origin = origin.map(|origin| origin.map(|origin| origin.authority));
        host.is_none_or(|host| host.is_some_and(|host| self.knows(&host)))
            && origin.is_none_or(|origin| origin.is_some_and(|origin| self.knows(&origin)))
    }

    /// Whether the host of an authority is an address, `localhost`, or known by its name.
    fn knows(&self, authority: &Authority) -> bool {
        let host = authority.host();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self
                .named_hosts()
                .any(|named| named.host().eq_ignore_ascii_case(host))
    }

    /// Whether a value of `Host` is the name of this service: one of its hosts, or anything at the
    /// port that is its own.
    pub(super) fn is_own(&self, host: &str) -> bool {
        let Ok(host) = host.parse::<Authority>() else {
            return false;
        };
        let is_own_port = self.port.is_some() && host.port_u16() == self.port;
        let is_named = |named: Authority| named.as_str().eq_ignore_ascii_case(host.as_str());
        is_own_port || self.named_hosts().any(is_named)
    }

    /// The hosts that are known by their names.
    fn named_hosts(&self) -> impl Iterator<Item = Authority> {
        self.hosts.iter().filter_map(|name| name.parse().ok())
    }

    /// Whether another site has made a browser send the request: by its fields, which scripts cannot
    /// change. The origin of one that was not is the host that it goes to, or one that is known by
    /// its name, should a proxy have changed the host.
    fn is_foreign(&self, request: &request::Parts) -> bool {
        let site = request.headers.get("sec-fetch-site");
        if site.is_some_and(|site| site != "same-origin" && site != "none") {
            return true;
        }
        let Some(origin) = request.headers.get(ORIGIN) else {
            return false;
        };
        let Some(origin) = Origin::parse(origin.as_bytes()) else {
            return true;
        };
        let is_host = host(request).flatten() == Some(origin.authority.clone());
        !is_host && !self.named_hosts().any(|named| origin.is_of(&named))
    }
}

/// The token that a request presents.
fn bearer(request: &request::Parts) -> Option<&[u8]> {
    let mut lines = request.headers.get_all(AUTHORIZATION).iter();
    let (line, another) = (lines.next()?, lines.next());
    let (scheme, token) = line.as_bytes().split_at_checked(b"Bearer ".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"Bearer ") && another.is_none();
    is_bearer.then(|| token.trim_ascii())
}

/// The host that a request is for: `None` if it has none, `Some(None)` if it is malformed.
fn host(request: &request::Parts) -> Option<Option<Authority>> {
    if let Some(authority) = request.uri.authority() {
        return Some(Some(authority.clone()));
    }
    let mut lines = request.headers.get_all(HOST).iter();
    let (line, another) = (lines.next()?, lines.next());
    let authority = Authority::try_from(line.as_bytes()).ok();
    Some(authority.filter(|_| another.is_none()))
}

/// The value of `Origin` that is not opaque.
struct Origin {
    authority: Authority,
    default_port: u16,
}

impl Origin {
    /// Parses an origin; `None` if it is opaque or malformed.
    fn parse(origin: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(origin).ok()?;
        let (scheme, authority) = text.split_once("://")?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        Some(Self {
            authority: authority.parse().ok()?,
            default_port,
        })
    }

    /// Whether it is that of a host; one without a port means that of the scheme.
    fn is_of(&self, named: &Authority) -> bool {
        let port = |of: &Authority| of.port_u16().unwrap_or(self.default_port);
        let is_same_host = named.host().eq_ignore_ascii_case(self.authority.host());
        is_same_host && port(named) == port(&self.authority)
    }
}
