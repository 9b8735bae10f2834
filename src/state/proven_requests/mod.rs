//! Requests that are known to bring a response: for each key the fields of one whose response was
//! stored.
//!
//! A refresh is made with the fields of the request that was answered. These may be such that it
//! hangs or fails, and a client that sends many requests of that sort would keep content stale. A
//! refresh with the fields of a proven request brings a response whatever others send.
//!
//! That request may have been a stranger's, and hang later. So there is a second one, of which no
//! client has a part: it has none but the fields that select the stored response.
//!
//! Cookies and credentials are not kept: they are for their own client. So the response is one that
//! a client without them gets. If it is of no use, the next try is made with those of the request
//! that was answered. The response is judged in either case as one to the kind of request that was
//! answered.
//!
//! | tried | with the fields of | cookies and credentials |
//! |---|---|---|
//! | first | the request that was stored | none |
//! | second | no request | none |
//! | third | the request that was stored | of the request that was answered |
//! | fourth | no request | the same |
//!
//! The fields of the request are compared with those of others whose responses are stored: those
//! that not all of them have are dropped. So no client has fields sent again that others lack. After
//! two tries without a response, the request is replaced by the next one whose response is stored.
//! After an hour in which no other one was, the second one is tried.
//!
//! One that brings a response is kept; one that does not makes way for the next, at once if it was
//! answered, after a rest else. After two tries without a response, the request is replaced by the
//! next one whose response is stored.
//!
//! A try that was answered in time, with a response of no use, shows that the inner service is
//! well. Then requests that were answered may make [short refreshes](ShortRefreshes).
//!
//! Knows keys, kinds of requests and header fields. Start at [`ProvenRequests::find`].

mod entry;
mod fields;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::key::CacheKey;
use crate::semantics::moment::Moment;
use crate::semantics::request_kind::RequestKind;

pub(crate) use self::entry::{CallFields, FoundRequest, Proof, ShortRefreshes};
pub(crate) use self::fields::ProvenRequest;

use self::entry::Entry;
use super::noted_requests::digest_of;

