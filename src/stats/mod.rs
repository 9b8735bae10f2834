//! Statistics: how often the cache did what, and for which reason.
//!
//! ```text
//! Event --count--> Counters --snapshot--> Stats --families--> text formats, serde
//! ```
//!
//! Each event has one counter, and each reason one more. These files may not name `service` or
//! anything above it. Start with [`Stats`].
//!
//! # Ways out
//!
//! [`Stats::families`] has all metrics by name, label and value, and the others are made of it:
//!
//! * [`Stats::to_openmetrics`] and [`Stats::to_prometheus`]: text for a scrape.
//! * `Stats::publish` (feature `metrics`): the recorder of the `metrics` facade.
//! * `Serialize` (feature `serde`): JSON and other formats.
//! * OpenTelemetry: as below.
//!
//! The result of a request is counted by the server's own threads, in counters that no other thread
//! writes to. Reading them all takes some microseconds, and no hit is any slower for it. There is
//! no histogram of hits: how long they take is measured where it can be seen whole, by a layer
//! around the cache, such as `tower_http::trace::TraceLayer`.
//!
//! # OpenTelemetry
//!
//! Instruments that are observed read the statistics whenever a reader collects. OpenTelemetry has
//! no observable histogram: the count and the sum of one are counters here.
//!
//! ```
//! use opentelemetry::KeyValue;
//! use opentelemetry::metrics::Meter;
//! use tower_response_cache::backend::Backend;
//! use tower_response_cache::stats::{MetricKind, MetricValue, Sample};
//! use tower_response_cache::{CacheHandle, CacheLayer, backend::MemoryBackend};
//!
//! fn attributes(sample: &Sample) -> Vec<KeyValue> {
//!     let labels = sample.labels.iter();
//!     labels.map(|(name, value)| KeyValue::new(*name, value.to_string())).collect()
//! }
//!
//! fn register<B: Backend>(meter: &Meter, cache: &CacheHandle<B>) {
//!     for (index, family) in cache.stats().families().into_iter().enumerate() {
//!         let cache = cache.clone();
//!         let samples = move || cache.stats().families().swap_remove(index).samples;
//!         let name = family.dotted_name();
//!         match family.kind {
//!             MetricKind::Counter => {
//!                 let counter = meter.u64_observable_counter(name).with_description(family.help);
//!                 counter
//!                     .with_callback(move |observer| {
//!                         for sample in samples() {
//!                             if let MetricValue::Count(count) = sample.value {
//!                                 observer.observe(count, &attributes(&sample));
//!                             }
//!                         }
//!                     })
//!                     .build();
//!             }
//!             MetricKind::Gauge => {
//!                 let gauge = meter.f64_observable_gauge(name).with_description(family.help);
//!                 gauge
//!                     .with_callback(move |observer| {
//!                         for sample in samples() {
//!                             if let MetricValue::Gauge(value) = sample.value {
//!                                 observer.observe(value, &attributes(&sample));
//!                             }
//!                         }
//!                     })
//!                     .build();
//!             }
//!             _ => {
//!                 let counted = samples.clone();
//!                 let count = meter.u64_observable_counter(format!("{name}.count"));
//!                 count.with_callback(move |observer| {
//!                     for sample in counted() {
//!                         if let MetricValue::Distribution(values) = &sample.value {
//!                             observer.observe(values.count(), &attributes(&sample));
//!                         }
//!                     }
//!                 })
//!                 .build();
//!                 let sum = meter.f64_observable_counter(name + ".sum");
//!                 sum.with_callback(move |observer| {
//!                     for sample in samples() {
//!                         if let MetricValue::Distribution(values) = &sample.value {
//!                             observer.observe(values.sum(), &attributes(&sample));
//!                         }
//!                     }
//!                 })
//!                 .build();
//!             }
//!         }
//!     }
//! }
//!
//! let cache = CacheLayer::new(MemoryBackend::default()).handle();
//! register(&opentelemetry::global::meter("tower-response-cache"), &cache);
//! ```

mod counters;
mod distribution;
#[cfg(feature = "metrics")]
mod facade;
mod families;
mod histograms;
mod invalidation_counts;
mod limit_counts;
mod metric_family;
mod origin_load;
mod reason_counts;
mod text;

use std::time::Duration;

