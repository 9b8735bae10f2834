//! Resources that a write names: by `Location` and `Content-Location`, and by `also_invalidate`.
//!
//! A reference is resolved as a client would resolve it, and its key is made by the layer's hook,
//! as that of the GET which the client would send. A hook may read more than the target, so several
//! keys can be meant. All of them are invalidated, which is safe: it only invalidates more.

use std::borrow::Cow;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{Extensions, HeaderValue, Request, Uri, request, uri};

use crate::backend::Backend;
use crate::key::{Resource, normalize_authority};
use crate::semantics::invalidation::{Reference, encode, resolve};
use crate::service::request::route::resource_of;

use super::targets::{PendingInvalidation, ReferenceSource};

impl<B: Backend> PendingInvalidation<B> {
    /// The resources that a reference may mean. None if its source may not name it, or if it is no
    /// reference.
    pub(super) fn named_resources(
        &self,
        reference: &[u8],
        source: ReferenceSource,
    ) -> Vec<Resource> {
        // Whitespace around it is no part of a field value (RFC 9110 §5.5).
        let reference = encode(reference.trim_ascii());
        let mut resources = Vec::new();
        // A router may have taken a prefix off the target that is back in the key.
        for base in [self.request.uri.path(), &*self.path] {
            if let Some(named) = resolve(base, &reference) {
                resources.extend(self.resources_of(&named, source));
            }
        }
        resources
    }

    /// The resources of a resolved reference: by the authority of the write's key, and by the key
    /// hook.
    fn resources_of(&self, named: &Reference<'_>, source: ReferenceSource) -> Vec<Resource> {
        let (is_own, state) = (self.is_on_own_site(named), &self.state);
        let authority = match (is_own, source) {
            (true, _) => Some(Cow::Borrowed(&*self.authority)),
            (false, ReferenceSource::Hook) => {
                let scheme = named.scheme.or(self.request.uri.scheme_str());
                named
                    .authority
                    .and_then(|named| normalize_authority(named, scheme))
            }
            (false, ReferenceSource::Response) => None,
        };
        let Some(authority) = authority else {
            return Vec::new();
        };
        let mut resources = vec![state.resource(&authority, &named.path)];
        if state.config.has_key_hook() {
            let extensions = &self.request.extensions;
            let by_hook = self.resource_by_hook(named, extensions.clone());
            resources.extend(by_hook);
            // An extension may tell whose request it is, or only speak of the write's own target.
            let may_be_misled = by_hook.is_none_or(|resource| resource == self.resource);
            if may_be_misled && !extensions.is_empty() {
                resources.extend(self.resource_by_hook(named, Extensions::new()));
            }
        }
        resources
    }

    /// The resource that the key hook makes of a reference.
    fn resource_by_hook(&self, named: &Reference<'_>, extensions: Extensions) -> Option<Resource> {
        let get = self.get_for(named, extensions)?;
        let (config, seed) = (&self.state.config, &self.state.shared.store.seed);
        resource_of(config, seed, &get)
    }

    /// Whether a reference is on the site of the write.
    pub(super) fn is_on_own_site(&self, named: &Reference<'_>) -> bool {
        named.authority.is_none_or(|authority| {
            let scheme = named.scheme.or(self.request.uri.scheme_str());
            let rule = &self.state.config.authority;
            rule.is_same_site(&self.request, scheme, authority)
        })
    }

    /// The GET that a client would send for a reference, with the fields of the write.
    pub(super) fn get_for(
        &self,
        named: &Reference<'_>,
        extensions: Extensions,
    ) -> Option<request::Parts> {
        let (write, is_own) = (&self.request, self.is_on_own_site(named));
        let (mut get, ()) = Request::new(()).into_parts();
        get.uri = match is_own {
            true => uri_of(write.uri.scheme_str(), write.uri.authority(), named)?,
            false => {
                let authority = named.authority?.parse().ok()?;
                uri_of(named.scheme.or(Some("http")), Some(&authority), named)?
            }
        };
        get.headers = write.headers.clone();
        get.extensions = extensions;
        for content in [CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING] {
            get.headers.remove(content);
        }
        if !is_own {
            let host = HeaderValue::from_str(named.authority?).ok()?;
            get.headers.insert(HOST, host);
        }
        Some(get)
    }
}

/// The URI of a reference.
fn uri_of(
    scheme: Option<&str>,
    authority: Option<&uri::Authority>,
    named: &Reference<'_>,
) -> Option<Uri> {
    let path_and_query = match named.query {
        Some(query) => format!("{}?{query}", named.path),
        None => named.path.clone().into_owned(),
    };
    let mut parts = uri::Parts::default();
    parts.authority = authority.cloned();
    parts.scheme = match parts.authority {
        Some(_) => Some(scheme?.parse().ok()?),
        None => None,
    };
    parts.path_and_query = Some(path_and_query.parse().ok()?);
    Uri::from_parts(parts).ok()
}
