//! What a write owes the store, and paying it (RFC 9111 §4.4).

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{Request, request, response};

use crate::backend::Backend;
use crate::key::Resource;
use crate::semantics::invalidation::{Reference, resolve};
use crate::semantics::reason::{Reason, WriteOutcome};
use crate::stats::Event;
use crate::write::Write;

use super::shared::Shared;

/// A write's request and the resource it is aimed at, kept until the store is settled.
pub(super) struct Settlement<B: Backend> {
    pub(super) shared: Shared<B>,
    pub(super) request: request::Parts,
    pub(super) resource: Resource,
}

impl<B: Backend> Clone for Settlement<B> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            request: self.request.clone(),
            resource: self.resource,
        }
    }
}

impl<B: Backend> Settlement<B> {
    pub(super) fn new<Req>(shared: Shared<B>, request: &Request<Req>, resource: Resource) -> Self {
        // Extensions stay out: what somebody hung there must not live longer for having been copied.
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = request.method().clone();
        parts.uri = request.uri().clone();
        parts.version = request.version();
        parts.headers = request.headers().clone();
        Self {
            shared,
            request: parts,
            resource,
        }
    }

    /// Counts and tells how the write ended.
    pub(super) fn ended(&self, outcome: WriteOutcome) {
        self.shared.count(Event::Write(outcome));
        tracing::debug!(
            outcome = outcome.as_str(),
            method = %self.request.method,
            "write"
        );
    }

    /// Invalidates what the write concerns. All of it is attempted, whatever the backend says to each.
    pub(super) async fn settle(&self, outcome: WriteOutcome, resources: &[Resource]) {
        if outcome == WriteOutcome::Unknown {
            let now = self.shared.now();
            for resource in resources {
                // Before the invalidation, see there.
                let grace = self.shared.config.write_grace;
                self.shared.core.grace.begin(resource, now, grace);
            }
        }
        for resource in resources {
            // What failed is counted and logged; the answer is the write's, not the cache's.
            let _ = self.shared.invalidate(*resource).await;
        }
    }

    /// The target, what `Location` and `Content-Location` name on the same authority, and what the hook adds; each once.
    pub(super) fn resources(&self, response: Option<&response::Parts>) -> Vec<Resource> {
        let mut resources = vec![self.resource];
        let mut add = |reference: &str| {
            let resource = self.resource_of(reference);
            resources.extend(resource.filter(|resource| !resources.contains(resource)));
        };
        for name in [LOCATION, CONTENT_LOCATION] {
            for value in response.iter().flat_map(|head| head.headers.get_all(&name)) {
                value.to_str().map(&mut add).unwrap_or_default();
            }
        }
        if let Some(also) = &self.shared.config.also_invalidate {
            for reference in also(&Write::new(&self.request, response)) {
                add(&reference);
            }
        }
        resources
    }

    fn resource_of(&self, reference: &str) -> Option<Resource> {
        let reference = resolve(self.request.uri.path(), reference)?;
        let authority = match reference.authority {
            None => self.shared.config.authority.of(&self.request)?,
            Some(named) => {
                let rule = &self.shared.config.authority;
                rule.of_reference(&self.request, scheme(&reference, &self.request), named)?
            }
        };
        Some(self.shared.resource(&authority, &reference.path))
    }
}

fn scheme<'a>(reference: &Reference<'a>, request: &'a request::Parts) -> Option<&'a str> {
    reference.scheme.or(request.uri.scheme_str())
}