use crate::backend::{Health, Usage};
pub use crate::semantics::reason::{
    BackendOperation, BodySource, Bypass, CallEnd, Contradiction, FetchReason, FillOutcome,
    InvalidatedTarget, InvalidationMode, InvalidationResult, OperationResult, OriginRejection,
    Reason, Refresh, Refusal, RequestResult, StaleUse, StatusClass, StoredBy, Tier, WaitedFor,
    WriteOutcome,
};

pub(crate) use self::counters::{CountBodies, Counters, Event};
pub use self::distribution::Distribution;
pub(crate) use self::histograms::{BackendOperations, Histograms};
pub use self::histograms::{Distributions, OperationCounts};
pub use self::invalidation_counts::InvalidationCounts;
pub use self::limit_counts::LimitCounts;
pub use self::metric_family::{MetricFamily, MetricKind, MetricValue, Sample};
pub(crate) use self::origin_load::{CallProgress, known_error};
pub use self::origin_load::{OriginLoad, OriginMonitor, WaitTimes};
pub use self::reason_counts::ReasonCounts;

/// The work of a cache at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct InFlight {
    /// Fills that other requests can join.
    pub fills: usize,
    /// Fills that wait for the inner service to be ready, beyond those that it took at once. See
    /// [`max_waiting_fills`](crate::CacheLayer::max_waiting_fills).
    pub waiting_fills: usize,
    /// Calls of the inner service that have no response yet, whatever they are for. Those that wait
    /// in its own queue, or for the rest of their client's content, are not counted, if it says so:
    /// see [`OriginMonitor`].
    pub origin_calls: usize,
    /// Background tasks: refreshes, captures of bodies, writes whose client left.
    pub tasks: usize,
    /// Writes that run on although their client has left; also counted in `tasks`.
    pub detached_writes: usize,
    /// Bytes of bodies that are buffered and not stored yet, reservations included. They are
    /// bounded by [`max_buffered_bytes`](crate::CacheLayer::max_buffered_bytes), and 0 once all
    /// fills have ended, which takes [`fill_timeout`](crate::CacheLayer::fill_timeout) at most.
    pub bytes: u64,
    /// Bytes of bodies that are not stored and that clients have yet to read.
    pub unread_bytes: u64,
    /// Bytes of responses that were removed from the store, and that bodies under way still hold.
    /// See [`max_lingering_bytes`](crate::CacheLayer::max_lingering_bytes).
    pub lingering_bytes: u64,
    /// Bytes of responses from a backend outside of this process, such as Redis, that bodies under
    /// way hold: each has a copy of its own. Bodies below 4 KiB are not counted.
    pub copied_bytes: u64,
}

/// The values that are read at the moment of a snapshot, and not counted.
pub(crate) struct Snapshot<'s> {
    pub(crate) uptime: Duration,
    pub(crate) in_flight: InFlight,
    pub(crate) origin_silence: Duration,
    pub(crate) histograms: &'s Histograms,
    pub(crate) operations: &'s BackendOperations,
    pub(crate) origin: Option<OriginLoad>,
    /// The largest response that the backend accepts.
    pub(crate) max_response: u64,
    pub(crate) usage: Option<Usage>,
    pub(crate) health: Option<Health>,
}

