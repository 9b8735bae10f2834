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
    /// The newest version that a client was told was written, and how far the backend did not
    /// acknowledge that it forgot the older versions, by the instance that served them.
    promised: u64,
    promised_at: BTreeMap<usize, u64>,
    /// Counts up when a write begins, and when its answer is yielded.
    generation: u64,
    /// Writes between the two. One that was cut, or failed, stays there.
    unsettled: u64,
}

struct Call {
    instance: usize,
    key: String,
    /// The key and the version of an answer.
    owner: String,
    version: u64,
    generation: u64,
    /// Whether nothing but a write can have made it necessary.
    is_clear: bool,
    text: String,
    is_whole: bool,
    /// Whether it has no answer yet.
    is_under_way: bool,
}

impl History {
    fn known(&self) -> MutexGuard<'_, Known> {
        // A failed check has its own message.
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn version(&self, resource: &str) -> u64 {
        self.known().resource(resource).version
    }

    /// The oldest version that an instance may answer with.
    pub fn promised(&self, resource: &str, instance: usize) -> u64 {
        let mut known = self.known();
        let resource = known.resource(resource);
        let there = resource.promised_at.get(&instance).copied();
        resource.promised.max(there.unwrap_or_default())
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

    /// A client has an instance's answer to a write: from now on no answer may be older; or only no
    /// answer of that instance, if the backend did not acknowledge.
    pub fn yielded(&self, resource: &str, version: u64, instance: usize, is_acknowledged: bool) {
        let mut known = self.known();
        let resource = known.resource(resource);
        let promised = match is_acknowledged {
            true => &mut resource.promised,
            false => resource.promised_at.entry(instance).or_default(),
        };
        *promised = version.max(*promised);
        resource.generation += 1;
        resource.unsettled -= 1;
    }

    /// The generation of a resource, if no write of it is between its answers.
    pub fn settled_generation(&self, resource: &str) -> Option<u64> {
        let (generation, is_settled) = self.known().generation(resource);
        is_settled.then_some(generation)
    }

    /// An instance's call for a key begins, for a request that began in the generation `since`.
    /// Where nothing but a write can have made it necessary there is one per key and generation.
    pub fn calls(&self, instance: usize, key: &str, since: Option<u64>, is_calm: bool) -> usize {
        let mut known = self.known();
        let (generation, is_settled) = known.generation(resource_of(key));
        let is_clear = is_settled && since == Some(generation);
        let is_same = |call: &&Call| {
            call.key == key && call.generation == generation && call.instance == instance
        };
        let same = known.calls.iter().filter(is_same);
        assert!(
            !(is_clear && same.clone().any(|call| call.is_clear)),
            "a second call for {key} without need"
        );
        assert!(!is_calm || same.count() < 4, "a herd of calls for {key}");
        known.calls.push(Call {
            instance,
            key: key.to_owned(),
            owner: String::new(),
            version: 0,
            generation,
            is_clear,
            text: String::new(),
            is_whole: false,
            is_under_way: true,
        });
        known.calls.len() - 1
    }

    /// A call was dropped before its answer: another one is needed.
    pub fn dropped(&self, call: usize) {
        let mut known = self.known();
        known.calls[call].is_clear = false;
        known.calls[call].is_under_way = false;
    }

    /// How many of an instance's calls for a key have no answer yet.
    pub fn under_way(&self, instance: usize, key: &str) -> usize {
        let known = self.known();
        let calls = known.calls.iter().filter(|call| call.is_under_way);
        let same = calls.filter(|call| call.key == key && call.instance == instance);
        same.count()
    }

    /// Whether what a call answered is what another one would, from this version of the database.
    pub fn is_still(&self, call: usize, key: &str, owner: &str, version: u64) -> bool {
        let known = self.known();
        let is_same = |call: &Call| {
            !call.text.is_empty()
                && (&*call.key, &*call.owner, call.version) == (key, owner, version)
        };
        known.calls.get(call).is_some_and(is_same)
    }

    pub fn samples(&self, call: usize, owner: &str, version: u64) {
        let mut known = self.known();
        known.calls[call].owner = owner.to_owned();
        known.calls[call].version = version;
    }

    pub fn answers(&self, call: usize, text: String, is_whole: bool) {
        let mut known = self.known();
        known.calls[call].text = text;
        known.calls[call].is_whole = is_whole;
        known.calls[call].is_under_way = false;
    }

    /// What a call's body is, and whether it comes to its end.
    pub fn text(&self, call: usize) -> (String, bool) {
        let known = self.known();
        (known.calls[call].text.clone(), known.calls[call].is_whole)
    }
}

impl Known {
    /// Counts the writes that may make another call necessary, and whether none is between its
    /// answers: those of the resource, and of the group, of which a response may say only when it
    /// comes that it is a member.
    fn generation(&mut self, resource: &str) -> (u64, bool) {
        let mut names = vec![resource, TEAM];
        names.dedup();
        let each = names.into_iter().map(|name| {
            let resource = self.resource(name);
            (resource.generation, resource.unsettled == 0)
        });
        each.fold((0, true), |(sum, all), (one, is_settled)| {
            (sum + one, all && is_settled)
        })
    }

    fn resource(&mut self, name: &str) -> &mut Resource {
        self.resources.entry(name.to_owned()).or_default()
    }
}

/// The write target of a key: the key without its query and variant, or its group.
pub fn resource_of(key: &str) -> &str {
    match key.split(['?', ' ']).next().unwrap_or(key) {
        path if path.starts_with("/member/") => TEAM,
        path => path,
    }
}

/// Whose writes invalidate all `/member/..`.
pub const TEAM: &str = "/team";
