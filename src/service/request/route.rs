//! Which way a request goes, decided from its head (RFC 9111 §3, §4; RFC 9110 §9.2).

use std::borrow::Cow;
use std::sync::Arc;

use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, IF_MODIFIED_SINCE, IF_NONE_MATCH, PRAGMA, RANGE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Uri, request};

use crate::backend::{Backend, CacheKey};
use crate::key::{KeyParts, Resource, group};
use crate::semantics::cache_control::RequestDirectives;
use crate::semantics::groups::Group;
use crate::semantics::invalidation;
use crate::semantics::reason::{Bypass, Reason};

use crate::service::request::outgoing::Wanted;
use crate::state::Shared;

/// A request's way.
#[allow(
    clippy::large_enum_variant,
    reason = "boxing the large one is what a hit must not pay for"
)]
pub(crate) enum Way<'r> {
    /// GET or HEAD: the cache may have the answer.
    Read(Read<'r>),
    /// An unsafe request.
    Write(Written),
    /// Untouched to the inner service.
    Pass(Bypass),
}

/// A GET or HEAD and its key.
pub(crate) struct Read<'r> {
    pub(crate) parts: KeyParts<'r>,
    pub(crate) key: CacheKey,
    pub(crate) directives: RequestDirectives,
    /// Its target, where that is not the request's own: without what of the query does not count.
    // Boxed: next to no request has one, and every hit moves it about.
    pub(crate) target: Option<Box<Uri>>,
    /// Whether it may be answered with something else than the whole response.
    selects: bool,
}

impl Read<'_> {
    pub(crate) fn wanted<'p>(&self, request: &'p request::Parts) -> Wanted<'p> {
        Wanted::of(request, self.selects)
    }
}

/// What an unsafe request is aimed at.
pub(crate) struct Written {
    pub(crate) resource: Resource,
    /// The authority in its key, and so in the keys of what its answer names.
    pub(crate) authority: Box<str>,
}

/// The same key, independent of the request.
pub(crate) struct OwnKey {
    pub(crate) key: CacheKey,
    pub(crate) identity: Arc<[u8]>,
    pub(crate) directives: RequestDirectives,
    selects: bool,
}

impl OwnKey {
    pub(crate) fn wanted<'p>(&self, request: &'p request::Parts) -> Wanted<'p> {
        Wanted::of(request, self.selects)
    }
}

impl<B: Backend> Shared<B> {
    pub(crate) fn way<'r>(&'r self, request: &'r request::Parts) -> Way<'r> {
        // A write is a write whatever else it asks for: only reads may be kept from the cache.
        let is_read = matches!(request.method, Method::GET | Method::HEAD);
        let fields = Fields::of(&request.headers);
        if is_read {
            if let Some(reason) = self.why_pass(request, &fields) {
                return Way::Pass(reason);
            }
        } else if invalidation::is_safe(&request.method) {
            return Way::Pass(Bypass::Method);
        }
        let target = is_read.then(|| self.target_of(&request.uri)).flatten();
        let parts = match self.key_parts(request, target.as_deref()) {
            Ok(parts) => parts,
            Err(reason) if is_read => return Way::Pass(reason),
            Err(reason) => {
                tracing::warn!(
                    reason = reason.as_str(),
                    "a write without a key invalidates nothing"
                );
                return Way::Pass(reason);
            }
        };
        if !is_read {
            return Way::Write(Written {
                resource: self.resource(parts.authority(), parts.path()),
                authority: parts.authority().into(),
            });
        }
        let key = CacheKey::new(&self.core.seed, &self.config.scope, &parts);
        let directives = if fields.has_directives {
            RequestDirectives::of(&request.headers, self.config.ignored)
        } else {
            RequestDirectives::default()
        };
        Way::Read(Read {
            parts,
            key,
            directives,
            target,
            selects: fields.selects,
        })
    }

    /// A read's target without what of its query does not count; `None` where all of it does.
    fn target_of(&self, uri: &Uri) -> Option<Box<Uri>> {
        let rules = &self.config.query;
        if rules.is_all() {
            return None;
        }
        let query = uri.query()?;
        let path_and_query = match rules.apply(query) {
            Some(Cow::Borrowed(_)) => return None,
            Some(Cow::Owned(kept)) => format!("{}?{kept}", uri.path()),
            None => uri.path().to_owned(),
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = path_and_query.parse().ok();
        Uri::from_parts(parts).ok().map(Box::new)
    }

    fn key_parts<'r>(
        &'r self,
        request: &'r request::Parts,
        target: Option<&Uri>,
    ) -> Result<KeyParts<'r>, Bypass> {
        let authority = self.config.authority.of(request).ok_or(Bypass::Authority)?;
        let mut parts = KeyParts::of(request, authority);
        if let Some(target) = target {
            parts = parts.with_query(target.query().map(str::to_owned));
        }
        self.config
            .key
            .make_key(request, parts)
            .ok_or(Bypass::NoKey)
    }

    fn why_pass(&self, request: &request::Parts, fields: &Fields) -> Option<Bypass> {
        if fields.upgrades {
            return Some(Bypass::Upgrade);
        }
        if fields.has_content {
            return Some(Bypass::RequestContent);
        }
        let skip = self.config.skip.as_ref()?;
        skip(request).then_some(Bypass::Skipped)
    }

    pub(crate) fn resource(&self, authority: &str, path: &str) -> Resource {
        Resource::new(&self.core.seed, &self.config.scope, authority, path)
    }

    pub(crate) fn group(&self, authority: &str, name: &str) -> Group {
        group(&self.core.seed, &self.config.scope, authority, name)
    }

    pub(crate) fn own(&self, read: &Read<'_>) -> OwnKey {
        OwnKey {
            key: read.key,
            identity: read.parts.identity(&self.config.scope).into(),
            directives: read.directives,
            selects: read.selects,
        }
    }
}

/// What the fields of a request's head say about its way, read in one pass: every hit pays for it.
#[derive(Default)]
struct Fields {
    upgrades: bool,
    /// Content that is no part of the key must not shape what is stored under it ("fat GET").
    has_content: bool,
    has_directives: bool,
    selects: bool,
}

impl Fields {
    fn of(headers: &HeaderMap) -> Self {
        let mut fields = Self::default();
        for (name, value) in headers {
            match *name {
                UPGRADE => fields.upgrades = true,
                TRANSFER_ENCODING => fields.has_content = true,
                CONTENT_LENGTH => fields.has_content |= value != "0",
                CACHE_CONTROL | PRAGMA => fields.has_directives = true,
                IF_NONE_MATCH | IF_MODIFIED_SINCE | RANGE => fields.selects = true,
                _ => {}
            }
        }
        fields
    }
}
