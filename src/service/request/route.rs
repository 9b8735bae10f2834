//! The route of a request, decided from its head (RFC 9111 §3, §4; RFC 9110 §9.2).

use std::sync::Arc;

use http::header::{
    ACCEPT, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, COOKIE,
    HOST, IF_MODIFIED_SINCE, IF_NONE_MATCH, ORIGIN, PRAGMA, RANGE, REFERER, TRANSFER_ENCODING,
    UPGRADE, UPGRADE_INSECURE_REQUESTS, USER_AGENT,
};
use http::{HeaderMap, Method, Uri, request};

use crate::backend::Backend;
use crate::config::Config;
use crate::config::hook::NoKey;
use crate::error::panics::Panicked;
use crate::key::{
    Authority, CacheKey, DigestSeed, HostLines, InvalidAuthority, KeyParts, Resource,
};
use crate::semantics::bypass_fields::BypassFields;
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::invalidation;
use crate::semantics::reason::Bypass;
use crate::semantics::request_kind::{CredentialFields, RequestKind};
use crate::state::LayerState;

use super::forwarded_form::{ForwardedForm, is_spelled_by_key};
use super::partition::{Partition, PartitionKey};
use super::preconditions::Preconditions;

/// The route of a request through the cache.
#[allow(
    clippy::large_enum_variant,
    reason = "boxing the large variant would cost every hit an allocation"
)]
pub(crate) enum Route<'r> {
    /// A GET or HEAD: the cache may have the response.
    Read(ReadRequest<'r>),
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

/// A GET or HEAD and its key, borrowed from the request.
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
        };
        let form = ForwardedForm {
            target: self.target,
            scheme: self.parts.scheme().map(Into::into),
            is_spelled,
        };
        (key, form)
    }
}

/// The key and directives of a GET or HEAD.
pub(crate) struct RequestKey {
    pub(crate) key: CacheKey,
    /// The full key, of which `key` holds the digest.
    pub(crate) identity: Arc<[u8]>,
    pub(crate) directives: RequestDirectives,
    /// The partition of its client.
    pub(crate) partition: Partition,
    /// Whether credentials and cookies are in the key.
    has_credentials: bool,
    is_selective: bool,
}

impl RequestKey {
    /// What a request with this key and these header fields carries that is in no part of the key.
    pub(crate) fn kind(&self, fields: &CredentialFields, headers: &HeaderMap) -> RequestKind {
        match self.has_credentials {
            true => RequestKind::Plain,
            false => fields.kind_of(headers),
        }
    }

    /// The conditions and ranges of the request, if its fields may have any.
    pub(crate) fn preconditions<'p>(&self, request: &'p request::Parts) -> Preconditions<'p> {
        self.preconditions_of(&request.method, &request.headers)
    }

    /// The conditions and ranges of the request with this method and these fields.
    pub(crate) fn preconditions_of<'p>(
        &self,
        method: &'p Method,
        headers: &'p HeaderMap,
    ) -> Preconditions<'p> {
        Preconditions::new(method, headers, self.is_selective)
    }

    /// The key in the partition of the request, if it has one.
    pub(crate) fn partition_key(&self) -> Option<&PartitionKey> {
        match &self.partition {
            Partition::Of(partition) => Some(partition),
            Partition::Public | Partition::LongId => None,
        }
    }

    /// Whether the request has a partition that it has not entered.
    pub(crate) fn can_enter_partition(&self) -> bool {
        self.partition_key()
            .is_some_and(|partition| partition.public.is_none())
    }

    /// Whether the request has entered its partition.
    pub(crate) fn is_in_partition(&self) -> bool {
        self.partition_key()
            .is_some_and(|partition| partition.public.is_some())
    }

    /// Makes the key in the partition the one by which the request looks up, joins flights and
    /// fetches.
    pub(crate) fn enter_partition(&mut self) {
        if let Partition::Of(partition) = &mut self.partition
            && partition.public.is_none()
        {
            let key = std::mem::replace(&mut self.key, partition.key);
            let identity = std::mem::replace(&mut self.identity, partition.identity.clone());
            partition.public = Some((key, identity));
        }
    }

    /// Makes the public key the one of the request again.
    pub(crate) fn leave_partition(&mut self) {
        if let Partition::Of(partition) = &mut self.partition
            && let Some((key, identity)) = partition.public.take()
        {
            (self.key, self.identity) = (key, identity);
        }
    }

    /// The place of a response: in the partition if it is for the client alone, else the public
    /// one.
    pub(crate) fn target(&self, is_private: bool) -> StoredUnder {
        let partition = self.partition_key();
        let (key, identity) = match partition {
            Some(partition) if is_private => (partition.key, &partition.identity),
            Some(PartitionKey {
                public: Some((key, identity)),
                ..
            }) => (*key, identity),
            _ => (self.key, &self.identity),
        };
        StoredUnder {
            key,
            identity: identity.clone(),
            partition: partition.filter(|_| is_private).map(|own| own.digest),
            is_own: !is_private || self.is_in_partition(),
        }
    }
}

