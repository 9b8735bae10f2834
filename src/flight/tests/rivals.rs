//! Tests of calls for one page at the same time.

use super::*;

fn variant(number: u128) -> CacheKey {
    key().with_variant(number)
}

fn lead_under(flights: &Table, key: CacheKey, seconds: u64) -> Leader<u64, ()> {
    let rules = JoinRules {
        not_before: Some(at(seconds)),
        ..rules(seconds)
    };
    match flights.enter(key, Some(1), rules, |_| JoinDecision::Join, None, stream) {
        Entered::Leader(leader) => {
            let _ = leader.begin_call(at(seconds));
            leader
        }
        _ => panic!("it leads a flight"),
    }
}

/// Whether a page was known to vary when its call began makes no difference.
#[test]
fn a_call_does_not_replace_the_response_of_a_later_one_whatever_their_keys() {
    let keys = [key(), variant(1), variant(2)];
    for (first, second) in keys.map(|key| keys.map(|other| (key, other))).concat() {
        let flights = Table::default();
        let slow = lead_under(&flights, first, 0);
        let later = lead_under(&flights, second, 1);
        later.add_variant_key(variant(1));
        assert!(later.claim_store(variant(1)), "{first:?}, {second:?}");
        slow.add_variant_key(variant(1));
        assert!(!slow.claim_store(variant(1)), "{first:?}, {second:?}");
        assert!(slow.claim_store(variant(3)), "{first:?}, {second:?}");
    }
}

#[test]
fn nothing_is_kept_of_calls_that_have_ended() {
    let keys = [key(), variant(1), variant(2)];
    for (first, second) in keys.map(|key| keys.map(|other| (key, other))).concat() {
        let flights = Table::default();
        let slow = lead_under(&flights, first, 0);
        slow.add_variant_key(variant(1));
        let later = lead_under(&flights, second, 1);
        let rivals = |flights: &Table| {
            let maps = flights.stripes.of_key(&key()).lock();
            maps.rivals.has(&key())
        };
        assert!(rivals(&flights), "{first:?}, {second:?}");
        drop(later);
        drop(slow);
        assert!(!rivals(&flights), "{first:?}, {second:?}");
        assert_eq!(flights.len(), 0);
    }
}
