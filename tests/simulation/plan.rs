//! What kind of world a seed makes.

use std::time::Duration;

use tower_response_cache::CacheLayer;
use tower_response_cache::backend::Backend;
use tower_response_cache::random::SeededRandom;

use crate::history::{TEAM, resource_of};
use crate::luck::Luck;
use crate::source::validators::Validators;
use crate::source::{TEAM_GROUP, owner_of_fields};
use crate::support::time::in_virtual_time;

#[derive(Clone, Copy)]
pub struct Plan {
    /// Whether calls fail, hang and panic, and answers differ in what may be done with them.
    pub is_stormy: bool,
    /// Whether the backend fails, or loses data: then another call may be necessary at any time.
    pub loses: bool,
    /// Whether it never does anything.
    pub is_away: bool,
    pub write_through: bool,
    /// What responses can be asked for by.
    pub validators: Validators,
    /// Whether reads may be answered by a replica that has not all of the database.
    pub lags: bool,
    /// Whether the origin is not always ready.
    pub is_busy: bool,
    /// Whether nearly all requests are for one resource.
    pub is_narrow: bool,
    /// Whether half of the requests have cookies or credentials, to which the origin answers what
    /// is their client's alone.
    pub has_kinds: bool,
    /// Whether some requests are QUERYs, groups are said by a function of the layer, each client has
    /// a partition, and jobs change the database beside the cache, and tell it so.
    pub is_extended: bool,
    /// How many requests in a hundred are for a range.
    pub ranges: u64,
    /// Whether resources have several names and spellings.
    pub has_names: bool,
    /// How many writes in a hundred are rejected.
    pub rejects: u64,
    /// Whether writes of unknown outcome may be committed late, or never.
    pub is_unsure: bool,
    /// The time in which such a write is committed, if ever, in milliseconds.
    pub grace: u64,
    pub cache_control: &'static str,
    /// The longest pause of a client between two requests, in milliseconds.
    pub interval: u64,
    /// How many futures in a hundred are dropped before they end.
    pub cut: u64,
    /// The share of writes that end so.
    pub cut_writes: u64,
}

impl Plan {
    pub fn of(luck: &Luck, is_stormy: bool, loses: bool) -> Self {
        let lifetimes = [
            "max-age=1000",
            "max-age=1",
            "max-age=1, stale-while-revalidate=2",
            "max-age=1, stale-while-revalidate=1, stale-if-error=60",
            "max-age=0, stale-while-revalidate=1",
            "max-age=1, must-revalidate",
            "max-age=1, no-cache",
        ];
        let validators = [
            Validators::None,
            Validators::Strong,
            Validators::Strong,
            Validators::Dates,
            Validators::WeakTags,
        ];
        let is_unsure = luck.chance(30);
        let cut = luck.pick(&[0, 10, 30]);
        Self {
            is_stormy,
            loses,
            is_away: false,
            write_through: luck.chance(30),
            validators: if is_stormy {
                luck.pick(&validators)
            } else {
                Validators::None
            },
            lags: luck.chance(30),
            is_busy: luck.chance(30),
            has_names: luck.chance(30),
            rejects: luck.pick(&[15, 15, 15, 100]),
            is_unsure,
            grace: if is_stormy {
                luck.pick(&[10, 5_000])
            } else {
                5_000
            },
            is_narrow: false,
            has_kinds: false,
            is_extended: false,
            ranges: 0,
            cache_control: if is_stormy {
                luck.pick(&lifetimes)
            } else {
                "max-age=100000"
            },
            interval: if is_stormy || is_unsure {
                luck.pick(&[10, 50, 1000])
            } else {
                luck.pick(&[10, 50])
            },
            cut,
            cut_writes: cut,
        }
    }

    /// Makes the world one in which the clients of writes leave, most of them, and no others. Then
    /// calls that are not necessary are noticed.
    pub fn leave(&mut self, luck: &Luck) {
        self.is_unsure = false;
        self.rejects = luck.pick(&[15, 100, 100]);
        self.interval = luck.pick(&[10, 50]);
        self.cut = 0;
        self.cut_writes = 70;
    }

    /// Makes the world one in which all that an application can say is said.
    pub fn extend(&mut self, luck: &Luck) {
        self.is_extended = true;
        self.has_kinds = luck.chance(50);
    }

    /// Makes the world one in which the outcome of many writes is unknown, of nearly always the
    /// same resource.
    pub fn doubt(&mut self, luck: &Luck) {
        self.is_narrow = true;
        self.is_unsure = true;
        self.rejects = 15;
        self.write_through = luck.chance(50);
        self.interval = luck.pick(&[10, 50]);
    }

    /// Makes the world one in which writes meet validations all the time, by validators that may
    /// lie.
    pub fn narrow(&mut self, luck: &Luck) {
        self.is_narrow = true;
        self.is_stormy = true;
        self.cache_control = luck.pick(&[
            "max-age=0, stale-while-revalidate=1",
            "max-age=0, stale-while-revalidate=1, stale-if-error=60",
            "max-age=1, no-cache",
        ]);
        self.ranges = 20;
        self.validators = luck.pick(&[Validators::Strong, Validators::Dates, Validators::WeakTags]);
        self.lags = self.validators == Validators::Strong || luck.chance(30);
        if self.validators == Validators::Strong && luck.chance(50) {
            // Then there are parts that others complete.
            self.ranges = 70;
            self.cache_control = "max-age=1000";
        }
        self.is_busy = luck.chance(80);
        self.interval = luck.pick(&[10, 50]);
        self.cut = luck.pick(&[0, 0, 10]);
        self.cut_writes = self.cut;
    }

    pub fn layer<B: Backend>(self, backend: B, luck: &Luck) -> CacheLayer<B> {
        let mut layer = in_virtual_time(backend)
            .random(SeededRandom::new(luck.below(u64::MAX)))
            .write_grace_window(Duration::from_millis(self.grace));
        if self.write_through {
            layer = layer.write_through(true);
        }
        if self.is_extended {
            layer = layer
                .cache_queries(0)
                .groups_by(|request, _| {
                    let is_member = resource_of(request.uri.path()) == TEAM;
                    is_member.then(|| TEAM_GROUP.to_owned())
                })
                .private_by(move |request| {
                    let owner = owner_of_fields(self, &request.headers);
                    (!owner.is_empty()).then_some(owner)
                });
        }
        if !self.is_stormy {
            return layer;
        }
        // Limits that are met.
        layer = layer
            .max_body(luck.pick(&[200, 1000, 1 << 20]))
            .max_buffered_bytes(luck.pick(&[1000, 1 << 20]))
            .coalesce_takeover_timeout(Duration::from_millis(luck.pick(&[5, 10_000])))
            .coalesce_timeout(Duration::from_millis(luck.pick(&[10, 30_000])))
            .fill_timeout(Duration::from_millis(luck.pick(&[20, 30_000])))
            .slow_reader_timeout(Duration::from_millis(luck.pick(&[5, 10_000])))
            .uncacheable_ttl(Duration::from_millis(luck.pick(&[100, 10_000])))
            .failure_backoff(Duration::from_millis(luck.pick(&[0, 500])))
            .detached_write_timeout(Duration::from_millis(luck.pick(&[100, 60_000])));
        if luck.chance(30) {
            layer = layer.early_refresh(10.0).ttl_jitter(0.5);
        }
        layer
    }
}
