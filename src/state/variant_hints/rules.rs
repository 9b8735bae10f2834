//! The rule that the variants of a key had when it was looked up last.
//!
//! With it, a lookup that has to wait asks for the rule and for the expected variant at once. Most
//! keys of a site share a few rules, so a slot holds the number of one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::key::CacheKey;
use crate::semantics::vary::VaryRule;

const SETS: usize = 4096;
const WAYS: usize = 4;
/// The number of different rules. A further one takes the place of another. For a key with the
/// replaced rule the next lookup has no expected variant.
const MAX_RULES: usize = 255;
/// The part of a slot that holds the number of a rule, from 1; the rest is a digest of the key.
const NUMBER_MASK: u64 = 0xff;

/// The rules of keys, in fixed memory: 128 KiB, made by the first lookup that asks for one. A fifth
/// key of the same four slots replaces one of the others.
///
/// A key that was replaced, and one that is taken for another, cost another lookup, no more.
#[derive(Debug, Default)]
pub(crate) struct RememberedRules {
    slots: OnceLock<Box<[[AtomicU64; WAYS]]>>,
    rules: RwLock<Rules>,
}

#[derive(Debug, Default)]
struct Rules {
    known: Vec<Arc<VaryRule>>,
    /// The index of the rule to be replaced next.
    next: usize,
}

impl RememberedRules {
    /// The rule that the variants of a key had when it was remembered.
    pub(crate) fn find(&self, key: &CacheKey) -> Option<Arc<VaryRule>> {
        let (set, tag) = slots_of(self.slots(), key);
        let value = set
            .iter()
            .map(|slot| slot.load(Ordering::Relaxed))
            .find(|value| value & !NUMBER_MASK == tag && value & NUMBER_MASK != 0)?;
        let index = (value & NUMBER_MASK) as usize - 1;
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.known.get(index).cloned()
    }

    fn slots(&self) -> &[[AtomicU64; WAYS]] {
        let empty = || [const { AtomicU64::new(0) }; WAYS];
        self.slots
            .get_or_init(|| (0..SETS).map(|_| empty()).collect())
    }

    /// Remembers the rule of a key that is being stored, if lookups ask for it at all.
    pub(crate) fn remember_stored(&self, variant: &CacheKey, rule: &Arc<VaryRule>) {
        if self.slots.get().is_some() {
            self.remember(&variant.primary(), rule);
        }
    }

    /// Remembers the rule of a key.
    pub(crate) fn remember(&self, key: &CacheKey, rule: &Arc<VaryRule>) {
        let (set, tag) = slots_of(self.slots(), key);
        let is_own = |slot: &&AtomicU64| {
            let value = slot.load(Ordering::Relaxed);
            value == 0 || value & !NUMBER_MASK == tag
        };
        // The bits of a tag are as good as drawn.
        let other = &set[(tag >> 20) as usize % WAYS];
        let slot = set.iter().find(is_own).unwrap_or(other);
        slot.store(tag | self.number_of(rule), Ordering::Relaxed);
    }

    /// Forgets a key: it has no variants any more.
    pub(crate) fn forget(&self, key: &CacheKey) {
        let Some(slots) = self.slots.get() else {
            return;
        };
        let (set, tag) = slots_of(slots, key);
        for slot in set {
            if slot.load(Ordering::Relaxed) & !NUMBER_MASK == tag {
                slot.store(0, Ordering::Relaxed);
            }
        }
    }

    /// The number of a rule, from 1.
    fn number_of(&self, rule: &Arc<VaryRule>) -> u64 {
        let position = |rules: &Rules| rules.known.iter().position(|known| known == rule);
        let found = {
            let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
            position(&rules)
        };
        let index = found.unwrap_or_else(|| {
            let mut rules = self.rules.write().unwrap_or_else(PoisonError::into_inner);
            // Another thread may have added it meanwhile.
            if let Some(index) = position(&rules) {
                return index;
            }
            if rules.known.len() < MAX_RULES {
                rules.known.push(rule.clone());
                return rules.known.len() - 1;
            }
            let index = rules.next;
            rules.known[index] = rule.clone();
            rules.next = (index + 1) % MAX_RULES;
            index
        });
        index as u64 + 1
    }
}

/// The slots that may hold a key, and its tag.
fn slots_of<'s>(sets: &'s [[AtomicU64; WAYS]], key: &CacheKey) -> (&'s [AtomicU64; WAYS], u64) {
    let digest = key.short_digest();
    // Other bits than those of the set, and never 0.
    let tag = digest.rotate_right(12) & !NUMBER_MASK | (1 << 8);
    (&sets[digest as usize % SETS], tag)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::{HeaderName, HeaderValue, VARY};

    use super::*;
    use crate::semantics::vary::Vary;

    fn rule(name: &str) -> Arc<VaryRule> {
        let value = HeaderValue::from_str(name).expect("a value");
        match Vary::from_headers(&HeaderMap::from_iter([(VARY, value)])) {
            Vary::Fields(rule) => rule,
            other => panic!("{other:?}"),
        }
    }

    fn key(number: usize) -> CacheKey {
        CacheKey::for_path(&format!("/{number}"))
    }

    #[test]
    fn a_rule_is_found_until_it_is_forgotten_or_replaced() {
        let remembered = RememberedRules::default();
        assert_eq!(remembered.find(&key(1)), None);
        remembered.remember(&key(1), &rule("a"));
        remembered.remember(&key(2), &rule("b"));
        assert_eq!(remembered.find(&key(1)), Some(rule("a")));
        remembered.remember(&key(1), &rule("b"));
        assert_eq!(remembered.find(&key(1)), Some(rule("b")));
        remembered.forget(&key(1));
        assert_eq!(remembered.find(&key(1)), None);
        assert_eq!(remembered.find(&key(2)), Some(rule("b")));
    }

    /// Promise: every table is bounded, whatever keys and rules there are.
    #[test]
    fn keys_and_rules_beyond_the_limits_replace_others() {
        let remembered = RememberedRules::default();
        for number in 0..4 * MAX_RULES {
            let name = HeaderName::from_bytes(format!("x-{number}").as_bytes());
            let rule = rule(name.expect("a name").as_str());
            remembered.remember(&key(number), &rule);
            assert_eq!(remembered.find(&key(number)), Some(rule));
        }
        let rules = remembered.rules.read().expect("no panic");
        assert_eq!(rules.known.len(), MAX_RULES);
        drop(rules);
        for number in 0..4 * SETS * WAYS {
            remembered.remember(&key(number), &rule("a"));
        }
        let found = (0..4 * SETS * WAYS).filter(|number| remembered.find(&key(*number)).is_some());
        let found = found.count();
        assert!((SETS * WAYS / 2..=SETS * WAYS).contains(&found), "{found}");
    }

    /// A site with many keys that vary has most of them in the table.
    #[test]
    fn most_of_eight_thousand_keys_are_remembered() {
        let remembered = RememberedRules::default();
        for number in 0..8000 {
            remembered.remember(&key(number), &rule("accept-encoding"));
        }
        let found = (0..8000).filter(|number| remembered.find(&key(*number)).is_some());
        assert!(found.count() > 7500);
    }
}
