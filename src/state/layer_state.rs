//! The options of one layer, and the state that its clones share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::header::HOST;
use http::{HeaderMap, Uri, request};

use crate::backend::{Backend, Group, Lookup, PanicsAsErrors, StoredResponse};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::flight::{Budget, BudgetLimits, BudgetShare, ExpiringSet, Flights, count_stored};
use crate::key::CacheKey;
use crate::key::{DigestSeed, Resource, group_digest};
use crate::semantics::moment::Moment;
use crate::semantics::reason::{BodySource, WaitedFor};
use crate::semantics::request_kind::RequestKind;
use crate::semantics::stored::KeptBy;
use crate::shares::ClientId;
use crate::stats::{BackendOperations, CountBodies, Counters, Event, Histograms};

use super::background::Background;
use super::bounded_work::BoundedWork;
use super::encodings::Encodings;
use super::inner_layers::UnansweredCalls;
use super::noted_requests::{NotedKey, RequestDigest, RequestDigester, WorkingRequests};
use super::origin_failures::{Backoff, OriginFailures};
use super::partitions::Partitions;
use super::shared_head::SharedHead;
use super::short_refreshes::{ShortRefreshLimits, ShortRefreshTable};
use super::throttled_log::{Message, ThrottledLog};
use super::uncacheable::UncacheableRequests;
use super::variant_hints::{LanguageVariants, RememberedRules, VariantsOfClients};
use super::write_grace::WriteGrace;

/// How long the requests for a key carry no conditions of the cache's own after a contradiction.
const CONTRADICTED_TTL: Duration = Duration::from_secs(10);

/// One layer's options, and the state it shares with its clones and their services.
///
/// Cloning copies two pointers.
pub(crate) struct LayerState<B: Backend> {
    pub(crate) config: Arc<Config>,
    pub(crate) shared: Arc<SharedState<B>>,
}

/// The state behind every clone of a layer.
pub(crate) struct SharedState<B: Backend> {
    /// The backend and the seed of its cache keys.
    pub(crate) store: Store<B>,
    /// When it was made, by the monotonic clock of the machine.
    pub(crate) started: Duration,
    pub(crate) counters: Counters,
    pub(crate) histograms: Histograms,
    pub(crate) log: ThrottledLog,
    pub(crate) coalescing: Coalescing<B::Fence>,
    pub(crate) origin: OriginState,
    /// Resources of which nothing is stored for now, after a write of unknown outcome.
    pub(crate) write_grace: WriteGrace,
    /// Writes that run on although their clients have left.
    pub(crate) detached_writes: BoundedWork,
    pub(crate) request_digester: RequestDigester,
    /// Keys of which parts (206) are stored.
    pub(crate) partial_keys: ExpiringSet,
    /// The responses that are stored for single clients.
    pub(crate) partitions: Partitions,
    /// Coded forms that are being made.
    pub(crate) encodings: Arc<Encodings>,
    pub(crate) background: Background,
}

/// A backend, the seed of the digests in its cache keys, and hints at its variants.
pub(crate) struct Store<B> {
    pub(crate) backend: PanicsAsErrors<B>,
    /// The operations of a backend outside of this process.
    pub(crate) operations: Arc<BackendOperations>,
    pub(crate) seed: DigestSeed,
    pub(crate) languages: LanguageVariants,
    /// Used only if lookups have to wait.
    pub(crate) rules: RememberedRules,
    /// Used only if clients are known.
    pub(crate) of_clients: VariantsOfClients,
}

impl<B: Backend> Store<B> {
    /// A backend, with the seed it gives.
    pub(crate) fn new(backend: B) -> Self {
        let seed = backend.seed();
        let operations = Arc::<BackendOperations>::default();
        Self {
            backend: PanicsAsErrors::observed(backend, operations.clone()),
            operations,
            seed,
            languages: LanguageVariants::default(),
            rules: RememberedRules::default(),
            of_clients: VariantsOfClients::default(),
        }
    }
}

/// What concurrent requests for one key share.
pub(crate) struct Coalescing<F> {
    pub(crate) flights: Flights<F, SharedHead>,
    /// Requests whose responses are not shared, so that they do not wait for each other.
    pub(crate) uncacheable: UncacheableRequests,
    /// Bytes of bodies in memory: on their way into the store, or kept by slow clients.
    pub(crate) buffers: Arc<Budget>,
}

/// The refreshes of all keys that have the time they need.
#[derive(Default)]
pub(crate) struct Refreshes {
    /// Those with the fields of a request that has brought a response. No others take their places.
    working: BoundedWork,
    others: BoundedWork,
}