/// The counters of a cache since its layer was created.
///
/// [`CacheHandle::stats`](crate::CacheHandle::stats) returns them. Counters are read one by one
/// while requests are served, so that sums may be off by the requests of that moment.
///
/// With the feature `serde` they are [`Serialize`](serde::Serialize): fields by their names, counts
/// by reason as a map from the name of each reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// The name of the cache, as in `Cache-Status`. See
    /// [`cache_status_name`](crate::CacheLayer::cache_status_name).
    pub name: String,
    /// The time since the cache was made, by a clock that is never set: the time between two
    /// statistics is what rates are to be computed by. As JSON, it is `uptime_seconds`.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "uptime_seconds", serialize_with = "as_seconds")
    )]
    pub uptime: Duration,
    /// Requests, by their result. Each request counts once, when the head of its response is handed
    /// to the caller, or when it is dropped before.
    pub requests: ReasonCounts<RequestResult>,
    /// Requests that were answered outside of the cache, by the class of the response.
    pub outside: ReasonCounts<StatusClass>,
    /// Bytes of response bodies, by their source. Those of a stored response count with its head,
    /// whether the client reads them or not; those that are still to come count as they are read.
    pub body_bytes: ReasonCounts<BodySource>,
    /// Responses that were in the cache before the request, which called nothing and waited for no
    /// call. [`CacheLayer`](crate::CacheLayer#cache-status) has the definition.
    pub hits: u64,
    /// Responses from the call of another request, of which some was still to come. They are also
    /// counted in `fetches`.
    pub collapsed: u64,
    /// 504 responses to requests with `only-if-cached`.
    pub gateway_timeouts: u64,
    /// 400 responses to requests with an invalid host, which the inner service did not get.
    pub bad_requests: u64,
    /// 503 responses because too many fills were waiting for the inner service, and requests that
    /// it refused as too many: see [`OriginMonitor`].
    pub overloads: u64,
    /// Stored responses that a 304 of the inner service confirmed.
    pub validations: u64,
    /// Responses of the inner service that were of no use for the request they answered, by reason.
    pub contradictions: ReasonCounts<Contradiction>,
    /// Calls of the inner service by their end, whatever they were for: fills and their repetitions,
    /// background refreshes, writes and requests that bypass the cache. Those that waited in its own
    /// queue only, or were refused there, are not counted: see [`OriginMonitor`].
    pub origin_calls: ReasonCounts<CallEnd>,
    /// Those of them that ended with 401, 403, 407 or 429, which are also counted there.
    pub origin_rejections: ReasonCounts<OriginRejection>,
    /// Bodies of the inner service that failed while they were read, broken off by the origin for
    /// example. Their calls are counted in `origin_calls` by the status of the head.
    pub origin_bodies_failed: u64,
    /// The time that calls of the inner service have waited since its last response, pauses between
    /// them left out: it grows while the origin hangs, also before any call has ended. Zero once
    /// there was no call for a minute. As JSON, it is `origin_silent_seconds`.
    #[cfg_attr(
        feature = "serde",
        serde(rename = "origin_silent_seconds", serialize_with = "as_seconds")
    )]
    pub origin_silence: Duration,
    /// Requests that were sent to the inner service once more, as the client sent them, after a
    /// response that was of no use.
    pub repetitions: u64,
    /// Stale responses from the store, by the rule that allowed them. They are also counted in
    /// `fetches` if the inner service was called first, and in `hits` otherwise.
    pub stale: ReasonCounts<StaleUse>,
    /// Fills in the background, by reason.
    pub refreshes: ReasonCounts<Refresh>,
    /// Stale hits, or those about to expire, that began no refresh beyond
    /// [`max_refreshes`](crate::CacheLayer::max_refreshes), or one for a short time alone.
    pub refused_refreshes: u64,
    /// GET and HEAD requests that the store could not answer, by reason. [`FetchReason::Stale`]
    /// counts those that found a response which was too old.
    pub fetches: ReasonCounts<FetchReason>,
    /// Requests that bypassed the cache, by reason.
    pub bypasses: ReasonCounts<Bypass>,
    /// Responses that were stored, by fills and by write-through.
    pub stores: u64,
    /// Responses that were stored, by their way into the store.
    pub stores_by: ReasonCounts<StoredBy>,
    /// Responses that were not stored, by reason.
    pub refusals: ReasonCounts<Refusal>,
    /// Writes, by outcome.
    pub writes: ReasonCounts<WriteOutcome>,
    /// Writes that ran on although their client had left, before the head of the response or within
    /// its body. Their outcome is counted in `writes` when the head is there.
    pub detached_writes: u64,
    /// Writes whose client had left and that were dropped before their end: outside of a tokio
    /// runtime, beyond [`max_detached_writes`](crate::CacheLayer::max_detached_writes) or
    /// [`detached_write_timeout`](crate::CacheLayer::detached_write_timeout), in a shutdown, or in
    /// a panic. Their outcome is unknown; those whose head was there are counted as committed in
    /// `writes`.
    pub abandoned_writes: u64,
    /// Invalidations that the backend acknowledged, one for each resource or group.
    pub invalidations: u64,
    /// Invalidations that the backend did not acknowledge, and clears.
    pub failed_invalidations: u64,
    /// Invalidations and clears, by target, mode and result.
    pub invalidation_counts: InvalidationCounts,
    /// Invalidations after writes of unknown outcome for which the backend had no memory left to
    /// refuse stores at other instances, too.
    pub refused_write_graces: u64,
    /// How long calls of the inner service for fills took, from the call to the head of the
    /// response, by the class of its status. Those that were canceled, or refused in its own queue,
    /// are not among them.
    pub fetch_durations: Distributions<StatusClass>,
    /// How long fills took, from the call to the end of the body, by outcome.
    pub fill_durations: Distributions<FillOutcome>,
    /// How long requests waited, by what they waited for. Those that did not wait are not among
    /// them.
    pub wait_durations: Distributions<WaitedFor>,
    /// The sizes of the bodies that were stored by fills.
    pub stored_bytes: Distribution,
    /// Operations of the backend by result, with [`Guarded`](crate::backend::Guarded) around it as
    /// that answers them; none for a `MemoryBackend`.
    pub backend_operations: OperationCounts,
    /// How long operations of the backend took that were attempted.
    pub backend_durations: Distributions<BackendOperation>,
    /// The work that is in flight now.
    pub in_flight: InFlight,
    /// The load of the inner service; `None` without an
    /// [`origin_monitor`](crate::CacheLayer::origin_monitor).
    pub origin: Option<OriginLoad>,
    /// Where the backend keeps its entries.
    pub tier: Tier,
    /// The usage of the backend; `None` if it does not report it, as Redis.
    pub usage: Option<Usage>,
    /// The condition of the backend; `None` if it cannot fail, or does not say.
    pub health: Option<Health>,
}

