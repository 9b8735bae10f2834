//! Random histories of one backend: a lookup finds the response stored last, unless it was removed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue};

use super::{siblings, stored};
use crate::backend::memory::MemoryFence;
use crate::backend::{Backend, Group, Lookup, MemoryBackend, PutOutcome, StoredResponse};
use crate::key::{CacheKey, DigestSeed};
use crate::semantics::freshness::StoredTimes;
use crate::semantics::moment::Moment;
use crate::semantics::vary::{Vary, VarySelection};

const RULES: [&str; 3] = ["", "accept-language", "accept-language, accept-encoding"];
const LANGUAGES: [&str; 3] = ["a", "b", "c"];

/// A sequence of numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit) as usize
    }
}

fn request(language: usize) -> HeaderMap {
    let value = HeaderValue::from_static(LANGUAGES[language]);
    HeaderMap::from_iter([(http::header::ACCEPT_LANGUAGE, value)])
}

fn selected(rule: usize, language: usize) -> Option<VarySelection> {
    let vary = HeaderValue::from_static(RULES[rule]);
    match Vary::from_headers(&HeaderMap::from_iter([(http::header::VARY, vary)])) {
        Vary::Fields(rule) => VarySelection::from_request(rule, &request(language)),
        _ => None,
    }
}

struct History {
    backend: MemoryBackend,
    numbers: Numbers,
    keys: [CacheKey; 4],
    others: Vec<CacheKey>,
    now: u64,
    fences: Vec<MemoryFence>,
    /// The responses that may be found, by key, and the rule of each primary key.
    model: HashMap<CacheKey, Arc<StoredResponse>>,
    rules: HashMap<CacheKey, usize>,
    /// When each of the responses in the model was made stale.
    expired: HashMap<CacheKey, Moment>,
    expires: bool,
    found: usize,
    found_expired: usize,
}

impl History {
    fn key(&self, primary: &CacheKey, rule: usize, language: usize) -> CacheKey {
        match selected(rule, language) {
            Some(selected) => {
                primary.variant_for(&self.backend.seed(), selected.rule(), &request(language))
            }
            None => *primary,
        }
    }

    fn put(&mut self, is_replace: bool) {
        let at = self.numbers.below(4);
        let (primary, rule) = (self.keys[at], self.numbers.below(3));
        let language = self.numbers.below(3);
        let key = self.key(&primary, rule, language);
        let groups: &[Group] = match self.numbers.below(3) {
            0 => &[Group::from_digest(1)],
            _ => &[],
        };
        let (length, lifetime) = (self.numbers.below(900), self.numbers.below(20) as u64);
        let response = stored(selected(rule, language), groups, length, self.now, lifetime);
        let fence = match self.numbers.below(4) {
            0 if !self.fences.is_empty() => {
                let index = self.numbers.below(self.fences.len() as u64);
                self.fences[index]
            }
            _ => self.backend.0.fences.capture(),
        };
        let outcome = if is_replace {
            self.invalidated();
            self.backend.0.replace(&key, fence, response.clone())
        } else {
            self.backend.0.put(&key, fence, response.clone())
        };
        if outcome == PutOutcome::Stored {
            if self.rules.insert(primary, rule) != Some(rule) {
                self.model.retain(|key, _| key.primary() != primary);
            }
            self.model.insert(key, response);
            self.expired.remove(&key);
        }
    }

    /// Makes a resource, a group or everything stale.
    fn expire(&mut self) {
        let now = Duration::from_secs(self.now);
        let now = Moment::new(now, SystemTime::UNIX_EPOCH + now);
        let (group, store) = (Group::from_digest(1), &self.backend.0);
        let which = self.numbers.below(3);
        match which {
            0 => store.expire(self.keys[0].resource(), now),
            1 => store.groups.expire(&group, now, &store.fences),
            _ => store.expire_all(now),
        }
        for (key, response) in &self.model {
            if which != 1 || response.groups().contains(&group) {
                self.expired.entry(*key).or_insert(now);
            }
        }
    }

    fn invalidated(&mut self) {
        let keys = self.keys.map(|key| key.primary());
        self.model.retain(|key, _| !keys.contains(&key.primary()));
    }

