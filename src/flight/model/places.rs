//! Models for loom of the places that paced calls have: none is lost, and none is had by two.

use std::sync::Arc;
use std::task::{Context, Poll};

use loom::thread;

use super::{WokenFlag, enter_in, key, now, place_limit};
use crate::flight::{Entered, FlightOutcome, Flights, Place, Precedence};

type Table = Flights<usize, ()>;

/// A request that has asked for the only place.
struct PlaceRequest {
    place: Place<usize, ()>,
    woken: Arc<WokenFlag>,
    answer: Poll<bool>,
}

impl PlaceRequest {
    fn new(flights: &Table) -> Self {
        let mut asked = Self {
            place: flights.place(key(), Precedence::ForAll, None),
            woken: Arc::default(),
            answer: Poll::Pending,
        };
        asked.ask();
        asked
    }

    fn ask(&mut self) {
        let waker = self.woken.clone().into();
        self.answer = self
            .place
            .poll(place_limit(1), now(), &mut Context::from_waker(&waker));
    }

    /// The final answer, once nothing more happens beside it.
    fn finish(mut self) -> Poll<bool> {
        if self.answer.is_pending() {
            let was_woken = self.woken.is_set();
            self.ask();
            assert_eq!(self.answer.is_ready(), was_woken, "woken if there is news");
        }
        self.answer
    }
}

/// A flight in the only place of its key.
fn lead_in_place(flights: &Table) -> crate::flight::Leader<usize, ()> {
    let mut asked = PlaceRequest::new(flights);
    assert_eq!(asked.answer, Poll::Ready(true));
    match enter_in(flights, Some(0), Some(&mut asked.place)) {
        Entered::Leader(leader) => {
            let _ = leader.begin_call(now());
            leader
        }
        _ => panic!("it has a place"),
    }
}

#[test]
fn a_place_is_handed_over_or_returned_however_its_owner_leaves() {
    loom::model(|| {
        let flights = Table::default();
        let leader = lead_in_place(&flights);
        let failing = thread::spawn(move || leader.close_with(FlightOutcome::Vacant));
        let table = flights.clone();
        let leaving = thread::spawn(move || drop(PlaceRequest::new(&table)));
        let waiting = PlaceRequest::new(&flights);
        failing.join().expect("no panic");
        leaving.join().expect("no panic");
        assert_eq!(waiting.finish(), Poll::Ready(true));
        assert_eq!(
            PlaceRequest::new(&flights).answer,
            Poll::Ready(true),
            "none is left"
        );
    });
}

#[test]
fn a_response_wakes_a_request_that_waits_for_a_place() {
    loom::model(|| {
        let flights = Table::default();
        let leader = lead_in_place(&flights);
        let answering = thread::spawn(move || {
            leader.add_variant_key(key());
            leader.publish(FlightOutcome::Shared(Arc::new(())));
            leader
        });
        let waiting = PlaceRequest::new(&flights);
        let leader = answering.join().expect("no panic");
        // A request that came after the response finds it at once. The others are woken for it.
        let came_after = waiting.answer == Poll::Ready(true);
        assert_eq!(waiting.finish(), Poll::Ready(came_after));
        match enter_in(&flights, Some(0), None) {
            Entered::Follower(_) => {}
            _ => panic!("the response is there"),
        }
        drop(leader);
        assert_eq!(flights.len(), 0);
    });
}

/// Two look at a response, and one of them leaves. The others stop waiting when the body is whole.
#[test]
fn a_whole_response_wakes_all_requests_that_wait_for_a_place() {
    loom::model(|| {
        let flights = Table::default();
        let leader = lead_in_place(&flights);
        let mut waiting = [(); 4].map(|()| Some(PlaceRequest::new(&flights)));
        let answering = thread::spawn(move || {
            leader.add_variant_key(key());
            leader.publish(FlightOutcome::Shared(Arc::new(())));
            leader.close_whole(None);
        });
        let leaves = waiting[3].take();
        let leaving = thread::spawn(move || drop(leaves));
        answering.join().expect("no panic");
        leaving.join().expect("no panic");
        for waiting in waiting.into_iter().flatten() {
            assert!(waiting.finish().is_ready());
        }
        assert_eq!(flights.len(), 0, "no flight is leaked");
    });
}