#[cfg(feature = "serde")]
fn as_seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

impl Stats {
    /// The statistics at this moment.
    pub(crate) fn new(name: String, counters: &Counters, now: Snapshot<'_>) -> Self {
        let total = |event| counters.total(event);
        let requests = counters.requests();
        let (stores_by, invalidations) = (counters.stores(), counters.invalidations());
        let is_target = |target| target != InvalidatedTarget::All;
        Self {
            name,
            uptime: now.uptime,
            outside: counters.outside(),
            body_bytes: counters.body_bytes(),
            hits: requests.get(RequestResult::Hit) + total(Event::StaleHit),
            collapsed: requests.get(RequestResult::Collapsed),
            gateway_timeouts: requests.get(RequestResult::GatewayTimeout),
            bad_requests: total(Event::BadRequest),
            overloads: requests.get(RequestResult::Overload),
            requests,
            validations: total(Event::Validation),
            contradictions: counters.contradictions(),
            origin_calls: counters.origin_calls(),
            origin_rejections: counters.origin_rejections(),
            origin_bodies_failed: total(Event::OriginBodyFailed),
            origin_silence: now.origin_silence,
            repetitions: total(Event::Repetition),
            stale: counters.stale(),
            refreshes: counters.refreshes(),
            refused_refreshes: total(Event::RefreshRefused),
            fetches: counters.fetches(),
            bypasses: counters.bypasses(),
            stores: stores_by.total(),
            stores_by,
            refusals: counters.refusals(),
            writes: counters.writes(),
            detached_writes: total(Event::WriteDetached),
            abandoned_writes: total(Event::WriteAbandoned),
            invalidations: invalidations.sum_of(|(target, _, result)| {
                is_target(target) && result == InvalidationResult::Ok
            }),
            failed_invalidations: invalidations
                .sum_of(|(_, _, result)| result == InvalidationResult::Failed),
            invalidation_counts: invalidations,
            refused_write_graces: total(Event::WriteGraceRefused),
            fetch_durations: now.histograms.fetch_durations(),
            fill_durations: now.histograms.fill_durations(),
            wait_durations: now.histograms.wait_durations(),
            stored_bytes: now.histograms.stored_bytes(),
            backend_operations: now.operations.counts(),
            backend_durations: now.operations.durations(),
            in_flight: now.in_flight,
            origin: now.origin,
            tier: match (&now.usage, &now.health) {
                _ if now.max_response == 0 => Tier::Nowhere,
                (Some(_), None) => Tier::Near,
                _ => Tier::Far,
            },
            usage: now.usage,
            health: now.health,
        }
    }

    /// Returns the fraction of requests that the cache answered, 0 to 1: hits, stale, revalidated
    /// and collapsed responses.
    ///
    /// Requests that bypassed the cache or were answered outside of it are not counted, nor those
    /// whose client left before it had a response, or that were refused for overload. It is 0 before the first request.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        use RequestResult::{
            Bypass, Canceled, Collapsed, Hit, Outside, Overload, Revalidated, Stale,
        };
        let sum = |results: &[RequestResult]| -> u64 {
            results
                .iter()
                .map(|result| self.requests.get(*result))
                .sum()
        };
        let answered = sum(&[Hit, Stale, Revalidated, Collapsed]);
        match self.requests.total() - sum(&[Bypass, Canceled, Outside, Overload]) {
            0 => 0.0,
            all => answered as f64 / all as f64,
        }
    }
}