    fn look(&mut self) {
        let at = self.numbers.below(4);
        let (primary, language) = (self.keys[at], self.numbers.below(3));
        let mut key = primary;
        if let Lookup::Varies(rule, _) = self.backend.0.get(&key) {
            key = primary.variant_for(&self.backend.seed(), &rule, &request(language));
        }
        if let Lookup::Found(found, _) = self.backend.0.get(&key) {
            let expired = self.expired.get(&key);
            let is_expected = |expected: &Arc<StoredResponse>| match expired {
                None => Arc::ptr_eq(expected, &found),
                Some(_) => found.is_copy_of(expected),
            };
            let expected = self.model.get(&key);
            assert!(
                expected.is_some_and(is_expected),
                "an outdated response: {key:?}"
            );
            if let Some(at) = expired {
                let is_stale = found.lifetime().is_some_and(|life| life <= found.age(*at));
                assert!(is_stale, "a response that was made stale: {key:?}");
                self.found_expired += 1;
            }
            self.found += 1;
        }
    }

    fn step(&mut self) {
        if self.expires && self.numbers.below(12) == 0 {
            self.expire();
        }
        match self.numbers.below(40) {
            0..12 => self.put(false),
            12 => self.put(true),
            13..28 => self.look(),
            28 => {
                let at = self.numbers.below(4);
                let (rule, language) = (self.numbers.below(3), self.numbers.below(3));
                let key = self.key(&self.keys[at].clone(), rule, language);
                let fence = self.backend.0.fences.capture();
                assert!(self.backend.0.remove(&key, fence));
                self.model.remove(&key);
                assert!(!matches!(self.backend.0.get(&key), Lookup::Found(..)));
            }
            29 => {
                self.backend.0.invalidate(*self.keys[0].resource());
                self.invalidated();
            }
            30 => {
                let group = Group::from_digest(1);
                let store = &self.backend.0;
                store.groups.invalidate(&group, &store.fences);
                self.model
                    .retain(|_, response| !response.groups().contains(&group));
            }
            31 => self.now += self.numbers.below(10) as u64,
            32..34 => {
                self.fences.truncate(8);
                self.fences.insert(0, self.backend.0.fences.capture());
            }
            _ => {
                let at = self.numbers.below(self.others.len() as u64);
                let other = self.others[at];
                let response = stored(None, &[], self.numbers.below(900), self.now, 20);
                let fence = self.backend.0.fences.capture();
                let _ = self.backend.0.put(&other, fence, response);
            }
        }
    }
}

/// Promise: a response that was removed, invalidated or replaced is never found again.
#[test]
fn what_is_found_was_stored_last() {
    let (mut found, mut found_expired) = (0, 0);
    // In the last ones a rule is evicted by the put that stores it again, or a head by its rule.
    let evicting = [361, 841, 2640, 3080, 440, 2522, 4166, 4400, 4560, 5407];
    let seeds = (1..40_u64).chain(evicting).map(|seed| (seed, false));
    for (seed, expires) in seeds.chain((41..80).map(|seed| (seed, true))) {
        let mut digest_seed = [0; 16];
        digest_seed[..8].copy_from_slice(&seed.to_le_bytes());
        let builder = MemoryBackend::builder()
            .max_variants(2)
            .seed(DigestSeed::new(digest_seed));
        let backend = builder.capacity(20_000 + 4_000 * (seed % 40)).build();
        let others = (0..20).map(|n| super::key(&backend, &format!("/other/{n}")));
        let mut history = History {
            keys: siblings(&backend),
            others: others.collect(),
            backend,
            numbers: Numbers(seed),
            now: 0,
            fences: Vec::new(),
            model: HashMap::new(),
            rules: HashMap::new(),
            expired: HashMap::new(),
            expires,
            found: 0,
            found_expired: 0,
        };
        for _ in 0..2000 {
            history.step();
        }
        found += history.found;
        found_expired += history.found_expired;
    }
    assert!(found > 1000, "{found} hits");
    assert!(
        found_expired > 500,
        "{found_expired} of what was made stale"
    );
}
