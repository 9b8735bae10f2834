//! Refreshing a response before it expires, with a chance that grows towards expiry.
//!
//! The algorithm is XFetch: Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache
//! Stampede Prevention", VLDB 2015. The random number is an argument.

use std::time::Duration;

/// Beyond this many costs (times beta) before expiry the chance is below one in two billion.
const FAR: f64 = 21.5;

/// Returns whether expiry is near enough that a random number is worth drawing.
#[must_use]
pub fn is_near(left: Duration, cost: Duration, beta: f64) -> bool {
    left.as_secs_f64() < cost.as_secs_f64() * beta * FAR
}

/// Returns whether a response is to be refreshed now: `now - cost * beta * ln(drawn) >= expiry`.
///
/// `left` is the rest of its lifetime, `cost` the time that fetching it took, and `drawn` is
/// uniform between 0 (excluded) and 1.
#[must_use]
pub fn is_due(left: Duration, cost: Duration, beta: f64, drawn: f64) -> bool {
    let ahead = -drawn.max(f64::MIN_POSITIVE).ln() * beta * cost.as_secs_f64();
    ahead >= left.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_chance_is_exponential_in_the_rest_of_the_lifetime() {
        let cost = ms(100);
        let draws = 10_000;
        for (left, beta, expected) in [
            (ms(0), 1.0, 1.0),
            (ms(100), 1.0, (-1.0_f64).exp()),
            (ms(200), 1.0, (-2.0_f64).exp()),
            (ms(200), 2.0, (-1.0_f64).exp()),
        ] {
            let due = (1..=draws)
                .filter(|draw| is_due(left, cost, beta, f64::from(*draw) / f64::from(draws)))
                .count();
            let share = due as f64 / f64::from(draws);
            assert!((share - expected).abs() < 0.001, "{left:?} {beta}: {share}");
        }
    }

    #[test]
    fn a_distant_expiry_is_never_due() {
        let smallest = 2.0_f64.powi(-30);
        for left in (0..5_000).map(ms) {
            assert!(is_near(left, ms(100), 1.0) || !is_due(left, ms(100), 1.0, smallest));
        }
        assert!(!is_near(ms(1), ms(0), 1.0) && !is_near(ms(1), ms(100), 0.0));
    }
}
