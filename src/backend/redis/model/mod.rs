//! Models of the protocol, each small enough to reach all of its states.
//!
//! A model finds the shortest trace by which each tempting shortcut is wrong. Start with
//! [`explore`].

mod stripes;
mod tombstone;

use std::collections::HashSet;
use std::hash::Hash;

/// Returns the number of reachable states, or the length of the shortest trace to a violation.
///
/// `steps` returns the states after one step, `None` if one of them is a violation.
fn explore<S: Copy + Eq + Hash>(
    first: S,
    steps: impl Fn(S) -> Option<Vec<S>>,
) -> Result<usize, usize> {
    let mut seen = HashSet::from([first]);
    let mut layer = vec![first];
    for length in 1_usize.. {
        let mut next = Vec::new();
        for state in layer {
            next.extend(steps(state).ok_or(length)?);
        }
        next.retain(|state| seen.insert(*state));
        if next.is_empty() {
            return Ok(seen.len());
        }
        layer = next;
    }
    unreachable!("the states are finite")
}
