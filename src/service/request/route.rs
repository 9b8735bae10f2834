//! The route of a request, decided from its head (RFC 9111 §3, §4; RFC 9110 §9.2).

use http::{Method, Uri, request};

use crate::backend::Backend;
use crate::config::Config;
use crate::config::hook::NoKey;
use crate::error::panics::Panicked;
use crate::key::{
    Authority, CacheKey, DigestSeed, HostLines, InvalidAuthority, KeyParts, Resource,
};
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::invalidation;
use crate::semantics::reason::Bypass;
use crate::semantics::request_kind::RequestKind;
use crate::semantics::reuse::is_condition_or_range;
use crate::state::LayerState;

use super::forwarded_form::{ForwardedForm, is_spelled_by_key};
use super::partition::Partition;
use super::preconditions::Preconditions;
pub(crate) use super::request_key::RequestKey;
use super::route_fields::RouteFields;

/// The route of a request through the cache.
#[allow(
    clippy::large_enum_variant,
    reason = "boxing the large variant would cost every hit an allocation"
)]
pub(crate) enum Route<'r> {
    /// A GET or HEAD: the cache may have the response.
    Read(ReadRequest<'r>),
    /// A QUERY (RFC 10008) or read-only POST: the cache may have the response, as its content says.
    // Boxed: no GET may have to move it.
    Content(Box<ReadRequest<'r>>),
    /// An unsafe request: it goes to the inner service, and invalidates.
    Write(WriteTarget),
    /// A request that goes to the inner service untouched.
    Bypass(Bypass),
    /// A request that cannot be understood, and is not forwarded (RFC 9112 §3.2): 400.
    Refuse,
    /// A write whose key hook has panicked. It is not forwarded, because the resource that it
    /// changes is unknown: 500.
    FailWrite,
}

/// A read and its key, borrowed from the request. That of a request with content is without it.
pub(crate) struct ReadRequest<'r> {
    pub(crate) parts: KeyParts<'r>,
    pub(crate) key: CacheKey,
    pub(crate) directives: RequestDirectives,
    /// The target without the ignored parts of its query, if it has any.
    // Boxed: few requests have one, and every hit moves it.
    pub(crate) target: Option<Box<Uri>>,
    is_selective: bool,
}

impl ReadRequest<'_> {
    /// The conditions and ranges of the request, if its fields may have any.
    pub(crate) fn preconditions<'p>(&self, request: &'p request::Parts) -> Preconditions<'p> {
        Preconditions::new(&request.method, &request.headers, self.is_selective)
    }

    /// What the request carries that is in no part of its key.
    pub(crate) fn kind(&self, config: &Config, request: &request::Parts) -> RequestKind {
        match self.has_credentials_in_key(config, request) {
            true => RequestKind::Plain,
            false => config.credential_fields.kind_of(&request.headers),
        }
    }

    /// Whether the key hook has put credentials and cookies into the key, as the application says.
    /// They cannot be in a key that the hook has left as it was.
    fn has_credentials_in_key(&self, config: &Config, request: &request::Parts) -> bool {
        if !config.key_covers_credentials {
            return false;
        }
        let hosts = HostLines::from_headers(&request.headers);
        let default = default_key_parts(config, request, self.target.as_deref(), hosts);
        default.is_ok_and(|default| default != self.parts)
    }

    /// The key and directives, independent of the request they were made of, and the form to send.
    pub(crate) fn into_key(
        self,
        config: &Config,
        seed: &DigestSeed,
        request: &request::Parts,
    ) -> (RequestKey, ForwardedForm) {
        let hosts = HostLines::from_headers(&request.headers);
        let is_spelled = is_spelled_by_key(config, request, hosts, self.parts.authority());
        let identity = self.parts.identity(&config.scope);
        let key = RequestKey {
            partition: Partition::of_request(config, seed, request, (&self.key, &identity)),
            key: self.key,
            identity,
            has_credentials: self.has_credentials_in_key(config, request),
            directives: self.directives,
            is_selective: self.is_selective,
            unsendable: None,
            demand: None,
        };
        let form = ForwardedForm {
            target: self.target,
            scheme: self.parts.scheme().map(Into::into),
            is_spelled,
        };
        (key, form)
    }
}