impl Refreshes {
    /// Those that count together with one whose fields are known to work, or are not.
    pub(crate) fn of(&self, is_working: bool) -> &BoundedWork {
        match is_working {
            true => &self.working,
            false => &self.others,
        }
    }
}

/// The state that concerns the inner service.
#[derive(Default)]
pub(crate) struct OriginState {
    /// Refreshes in the background that have the time they need.
    pub(crate) refreshes: Refreshes,
    /// Keys whose fetches failed a moment ago.
    pub(crate) failures: OriginFailures,
    /// Requests that have brought a response of which a refresh may become due.
    pub(crate) working: WorkingRequests,
    /// Keys whose refreshes hang.
    pub(crate) short_refreshes: ShortRefreshTable,
    /// Keys whose last validation or completion was answered about another representation. Their
    /// next requests carry no conditions of the cache's own.
    pub(crate) contradicted: ExpiringSet,
    /// Fills that wait for the inner service to be ready.
    pub(crate) waiting_fills: BoundedWork,
    /// Calls that wait for a response.
    pub(crate) unanswered: UnansweredCalls,
    /// Whether the last request that looked for stored parts could not be repeated.
    cannot_repeat: AtomicBool,
}

impl OriginState {
    /// Whether a request is like one that has brought a response. The failures of others say
    /// nothing of it.
    pub(crate) fn is_working(
        &self,
        request: (NotedKey, RequestDigest),
        backoff: Backoff,
        now: Moment,
    ) -> bool {
        backoff < Backoff::Holds && self.working.contains(request, now)
    }

    /// Notes whether a request that looks for stored parts can be repeated, which depends on the
    /// type of its body. Explanations know no such type.
    pub(crate) fn note_repeatable(&self, can_repeat: bool) {
        self.cannot_repeat.store(!can_repeat, Ordering::Relaxed);
    }

    /// Whether requests that look for stored parts can be repeated, as far as is known.
    pub(crate) fn can_repeat(&self) -> bool {
        !self.cannot_repeat.load(Ordering::Relaxed)
    }
}

impl<B: Backend> CountBodies for SharedState<B> {
    fn count_body_bytes(&self, source: BodySource, bytes: u64) {
        self.counters.count_body_bytes(source, bytes);
    }

    fn count_failed_body(&self) {
        self.counters.count_failed_body();
    }
}

impl<B: Backend> Clone for LayerState<B> {
    fn clone(&self) -> Self {
        Self {
            config: self.config.clone(),
            shared: self.shared.clone(),
        }
    }
}

impl<B: Backend> LayerState<B> {
    /// Default options over a backend.
    pub(crate) fn new(backend: B) -> Self {
        Self {
            config: Arc::default(),
            shared: Arc::new(SharedState {
                store: Store::new(backend),
                started: SystemClock.now().monotonic(),
                counters: Counters::default(),
                histograms: Histograms::default(),
                log: ThrottledLog::default(),
                coalescing: Coalescing {
                    flights: Flights::default(),
                    uncacheable: UncacheableRequests::default(),
                    buffers: Arc::default(),
                },
                origin: OriginState::default(),
                write_grace: WriteGrace::default(),
                detached_writes: BoundedWork::default(),
                request_digester: RequestDigester::default(),
                partial_keys: ExpiringSet::default(),
                partitions: Partitions::default(),
                encodings: Arc::default(),
                background: Background::default(),
            }),
        }
    }

    /// The state with the options of the route that a target has; `None` if it has none.
    pub(crate) fn of_route(&self, uri: &Uri) -> Option<Self> {
        let config = self.config.route_of(uri)?.clone();
        let shared = self.shared.clone();
        Some(Self { config, shared })
    }

    /// The time by the layer's clock.
    pub(crate) fn now(&self) -> Moment {
        self.config.clock.now()
    }

    /// The number of log lines of a kind left out since the last one, if another may be written.
    pub(crate) fn admit_log(&self, message: Message) -> Option<u64> {
        self.shared.log.admit(message, self.now())
    }

    /// The digest of a request that is spelled as it goes to the inner service, by which its
    /// outcome is noted.
    pub(crate) fn digest_of(&self, fields: &HeaderMap) -> RequestDigest {
        let authority = fields.get(HOST).map_or(&b""[..], |host| host.as_bytes());
        self.shared.request_digester.digest(authority, fields)
    }