/// The key that a response is stored under.
pub(crate) struct StoredUnder {
    pub(crate) key: CacheKey,
    /// The full key.
    pub(crate) identity: Arc<[u8]>,
    /// The digest of the partition, if it is in one.
    pub(crate) partition: Option<u128>,
    /// Whether it is stored for all that may join the flight of its call: for one client if the
    /// request has entered its partition, or else for all.
    pub(crate) is_own: bool,
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
    let is_read = matches!(request.method, Method::GET | Method::HEAD);
    let fields = RouteFields::from_headers(&request.headers, &config.bypass_fields);
    if is_read {
        if let Some(reason) = bypass_reason(config, request, &fields) {
            return Route::Bypass(reason);
        }
    } else if invalidation::is_safe(&request.method) {
        return match is_misused_authority_form(request) {
            true => Route::Refuse,
            false => Route::Bypass(Bypass::Method),
        };
    }
    let target = is_read
        .then(|| config.query.trimmed(&request.uri))
        .flatten()
        .map(Box::new);
    let parts = match key_parts(config, request, target.as_deref(), fields.hosts) {
        Ok(parts) => parts,
        Err(Bypass::Authority) if !is_read || is_misused_authority_form(request) => {
            return Route::Refuse;
        }
        Err(Bypass::HookPanicked) if !is_read => return Route::FailWrite,
        Err(reason) => return Route::Bypass(reason),
    };
    if !is_read {
        return Route::Write(WriteTarget {
            uri: request.uri.clone(),
            resource: resource_with(config, seed, &parts),
            authority: parts.authority().into(),
            path: parts.path().into(),
            scheme: parts.scheme().map(Into::into),
            is_spelled: config.authority == Authority::FromRequest
                && is_spelled_by_key(config, request, fields.hosts, parts.authority()),
        });
    }
    let key = CacheKey::new(seed, &config.scope, config.sites, &parts);
    let directives = if fields.has_directives {
        RequestDirectives::from_headers(&request.headers, config.ignored)
    } else {
        RequestDirectives::default()
    };
    Route::Read(ReadRequest {
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
    let is_write = !invalidation::is_safe(&request.method);
    is_write
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
    if fields.has_bypass_field {
        return Some(Bypass::BypassField);
    }
    match config.skip.as_ref()?(request) {
        Ok(skips) => skips.then_some(Bypass::Skipped),
        Err(Panicked) => Some(Bypass::HookPanicked),
    }
}

/// The header fields that decide the route, read in one pass because every hit pays for it.
#[derive(Default)]
struct RouteFields<'r> {
    upgrades: bool,
    /// Content that is no part of the key must not shape the response stored under it.
    has_content: bool,
    has_directives: bool,
    /// Whether the fields may select less than the whole response.
    is_selective: bool,
    has_bypass_field: bool,
    hosts: HostLines<'r>,
}

impl<'r> RouteFields<'r> {
    /// Reads all fields once.
    fn from_headers(headers: &'r HeaderMap, bypass_fields: &BypassFields) -> Self {
        let mut fields = Self {
            has_bypass_field: bypass_fields.has_other_in(headers),
            ..Self::default()
        };
        for (name, value) in headers {
            match *name {
                HOST => fields.hosts.add(value),
                UPGRADE => fields.upgrades = true,
                TRANSFER_ENCODING => fields.has_content = true,
                CONTENT_LENGTH => fields.has_content |= value != "0",
                CACHE_CONTROL | PRAGMA => fields.has_directives = true,
                IF_NONE_MATCH | IF_MODIFIED_SINCE | RANGE => fields.is_selective = true,
                // Most requests have these. They cost no look at their names.
                ACCEPT
                | ACCEPT_ENCODING
                | ACCEPT_LANGUAGE
                | CONNECTION
                | COOKIE
                | ORIGIN
                | REFERER
                | UPGRADE_INSECURE_REQUESTS
                | USER_AGENT => {}
                _ => fields.has_bypass_field |= bypass_fields.has_extension(name),
            }
        }
        fields
    }
}
