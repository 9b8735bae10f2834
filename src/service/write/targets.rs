//! The resources and groups that one write invalidates (RFC 9111 §4.4, RFC 9875 §3).

use std::sync::Arc;

use http::header::{CONTENT_LOCATION, LOCATION};
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, request, response};

use crate::backend::{Backend, Group, InvalidationTarget};
use crate::config::AlsoInvalidate;
use crate::key::Resource;
use crate::semantics::groups::{GroupNames, invalidated_groups};
use crate::semantics::moment::Moment;
use crate::semantics::reason::WriteOutcome;
use crate::service::request::route::WriteTarget;
use crate::shares::ClientId;
use crate::state::LayerState;
use crate::state::inner_layers::InnerLayers;
use crate::state::throttled_log::Message;
use crate::write_info::WriteInfo;

/// A write's request and resource, kept until its targets are invalidated.
pub(crate) struct PendingInvalidation<B: Backend> {
    pub(crate) state: LayerState<B>,
    pub(crate) request: request::Parts,
    /// The client of the request, if it is known.
    pub(super) client: Option<ClientId>,
    pub(crate) resource: Resource,
    /// The authority in the write's key, which the resources that its response names share.
    pub(super) authority: Box<str>,
    /// The path in the write's key.
    pub(super) path: Box<str>,
    /// When the write began.
    pub(crate) at: Moment,
    /// The layers of the same cache that it passes further inside.
    layers: Arc<InnerLayers>,
}

impl<B: Backend> Clone for PendingInvalidation<B> {
    fn clone(&self) -> Self {
        self.with_request(self.request.clone())
    }
}

/// The other resource that a COPY or MOVE changes (RFC 4918 §10.3).
const DESTINATION: HeaderName = HeaderName::from_static("destination");

