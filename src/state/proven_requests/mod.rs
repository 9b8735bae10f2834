//! Requests that are known to bring a response: for each key the fields of one whose response was
//! stored.
//!
//! A refresh is made with the fields of the request that was answered. These may be such that it
//! hangs or fails, and a client that sends many requests of that sort would keep content stale. A
//! refresh with the fields of a proven request brings a response whatever others send.
//!
//! Cookies and credentials are not kept: they are for their own client. So the response is one that
//! a client without them gets. If it is of no use, the next try is made with those of the request
//! that was answered, and so on by turns. The response is judged in either case as one to the kind
//! of request that was answered.
//!
//! The request of a key stays the same as long as it brings responses. After two tries without one,
//! it is replaced by the next request whose response is stored.
//!
//! Knows keys, kinds of requests and header fields. Start at [`ProvenRequests::find`].

mod fields;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::header::{COOKIE, HOST};
use http::{HeaderMap, HeaderName};

use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::{CredentialFields, RequestKind};

use self::fields::CompactFields;
use super::noted_requests::{RequestDigest, digest_of};

const SETS: usize = 512;
const WAYS: usize = 4;
/// The number of successes that keep an entry in its place against new ones.
const MAX_USES: u8 = 3;

/// A request whose response was stored.
#[derive(Debug)]
pub(crate) struct ProvenRequest {
    digest: RequestDigest,
    fields: CompactFields,
}

impl ProvenRequest {
    /// Keeps the fields of a request; `None` if they are too long.
    pub(crate) fn new(
        headers: &HeaderMap,
        credentials: &CredentialFields,
        digest: RequestDigest,
    ) -> Option<Box<Self>> {
        let fields = CompactFields::new(headers, credentials)?;
        Some(Box::new(Self { digest, fields }))
    }
}

/// The request of a key, as a refresh may be made with it.
#[derive(Clone, Debug)]
pub(crate) struct FoundRequest {
    request: Arc<ProvenRequest>,
    /// The time that its response usually takes.
    pub(crate) cost: Duration,
    /// Whether it is made with the cookies and credentials of the request that was answered.
    keeps_personal_fields: bool,
}

impl FoundRequest {
    /// The digest of all of its fields.
    pub(crate) fn digest(&self) -> RequestDigest {
        self.request.digest
    }

    /// Gives another request for the same key these fields in place of its own. Its host stays, and
    /// its cookies and credentials may.
    pub(crate) fn replace_fields(&self, headers: &mut HeaderMap, credentials: &CredentialFields) {
        let is_personal = |name: &HeaderName| *name == COOKIE || credentials.contains(name);
        self.request.fields.replace(headers, |name| {
            *name == HOST || self.keeps_personal_fields && is_personal(name)
        });
    }
}

/// What a stored response says of the fields of its request.
#[derive(Debug)]
pub(crate) enum Proof {
    /// Nothing of use.
    None,
    /// Refreshes may be made with these fields.
    New(Box<ProvenRequest>),
    /// The fields of the proven request are still good.
    Again,
}

#[derive(Debug)]
struct Entry {
    key: CacheKey,
    kind: RequestKind,
    found: FoundRequest,
    /// When it was tried last, and how often, since it has brought a response.
    tried: Option<Moment>,
    tries: u32,
    /// Successes, which make way for new entries one by one.
    uses: u8,
}

/// The shortest time from one try to the next.
const MIN_REST: Duration = Duration::from_secs(1);

impl Entry {
    fn is_of(&self, (key, kind): (&CacheKey, RequestKind)) -> bool {
        self.key == *key && self.kind == kind
    }

    /// Whether it was tried so lately that its response may still come, or within `backoff`.
    fn rests(&self, now: Moment, backoff: Duration) -> bool {
        let usual = self.found.cost.saturating_mul(2);
        let rest = backoff.max(usual).max(MIN_REST);
        self.tried.is_some_and(|tried| now.since(tried) < rest)
    }

    fn note_tried(&mut self, now: Moment) {
        self.tried = Some(now);
        self.tries = self.tries.saturating_add(1);
        self.found.keeps_personal_fields ^= true;
    }

    fn note_stored(&mut self, cost: Duration, is_own: bool) {
        if is_own && self.tried.take().is_some() {
            // As it was tried this time.
            self.found.keeps_personal_fields ^= true;
            self.tries = 0;
        }
        self.uses = self.uses.saturating_add(1).min(MAX_USES);
        // One slow response makes no request slow: it may be due to other fields.
        let usual = &mut self.found.cost;
        *usual = cost.min(usual.saturating_mul(7).saturating_add(cost) / 8);
    }
}

