//! The database behind the origin, and a memory of all that was answered from it.
//!
//! A resource has versions. A representation is one version of a target as it is for one audience
//! and one selection of request fields. Its content is made of cells that name the representation
//! and the place of the cell in it: any part of it can be recognised.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use tokio::time::Instant;

use crate::support::luck::Luck;
use crate::support::names::normal_path;

/// The resources that have versions. The last one stands for all the others.
pub const RESOURCES: [&str; 5] = ["/a", "/b", "/list", TEAM, "others"];

/// The resource of all `/m/..`, whose responses are one group.
pub const TEAM: &str = "/team";

/// The resource that a path in any spelling belongs to.
pub fn resource_of(path: &str) -> &'static str {
    let path = normal_path(path.split('?').next().unwrap_or(path));
    if path.starts_with("/m/") {
        return TEAM;
    }
    let mut known = RESOURCES.into_iter();
    known.find(|known| *known == path).unwrap_or(RESOURCES[4])
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Authority, path as it was sent, and query.
    pub target: String,
    pub resource: &'static str,
    pub version: u64,
    /// The user it is for, if it is not for all.
    pub audience: Option<String>,
    /// The request fields that it was selected by.
    pub selected_by: Vec<(&'static str, String)>,
}

#[derive(Debug)]
pub struct Representation {
    pub id: usize,
    pub identity: Identity,
    pub status: u16,
    pub content: Bytes,
    /// The second in which its version was written.
    pub written_in: u64,
}

impl Representation {
    pub fn length(&self) -> usize {
        self.content.len()
    }

    /// A strong entity tag that nothing else has.
    pub fn strong_tag(&self) -> String {
        format!("\"r{}\"", self.id)
    }

    /// A weak entity tag with the grain of a second.
    pub fn weak_tag(&self) -> String {
        format!("W/\"s{}-{}\"", self.written_in, self.status)
    }
}

/// The content of a representation, made of cells.
fn content(id: usize, length: usize) -> Bytes {
    const CELL: usize = 16;
    let cells = (0..length.div_ceil(CELL)).map(|cell| format!("{id:07x}:{:07x};", cell * CELL));
    let mut content = cells.collect::<String>();
    content.truncate(length);
    content.into()
}

/// A call to the origin, and how it was answered.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The number of the request it was made for.
    pub request: u64,
    pub status: u16,
    /// Whether the answer may reach no other request.
    pub is_for_one: bool,
    pub is_lie: bool,
    /// Whether its length is wrong, so that it must not be stored.
    pub is_cut: bool,
    /// Whether it is less than the whole, under a tag that nothing else has.
    pub is_lone_part: bool,
    pub representation: Option<usize>,
}

struct Resource {
    /// The status and the second of each version, the last one being current.
    versions: Vec<(u16, u64)>,
    /// The newest version that a client was told of.
    promised: u64,
    /// Whether a write ended without the cache's knowing what to make of it.
    is_doubtful: bool,
}

struct Write {
    /// The versions that it has committed.
    committed: Vec<(&'static str, u64)>,
    is_told: bool,
}

struct Known {
    begun: Instant,
    resources: BTreeMap<&'static str, Resource>,
    writes: Vec<Write>,
    calls: Vec<Call>,
    ids: BTreeMap<Identity, usize>,
    representations: Vec<Arc<Representation>>,
    /// When the origin failed last: with an error, a panic, or within a body.
    failed: Option<Instant>,
    /// When it last sent a 304 without a condition, or about something else.
    lied: Option<Instant>,
    /// Until when all reads fail.
    burst: Option<Instant>,
}

pub struct Database(Mutex<Known>);

impl Database {
    pub fn new() -> Self {
        let fresh = || Resource {
            versions: vec![(200, 0)],
            promised: 0,
            is_doubtful: false,
        };
        Self(Mutex::new(Known {
            begun: Instant::now(),
            resources: RESOURCES.into_iter().map(|name| (name, fresh())).collect(),
            writes: Vec::new(),
            calls: Vec::new(),
            ids: BTreeMap::new(),
            representations: Vec::new(),
            failed: None,
            lied: None,
            burst: None,
        }))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("nothing panics under this lock")
    }

    /// The current version.
    pub fn version(&self, resource: &'static str) -> u64 {
        self.known().resource(resource).current()
    }