/// The source of a reference to a resource.
#[derive(Clone, Copy)]
pub(super) enum ReferenceSource {
    /// The response, or a request that it vouches for: they may name resources of their own site
    /// only (RFC 9111 §4.4).
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
        layers: Arc<InnerLayers>,
    ) -> Self {
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = request.method().clone();
        parts.uri = target.uri;
        parts.version = request.version();
        parts.headers = request.headers().clone();
        // Hooks judge the GET that a write-through answers, and those for resources that a response
        // names: they must see the extensions. Otherwise these are left out: copying would let the
        // values in them live longer.
        let config = &state.config;
        let stores = config.write_through || (config.store_posts && parts.method == Method::POST);
        let keeps_extensions = stores || config.has_key_hook();
        if keeps_extensions || config.client_by.is_some() {
            parts.extensions = request.extensions().clone();
        }
        let client = state.client_of(&parts);
        if !keeps_extensions {
            parts.extensions = Extensions::new();
        }
        Self {
            at: state.now(),
            state,
            request: parts,
            client,
            resource: target.resource,
            authority: target.authority,
            path: target.path,
            layers,
        }
    }

    /// Returns a copy for targets that are known: without the fields, which a long body would keep.
    pub(super) fn without_fields(&self) -> Self {
        let (mut request, ()) = Request::new(()).into_parts();
        request.method = self.request.method.clone();
        request.uri = self.request.uri.clone();
        self.with_request(request)
    }

    fn with_request(&self, request: request::Parts) -> Self {
        Self {
            state: self.state.clone(),
            request,
            client: self.client,
            resource: self.resource,
            authority: self.authority.clone(),
            path: self.path.clone(),
            at: self.at,
            layers: self.layers.clone(),
        }
    }

    /// Takes over the options of the inner layers that have been passed by now.
    pub(crate) fn take_over_options(&mut self) {
        self.state = self.layers.options(self.state.clone()).0;
    }

    /// The GET that the response also answers, with the extensions that the hooks of the innermost
    /// layer look at.
    pub(super) fn for_hooks(&self, mut get: request::Parts) -> request::Parts {
        if let Some(write) = self.layers.request_for_hooks() {
            get.extensions = write.extensions;
        }
        get
    }

    /// Whether an inner layer exempts the GET that the response also answers.
    pub(super) fn is_exempt(&self, get: &request::Parts) -> bool {
        self.layers.exempt_get(&self.state, get)
    }

    /// The targets of a write with this outcome and, if there is one, this response.
    pub(crate) fn targets(
        &self,
        outcome: WriteOutcome,
        response: Option<&response::Parts>,
    ) -> WriteTargets {
        let resources = match outcome {
            WriteOutcome::Rejected => Vec::new(),
            WriteOutcome::Unknown if !self.state.config.invalidate_on_unknown => Vec::new(),
            WriteOutcome::Unknown | WriteOutcome::Committed => {
                self.resources(&self.destinations(), response)
            }
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

    /// What the request names beside its target. Only the methods that change it count: to another
    /// one, a response vouches for nothing that its client has named. They change both resources,
    /// so what is unknown of one is unknown of the other.
    fn destinations(&self) -> Vec<&HeaderValue> {
        match self.request.method.as_str() {
            "COPY" | "MOVE" => self.request.headers.get_all(DESTINATION).iter().collect(),
            _ => Vec::new(),
        }
    }

    /// The resource of the write by the keys of all layers, its destinations and those that
    /// `Location` and `Content-Location` name, on the same authority, and those of the hook; each
    /// once.
    fn resources(
        &self,
        destinations: &[&HeaderValue],
        response: Option<&response::Parts>,
    ) -> Vec<Resource> {
        let mut resources = vec![self.resource];
        let written = self.layers.written().into_iter();
        resources.extend(written.filter(|written| *written != self.resource));
        let (method, path) = (&self.request.method, self.request.uri.path());
        let mut add = |reference: &[u8], source: ReferenceSource| {
            let named = self.named_resources(reference, source);
            if !named.is_empty() {
                let reference = String::from_utf8_lossy(reference);
                tracing::debug!(%method, path, %reference, "the write also invalidates");
            }
            for resource in &named {
                if !resources.contains(resource) {
                    resources.push(*resource);
                }
            }
            !named.is_empty()
        };
        for reference in destinations {
            add(reference.as_bytes(), ReferenceSource::Response);
        }
        for name in [LOCATION, CONTENT_LOCATION] {
            let values = response.iter().flat_map(|head| head.headers.get_all(&name));
            for reference in values.map(HeaderValue::as_bytes) {
                add(reference, ReferenceSource::Response);
            }
        }
        for reference in self.related(response) {
            if !add(reference.as_bytes(), ReferenceSource::Hook)
                && let Some(suppressed) = self.state.admit_log(Message::NothingNamed)
            {
                tracing::warn!(
                    %method,
                    path,
                    reference,
                    suppressed,
                    "also_invalidate named no resource"
                );
            }
        }
        resources
    }

    /// The references of the hooks. One that panics has none.
    fn related(&self, response: Option<&response::Parts>) -> Vec<String> {
        let write = WriteInfo::new(&self.request, response);
        let call = |also: &Arc<AlsoInvalidate>| also(&write).unwrap_or_default();
        let hooks = &self.state.config.also_invalidate;
        hooks.iter().flat_map(call).collect()
    }
}

/// The groups that the response to a write invalidates (RFC 9875 §3).
pub(crate) enum InvalidatedGroups {
    These(Vec<Group>),
    /// Too many to be invalidated one by one.
    TooMany,
}

impl InvalidatedGroups {
    /// The groups that a response names, whatever its status: the inner service names them, a
    /// client cannot, and RFC 9875 §3 asks for no more than an unsafe method.
    pub(crate) fn from_response<B: Backend>(
        state: &LayerState<B>,
        authority: &str,
        headers: &HeaderMap,
    ) -> Self {
        match invalidated_groups(headers) {
            GroupNames::TooMany => Self::TooMany,
            GroupNames::Listed(names) => {
                let groups = names.iter().map(|name| state.group(authority, name));
                Self::These(groups.collect())
            }
        }
    }

    /// Whether one of these groups is among them.
    pub(crate) fn contain_any(&self, groups: &[Group]) -> bool {
        match self {
            Self::These(these) => groups.iter().any(|group| these.contains(group)),
            Self::TooMany => true,
        }
    }
}

/// What one write invalidates.
#[derive(Clone)]
pub(crate) struct WriteTargets {
    pub(crate) targets: Vec<InvalidationTarget>,
    /// Whether everything is cleared, because the response named too many groups.
    pub(crate) clears_all: bool,
}

impl WriteTargets {
    /// Targets that are resources alone.
    pub(crate) fn new(resources: Vec<Resource>) -> Self {
        Self {
            targets: resources
                .into_iter()
                .map(InvalidationTarget::Resource)
                .collect(),
            clears_all: false,
        }
    }

    /// Adds groups.
    pub(crate) fn with_groups(mut self, groups: InvalidatedGroups) -> Self {
        match groups {
            InvalidatedGroups::These(groups) => {
                self.targets
                    .extend(groups.into_iter().map(InvalidationTarget::Group));
            }
            InvalidatedGroups::TooMany => self.clears_all = true,
        }
        self
    }

    /// Removes a resource that was invalidated already.
    pub(crate) fn without(mut self, invalidated: Option<Resource>) -> Self {
        let invalidated = invalidated.map(InvalidationTarget::Resource);
        self.targets.retain(|target| Some(*target) != invalidated);
        self
    }
}