const SETS: usize = 512;
const WAYS: usize = 4;

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
        self.with_entry(key, |entry| entry.find(now, backoff))
            .flatten()
    }

    /// The short refreshes that there may be of a key, if the inner service is known to be well.
    pub(crate) fn short_refreshes(
        &self,
        key: (&CacheKey, RequestKind),
        now: Moment,
        backoff: Duration,
    ) -> Option<ShortRefreshes> {
        self.with_entry(key, |entry| entry.short_refreshes(now, backoff))
            .flatten()
    }

    /// Notes that a refresh with the request of a key begins.
    pub(crate) fn note_tried(&self, key: (&CacheKey, RequestKind), now: Moment) {
        self.with_entry(key, |entry| entry.note_tried(now));
    }

    /// Notes that a short refresh of a key begins.
    pub(crate) fn note_short(&self, key: (&CacheKey, RequestKind)) {
        self.with_entry(key, Entry::note_short);
    }

    /// Notes that a refresh with the request of a key has ended in the usual time. If nothing is
    /// stored by now, or soon, it was of no use, and shows that the inner service is well.
    pub(crate) fn note_answered(
        &self,
        key: (&CacheKey, RequestKind),
        now: Moment,
        is_failure: bool,
    ) {
        self.with_entry(key, |entry| entry.note_answered(now, is_failure));
    }

    /// Whether a key has no request, or one that the request of a stored response may change.
    pub(crate) fn is_wanted(
        &self,
        key: (&CacheKey, RequestKind),
        now: Moment,
        backoff: Duration,
    ) -> bool {
        self.with_entry(key, |entry| entry.wants_request(now, backoff))
            .unwrap_or(true)
    }

    /// Notes that the response to a call is stored, which took `cost`.
    pub(crate) fn note_stored(
        &self,
        (key, kind): (&CacheKey, RequestKind),
        (now, cost): (Moment, Duration),
        Proof { fields, new }: Proof,
    ) {
        let Some(request) = new else {
            let note = |entry: &mut Entry| entry.note_stored(fields, now, cost);
            self.with_entry((key, kind), note);
            return;
        };
        let sets = || (0..SETS).map(|_| Set::default()).collect();
        let mut ways = lock(Self::set(self.0.get_or_init(sets), (key, kind)));
        let way = way_for(&mut ways, (key, kind));
        match &mut ways[way] {
            Some(entry) if entry.is_of((key, kind)) => {
                entry.take_over(request, now);
                entry.note_stored(fields, now, cost);
            }
            other => *other = Some(Box::new(Entry::new((key, kind), request, (now, cost)))),
        }
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
        Some(entry) => 2 + entry.uses(),
    };
    let way = (0..WAYS).min_by_key(|way| rank(&ways[*way])).unwrap_or(0);
    let least = rank(&ways[way]).saturating_sub(2);
    for entry in ways.iter_mut().flatten() {
        entry.take_uses(least);
    }
    way
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use http::header::{ACCEPT, ACCEPT_LANGUAGE, COOKIE, HOST};
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;
    use crate::semantics::request_kind::CredentialFields;
    use crate::semantics::request_kind::RequestKind::{Plain, WithCookies};
    use crate::state::noted_requests::RequestDigester;

    const BACKOFF: Duration = Duration::from_secs(5);

    fn at(seconds: u64) -> Moment {
        Moment::new(Duration::from_secs(seconds), SystemTime::UNIX_EPOCH)
    }

    fn request(number: u16) -> Option<Box<ProvenRequest>> {
        let headers = HeaderMap::from_iter([
            (HOST, HeaderValue::from_static("a")),
            (HeaderName::from_static("x-number"), number.into()),
        ]);
        let digest = RequestDigester::default().digest(b"", &headers);
        ProvenRequest::new(&headers, &CredentialFields::default(), digest)
    }

    /// Notes that a response is stored, at once.
    fn note(
        table: &ProvenRequests,
        key: (&CacheKey, RequestKind),
        fields: CallFields,
        new: Option<Box<ProvenRequest>>,
    ) {
        table.note_stored(key, (at(0), Duration::ZERO), Proof { fields, new });
    }

    /// The number of the request that is found, if it has one, and whether it has a cookie of its
    /// client.
    fn find(
        table: &ProvenRequests,
        key: (&CacheKey, RequestKind),
        second: u64,
    ) -> Option<(Option<u16>, bool)> {
        let found = table.find(key, at(second), BACKOFF)?;
        let odd = HeaderName::from_static("x-odd");
        let language = HeaderValue::from_static("de");
        let mut headers = HeaderMap::from_iter([
            (HOST, HeaderValue::from_static("b")),
            (COOKIE, HeaderValue::from_static("c")),
            (ACCEPT_LANGUAGE, language.clone()),
            (odd.clone(), HeaderValue::from_static("d")),
        ]);
        let selects = |name: &HeaderName| *name == ACCEPT_LANGUAGE;
        found.replace_fields(&mut headers, &CredentialFields::default(), selects);
        assert_eq!(headers[HOST], "b");
        assert!(!headers.contains_key(odd));
        let number = headers.get("x-number").map(|number| {
            let number = number.to_str().expect("text");
            number.parse().expect("a number")
        });
        // Without others it has those that select, and accepts all.
        let few = [ACCEPT_LANGUAGE, ACCEPT].map(|name| headers.get(name).cloned());
        let expected = match number {
            Some(_) => [None, None],
            None => [Some(language), Some(HeaderValue::from_static("*/*"))],
        };
        assert_eq!(few, expected);
        Some((number, headers.contains_key(COOKIE)))
    }

    /// The fields with which the request that is found at a time is made.
    fn fields(table: &ProvenRequests, key: (&CacheKey, RequestKind), second: u64) -> CallFields {
        let found = table.find(key, at(second), BACKOFF);
        CallFields::Replay(found.expect("a request").replay)
    }

    #[test]
    fn a_request_stays_until_it_is_tried_twice_without_a_response() {
        let table = ProvenRequests::default();
        let path = CacheKey::for_path("/a");
        let key = (&path, Plain);
        let is_wanted = |second| table.is_wanted(key, at(second), BACKOFF);
        assert!(is_wanted(0) && find(&table, key, 0).is_none());
        for count in 0..=4 {
            assert!(is_wanted(0), "{count}");
            note(&table, key, CallFields::Own, request(1));
        }
        assert_eq!(find(&table, key, 0), Some((Some(1), false)));
        assert_eq!(find(&table, (&path, WithCookies), 0), None);
        assert_eq!(find(&table, (&CacheKey::for_path("/b"), Plain), 0), None);
        // Without a response it rests for the backoff, then is tried in the other way.
        table.note_tried(key, at(10));
        assert_eq!((find(&table, key, 14), is_wanted(14)), (None, false));
        assert_eq!(
            (find(&table, key, 15), is_wanted(15)),
            (Some((None, false)), false)
        );
        let bare = fields(&table, key, 15);
        table.note_tried(key, at(20));
        note(&table, key, CallFields::Own, None);
        assert_eq!(find(&table, key, 24), None, "another's response");
        // As it has brought a response, so it is made again.
        note(&table, key, bare, None);
        assert_eq!(
            (find(&table, key, 24), is_wanted(30)),
            (Some((None, false)), false)
        );
        for second in [30, 40] {
            table.note_tried(key, at(second));
        }
        assert_eq!((is_wanted(44), is_wanted(45)), (false, true));
        note(&table, key, CallFields::Own, request(2));
        assert_eq!(find(&table, key, 45), Some((Some(2), false)));
    }

    #[test]
    fn a_request_has_no_fields_that_others_lack() {
        let table = ProvenRequests::default();
        let path = CacheKey::for_path("/a");
        let key = (&path, Plain);
        let find = |second| {
            let found = table.find(key, at(second), BACKOFF).expect("a request");
            let mut headers = HeaderMap::new();
            found.replace_fields(&mut headers, &CredentialFields::default(), |_| false);
            (found.as_number(), headers.contains_key("x-number"))
        };
        let note_at = |second, fields, new| {
            table.note_stored(key, (at(second), Duration::ZERO), Proof { fields, new });
        };
        note_at(0, CallFields::Own, request(1));
        let (own, _) = find(0);
        for second in [1, 2, 3] {
            note_at(second, CallFields::Own, request(1));
            assert_eq!(find(3), (own, true));
        }
        // One that has not the same value. It is another request then.
        note_at(4, CallFields::Own, request(2));
        let (common, has_number) = find(4);
        assert!(common != own && !has_number);
        // From then on a request is compared once a minute.
        let is_wanted = |second| table.is_wanted(key, at(second), BACKOFF);
        assert_eq!((is_wanted(63), is_wanted(64)), (false, true));
    }

    /// Where no other request brings a response, the fields may be those of a stranger.
    #[test]
    fn a_request_that_no_other_one_confirms_gives_way_after_an_hour() {
        let path = CacheKey::for_path("/a");
        let key = (&path, Plain);
        for (confirmed, second, expected) in [
            (0, 3599, Some(1)),
            (0, 3600, None),
            (10, 3600, Some(1)),
            (10, 3610, None),
        ] {
            let table = ProvenRequests::default();
            let note_at = |second, fields, new| {
                table.note_stored(key, (at(second), Duration::ZERO), Proof { fields, new });
            };
            note_at(0, CallFields::Own, request(1));
            note_at(confirmed, CallFields::Own, request(1));
            let replay = fields(&table, key, 0);
            table.note_tried(key, at(second));
            note_at(second, replay, None);
            let found = find(&table, key, second + 1);
            assert_eq!(found, Some((expected, false)), "{confirmed} {second}");
            // Another hour later there are no fields in either case.
            let replay = fields(&table, key, second + 1);
            note_at(second + 3599, replay, None);
            assert_eq!(find(&table, key, second + 3600).expect("one").0, None);
        }
    }

    #[test]
    fn cookies_and_no_others_are_kept_in_the_second_half_of_the_tries() {
        let table = ProvenRequests::default();
        let path = CacheKey::for_path("/a");
        let key = (&path, WithCookies);
        note(&table, key, CallFields::Own, request(1));
        let all = [
            (Some(1), false),
            (None, false),
            (Some(1), true),
            (None, true),
        ];
        // At once, where they are answered; after a rest, where they are not, or fail; and after
        // all of them.
        for (answer, pause) in [(None, 5), (Some(true), 5), (Some(false), 1)] {
            let table = ProvenRequests::default();
            note(&table, key, CallFields::Own, request(1));
            let mut second = 100;
            for expected in all {
                assert_eq!(find(&table, key, second), Some(expected), "{answer:?}");
                table.note_tried(key, at(second));
                if let Some(is_failure) = answer {
                    table.note_answered(key, at(second), is_failure);
                }
                let pause = if expected == all[3] { 5 } else { pause };
                assert_eq!(find(&table, key, second + pause - 1), None, "{answer:?}");
                second += pause;
            }
            assert_eq!(find(&table, key, second), Some(all[0]), "{answer:?}");
        }
        // One that brings a response is kept.
        table.note_tried(key, at(0));
        table.note_tried(key, at(10));
        let third = fields(&table, key, 20);
        table.note_tried(key, at(20));
        note(&table, key, third, None);
        assert_eq!(find(&table, key, 20), Some(all[2]));
    }

    #[test]
    fn short_refreshes_are_for_a_service_that_is_well() {
        let table = ProvenRequests::default();
        let path = CacheKey::for_path("/a");
        let key = (&path, WithCookies);
        let second = Duration::from_secs(1);
        let find = |at_second| {
            let found = table.short_refreshes(key, at(at_second), BACKOFF)?;
            Some((found.limit, found.timeout))
        };
        note(&table, key, CallFields::Own, request(1));
        let first = fields(&table, key, 100);
        table.note_tried(key, at(100));
        assert_eq!(find(100), None, "it hangs");
        table.note_answered(key, at(101), false);
        assert_eq!(
            (find(101), find(130)),
            (Some((1, second)), Some((1, second)))
        );
        assert_eq!(find(131), None, "too long ago");
        // The more of them bring nothing, the more there may be at once.
        for (count, limit) in [(31, 1), (1, 2), (31, 2), (1, 4), (1000, 4)] {
            for _ in 0..count {
                table.note_short(key);
            }
            assert_eq!(find(110), Some((limit, second)), "{count}");
        }
        // One that has helped speaks for others, for an hour.
        let note_at = |at_second, fields| {
            table.note_stored(
                key,
                (at(at_second), Duration::ZERO),
                Proof { fields, new: None },
            );
        };
        note_at(111, CallFields::OwnShort);
        assert_eq!(find(112), Some((4, second / 2)));
        for (seconds, expected) in [(111 + 3599, (4, second / 2)), (111 + 3600, (1, second))] {
            table.note_answered(key, at(seconds), false);
            assert_eq!(find(seconds), Some(expected));
        }
        // Where the proven request brings a response, they are not needed.
        note_at(4000, first);
        table.note_answered(key, at(4000), false);
        assert_eq!(find(4000), None);
    }

    #[test]
    fn one_slow_response_makes_no_request_slow() {
        let table = ProvenRequests::default();
        let path = CacheKey::for_path("/a");
        let key = (&path, Plain);
        let millis = Duration::from_millis;
        let note = |cost, new| {
            table.note_stored(
                key,
                (at(0), cost),
                Proof {
                    fields: CallFields::Own,
                    new,
                },
            )
        };
        note(millis(80), request(1));
        for (cost, expected) in [(880, 180), (100, 100), (900, 200), (900, 287)] {
            note(millis(cost), None);
            let found = table.find(key, at(0), BACKOFF).expect("a request");
            assert_eq!(found.cost.as_millis(), expected);
        }
        // It rests for as long as its response may take.
        note(Duration::from_secs(90), None);
        table.note_tried(key, at(0));
        assert_eq!(find(&table, key, 23), None);
        assert!(find(&table, key, 24).is_some());
    }

    #[test]
    fn requests_of_many_keys_push_out_none_that_brings_responses() {
        let table = ProvenRequests::default();
        let path = CacheKey::for_path("/a");
        note(&table, (&path, Plain), CallFields::Own, request(1));
        for number in 0..20_000 {
            let other = CacheKey::for_path(&format!("/{number}"));
            note(&table, (&other, Plain), CallFields::Own, request(2));
            if number == 0 {
                note(&table, (&path, Plain), CallFields::Own, None);
            }
        }
        assert_eq!(find(&table, (&path, Plain), 0), Some((Some(1), false)));
        let sets = table.0.get().expect("made");
        let kept = sets.iter().map(|set| lock(set).iter().flatten().count());
        assert!(kept.sum::<usize>() <= 2048);
    }
}