    /// The oldest version that a request which starts now may be answered with.
    pub fn promised(&self, resource: &'static str) -> u64 {
        self.known().resource(resource).promised
    }

    /// A write begins.
    pub fn writes(&self) -> usize {
        let mut known = self.known();
        known.writes.push(Write {
            committed: Vec::new(),
            is_told: false,
        });
        known.writes.len() - 1
    }

    /// Commits a new version of a resource, from which on it answers with this status.
    pub fn commit(&self, write: usize, resource: &'static str, status: u16) -> u64 {
        let mut known = self.known();
        let second = known.begun.elapsed().as_secs() + 1;
        let versions = &mut known.resource(resource).versions;
        versions.push((status, second));
        let version = versions.len() as u64 - 1;
        known.writes[write].committed.push((resource, version));
        known.promise(write);
        version
    }

    /// A client has the answer of a write that is to be believed.
    pub fn tells(&self, write: usize) {
        let mut known = self.known();
        known.writes[write].is_told = true;
        known.promise(write);
    }

    /// A write of unknown outcome ends in a world where that means nothing.
    pub fn doubts(&self, resource: &'static str) {
        self.known().resource(resource).is_doubtful = true;
    }

    pub fn is_doubtful(&self, resource: &'static str) -> bool {
        self.known().resource(resource).is_doubtful
    }

    /// The representation of this identity, as long as luck has it.
    pub fn representation(&self, identity: Identity, luck: &Luck) -> Arc<Representation> {
        let mut known = self.known();
        if let Some(id) = known.ids.get(&identity) {
            return known.representations[*id].clone();
        }
        let id = known.representations.len();
        let version = identity.version as usize;
        let (status, written_in) = known.resource(identity.resource).versions[version];
        let length = match luck.below(20) {
            0 => 0,
            1 => luck.below(20),
            2 if luck.chance(50) => 30_000 + luck.below(60_000),
            _ => 20 + luck.below(700),
        };
        known.ids.insert(identity.clone(), id);
        let made = Arc::new(Representation {
            id,
            identity,
            status,
            content: content(id, length as usize),
            written_in,
        });
        known.representations.push(made.clone());
        made
    }

    pub fn representation_of_id(&self, id: usize) -> Option<Arc<Representation>> {
        self.known().representations.get(id).cloned()
    }

    /// Notes a call; returns its number.
    pub fn calls(&self, request: u64) -> usize {
        let mut known = self.known();
        known.calls.push(Call {
            request,
            ..Call::default()
        });
        known.calls.len() - 1
    }

    /// Notes what a call is answered with.
    pub fn answers(&self, number: usize, answer: impl FnOnce(&mut Call)) {
        answer(&mut self.known().calls[number]);
    }

    pub fn call(&self, number: usize) -> Option<Call> {
        self.known().calls.get(number).cloned()
    }

    /// Notes that the origin fails now.
    pub fn fails(&self) {
        self.known().failed = Some(Instant::now());
    }

    pub fn has_failed(&self) -> bool {
        self.known().failed.is_some()
    }

    pub fn has_failed_since(&self, begun: Instant) -> bool {
        self.known().failed.is_some_and(|failed| failed >= begun)
    }

    /// Notes that the origin sends a 304 that nothing asked for.
    pub fn lies(&self) {
        self.known().lied = Some(Instant::now());
    }

    pub fn has_lied_since(&self, begun: Instant) -> bool {
        self.known().lied.is_some_and(|lied| lied >= begun)
    }

    /// All reads fail until then.
    pub fn bursts_until(&self, end: Instant) {
        self.known().burst = Some(end);
    }

    pub fn is_in_burst(&self) -> bool {
        let burst = self.known().burst;
        burst.is_some_and(|end| Instant::now() < end)
    }
}

impl Known {
    fn resource(&mut self, name: &'static str) -> &mut Resource {
        self.resources.get_mut(name).expect("a known resource")
    }

    /// Promises what a write has committed, if a client was told of it.
    fn promise(&mut self, write: usize) {
        let write = &self.writes[write];
        if !write.is_told {
            return;
        }
        for (resource, version) in write.committed.clone() {
            let promised = &mut self.resource(resource).promised;
            *promised = version.max(*promised);
        }
    }
}

impl Resource {
    fn current(&self) -> u64 {
        self.versions.len() as u64 - 1
    }
}
