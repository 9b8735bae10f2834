//! What a write is to invalidate, and doing it (RFC 9111 §4.4).

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, Request, request, response};

use crate::backend::{Backend, InvalidationTarget};
use crate::key::{Resource, normalize_authority};
use crate::semantics::invalidation::resolve;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{Reason, WriteOutcome};
use crate::stats::Event;
use crate::write_info::WriteInfo;

use super::targets::{InvalidatedGroups, WriteTargets};

use crate::service::request::route::WriteTarget;
use crate::state::LayerState;

/// A write's request and resource, kept until its targets are invalidated.
pub(crate) struct PendingInvalidation<B: Backend> {
    pub(crate) state: LayerState<B>,
    pub(crate) request: request::Parts,
    pub(crate) resource: Resource,
    authority: Box<str>,
    /// When the write began.
    pub(crate) at: Moment,
}

impl<B: Backend> Clone for PendingInvalidation<B> {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            request: self.request.clone(),
            resource: self.resource,
            authority: self.authority.clone(),
            at: self.at,
        }
    }
}

/// Targets that are invalidated at the same time.
const MAX_CONCURRENT: usize = 32;

/// The source of a reference to a resource.
#[derive(Clone, Copy)]
enum ReferenceSource {
    /// The response: it may name resources of its own site only (RFC 9111 §4.4).
    Response,
    /// The `also_invalidate` hook: it may name any.
    Hook,
}

impl<B: Backend> PendingInvalidation<B> {
    /// Keeps the head of a write that is about to be called.
    pub(crate) fn new<Req>(
        state: LayerState<B>,
        request: &Request<Req>,
        target: WriteTarget,
    ) -> Self {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = request.method().clone();
        parts.uri = request.uri().clone();
        parts.version = request.version();
        parts.headers = request.headers().clone();
        // Hooks judge the GET that a write-through answers, and must see its extensions. Otherwise
        // extensions are left out: copying would let the values in them live longer.
        let config = &state.config;
        if config.write_through || (config.store_posts && parts.method == Method::POST) {
            parts.extensions = request.extensions().clone();
        }
        Self {
            at: state.now(),
            state,
            request: parts,
            resource: target.resource,
            authority: target.authority,
        }
    }

    /// Counts and logs the outcome of the write.
    pub(crate) fn record_outcome(&self, outcome: WriteOutcome) {
        self.state.count(Event::Write(outcome));
        tracing::debug!(
            outcome = outcome.as_str(),
            method = %self.request.method,
            "write"
        );
    }

    /// Invalidates the targets. Each is attempted, whatever became of the others. Returns whether
    /// the backend acknowledged all.
    pub(crate) async fn invalidate(&self, outcome: WriteOutcome, targets: &WriteTargets) -> bool {
        if outcome == WriteOutcome::Unknown {
            let now = self.state.now();
            for target in &targets.targets {
                // It must begin before the invalidation, see `WriteGrace::begin`.
                let grace = self.state.config.write_grace_window;
                self.state.shared.write_grace.begin(target, now, grace);
            }
        }
        if targets.clears_all {
            tracing::warn!("the response to a write names too many groups; everything is cleared");
            return self.state.clear().await.is_ok();
        }
        // A failure is counted and logged there. It does not change the response to the write.
        let Some((first, others)) = targets.targets.split_first() else {
            return true;
        };
        // The first one goes alone: if the backend has just recovered, it finds that out for all.
        let mut acknowledged = self.state.invalidate(*first).await.is_ok();
        for some in others.chunks(MAX_CONCURRENT) {
            acknowledged &= self.invalidate_all(some).await;
        }
        acknowledged
    }

    /// Invalidates targets concurrently, because each may take its time where the backend is slow.
    async fn invalidate_all(&self, targets: &[InvalidationTarget]) -> bool {
        let invalidate = |target: &InvalidationTarget| {
            let (state, target) = (self.state.clone(), *target);
            Box::pin(async move { state.invalidate(target).await.is_ok() })
        };
        let mut under_way: Vec<_> = targets.iter().map(invalidate).collect();
        let mut acknowledged = true;
        poll_fn(|cx| {
            under_way.retain_mut(|one| match one.as_mut().poll(cx) {
                Poll::Ready(is_acknowledged) => {
                    acknowledged &= is_acknowledged;
                    false
                }
                Poll::Pending => true,
            });
            if under_way.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        acknowledged
    }

    /// The targets of a write with this outcome and, if there is one, this response.
    pub(crate) fn targets(
        &self,
        outcome: WriteOutcome,
        response: Option<&response::Parts>,
    ) -> WriteTargets {
        let resources = match outcome {
            WriteOutcome::Rejected => Vec::new(),
            _ => self.resources(response),
        };
        let targets = WriteTargets::new(resources);
        match response {
            Some(head) => targets.with_groups(self.groups(&head.headers)),
            None => targets,
        }
    }

    /// The groups that the fields of a response invalidate.
    pub(crate) fn groups(&self, headers: &HeaderMap) -> InvalidatedGroups {
        InvalidatedGroups::from_response(&self.state, &self.authority, headers)
    }

    /// The resource of the write, those that `Location` and `Content-Location` name on the same
    /// authority, and those of the hook; each once.
    fn resources(&self, response: Option<&response::Parts>) -> Vec<Resource> {
        let mut resources = vec![self.resource];
        let mut add = |reference: &str, namer: ReferenceSource| {
            let resource = self.resource_of(reference, namer);
            resources.extend(resource.filter(|resource| !resources.contains(resource)));
            resource.is_some()
        };
        for name in [LOCATION, CONTENT_LOCATION] {
            for value in response.iter().flat_map(|head| head.headers.get_all(&name)) {
                if let Ok(reference) = value.to_str() {
                    add(reference, ReferenceSource::Response);
                }
            }
        }
        for reference in self.related(response) {
            if !add(&reference, ReferenceSource::Hook) {
                tracing::warn!(reference, "also_invalidate named no resource");
            }
        }
        resources
    }

    /// The references of the hook. It may be called while values are dropped, so a panic ends here.
    fn related(&self, response: Option<&response::Parts>) -> Vec<String> {
        let Some(also) = &self.state.config.also_invalidate else {
            return Vec::new();
        };
        let write = WriteInfo::new(&self.request, response);
        catch_unwind(AssertUnwindSafe(|| also(&write))).unwrap_or_else(|_| {
            tracing::error!("also_invalidate panicked: only the target is invalidated");
            Vec::new()
        })
    }

    /// The resource that a reference names, resolved against the write's target. `None` for one
    /// that its source may not name, or that is no reference.
    fn resource_of(&self, reference: &str, namer: ReferenceSource) -> Option<Resource> {
        let reference = resolve(self.request.uri.path(), reference)?;
        let state = &self.state;
        let Some(named) = reference.authority else {
            return Some(state.resource(&self.authority, &reference.path));
        };
        let scheme = reference.scheme.or(self.request.uri.scheme_str());
        let rule = &state.config.authority;
        match (rule.is_same_site(&self.request, scheme, named), namer) {
            (true, _) => Some(state.resource(&self.authority, &reference.path)),
            (false, ReferenceSource::Hook) => {
                let named = normalize_authority(named, scheme)?;
                Some(state.resource(&named, &reference.path))
            }
            (false, ReferenceSource::Response) => None,
        }
    }
}
