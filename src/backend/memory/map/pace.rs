//! How fast the clock's hand goes round.

/// The speed of a hand that moves on by one entry with each eviction.
const FULL_SPEED: u32 = 16;
const STEP: u32 = 2;

/// The pace of the hand, learned from the evicted entries that are stored again.
///
/// The uses of an entry count half once the hand has passed it. A slow hand suits keys whose
/// popularity lasts. A fast hand suits popularity that comes and goes, as it forgets that an entry
/// was popular once. The hand was too fast if the entries that it evicted come back more often than
/// the arrivals that found no room, and too slow if these do.
#[derive(Debug)]
pub(super) struct Pace {
    speed: u32,
    /// What the hand has still to move, in parts of an entry.
    due: u32,
    arrivals: Returns,
    main: Returns,
    /// The evictions since the speed was last set.
    evictions: usize,
}

/// The evictions of a kind and the returns, the latest counting most.
#[derive(Debug, Default)]
struct Returns {
    evicted: f32,
    returned: f32,
}

impl Returns {
    fn rate(&self) -> f32 {
        self.returned / self.evicted.max(1.0)
    }

    fn fade(&mut self) {
        self.evicted *= 0.75;
        self.returned *= 0.75;
    }
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            speed: FULL_SPEED / 2,
            due: 0,
            arrivals: Returns::default(),
            main: Returns::default(),
            evictions: 0,
        }
    }
}

impl Pace {
    fn returns(&mut self, was_main: bool) -> &mut Returns {
        match was_main {
            true => &mut self.main,
            false => &mut self.arrivals,
        }
    }

    /// Notes that an evicted entry was stored again.
    pub(super) fn note_return(&mut self, was_main: bool) {
        self.returns(was_main).returned += 1.0;
    }

    /// Notes an eviction; `entries` is how many there are.
    pub(super) fn note_eviction(&mut self, was_main: bool, entries: usize) {
        self.returns(was_main).evicted += 1.0;
        self.due += self.speed;
        self.evictions += 1;
        if self.evictions > entries / 16 {
            self.evictions = 0;
            self.speed = match self.main.rate() > self.arrivals.rate() {
                true => self.speed.saturating_sub(STEP),
                false => (self.speed + STEP).min(FULL_SPEED),
            };
            self.main.fade();
            self.arrivals.fade();
        }
    }

    /// Returns by how many entries the hand moves now.
    pub(super) fn take_moves(&mut self, at_least: u32) -> u32 {
        let moves = (self.due / FULL_SPEED).max(at_least);
        self.due = self.due.saturating_sub(moves * FULL_SPEED);
        moves
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed_where(arrivals_return: usize, main_returns: usize) -> u32 {
        let mut pace = Pace::default();
        for eviction in 0..1000 {
            let was_main = eviction % 2 == 0;
            pace.note_eviction(was_main, 160);
            let every = if was_main {
                main_returns
            } else {
                arrivals_return
            };
            if eviction / 2 % every == 0 {
                pace.note_return(was_main);
            }
        }
        pace.speed
    }

    #[test]
    fn the_hand_is_as_fast_as_returns_say() {
        assert_eq!(speed_where(3, 10), FULL_SPEED, "what was popular is not");
        assert_eq!(speed_where(10, 3), 0, "what was popular stays so");
    }

    #[test]
    fn a_hand_moves_as_far_as_it_is_due() {
        let mut pace = Pace::default();
        assert_eq!(pace.take_moves(0), 0);
        for _ in 0..4 {
            pace.note_eviction(true, 1000);
        }
        assert_eq!(pace.take_moves(0), 2);
        assert_eq!((pace.take_moves(0), pace.take_moves(1)), (0, 1));
    }
}