type Set = Mutex<[Option<Box<Entry>>; WAYS]>;

/// A table of proven requests, of 2,048 keys at most. It takes 4 MiB at most, and nothing before
/// the first response with a window for stale use is stored.
///
/// An entry that has brought fewer responses than others makes way for a new one. Users must cope
/// with one that is missing.
#[derive(Debug, Default)]
pub(crate) struct ProvenRequests(OnceLock<Box<[Set]>>);

impl ProvenRequests {
    fn set<'s>(sets: &'s [Set], (key, kind): (&CacheKey, RequestKind)) -> &'s Set {
        &sets[digest_of(key, kind) as usize % SETS]
    }

    fn with_entry<R>(
        &self,
        (key, kind): (&CacheKey, RequestKind),
        use_entry: impl FnOnce(&mut Entry) -> R,
    ) -> Option<R> {
        let mut ways = lock(Self::set(self.0.get()?, (key, kind)));
        let mut entries = ways.iter_mut().flatten();
        Some(use_entry(entries.find(|entry| entry.is_of((key, kind)))?))
    }

    /// The request of a key with which a refresh may be made for a request of this kind; `None`
    /// within `backoff` after a try without a response.
    pub(crate) fn find(
        &self,
        key: (&CacheKey, RequestKind),
        now: Moment,
        backoff: Duration,
    ) -> Option<FoundRequest> {
        let find = |entry: &mut Entry| {
            let may_be_tried = !entry.rests(now, backoff);
            may_be_tried.then(|| entry.found.clone())
        };
        self.with_entry(key, find).flatten()
    }

    /// Notes that a refresh with the request of a key begins.
    pub(crate) fn note_tried(&self, key: (&CacheKey, RequestKind), now: Moment) {
        self.with_entry(key, |entry| entry.note_tried(now));
    }

    /// Whether a key has no request, or one that was tried twice without a response.
    pub(crate) fn is_wanted(
        &self,
        key: (&CacheKey, RequestKind),
        now: Moment,
        backoff: Duration,
    ) -> bool {
        let is_useless = |entry: &mut Entry| entry.tries >= 2 && !entry.rests(now, backoff);
        self.with_entry(key, is_useless).unwrap_or(true)
    }

    /// Notes that a response to a request of this kind is stored, which took `cost`.
    pub(crate) fn note_stored(
        &self,
        (key, kind): (&CacheKey, RequestKind),
        cost: Duration,
        proof: Proof,
    ) {
        let is_own = matches!(proof, Proof::Again);
        let Proof::New(request) = proof else {
            self.with_entry((key, kind), |entry| entry.note_stored(cost, is_own));
            return;
        };
        let sets = || (0..SETS).map(|_| Set::default()).collect();
        let mut ways = lock(Self::set(self.0.get_or_init(sets), (key, kind)));
        let way = way_for(&mut ways, (key, kind));
        ways[way] = Some(Box::new(Entry {
            key: *key,
            kind,
            found: FoundRequest {
                request: request.into(),
                cost,
                keeps_personal_fields: false,
            },
            tried: None,
            tries: 0,
            uses: 0,
        }));
    }
}