/// The resource that an unsafe request is sent to.
pub(crate) struct WriteTarget {
    /// The target as it was sent. Hooks see it, whatever form the inner service gets.
    pub(crate) uri: Uri,
    pub(crate) resource: Resource,
    /// The authority and the path in its key.
    pub(crate) authority: Box<str>,
    pub(crate) path: Box<str>,
    /// The scheme in its key, if the key hook added one.
    pub(crate) scheme: Option<Box<str>>,
    /// Whether the request spells its target and `Host` as its key does.
    pub(crate) is_spelled: bool,
}

/// Decides the route of a request.
///
/// A write is a write whatever its fields say: only reads can bypass the cache. A write whose host
/// is invalid is refused, because the inner service might take it to be for another resource than
/// the cache does.
pub(crate) fn classify<'r>(
    config: &'r Config,
    seed: &DigestSeed,
    request: &'r request::Parts,
) -> Route<'r> {
    let fields = RouteFields::from_headers(&request.headers, &config.bypass_fields);
    if !matches!(request.method, Method::GET | Method::HEAD) {
        return classify_other(config, seed, request, &fields);
    }
    if let Some(reason) = bypass_reason(config, request, &fields) {
        return Route::Bypass(reason);
    }
    read_route(config, seed, request, &fields, Route::Read)
}

/// Decides the route of a request that is no GET or HEAD.
#[inline(never)]
fn classify_other<'r>(
    config: &'r Config,
    seed: &DigestSeed,
    request: &'r request::Parts,
    fields: &RouteFields<'r>,
) -> Route<'r> {
    if config.is_read_by_content(request) {
        if let Some(reason) = content_bypass_reason(config, request, fields) {
            return Route::Bypass(reason);
        }
        let by_content = |read| Route::Content(Box::new(read));
        return read_route(config, seed, request, fields, by_content);
    }
    if invalidation::is_safe(&request.method) {
        return match is_misused_authority_form(request) {
            true => Route::Refuse,
            false => Route::Bypass(Bypass::Method),
        };
    }
    let parts = match key_parts(config, request, None, fields.hosts) {
        Ok(parts) => parts,
        Err(Bypass::Authority) => return Route::Refuse,
        Err(Bypass::HookPanicked) => return Route::FailWrite,
        Err(reason) => return Route::Bypass(reason),
    };
    Route::Write(WriteTarget {
        uri: request.uri.clone(),
        resource: resource_with(config, seed, &parts),
        authority: parts.authority().into(),
        path: parts.path().into(),
        scheme: parts.scheme().map(Into::into),
        is_spelled: config.authority == Authority::FromRequest
            && is_spelled_by_key(config, request, fields.hosts, parts.authority()),
    })
}

/// The route of a read that has no key for this reason.
#[cold]
fn route_without_key<'r>(request: &request::Parts, reason: Bypass) -> Route<'r> {
    match reason == Bypass::Authority && is_misused_authority_form(request) {
        true => Route::Refuse,
        false => Route::Bypass(reason),
    }
}

/// The route of a read, whose key is made from its head. It is moved once, which every hit pays for.
#[inline(always)]
fn read_route<'r>(
    config: &'r Config,
    seed: &DigestSeed,
    request: &'r request::Parts,
    fields: &RouteFields<'r>,
    route: impl FnOnce(ReadRequest<'r>) -> Route<'r>,
) -> Route<'r> {
    let target = config.query.trimmed(&request.uri);
    let parts = match key_parts(config, request, target.as_deref(), fields.hosts) {
        Ok(parts) => parts,
        Err(reason) => return route_without_key(request, reason),
    };
    let key = CacheKey::new(seed, &config.scope, config.sites, &parts);
    let directives = if fields.has_directives {
        RequestDirectives::from_headers(&request.headers, config.ignored)
    } else {
        RequestDirectives::default()
    };
    route(ReadRequest {
        parts,
        key,
        directives,
        target,
        is_selective: fields.is_selective,
    })
}

/// Whether the target has an authority alone, which no method but CONNECT may have (RFC 9112
/// §3.2.3).
fn is_misused_authority_form(request: &request::Parts) -> bool {
    request.uri.path().is_empty() && request.method != Method::CONNECT
}

