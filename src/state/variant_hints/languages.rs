//! Where the variants of a key are, by the language that they are in.
//!
//! A lookup finds a variant by the exact list of languages it was stored for. This table tells
//! under which list a response in one language is stored. Its entries are hints: the response found
//! by a hint is compared with the request like any other.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use http::HeaderMap;

use crate::key::CacheKey;
use crate::semantics::stored::StoredResponse;
use crate::semantics::vary::{content_language, preferred_language};

/// The number of hints. A new one takes the place of that with which it shares a slot.
const SLOTS: usize = 1024;

/// The longest name of a language that is remembered, in bytes.
const MAX_LANGUAGE: usize = 35;

/// The variants that were stored last, by primary key and language.
#[derive(Debug)]
pub(crate) struct LanguageVariants {
    /// Made when the first response is remembered.
    slots: OnceLock<Box<[HintSlot]>>,
    hasher: RandomState,
}

type HintSlot = Mutex<Option<Hint>>;

#[derive(Debug)]
struct Hint {
    variant: CacheKey,
    language: Vec<u8>,
}

impl Default for LanguageVariants {
    fn default() -> Self {
        Self {
            slots: OnceLock::new(),
            hasher: RandomState::new(),
        }
    }
}

impl LanguageVariants {
    /// Remembers where a response is stored, if requests select it by language.
    pub(crate) fn remember(&self, variant: &CacheKey, response: &StoredResponse) {
        let selects = response
            .vary_rule()
            .is_some_and(|rule| rule.selects_by_language());
        if !selects {
            return;
        }
        let Some(language) = content_language(&response.headers()) else {
            return;
        };
        if language.len() <= MAX_LANGUAGE {
            let slots = self
                .slots
                .get_or_init(|| (0..SLOTS).map(|_| Mutex::default()).collect());
            let mut slot = self.lock(slots, &variant.primary(), &language);
            let variant = *variant;
            *slot = Some(Hint { variant, language });
        }
    }

    /// The key under which a response in the language that a request prefers may be stored.
    pub(crate) fn find(&self, key: &CacheKey, request: &HeaderMap) -> Option<CacheKey> {
        let slots = self.slots.get()?;
        let language = preferred_language(request)?;
        let slot = self.lock(slots, &key.primary(), &language);
        let hint = slot.as_ref()?;
        let is_meant = hint.variant.primary() == key.primary() && hint.language == language;
        is_meant.then_some(hint.variant)
    }

    fn lock<'s>(
        &self,
        slots: &'s [HintSlot],
        primary: &CacheKey,
        language: &[u8],
    ) -> MutexGuard<'s, Option<Hint>> {
        let slot = self.hasher.hash_one((primary, language)) as usize % SLOTS;
        // A hint is written whole.
        slots[slot].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
