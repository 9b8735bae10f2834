//! The way of one request through the proxy, and the checks of the response's head.
//!
//! Calls every other file of this folder in the order of the module's diagram. Knows nothing of
//! the cache or of the server in front.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{CONNECTION, HOST};
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, StatusCode, Uri, Version};
use http_body::Body;
use tokio::time::Instant;

use crate::error::BoxError;
use crate::error::causes::WithCauses;
use crate::semantics::invalidation::is_safe;
use crate::semantics::marks::{IncompleteRequest, RepeatedRequest};
use crate::stats::CallProgress;

use super::body::bounded_waits::ClientNetwork;
use super::body::broken_upload::BrokenUploads;
use super::body::places::Places;
use super::body::response::{Exchange, ProxyBody};
use super::body::upload::{RequestBody, Upload, UploadLimits, empty, with_upload};
use super::canonical::RequestRules;
use super::canonical::forwarded_fields::Peer;
use super::canonical::validate_request::RejectedRequest;
use super::config_error::InvalidUpstream;
use super::error::{Failed, ProxyError, ProxyErrorKind, find_cause};
use super::error_log::{LogSubject, log_failure};
use super::error_responder::unsent_response;
use super::headers::{check_response, prepare_request, rewrite_response};
use super::upstream::connect::Unreachable;
use super::upstream::http1::content::UpstreamContent;
use super::upstream::options::ClientOptions;
use super::upstream::repetition::{KeptRequest, Repeatable};
use super::upstream::response_references::ResponseReferences;
use super::upstream::routes::{Destination, HostPolicy, UpstreamRoutes};
use super::upstream::server::TriedServers;
use super::websocket::{Tunnels, WebSocketTunnel};

/// The state of a [`ReverseProxy`](super::ReverseProxy): its options, its routes and its client.
///
/// It stands behind an `Arc`, because a cache in front clones its inner service for every request,
/// hits included.
#[derive(Clone, Debug)]
pub(super) struct Forwarder {
    pub(super) routes: UpstreamRoutes,
    pub(super) request_rules: RequestRules,
    pub(super) host_policy: HostPolicy,
    pub(super) translate_cookies: bool,
    pub(super) broken_uploads: BrokenUploads,
    pub(super) places: Places,
    pub(super) tunnels: Tunnels,
    /// The number of requests that were sent again. Clones share it.
    pub(super) repeated: Arc<AtomicU64>,
    options: ClientOptions,
}

/// What a request is for, as its client knows it.
struct Target {
    path: PathAndQuery,
    host: Option<HeaderValue>,
}

impl Forwarder {
    pub(super) fn new(url: &str) -> Result<Self, InvalidUpstream> {
        Ok(Self {
            routes: UpstreamRoutes::new(url)?,
            request_rules: RequestRules::default(),
            host_policy: HostPolicy::default(),
            translate_cookies: false,
            broken_uploads: BrokenUploads::default(),
            places: Places::default(),
            tunnels: Tunnels::default(),
            repeated: Arc::default(),
            options: ClientOptions::default(),
        })
    }

    /// Goes on with the counts, and what counts for the limits, of an earlier one.
    pub(super) fn succeed(&mut self, earlier: &Self) {
        self.places = self.places.clone().succeeding(&earlier.places);
        self.tunnels = self.tunnels.clone().succeeding(&earlier.tunnels);
        self.repeated = earlier.repeated.clone();
    }

    /// Routes a prefix to another upstream.
    pub(super) fn add_upstream(&mut self, prefix: &str, url: &str) -> Result<(), InvalidUpstream> {
        self.routes.add(prefix, url)?;
        self.routes.set_client_options(&self.options);
        Ok(())
    }

    /// Changes the clients' options. The new clients have empty pools.
    pub(super) fn change_client(&mut self, change: impl FnOnce(&mut ClientOptions)) {
        change(&mut self.options);
        self.options.limit_times();
        self.routes.set_client_options(&self.options);
    }