/// The parts of the key, as the layer's key hook makes them.
///
/// An error says why the request has no key: no valid authority, or the hook declined or panicked.
fn key_parts<'r>(
    config: &'r Config,
    request: &'r request::Parts,
    target: Option<&Uri>,
    hosts: HostLines<'r>,
) -> Result<KeyParts<'r>, Bypass> {
    let parts = default_key_parts(config, request, target, hosts);
    let parts = parts.map_err(|InvalidAuthority| Bypass::Authority)?;
    let Some(hook) = &config.key else {
        return Ok(parts);
    };
    match hook.make_key(request, parts) {
        Ok(parts) => Ok(parts),
        Err(NoKey::Declined) => Err(Bypass::NoKey),
        Err(NoKey::Panicked) => Err(Bypass::HookPanicked),
    }
}

/// The parts of the key without a hook.
#[inline]
fn default_key_parts<'r>(
    config: &'r Config,
    request: &'r request::Parts,
    target: Option<&Uri>,
    hosts: HostLines<'r>,
) -> Result<KeyParts<'r>, InvalidAuthority> {
    let authority = config.authority.resolve_with(request, hosts)?;
    let parts = KeyParts::from_request(request, authority);
    Ok(match target {
        Some(target) => parts.with_query(target.query().map(str::to_owned)),
        None => parts,
    })
}

/// The resource of a write, as the key hook of one of the layers that it passes makes it; `None` if
/// it is no write or has no key.
pub(crate) fn resource_of_write<B: Backend>(
    state: &LayerState<B>,
    request: &request::Parts,
) -> Option<Resource> {
    (state.config.is_write(request))
        .then(|| resource_of(&state.config, &state.shared.store.seed, request))
        .flatten()
}

/// The resource of a request, as the layer's key hook makes it; `None` if it has no key.
pub(crate) fn resource_of(
    config: &Config,
    seed: &DigestSeed,
    request: &request::Parts,
) -> Option<Resource> {
    let mut trimmed = None;
    if config.ignored_cookies().is_some() {
        let request = trimmed.insert(request.clone());
        config.take_ignored_cookies(&mut request.headers);
    }
    let request = trimmed.as_ref().unwrap_or(request);
    let hosts = HostLines::from_headers(&request.headers);
    let parts = key_parts(config, request, None, hosts).ok()?;
    Some(resource_with(config, seed, &parts))
}

/// The resource that a key belongs to.
fn resource_with(config: &Config, seed: &DigestSeed, parts: &KeyParts<'_>) -> Resource {
    let site = config.sites.site_of(parts.authority());
    Resource::new(seed, &config.scope, site, parts.path())
}

/// Why a GET or HEAD bypasses the cache, if it does.
fn bypass_reason(
    config: &Config,
    request: &request::Parts,
    fields: &RouteFields<'_>,
) -> Option<Bypass> {
    if fields.upgrades {
        return Some(Bypass::Upgrade);
    }
    if fields.has_content {
        return Some(Bypass::RequestContent);
    }
    exemption(config, request, fields)
}

/// Why a request that is read by its content bypasses the cache, if it does.
fn content_bypass_reason(
    config: &Config,
    request: &request::Parts,
    fields: &RouteFields<'_>,
) -> Option<Bypass> {
    if fields.upgrades {
        return Some(Bypass::Upgrade);
    }
    // RFC 9110 §13.1 and §14.2: an origin answers those of a POST otherwise than those of a QUERY.
    if request.method == Method::POST && request.headers.keys().any(is_condition_or_range) {
        return Some(Bypass::Method);
    }
    exemption(config, request, fields)
}

/// Why the application lets a request bypass the cache, if it does.
fn exemption(
    config: &Config,
    request: &request::Parts,
    fields: &RouteFields<'_>,
) -> Option<Bypass> {
    if fields.has_bypass_field {
        return Some(Bypass::BypassField);
    }
    match config.skip.as_ref()?(request) {
        Ok(skips) => skips.then_some(Bypass::Skipped),
        Err(Panicked) => Some(Bypass::HookPanicked),
    }
}
