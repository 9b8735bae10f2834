//! Tests of the places of paced calls.

use super::*;

fn place_limit(at_first: usize) -> PlaceLimit {
    PlaceLimit {
        at_first,
        doubling_time: Duration::from_secs(10),
    }
}

/// Enters in a place, or wants one if the key is paced.
fn enter_in(flights: &Table, place: Option<&mut Place<u64, ()>>) -> Entered<u64, ()> {
    flights.enter(
        key(),
        Some(1),
        rules(0),
        |_| JoinDecision::Join,
        place,
        stream,
    )
}

/// Enters with a fence under which no flight can be joined once its call has begun.
fn enter_other(flights: &Table) -> Entered<u64, ()> {
    enter(flights, 2, 0)
}

/// Asks for one of two places once.
fn ask(place: &mut Place<u64, ()>) -> Poll<bool> {
    place.poll(
        place_limit(2),
        at(0),
        &mut Context::from_waker(Waker::noop()),
    )
}

/// Places of the key that have been asked for, the first two of which are granted.
fn places(flights: &Table, precedences: &[Precedence]) -> Vec<Place<u64, ()>> {
    let asked = precedences.iter().enumerate().map(|(index, precedence)| {
        let mut place = flights.place(key(), *precedence, None);
        let is_granted = ask(&mut place).is_ready();
        assert_eq!(is_granted, index < 2);
        place
    });
    asked.collect()
}

#[test]
fn a_place_goes_to_the_next_when_its_owner_leaves() {
    let flights = Flights::default();
    let mut places = places(&flights, &[Precedence::ForAll; 5]);
    // One that waits leaves, then one that has a place.
    drop(places.remove(4));
    drop(places.remove(0));
    let granted = |places: &mut [Place<u64, ()>]| {
        let ask = |place| matches!(ask(place), Poll::Ready(true));
        places
            .iter_mut()
            .map(ask)
            .filter(|granted| *granted)
            .count()
    };
    assert_eq!(granted(&mut places), 2);
    // An opened flight has its request's place until it ends.
    let Entered::Leader(leader) = enter_in(&flights, places.first_mut()) else {
        panic!("it has a place");
    };
    let _ = leader.begin_call(at(0));
    drop(places.remove(0));
    assert!(matches!(enter_other(&flights), Entered::NeedsPlace));
    drop(leader);
    assert_eq!(granted(&mut places), 2);
    drop(places);
    assert!(
        matches!(enter_other(&flights), Entered::Leader(_)),
        "the key is forgotten"
    );
}

#[test]
fn a_key_has_twice_the_places_after_each_time_without_a_success() {
    let flights = Flights::default();
    let mut places = places(&flights, &[Precedence::ForAll; 20]);
    let limit = place_limit(2);
    assert_eq!(places[9].time_to_more(limit, at(4)), Duration::from_secs(6));
    let ask_at = |place: &mut Place<u64, ()>, seconds| {
        place.poll(limit, at(seconds), &mut Context::from_waker(Waker::noop()))
    };
    for (seconds, granted) in [(9, 2), (10, 4), (20, 8), (29, 8), (30, 16), (300, 20)] {
        // One that asks is enough: all have places that may.
        let waiting = places
            .iter_mut()
            .position(|place| ask_at(place, 0).is_pending());
        let _ = ask_at(&mut places[waiting.expect("one waits")], seconds);
        let asked = places.iter_mut().map(|place| ask_at(place, seconds));
        let has_place = |answer: &Poll<bool>| *answer == Poll::Ready(true);
        assert_eq!(asked.filter(has_place).count(), granted, "{seconds} s");
    }
}

#[test]
fn a_place_can_be_taken_beyond_the_limit_and_is_not_handed_on() {
    let flights = Flights::default();
    let mut places = places(&flights, &[Precedence::ForAll; 5]);
    places[4].grant(at(0));
    assert_eq!(ask(&mut places[4]), Poll::Ready(true));
    drop(places.remove(4));
    let granted = places.iter_mut().filter_map(|place| match ask(place) {
        Poll::Ready(true) => Some(()),
        _ => None,
    });
    assert_eq!(granted.count(), 2);
}

#[test]
fn a_newcomer_is_not_the_last_of_many_to_have_a_place() {
    let flights = Flights::default();
    let mut places = places(&flights, &[Precedence::NotTried; 500]);
    for _ in 0..7 {
        let is_granted = |place: &mut Place<_, _>| ask(place).is_ready();
        let first = places.iter_mut().position(is_granted);
        drop(places.remove(first.expect("one has a place")));
    }
    let last = places.last_mut().expect("the newest");
    assert!(ask(last).is_ready());
}