    /// Forwards a request and returns the response as soon as its head has arrived.
    #[allow(
        clippy::manual_async_fn,
        reason = "an `async fn` holds each argument twice"
    )]
    pub(super) fn forward<B>(
        self: Arc<Self>,
        request: Request<B>,
    ) -> impl Future<Output = Result<Response<ProxyBody>, ProxyError>> + Send
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        async move {
            let mut request = match self.request_rules.apply(request) {
                Ok(request) => request,
                Err(rejected) => return Ok(rejected.response()),
            };
            if !self.routes.is_confined(request.uri().path()) {
                return Ok(RejectedRequest::Path.response());
            }
            let client = self.client_of(&request);
            let tunnel = WebSocketTunnel::from_request(&mut request, &self.tunnels, client);
            let is_unknown = request.body().size_hint().exact().is_none();
            prepare_request(request.headers_mut(), tunnel.is_some(), is_unknown);
            let has_content = !request.body().is_end_stream();
            let is_plain = !has_content && is_safe(request.method());
            let subject = (!is_plain).then(|| LogSubject::from_request(&request));
            let target = self.target_of(&request)?;
            let exchange = self.exchange(request, client, tunnel, &target).await;
            exchange.or_else(|failed| match failed {
                Failed::Upstream(error) => Err(error),
                Failed::Unsent(error, unsent) => {
                    if let Some(subject) = subject {
                        log_failure(&error, &subject);
                    }
                    let name = &self.request_rules.via_name;
                    Ok(unsent_response(error.kind(), unsent, name))
                }
            })
        }
    }

    fn target_of<B>(&self, request: &Request<B>) -> Result<Target, ProxyError> {
        let path = request.uri().path_and_query();
        // HTTP/2 has `:authority` instead, which is that of the upstream.
        let host = request.headers().get(HOST);
        Ok(Target {
            path: path.cloned().ok_or(ProxyErrorKind::Internal)?,
            host: host.filter(|_| !self.options.http2_only).cloned(),
        })
    }

    /// A server that was not tried for this request; `None` if all were.
    fn next_destination(
        &self,
        target: &Target,
        tried: &mut TriedServers,
    ) -> Option<Result<Destination<'_>, ProxyError>> {
        let host = target.host.as_ref();
        let policy = self.host_policy;
        self.routes.destination(&target.path, host, policy, tried)
    }

    /// Sets URI, version and `Host` for a destination.
    fn address<B>(request: &mut Request<B>, destination: &Destination<'_>) {
        *request.uri_mut() = Uri::from(destination.path.clone());
        *request.version_mut() = Version::HTTP_11;
        let headers = request.headers_mut();
        headers.insert(HOST, destination.host.clone());
        if destination.server.client.may_be_http2() {
            // hyper removes the fields that `Connection` names before it sends HTTP/2. `TE` is
            // named for HTTP/1.1, but is an end-to-end field in HTTP/2 (RFC 9113 §8.2.2).
            headers.remove(CONNECTION);
        }
    }

    /// The client of a request, if it is known: behind a proxy of its own the peer is none.
    fn client_of<B>(&self, request: &Request<B>) -> ClientNetwork {
        let peer = request.extensions().get::<Peer>();
        let client = peer.filter(|_| !self.request_rules.trust_forwarded);
        ClientNetwork::new(client.map(Peer::network))
    }

    fn upload_limits(&self, client: ClientNetwork) -> UploadLimits<'_> {
        UploadLimits {
            idle_timeout: self.options.idle_timeout,
            lowest_rate: self.options.lowest_upload_rate(),
            max_buffered: self.options.max_buffered_upload,
            broken_uploads: &self.broken_uploads,
            places: &self.places,
            client,
        }
    }

    /// Sends a prepared request and prepares its response.
    ///
    /// If the client breaks its content off, the request stays with the upstream for a while: a
    /// response counts, and without one the upstream has not acted on the part that arrived.
    async fn exchange<B>(
        &self,
        request: Request<B>,
        client: ClientNetwork,
        tunnel: Option<WebSocketTunnel>,
        target: &Target,
    ) -> Result<Response<ProxyBody>, Failed>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let progress = CallProgress::from_request(request.extensions());
        progress.set_held_back(true);
        let (request, upload) = match request.body().is_end_stream() {
            true => (request.map(|_| empty()), None),
            false => {
                // Boxed, as what is rare: the future is made anew for each request, and moved.
                let method = request.method().clone();
                let with_upload = Box::pin(with_upload(request, self.upload_limits(client))).await;
                let with_upload = with_upload.map_err(|e| Failed::before_content(e, &method));
                with_upload.map(|(request, upload)| (request, Some(upload)))?
            }
        };
        let request = Box::new(request);
        let shared = upload.as_ref().map(Upload::place);
        let place = self.places.take_for(shared, client).await;
        let place = place.map_err(|kind| Failed::without_place(kind, request.method()))?;
        progress.set_held_back(false);
        let sending = self.send(request, target, upload.as_ref());
        let sent = match &upload {
            Some(upload) => Box::pin(upload.follow(&progress, sending)).await,
            None => sending.await,
        };
        let broken = upload.as_ref().and_then(Upload::broken);
        let (mut answer, destination) = sent.map_err(|error| Failed::sent(error, broken))?;
        if broken.is_some() && answer.status() == StatusCode::REQUEST_TIMEOUT {
            // RFC 9110 §15.5.9: the upstream did not get the rest of the content either.
            answer.extensions_mut().insert(IncompleteRequest);
        }
        let mut exchange = Exchange {
            in_progress: upload.as_ref().map(Upload::response_started),
            in_flight: None,
            is_http2: answer.version() == Version::HTTP_2,
        };
        let response = self.accept_response(answer, tunnel, &destination);
        let response = response.map_err(|error| {
            Failed::Upstream(error.with_upstream(destination.server.authority.clone()))
        })?;
        exchange.in_flight = destination.server.in_flight;
        let (idle, reader) = (self.options.idle_timeout, self.options.reader_limits());
        let (head, body) = response.into_parts();
        let body = ProxyBody::begin(body, idle, reader, place, exchange).await;
        let body = body.with_status(head.status);
        Ok(Response::from_parts(head, body))
    }

    /// Sends a request, and once more where that is allowed: to another server if one cannot be
    /// connected to, else to the same one.
    async fn send(
        &self,
        mut request: Box<Request<RequestBody>>,
        target: &Target,
        upload: Option<&Upload>,
    ) -> Result<(Response<UpstreamContent>, Destination<'_>), ProxyError> {
        let mut tried = TriedServers::default();
        let first = self.next_destination(target, &mut tried);
        let mut destination = first.ok_or(ProxyErrorKind::Internal)??;
        let kept = KeptRequest::new(&mut request, upload.is_some());
        let clock = upload.map(Upload::clock);
        let mut lost = Repeatable::None;
        // Without another server it is not too late for that.
        let began = destination.server.has_others().then(Instant::now);
        loop {
            Self::address(&mut request, &destination);
            let server = &destination.server;
            let (host, timeout) = (&destination.authority, self.options.head_timeout);
            let sent = server.client.send(host, request, lost, clock, timeout);
            let sent = sent.await;
            let failed = match sent {
                Ok(mut answer) => {
                    server.connected();
                    if lost == Repeatable::Idempotent {
                        answer.extensions_mut().insert(RepeatedRequest);
                    }
                    return Ok((answer, destination));
                }
                Err(failed) => failed,
            };
            let upstream = server.authority.clone();
            let is_broken = upload.is_some_and(|upload| upload.broken().is_some());
            let next = match failed.repeatable {
                Repeatable::Elsewhere => {
                    let is_unreachable = find_cause::<Unreachable>(&failed.error).is_some();
                    if is_unreachable || !server.client.is_keyed_by_host() {
                        server.not_connected();
                    }
                    // Servers that do not answer at all take the whole timeout each.
                    let limit = self.options.connect_timeout.saturating_mul(2);
                    match began.is_some_and(|began| began.elapsed() >= limit) {
                        true => None,
                        false => self.next_destination(target, &mut tried).transpose()?,
                    }
                }
                Repeatable::All | Repeatable::Idempotent if lost == Repeatable::None => {
                    lost = failed.repeatable;
                    Some(destination)
                }
                _ => None,
            };
            let repeated = kept.repeat(failed.repeatable).filter(|_| !is_broken);
            let (Some(next), Some(repeated)) = (next, repeated) else {
                return Err(failed.error.with_upstream(upstream));
            };
            self.repeated.fetch_add(1, Ordering::Relaxed);
            tracing::debug!(error = %WithCauses(&failed.error), %upstream, "request is sent again");
            (destination, request) = (next, Box::new(repeated));
        }
    }

    /// Checks and rewrites a response's head; connects the tunnel of an accepted WebSocket.
    fn accept_response(
        &self,
        mut response: Response<UpstreamContent>,
        tunnel: Option<WebSocketTunnel>,
        destination: &Destination<'_>,
    ) -> Result<Response<UpstreamContent>, ProxyError> {
        check_response(response.headers_mut(), self.options.max_head)?;
        let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if switches {
            match tunnel.filter(|_| WebSocketTunnel::is_accepted(&response)) {
                Some(tunnel) => tunnel.connect(&mut response),
                None => {
                    let cause = "the response is 101, but the request asked for no such upgrade";
                    return Err(ProxyErrorKind::Protocol.caused_by(cause));
                }
            }
        }
        let (mut head, body) = response.into_parts();
        rewrite_response(&mut head, &self.request_rules.response_via, switches);
        // RFC 9112 §2.3: the version is that of the connection to the client.
        head.version = Version::HTTP_11;
        let references = ResponseReferences::from_destination(destination);
        references.translate_fields(&mut head.headers);
        if self.translate_cookies {
            references.translate_cookies(&mut head.headers);
        }
        Ok(Response::from_parts(head, body))
    }
}