fn lock(set: &Set) -> MutexGuard<'_, [Option<Box<Entry>>; WAYS]> {
    // No critical section panics between two steps that belong together.
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The slot for a new entry: its own, an empty one, or that of the entry with the fewest uses. The
/// others lose as many, so that an entry without success does not stay for ever.
fn way_for(ways: &mut [Option<Box<Entry>>; WAYS], key: (&CacheKey, RequestKind)) -> usize {
    let rank = |way: &Option<Box<Entry>>| match way {
        Some(entry) if entry.is_of(key) => 0,
        None => 1,
        Some(entry) => 2 + entry.uses,
    };
    let way = (0..WAYS).min_by_key(|way| rank(&ways[*way])).unwrap_or(0);
    let least = rank(&ways[way]).saturating_sub(2);
    for entry in ways.iter_mut().flatten() {
        entry.uses = entry.uses.saturating_sub(least);
    }
    way
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::HeaderValue;

    use super::*;
    use crate::semantics::request_kind::RequestKind::{Plain, WithCookies};
    use crate::state::noted_requests::RequestDigester;

    const BACKOFF: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH)
    }

    fn request(number: u16) -> Proof {
        let headers = HeaderMap::from_iter([
            (HOST, HeaderValue::from_static("a")),
            (HeaderName::from_static("x-number"), number.into()),
        ]);
        let digest = RequestDigester::default().digest(b"", &headers);
        let kept = ProvenRequest::new(&headers, &CredentialFields::default(), digest);
        Proof::New(kept.expect("short"))
    }

    /// The number of the request that is found, and whether it has a cookie of its client.
    fn find(
        table: &ProvenRequests,
        key: (&CacheKey, RequestKind),
        second: u64,
    ) -> Option<(u16, bool)> {
        let found = table.find(key, at(second), BACKOFF)?;
        let mut headers = HeaderMap::from_iter([
            (HOST, HeaderValue::from_static("b")),
            (COOKIE, HeaderValue::from_static("c")),
            (
                HeaderName::from_static("x-odd"),
                HeaderValue::from_static("d"),
            ),
        ]);
        found.replace_fields(&mut headers, &CredentialFields::default());
        assert_eq!(
            (&headers[HOST], headers.get("x-odd")),
            (&HeaderValue::from_static("b"), None)
        );
        let number = headers["x-number"].to_str().expect("text");
        Some((
            number.parse().expect("a number"),
            headers.contains_key(COOKIE),
        ))
    }

    #[test]
    fn a_request_stays_until_it_is_tried_twice_without_a_response() {
        let table = ProvenRequests::default();
        let path = CacheKey::for_path("/a");
        let key = (&path, Plain);
        let is_wanted = |second| table.is_wanted(key, at(second), BACKOFF);
        assert!(is_wanted(0) && find(&table, key, 0).is_none());
        table.note_stored(key, Duration::ZERO, request(1));
        assert_eq!(find(&table, key, 0), Some((1, false)));
        assert_eq!(find(&table, (&path, WithCookies), 0), None);
        assert_eq!(find(&table, (&CacheKey::for_path("/b"), Plain), 0), None);
        // Without a response it rests for the backoff, then is tried in the other way.
        table.note_tried(key, at(10));
        assert_eq!((find(&table, key, 14), is_wanted(14)), (None, false));
        assert_eq!(
            (find(&table, key, 15), is_wanted(15)),
            (Some((1, true)), false)
        );
        table.note_tried(key, at(20));
        table.note_stored(key, Duration::ZERO, Proof::None);
        assert_eq!(find(&table, key, 24), None, "another's response");
        table.note_stored(key, Duration::ZERO, Proof::Again);
        assert_eq!(
            (find(&table, key, 24), is_wanted(30)),
            (Some((1, true)), false)
        );
        for second in [30, 40] {
            table.note_tried(key, at(second));
        }
        assert_eq!((is_wanted(44), is_wanted(45)), (false, true));
        table.note_stored(key, Duration::ZERO, request(2));
        assert_eq!(
            (find(&table, key, 45), is_wanted(90)),
            (Some((2, false)), false)
        );
    }

    #[test]
    fn one_slow_response_makes_no_request_slow() {
        let table = ProvenRequests::default();
        let path = CacheKey::for_path("/a");
        let millis = Duration::from_millis;
        table.note_stored((&path, Plain), millis(80), request(1));
        for (cost, expected) in [(880, 180), (100, 100), (900, 200), (900, 287)] {
            table.note_stored((&path, Plain), millis(cost), Proof::None);
            let found = table
                .find((&path, Plain), at(0), BACKOFF)
                .expect("a request");
            assert_eq!(found.cost.as_millis(), expected);
        }
        // It rests for as long as its response may take.
        table.note_stored((&path, Plain), Duration::from_secs(90), Proof::None);
        table.note_tried((&path, Plain), at(0));
        assert_eq!(find(&table, (&path, Plain), 23), None);
        assert!(find(&table, (&path, Plain), 24).is_some());
    }

    #[test]
    fn requests_of_many_keys_push_out_none_that_brings_responses() {
        let table = ProvenRequests::default();
        let path = CacheKey::for_path("/a");
        table.note_stored((&path, Plain), Duration::ZERO, request(1));
        for number in 0..20_000 {
            let other = CacheKey::for_path(&format!("/{number}"));
            table.note_stored((&other, Plain), Duration::ZERO, request(2));
            if number == 0 {
                table.note_stored((&path, Plain), Duration::ZERO, Proof::None);
            }
        }
        assert_eq!(find(&table, (&path, Plain), 0), Some((1, false)));
        let sets = table.0.get().expect("made");
        let kept = sets.iter().map(|set| lock(set).iter().flatten().count());
        assert!(kept.sum::<usize>() <= 2048);
    }
}