    /// What [`digest_of`](Self::digest_of) returns, for a request as the client has spelled it.
    pub(crate) fn digest_as_sent(&self, request: &request::Parts) -> RequestDigest {
        let authority = self.config.authority.resolve(request).unwrap_or_default();
        let digester = &self.shared.request_digester;
        digester.digest(authority.as_bytes(), &request.headers)
    }

    /// The client that a request is from, as the application says; `None` if it does not.
    pub(crate) fn client_of(&self, request: &request::Parts) -> Option<ClientId> {
        let by = self.config.client_by.as_ref()?;
        by(request, self.shared.request_digester.secret()).ok()?
    }

    /// The short refreshes of a key that there may be with the fields of a request: none if one of
    /// its own has failed, or has hung lately, or if those of many others have failed; or one
    /// that took long, unless a short refresh has brought a response. The stored response took
    /// `cost`.
    pub(crate) fn short_refreshes(
        &self,
        (key, kind): (&CacheKey, RequestKind),
        request: RequestDigest,
        (cost, now): (Duration, Moment),
    ) -> Option<ShortRefreshLimits> {
        let failures = &self.shared.origin.failures;
        let table = &self.shared.origin.short_refreshes;
        let noted = NotedKey::new(key, kind);
        if failures.is_useless(noted, now, || request) || failures.has_hung((noted, request), now) {
            return None;
        }
        let limits = table.limits((key, kind), request.client(), (cost, now))?;
        (limits.is_proven || !failures.is_failing_slowly(key, now)).then_some(limits)
    }

    /// Counts an event.
    pub(crate) fn count(&self, event: Event) {
        self.shared.counters.count(event);
    }

    /// Counts how long a request has waited since a moment.
    pub(crate) fn observe_wait(&self, waited_for: WaitedFor, began: Moment) {
        let time = self.now().monotonic_since(began);
        self.shared.histograms.observe_wait(waited_for, time);
    }

    /// The resource at a path, in this layer's scope. The authority is looked at only where it
    /// decides the site.
    pub(crate) fn resource(&self, authority: &str, path: &str) -> Resource {
        let (seed, config) = (&self.shared.store.seed, &self.config);
        let site = config.sites.site_of(authority);
        Resource::new(seed, &config.scope, site, path)
    }

    /// The cache group of a name at the site of an authority, in this layer's scope.
    pub(crate) fn group(&self, authority: &str, name: &str) -> Group {
        let (seed, config) = (&self.shared.store.seed, &self.config);
        let site = config.sites.site_of(authority);
        group_digest(seed, &config.scope, site, name)
    }

    /// A share of the bytes that may be buffered, with none taken yet.
    pub(crate) fn buffer_share(&self) -> BudgetShare {
        let budget = self.shared.coalescing.buffers.clone();
        let limits = BudgetLimits {
            max_buffered: self.config.max_buffered_bytes,
            max_lingering: self.config.max_lingering_bytes,
        };
        BudgetShare::new(budget, limits)
    }

    /// Counts the body of a stored response that the backend has made for this lookup alone: a
    /// copy of one that it keeps outside of this process.
    pub(crate) fn count_copy(&self, lookup: &mut Lookup<B::Fence>) {
        if let Lookup::Found(response, _) = lookup {
            self.count_copy_of(response);
        }
    }

    /// Counts the bytes of a response that a backend outside of this process has returned.
    pub(crate) fn count_copy_of(&self, response: &mut Arc<StoredResponse>) {
        if let Some(copy) = Arc::get_mut(response)
            && copy.is_uncounted()
        {
            let buffers = &self.shared.coalescing.buffers;
            copy.set_content(count_stored(buffers, copy.body()));
            copy.note_kept_elsewhere(KeptBy::OtherProcess);
        }
    }

    /// The largest body that is stored, in bytes.
    pub(crate) fn max_stored_body(&self) -> u64 {
        let backend = &self.shared.store.backend;
        self.config.max_body.min(backend.max_response_size())
    }

    /// Whether the inner service is asked for a key without conditions of the cache's own, because
    /// its last answer to them contradicted the stored response.
    pub(crate) fn is_contradicted(&self, key: &CacheKey) -> bool {
        let keys = &self.shared.origin.contradicted;
        keys.is_remembered(key, || self.now())
    }

    /// Lets the next requests for a key go to the inner service without such conditions.
    pub(crate) fn remember_contradicted(&self, key: &CacheKey) {
        let keys = &self.shared.origin.contradicted;
        keys.remember(key, self.now(), CONTRADICTED_TTL);
    }
}
