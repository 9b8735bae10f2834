//! What happened, and what of it must not have.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use tokio::time::Instant;

use crate::names::normal_path;

/// What all parties of one run know of.
pub struct History(Mutex<Known>);

pub struct Known {
    begun: Instant,
    resources: BTreeMap<String, Resource>,
    writes: Vec<Write>,
    /// What each call answered, and whether its body came to its end.
    calls: Vec<Call>,
}

#[derive(Default)]
struct Resource {
    /// The version in the database.
    version: u64,
    /// The second in which each version from 1 was written.
    written_in: Vec<u64>,
    /// The newest version whose write has ended: every replica has it.
    answered: u64,
    /// The newest version that a client was told was written, and how far the backend did not
    /// acknowledge that it forgot the older versions, by the instance that served them.
    promised: u64,
    promised_at: BTreeMap<usize, u64>,
    /// Counts up when a write begins, and when its answer is yielded.
    generation: u64,
    /// Writes between the two. One that was cut, or failed, stays there.
    unsettled: u64,
}

struct Write {
    resource: String,
    /// The version that it has committed.
    version: Option<u64>,
    /// The instance whose answer a client has, and whether the backend acknowledged the
    /// invalidation.
    told: Option<(usize, bool)>,
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
    /// A history that begins now.
    pub fn new() -> Self {
        Self(Mutex::new(Known {
            begun: Instant::now(),
            resources: BTreeMap::new(),
            writes: Vec::new(),
            calls: Vec::new(),
        }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // A failed check has its own message.
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The version in the database.
    pub fn version(&self, resource: &str) -> u64 {
        self.versions(resource).1
    }

    /// The newest version whose write has ended, and the one in the database.
    pub fn versions(&self, resource: &str) -> (u64, u64) {
        let mut known = self.known();
        let resource = known.resource(resource);
        (resource.answered, resource.version)
    }

    /// The second in which a version of a key was written.
    pub fn written_in(&self, key: &str, version: u64) -> u64 {
        let mut known = self.known();
        let resource = known.resource(&resource_of(key));
        match version.checked_sub(1) {
            Some(index) => resource.written_in[index as usize],
            None => 0,
        }
    }

    /// The oldest version that an instance may answer with.
    pub fn promised(&self, resource: &str, instance: usize) -> u64 {
        let mut known = self.known();
        let resource = known.resource(resource);
        let there = resource.promised_at.get(&instance).copied();
        resource.promised.max(there.unwrap_or_default())
    }

    /// The inner service is called for a write, which it will not reject. Returns its number.
    pub fn writes(&self, name: &str) -> usize {
        let mut known = self.known();
        let resource = known.resource(name);
        resource.generation += 1;
        resource.unsettled += 1;
        known.writes.push(Write {
            resource: name.to_owned(),
            version: None,
            told: None,
        });
        known.writes.len() - 1
    }

    /// A write is in the database from now on.
    pub fn commit(&self, write: usize) -> u64 {
        let mut known = self.known();
        let second = known.begun.elapsed().as_secs();
        let name = known.writes[write].resource.clone();
        let resource = known.resource(&name);
        resource.version += 1;
        resource.written_in.push(second);
        let version = resource.version;
        known.writes[write].version = Some(version);
        known.promise(write);
        version
    }

    /// A write has ended, or has been committed after that.
    pub fn ends(&self, write: usize) {
        let mut known = self.known();
        let version = known.writes[write].version.unwrap_or_default();
        let name = known.writes[write].resource.clone();
        let resource = known.resource(&name);
        resource.answered = version.max(resource.answered);
    }

    /// A client has an instance's answer to a write: from now on, or from the commit on if that
    /// comes later, no answer may be older; or only no answer of that instance, if the backend did
    /// not acknowledge the invalidation.
    pub fn told(&self, write: usize, instance: usize, is_acknowledged: bool) {
        let mut known = self.known();
        known.writes[write].told = Some((instance, is_acknowledged));
        known.promise(write);
    }

    /// A client has the answer that its write was committed.
    pub fn settled(&self, write: usize) {
        let mut known = self.known();
        let name = known.writes[write].resource.clone();
        let resource = known.resource(&name);
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
        let (generation, is_settled) = known.generation(&resource_of(key));
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

    /// Another call completes what this one answered.
    pub fn completes(&self, call: usize) {
        self.known().calls[call].is_whole = true;
    }

    /// What a call's body is, and whether it comes to its end.
    pub fn text(&self, call: usize) -> (String, bool) {
        let known = self.known();
        (known.calls[call].text.clone(), known.calls[call].is_whole)
    }
}

impl Known {
    /// Promises the version of a write, if it is committed and its client has an answer.
    fn promise(&mut self, write: usize) {
        let Write {
            resource,
            version,
            told,
        } = &self.writes[write];
        let (Some(version), Some((instance, is_acknowledged))) = (*version, *told) else {
            return;
        };
        let name = resource.clone();
        let resource = self.resource(&name);
        let promised = match is_acknowledged {
            true => &mut resource.promised,
            false => resource.promised_at.entry(instance).or_default(),
        };
        *promised = version.max(*promised);
    }

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

/// The write target of a key: its path in normal form, or its group.
pub fn resource_of(key: &str) -> String {
    let path = key.find('/').map_or("", |at| &key[at..]);
    let path = normal_path(path.split(['?', ' ']).next().unwrap_or(path));
    if path.starts_with("/member/") {
        TEAM.to_owned()
    } else {
        path
    }
}

/// Whose writes invalidate all `/member/..`.
pub const TEAM: &str = "/team";
