//! Writes whose clients leave.

use std::collections::VecDeque;
use std::time::Duration;

use http::{Method, Response};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use super::{from, with_clients, without_clients};
use crate::support::origin::{Origin, answer};
use crate::support::polling::poll_once;
use crate::support::request;
use crate::support::time::settle;
use crate::support::trickle::{Step, Trickle};

/// One client does not take all the places in which they go on, before their heads or after them.
#[tokio::test(start_paused = true)]
async fn writes_that_a_client_leaves_let_those_of_another_go_on() {
    let before = Origin::new(|_| async {
        sleep(Duration::from_secs(10)).await;
        Ok(answer(204, &[], ""))
    });
    let within = Origin::new(|_| async {
        let endless = VecDeque::from([(Duration::ZERO, Step::Silence)]);
        Ok(Response::new(Trickle::new(endless, None).boxed()))
    });
    let rows = |origin: Origin| {
        let (told_apart, alike) = (with_clients(), without_clients());
        [(told_apart, 5, 1, origin.clone()), (alike, 10, 0, origin)]
    };
    for (layer, of_stranger, of_other, origin) in [rows(before), rows(within)].concat() {
        let layer = layer.max_detached_writes(10);
        let service = layer.layer(origin.clone());
        let mut before = 0;
        for (client, count, expected) in [("a", 100, of_stranger), ("b", 1, of_other)] {
            for number in 0..count {
                let write = request(Method::PUT, &format!("/{client}/{number}"));
                let mut write = Box::pin(service.clone().oneshot(from(client, write)));
                let _left = poll_once(&mut write);
            }
            settle().await;
            let all = layer.handle().stats().in_flight.detached_writes;
            assert_eq!(all - before, expected, "{client}");
            before = all;
        }
    }
}
