//! What kind of world a seed makes: the options of the layer, and the habits of all parties.

use std::time::Duration;

use http::StatusCode;
use tower_response_cache::backend::{Backend, MemoryBackend};
use tower_response_cache::key::DigestSeed;
use tower_response_cache::random::SeededRandom;
use tower_response_cache::{CacheLayer, RequestDirective, WriteOutcome};

use crate::support::luck::Luck;
use crate::support::names::normal_path;
use crate::support::time::in_virtual_time;

/// What the responses of a world can be asked for by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validators {
    None,
    Strong,
    /// `Last-Modified`, in seconds.
    Dates,
    /// `Last-Modified`, and a weak entity tag made of it.
    WeakTags,
    /// Each response has others.
    Any,
}

#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub clients: u64,
    pub steps: u64,
    /// The longest pause of a client between two requests, in milliseconds.
    pub interval: u64,
    /// How many requests in a hundred are left alone.
    pub hang_ups: u64,
    /// How many requests in a hundred are writes, how many for a range.
    pub writes: u64,
    pub ranges: u64,
    /// Whether resources have several names and spellings.
    pub has_names: bool,

    pub validators: Validators,
    /// How many responses in a hundred are lies, or break off.
    pub lies: u64,
    pub breaks: u64,
    /// How many calls in a hundred fail.
    pub failures: u64,
    /// Whether some calls and bodies never end.
    pub has_silence: bool,
    /// The longest wait for readiness and for a head, in milliseconds.
    pub busy: u64,
    pub slow: u64,

    pub capacity: u64,
    pub grace: u64,
    pub write_through: bool,
    /// Whether a write of `/a` also writes `/list`, as the layer's hook says.
    pub has_list: bool,
    pub invalidates_on_unknown: bool,
    /// Whether a 503 to a write means that it was rejected.
    pub rejects_by_503: bool,
    pub store_set_cookie: bool,
    pub ignores_freshness: bool,
    pub max_waiting_fills: usize,
    pub coalesce_timeout: Duration,
    /// Whether all bodies fit all limits, so that none is cut off for a slow reader.
    pub is_roomy: bool,
    pub cache_status: bool,
}

impl Plan {
    pub fn of(luck: &Luck) -> Self {
        use Validators::{Any, Dates, None, Strong, WeakTags};
        Self {
            clients: 2 + luck.below(5),
            steps: 8 + luck.below(12),
            interval: luck.pick(&[10, 10, 100, 1_000]),
            hang_ups: luck.pick(&[0, 10, 30]),
            writes: luck.pick(&[5, 15, 15, 30]),
            ranges: luck.pick(&[0, 15, 60]),
            has_names: luck.chance(20),
            validators: luck.pick(&[None, Strong, Strong, Dates, WeakTags, Any]),
            lies: luck.pick(&[0, 0, 5, 20]),
            breaks: luck.pick(&[0, 0, 5, 20]),
            failures: luck.pick(&[0, 0, 5, 20]),
            has_silence: luck.chance(15),
            busy: luck.pick(&[0, 0, 20, 1_000]),
            slow: luck.pick(&[5, 50, 50, 2_000]),
            capacity: luck.pick(&[24 << 10, 1 << 20, 32 << 20, 32 << 20]),
            grace: luck.pick(&[10, 10, 5_000]),
            write_through: luck.chance(30),
            has_list: luck.chance(50),
            invalidates_on_unknown: luck.chance(85),
            rejects_by_503: luck.chance(15),
            store_set_cookie: luck.chance(10),
            ignores_freshness: luck.chance(15),
            max_waiting_fills: luck.pick(&[0, 1, 4_096, 4_096, 4_096, 4_096, 4_096, 4_096]),
            coalesce_timeout: Duration::from_millis(
                luck.pick(&[0, 10, 1_000, 30_000, 30_000, 30_000]),
            ),
            is_roomy: luck.chance(60),
            cache_status: luck.chance(90),
        }
    }

