//! What happened, and what of it must not have.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// What all parties of one run know of.
#[derive(Default)]
pub struct History(Mutex<Known>);

#[derive(Default)]
pub struct Known {
    resources: BTreeMap<String, Resource>,
    /// What each call answered, and whether its body came to its end.
    calls: Vec<Call>,
}

#[derive(Default)]
struct Resource {
    /// The version in the database.
    version: u64,
    /// The newest version that a client was told was written.
    promised: u64,
    /// Counts up when a write begins, and when its answer is yielded.
    generation: u64,
    /// Writes between the two. One that was cut, or failed, stays there.
    unsettled: u64,
}

struct Call {
    key: String,
    generation: u64,
    /// Whether nothing but a write can have made it necessary.
    is_clear: bool,
    text: String,
    is_whole: bool,
}

impl History {
    fn known(&self) -> MutexGuard<'_, Known> {
        // A failed check is told by its own message.
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn version(&self, resource: &str) -> u64 {
        self.known().resource(resource).version
    }

    pub fn promised(&self, resource: &str) -> u64 {
        self.known().resource(resource).promised
    }

    pub fn commit(&self, resource: &str) -> u64 {
        let mut known = self.known();
        let resource = known.resource(resource);
        resource.version += 1;
        resource.version
    }

    /// The inner service is called for a write.
    pub fn writes(&self, resource: &str) {
        let mut known = self.known();
        let resource = known.resource(resource);
        resource.generation += 1;
        resource.unsettled += 1;
    }

    /// A client has the answer to a write: from now on nobody may be told less.
    pub fn yielded(&self, resource: &str, version: u64) {
        let mut known = self.known();
        let resource = known.resource(resource);
        resource.promised = resource.promised.max(version);
        resource.generation += 1;
        resource.unsettled -= 1;
    }

    /// The generation of a resource, if no write of it is between its answers.
    pub fn settled_generation(&self, resource: &str) -> Option<u64> {
        let mut known = self.known();
        let resource = known.resource(resource);
        (resource.unsettled == 0).then_some(resource.generation)
    }

    /// A call for a key begins, for a request that began in the generation `since`. Where nothing but a write can have made
    /// it necessary there is one per key and generation.
    pub fn calls(&self, key: &str, since: Option<u64>, is_calm: bool) -> usize {
        let mut known = self.known();
        let resource = known.resource(resource_of(key));
        let generation = resource.generation;
        let is_clear = resource.unsettled == 0 && since == Some(generation);
        let is_same =
            |call: &Call| call.key == key && call.generation == generation && call.is_clear;
        assert!(
            !(is_clear && known.calls.iter().any(is_same)),
            "a second call for {key} without need"
        );
        if is_calm {
            let herd = known
                .calls
                .iter()
                .filter(|call| call.key == key && call.generation == generation);
            assert!(herd.count() < 4, "a herd of calls for {key}");
        }
        known.calls.push(Call {
            key: key.to_owned(),
            generation,
            is_clear,
            text: String::new(),
            is_whole: false,
        });
        known.calls.len() - 1
    }

    /// A call was dropped before its answer: another one is needed.
    pub fn dropped(&self, call: usize) {
        self.known().calls[call].is_clear = false;
    }

    pub fn answers(&self, call: usize, text: String, is_whole: bool) {
        let mut known = self.known();
        known.calls[call].text = text;
        known.calls[call].is_whole = is_whole;
    }

    /// What a call's body is, and whether it comes to its end.
    pub fn text(&self, call: usize) -> (String, bool) {
        let known = self.known();
        (known.calls[call].text.clone(), known.calls[call].is_whole)
    }
}

impl Known {
    fn resource(&mut self, name: &str) -> &mut Resource {
        self.resources.entry(name.to_owned()).or_default()
    }
}

/// A key without its query and variant.
pub fn resource_of(key: &str) -> &str {
    key.split(['?', ' ']).next().unwrap_or(key)
}
