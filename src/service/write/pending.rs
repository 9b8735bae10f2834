//! What a write owes the store, and paying it (RFC 9111 §4.4).

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{HeaderMap, Method, Request, request, response};

use crate::backend::{Backend, Target};
use crate::key::{Resource, normalize};
use crate::semantics::invalidation::resolve;
use crate::semantics::moment::Moment;
use crate::semantics::reason::{Reason, WriteOutcome};
use crate::stats::Event;
use crate::write_info::WriteInfo;

use crate::service::fill::groups::Invalidated;
use crate::service::request::route::Written;
use crate::state::Shared;

/// A write's request and what it is aimed at, kept until the store is settled.
pub(crate) struct Settlement<B: Backend> {
    pub(crate) shared: Shared<B>,
    pub(crate) request: request::Parts,
    pub(crate) resource: Resource,
    authority: Box<str>,
    /// When it began.
    pub(crate) at: Moment,
}

impl<B: Backend> Clone for Settlement<B> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            request: self.request.clone(),
            resource: self.resource,
            authority: self.authority.clone(),
            at: self.at,
        }
    }
}

/// What a write invalidates.
#[derive(Clone)]
pub(crate) struct Targets {
    these: Vec<Target>,
    /// Everything else, too: it named too many groups.
    all: bool,
}

impl Targets {
    pub(crate) fn of(resources: Vec<Resource>) -> Self {
        Self {
            these: resources.into_iter().map(Target::Resource).collect(),
            all: false,
        }
    }

    pub(crate) fn and(mut self, groups: Invalidated) -> Self {
        match groups {
            Invalidated::These(groups) => self.these.extend(groups.into_iter().map(Target::Group)),
            Invalidated::All => self.all = true,
        }
        self
    }

    /// But for what was settled already.
    pub(crate) fn without(mut self, already: Option<Resource>) -> Self {
        let settled = already.map(Target::Resource);
        self.these.retain(|target| Some(*target) != settled);
        self
    }
}

/// How many are invalidated at the same time.
const AT_ONCE: usize = 32;

/// Who names a resource.
#[derive(Clone, Copy)]
enum Namer {
    /// The answer: only its own site is its business (RFC 9111 §4.4).
    Answer,
    /// The hook of whoever runs this cache.
    Hook,
}

impl<B: Backend> Settlement<B> {
    pub(crate) fn new<Req>(shared: Shared<B>, request: &Request<Req>, written: Written) -> Self {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = request.method().clone();
        parts.uri = request.uri().clone();
        parts.version = request.version();
        parts.headers = request.headers().clone();
        // Hooks that judge the GET a write-through answers must see what they would see of it; otherwise extensions stay
        // out: what somebody hung there must not live longer for having been copied.
        let config = &shared.config;
        if config.write_through || (config.store_posts && parts.method == Method::POST) {
            parts.extensions = request.extensions().clone();
        }
        Self {
            at: shared.now(),
            shared,
            request: parts,
            resource: written.resource,
            authority: written.authority,
        }
    }

    /// Counts and tells how the write ended.
    pub(crate) fn ended(&self, outcome: WriteOutcome) {
        self.shared.count(Event::Write(outcome));
        tracing::debug!(
            outcome = outcome.as_str(),
            method = %self.request.method,
            "write"
        );
    }

    /// Invalidates what the write concerns; whether the backend acknowledged all of it. All is attempted, whatever it says
    /// to each.
    pub(crate) async fn settle(&self, outcome: WriteOutcome, targets: &Targets) -> bool {
        if outcome == WriteOutcome::Unknown {
            let now = self.shared.now();
            for target in &targets.these {
                // Before the invalidation, see there.
                let grace = self.shared.config.write_grace_window;
                self.shared.core.grace.begin(target, now, grace);
            }
        }
        if targets.all {
            tracing::warn!("a write's answer names too many groups: everything is cleared");
            return self.shared.clear().await.is_ok();
        }
        // What failed is counted and logged; the answer is the write's, not the cache's.
        let Some((first, others)) = targets.these.split_first() else {
            return true;
        };
        // Alone: where the backend has just become well again, it is what finds that out for the others.
        let mut acknowledged = self.shared.invalidate(*first).await.is_ok();
        for some in others.chunks(AT_ONCE) {
            acknowledged &= self.invalidate_all(some).await;
        }
        acknowledged
    }

    /// At once: each may take its time where the backend is slow.
    async fn invalidate_all(&self, targets: &[Target]) -> bool {
        let invalidate = |target: &Target| {
            let (shared, target) = (self.shared.clone(), *target);
            Box::pin(async move { shared.invalidate(target).await.is_ok() })
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

    /// What a write invalidates that ended like this, with this answer if there is one.
    pub(crate) fn targets(
        &self,
        outcome: WriteOutcome,
        response: Option<&response::Parts>,
    ) -> Targets {
        let resources = match outcome {
            WriteOutcome::Rejected => Vec::new(),
            _ => self.resources(response),
        };
        let targets = Targets::of(resources);
        match response {
            Some(head) => targets.and(self.groups(&head.headers)),
            None => targets,
        }
    }

    /// The groups that its answer's fields name.
    pub(crate) fn groups(&self, answer: &HeaderMap) -> Invalidated {
        self.shared.groups_invalidated(&self.authority, answer)
    }

    /// The target, what `Location` and `Content-Location` name on the same authority, and what the hook adds; each once.
    fn resources(&self, response: Option<&response::Parts>) -> Vec<Resource> {
        let mut resources = vec![self.resource];
        let mut add = |reference: &str, namer: Namer| {
            let resource = self.resource_of(reference, namer);
            resources.extend(resource.filter(|resource| !resources.contains(resource)));
            resource.is_some()
        };
        for name in [LOCATION, CONTENT_LOCATION] {
            for value in response.iter().flat_map(|head| head.headers.get_all(&name)) {
                if let Ok(reference) = value.to_str() {
                    add(reference, Namer::Answer);
                }
            }
        }
        for reference in self.related(response) {
            if !add(&reference, Namer::Hook) {
                tracing::warn!(reference, "also_invalidate named no resource");
            }
        }
        resources
    }

    /// What the hook names. It may be asked while values are dropped: a panic of its own ends here.
    fn related(&self, response: Option<&response::Parts>) -> Vec<String> {
        let Some(also) = &self.shared.config.also_invalidate else {
            return Vec::new();
        };
        let write = WriteInfo::new(&self.request, response);
        catch_unwind(AssertUnwindSafe(|| also(&write))).unwrap_or_else(|_| {
            tracing::error!("also_invalidate panicked: only the target is invalidated");
            Vec::new()
        })
    }

    fn resource_of(&self, reference: &str, namer: Namer) -> Option<Resource> {
        let reference = resolve(self.request.uri.path(), reference)?;
        let shared = &self.shared;
        let Some(named) = reference.authority else {
            return Some(shared.resource(&self.authority, &reference.path));
        };
        let scheme = reference.scheme.or(self.request.uri.scheme_str());
        let rule = &shared.config.authority;
        match (rule.is_own(&self.request, scheme, named), namer) {
            (true, _) => Some(shared.resource(&self.authority, &reference.path)),
            (false, Namer::Hook) => {
                let named = normalize(named, scheme)?;
                Some(shared.resource(&named, &reference.path))
            }
            (false, Namer::Answer) => None,
        }
    }
}