    pub fn backend(self, seed: u64) -> MemoryBackend {
        MemoryBackend::builder()
            .capacity(self.capacity)
            .max_response_size(if self.is_roomy { 1 << 20 } else { 4096 })
            .seed(DigestSeed::new([seed as u8; 16]))
            .build()
    }

    /// The layer, with limits that are met where there are limits.
    pub fn layer<B: Backend>(self, backend: B, luck: &Luck) -> CacheLayer<B> {
        let mut layer = in_virtual_time(backend)
            .random(SeededRandom::new(luck.below(u64::MAX)))
            .write_grace_window(Duration::from_millis(self.grace))
            .write_through(self.write_through)
            .invalidate_on_unknown(self.invalidates_on_unknown)
            .store_set_cookie(self.store_set_cookie)
            .ignore_client_freshness(self.ignores_freshness)
            .max_waiting_fills(self.max_waiting_fills)
            .coalesce_timeout(self.coalesce_timeout)
            .cache_status(self.cache_status);
        layer = with_times(layer, luck);
        if luck.chance(15) {
            layer = layer.store_posts(false).max_head(350);
        }
        if luck.chance(20) {
            layer = layer.store_parts(false);
        }
        if luck.chance(20) {
            layer = layer.generate_etags(true).stale_despite_s_maxage(true);
        }
        if !self.is_roomy {
            layer = layer
                .max_body(luck.pick(&[0, 200, 1_000, 100_000]))
                .max_buffered_bytes(luck.pick(&[0, 1_000, 3_000, 1 << 20]));
        }
        if luck.chance(30) {
            layer = layer.early_refresh(10.0).ttl_jitter(0.5);
        }
        if self.ignores_freshness {
            layer = layer.ignore_request_directives([RequestDirective::NoStore]);
        }
        if luck.chance(10) {
            layer = layer.store_if(|request, _| !request.headers.contains_key("accept-language"));
        }
        if self.has_list {
            layer = layer.also_invalidate(|write| {
                let path = normal_path(write.uri().path());
                (path == "/a").then_some("/list")
            });
        }
        if self.rejects_by_503 {
            layer = layer.classify_writes(|head| match head.status {
                StatusCode::SERVICE_UNAVAILABLE => WriteOutcome::Rejected,
                status => WriteOutcome::from_status(status),
            });
        }
        layer
    }
}

/// Sets lifetimes and timeouts, most of them as they are by default.
fn with_times<B: Backend>(mut layer: CacheLayer<B>, luck: &Luck) -> CacheLayer<B> {
    let any = |usual: u64, others: &[u64]| {
        let millis = match luck.chance(75) {
            true => usual,
            false => luck.pick(others),
        };
        Duration::from_millis(millis)
    };
    layer = layer
        .coalesce_takeover_timeout(any(10_000, &[0, 5, 1_000]))
        .fill_timeout(any(30_000, &[0, 20]))
        .slow_reader_timeout(any(10_000, &[0, 5]))
        .uncacheable_ttl(any(10_000, &[0, 100]))
        .failure_backoff(any(5_000, &[0, 500]))
        .detached_write_timeout(any(60_000, &[0, 100]))
        .max_detached_writes(any(4_096, &[0, 1]).as_millis() as usize)
        .stale_while_revalidate(any(0, &[500, 2_000]))
        .stale_if_error(any(0, &[500, 10_000]))
        .stale_if_unreachable(any(60_000, &[0, 2_000]))
        .revalidation_window(any(3_600_000, &[0]));
    if luck.chance(40) {
        layer = layer
            .ttl(any(60_000, &[0, 1_000]))
            .negative_ttl(any(5_000, &[0]));
    }
    if luck.chance(20) {
        layer = layer.ttl_by(|_, head| {
            (head.status != StatusCode::OK).then_some(Duration::from_secs(2).into())
        });
    }
    if luck.chance(10) {
        layer = layer.max_ttl(any(1_000, &[0, 100_000]));
    }
    layer
}
