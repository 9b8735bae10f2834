//! The variants of a rule end with it.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::{is_found, put, siblings, stored};
use crate::backend::memory::entry::Slot;
use crate::backend::{Backend, Lookup, MemoryBackend, PutOutcome, StoredResponse};
use crate::key::CacheKey;
use crate::semantics::vary::{Vary, VarySelection};

/// A response that varies by `Accept-Language`, for a request in this language, and its key.
fn variant(
    backend: &MemoryBackend,
    key: &CacheKey,
    language: &str,
) -> (CacheKey, Arc<StoredResponse>) {
    let mut request = HeaderMap::new();
    request.insert("accept-language", language.parse().expect("a field value"));
    let mut headers = HeaderMap::new();
    headers.insert("vary", HeaderValue::from_static("accept-language"));
    let Vary::Fields(rule) = Vary::from_headers(&headers) else {
        panic!("it names a field");
    };
    let key = key.variant_for(&backend.seed(), &rule, &request);
    let selected = VarySelection::from_request(rule, &request).expect("a short value");
    (key, stored(Some(selected), &[], 1, 0, 60))
}

/// A rule that was evicted alone, and comes back, finds no older variant.
#[test]
fn the_variants_of_an_evicted_rule_are_gone() {
    let mut evicted_rules = 0;
    for round in 0..10 {
        let backend = MemoryBackend::new(1 << 16);
        let store = |key: &CacheKey, response: Arc<StoredResponse>| {
            let fence = backend.0.fences.capture();
            assert_eq!(backend.0.put(key, fence, response), PutOutcome::Stored);
        };
        // The head of the resource holds another response, which is in use all the time.
        let [head, key, ..] = siblings(&backend);
        put(&backend, &head, 0);
        let (old, response) = variant(&backend, &key, "old");
        for other in 0..5000 {
            if other == 400 {
                store(&old, response.clone());
            }
            if other > 400 && backend.0.stored_content(&key).is_none() {
                break;
            }
            let other = super::key(&backend, &format!("/{round}/{other}"));
            put(&backend, &other, 0);
            // The others and the variant are in use, its rule is not.
            assert!(is_found(&backend, &other));
            let _ = (
                is_found(&backend, &head),
                backend.0.entries.get(Slot::own(&old), |_| ()),
            );
        }
        let has_rule = matches!(backend.0.get(&key), Lookup::Varies(..));
        evicted_rules += usize::from(!has_rule && is_found(&backend, &head));
        let (new, response) = variant(&backend, &key, "new");
        store(&new, response);
        assert!(has_rule || !is_found(&backend, &old), "round {round}");
    }
    assert!(evicted_rules > 3, "{evicted_rules} rules were evicted");
}

/// A key has 32 variants by default; older ones leave, and are counted as that.
#[test]
fn surplus_variants_are_counted() {
    let backend = MemoryBackend::new(1 << 20);
    let [key, ..] = siblings(&backend);
    for number in 0..40 {
        let (key, response) = variant(&backend, &key, &format!("l{number}"));
        let fence = backend.0.fences.capture();
        assert_eq!(backend.0.put(&key, fence, response), PutOutcome::Stored);
    }
    let usage = backend.usage().expect("a usage");
    assert_eq!((usage.removed_variants, usage.evictions), (8, 0));
}