#[test]
fn a_refusal_in_a_place_ends_the_pacing() {
    let flights = Flights::default();
    let mut places = places(&flights, &[Precedence::ForAll; 4]);
    let Entered::Leader(leader) = enter_in(&flights, places.first_mut()) else {
        panic!("it has a place");
    };
    let _ = leader.begin_call(at(0));
    leader.close_with(FlightOutcome::Refused {
        kind: RequestKind::Plain,
        is_private: false,
    });
    assert_eq!(ask(&mut places[2]), Poll::Ready(false));
    assert_eq!(ask(&mut places[3]), Poll::Ready(false));
    assert!(matches!(enter_other(&flights), Entered::Leader(_)));
}

#[test]
fn places_go_to_all_kinds_of_requests_in_turn() {
    use Precedence::{ForAll, ForItself};
    let flights = Flights::default();
    let mut precedences = [ForItself; 40];
    precedences[38] = ForAll;
    precedences[39] = ForAll;
    let mut places = places(&flights, &precedences);
    for _ in 0..3 {
        let is_granted = |place: &mut Place<_, _>| ask(place).is_ready();
        let last = places.len() - 1;
        let first = places[..last - 1].iter_mut().position(is_granted);
        drop(places.remove(first.expect("one has a place")));
    }
    let plain = places.iter_mut().rev().take(2);
    assert!(plain.map(ask).all(|asked| asked.is_ready()));
}

#[test]
fn a_response_ends_the_waiting_and_is_found_behind_later_flights() {
    let flights = Flights::default();
    let mut places = places(&flights, &[Precedence::ForAll; 4]);
    let open = |place: &mut Place<_, _>| match enter_in(&flights, Some(place)) {
        Entered::Leader(leader) => {
            let _ = leader.begin_call(at(0));
            leader
        }
        _ => panic!("it has a place"),
    };
    let (earlier, later) = (open(&mut places[0]), open(&mut places[1]));
    assert!(ask(&mut places[2]).is_pending());
    earlier.add_variant_key(key());
    earlier.publish(FlightOutcome::Shared(Arc::new(())));
    assert_eq!(ask(&mut places[2]), Poll::Ready(false));
    assert_eq!(ask(&mut places[3]), Poll::Ready(false));
    let outcome = Stepped::new(follow(&flights).wait()).poll();
    assert!(matches!(outcome, Some((FlightOutcome::Shared(_), _))));
    earlier.close_whole(None);
    let next = enter_in(&flights, None);
    assert!(
        matches!(next, Entered::Follower(_)),
        "the key is no longer paced"
    );
    drop((next, earlier, later, places));
    assert_eq!(flights.len(), 0);
}

/// What becomes of a response that a few of the requests that wait look at.
#[derive(Clone, Copy, Debug)]
enum Found {
    Torn,
    Whole,
    OfUse,
    OfNoUse,
}

#[test]
fn a_few_look_at_a_response_before_the_others_stop_waiting() {
    for (found, still_wait) in [
        (Found::Torn, 8),
        (Found::Whole, 0),
        (Found::OfUse, 0),
        (Found::OfNoUse, 7),
    ] {
        let flights = Flights::default();
        let mut places = places(&flights, &[Precedence::ForAll; 12]);
        let Entered::Leader(leader) = enter_in(&flights, places.first_mut()) else {
            panic!("it has a place");
        };
        let _ = leader.begin_call(at(0));
        leader.add_variant_key(key());
        leader.publish(FlightOutcome::Shared(Arc::new(())));
        match found {
            Found::Torn => leader.close(),
            Found::Whole => leader.close_whole(None),
            Found::OfUse => flights.end_pacing(&key()),
            Found::OfNoUse => flights.let_another_look(&key()),
        }
        let told = places[2..].iter_mut().map(ask);
        let told = told.filter(|answer| *answer == Poll::Ready(false)).count();
        // The place of the flight goes to one that asks.
        let has_place = usize::from(still_wait > 0);
        assert_eq!(10 - told, still_wait, "{found:?}");
        let granted = places[2..].iter_mut().map(ask);
        let granted = granted
            .filter(|answer| *answer == Poll::Ready(true))
            .count();
        assert_eq!(granted, has_place, "{found:?}");
    }
}

/// Its calls may fail for what it sends. Once another client asks, too, they may fail for all.
#[test]
fn the_calls_of_a_key_are_paced_for_the_clients_that_ask_for_places() {
    use super::clients::{client, enter_as};
    let clients = [(Some(1), false), (Some(2), true), (None, true)];
    for (also_asks, is_for_all) in clients {
        let flights = Table::default();
        let asking = |number: Option<u64>| {
            let client = number.and_then(client);
            let mut place = flights.place(key(), Precedence::ForAll, client);
            let _ = ask(&mut place);
            place
        };
        let _places = [asking(Some(1)), asking(also_asks)];
        for (number, is_paced) in [(Some(1), true), (Some(3), is_for_all), (None, true)] {
            let entered = enter_as(&flights, number.and_then(client), 0);
            let needs_place = matches!(entered, Entered::NeedsPlace);
            assert_eq!(needs_place, is_paced, "{number:?}, {also_asks:?}");
        }
    }
}
