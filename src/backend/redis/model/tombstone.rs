//! A model of the tombstone: every reachable state of two instances, a write of unknown outcome
//! that may commit late, a second write, a clear, evictions and three requests.
//!
//! A request may get an answer only if that has the second write where it was yielded before, and
//! the first one where the time in which it may commit was over. Each tempting shortcut is found by
//! its shortest violating trace. The counts stand in `docs/protocols.md`.

use super::explore;

/// The write of unknown outcome, had by instance 0.
const LATE: u8 = 1;
/// A write that commits and is answered, had by instance 1.
const LATER: u8 = 2;

/// What the first write leaves, and what ends it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Tombstone,
    GraceInOneProcess,
    LaterWriteRemoves,
    ClearRemoves,
    Evicted,
    RunningFlightIsJoined,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Lease {
    Absent,
    Token(u8),
    Tombstone,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Request {
    Idle,
    /// It has looked up; without a token nothing of it is stored.
    Missed(Option<u8>),
    Calling(Option<u8>),
    /// It has its response, and may send that to the store.
    Answered(Option<u8>, u8),
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// The writes that the database has.
    committed: u8,
    lease: Lease,
    /// The token and the data of the stored response.
    entry: Option<(u8, u8)>,
    /// Not begun, called, ended (the process knows), invalidated, over.
    late: u8,
    /// Not begun, committed, invalidated, yielded.
    later: u8,
    is_cleared: bool,
    requests: [Request; 3],
    /// The writes that each answer must have.
    required: [u8; 3],
}

/// A token that no part of a state has.
const NEW: u8 = u8::MAX;

/// Two requests come to the instance that does not have the first write.
const INSTANCES: [u8; 3] = [1, 1, 0];

impl State {
    fn first() -> Self {
        Self {
            committed: 0,
            lease: Lease::Absent,
            entry: None,
            late: 0,
            later: 0,
            is_cleared: false,
            requests: [Request::Idle; 3],
            required: [0; 3],
        }
    }

    /// The state that stands for all that differ by the names of tokens, by the order of the two
    /// requests to one instance, or by tokens that are of no use any more: none comes back.
    fn canonical(mut self) -> Self {
        let lease = self.lease;
        let is_gone = |token: u8| lease != Lease::Token(token);
        self.entry = self.entry.filter(|(token, _)| !is_gone(*token));
        let requests = self.requests;
        for request in &mut self.requests {
            if let Request::Answered(Some(token), data) = *request
                && is_gone(token)
                && !requests.contains(&Request::Missed(Some(token)))
            {
                *request = Request::Answered(None, data);
            }
        }
        if (self.requests[0], self.required[0]) > (self.requests[1], self.required[1]) {
            self.requests.swap(0, 1);
            self.required.swap(0, 1);
        }
        let mut names: Vec<u8> = Vec::new();
        let mut rename = |token: &mut u8| {
            let known = names.iter().position(|name| *name == *token);
            let number = known.unwrap_or(names.len());
            if known.is_none() {
                names.push(*token);
            }
            *token = number as u8;
        };
        if let Lease::Token(token) = &mut self.lease {
            rename(token);
        }
        if let Some((token, _)) = &mut self.entry {
            rename(token);
        }
        for request in &mut self.requests {
            if let Request::Missed(Some(token))
            | Request::Calling(Some(token))
            | Request::Answered(Some(token), _) = request
            {
                rename(token);
            }
        }
        self
    }

    fn changed(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The states after one step of a write, a clear, or Redis.
    fn steps_of_writes(self, rule: Rule) -> Vec<Self> {
        let mut next = Vec::new();
        let mut step = |is_enabled: bool, change: &dyn Fn(&mut Self)| {
            if is_enabled {
                next.push(self.changed(change));
            }
        };
        let is_buried = self.lease == Lease::Tombstone;
        step(self.late < 2, &|state| state.late += 1);
        step(self.late == 2, &|state| {
            state.late = 3;
            state.lease = match rule {
                Rule::GraceInOneProcess => Lease::Absent,
                _ => Lease::Tombstone,
            };
        });
        step((1..4).contains(&self.late), &|state| {
            state.committed |= LATE
        });
        step(self.late == 3, &|state| state.late = 4);
        // It expires when no commit can come any more.
        step(
            is_buried && (self.late == 4 || rule == Rule::Evicted),
            &|state| {
                state.lease = Lease::Absent;
            },
        );
        step(self.later == 0, &|state| {
            state.later = 1;
            state.committed |= LATER;
        });
        step(self.later == 1, &|state| {
            state.later = 2;
            if !is_buried || rule == Rule::LaterWriteRemoves {
                state.lease = Lease::Absent;
            }
        });
        step(self.later == 2, &|state| state.later = 3);
        step(!self.is_cleared, &|state| {
            state.is_cleared = true;
            if !is_buried || rule == Rule::ClearRemoves {
                state.lease = Lease::Absent;
            }
        });
        step(!is_buried, &|state| state.lease = Lease::Absent);
        step(self.entry.is_some(), &|state| state.entry = None);
        next
    }

    /// The states after one step of a request; `None` if it is answered with outdated data.
    fn steps_of(self, index: usize, rule: Rule) -> Option<Vec<Self>> {
        let become_ = |request| self.changed(|state| state.requests[index] = request);
        Some(match self.requests[index] {
            Request::Idle => vec![self.look_up(index)?],
            Request::Missed(token) => {
                let mut next = vec![become_(Request::Calling(token))];
                for flight in self.joinable(index, token, rule) {
                    match self.requests[flight] {
                        Request::Answered(_, data)
                            if data & self.required[index] != self.required[index] =>
                        {
                            return None;
                        }
                        Request::Answered(_, data) => {
                            next.push(become_(Request::Answered(None, data)))
                        }
                        _ => {}
                    }
                }
                next
            }
            Request::Calling(token) => vec![become_(Request::Answered(token, self.committed))],
            Request::Answered(token, data) => match (token, self.lease) {
                (Some(token), Lease::Token(lease)) if token == lease => {
                    vec![self.changed(|state| {
                        state.entry = Some((token, data));
                        state.requests[index] = Request::Answered(None, data);
                    })]
                }
                _ => Vec::new(),
            },
        })
    }

    /// A request starts, and looks up in one atomic reading.
    fn look_up(mut self, index: usize) -> Option<Self> {
        let of_late = if self.late == 4 {
            LATE & self.committed
        } else {
            0
        };
        let of_later = if self.later == 3 { LATER } else { 0 };
        self.required[index] = of_late | of_later;
        if let (Some((token, data)), Lease::Token(lease)) = (self.entry, self.lease)
            && token == lease
        {
            let is_current = data & self.required[index] == self.required[index];
            self.requests[index] = Request::Answered(None, data);
            return is_current.then_some(self);
        }
        if self.lease == Lease::Absent {
            self.lease = Lease::Token(NEW);
        }
        // The process that had the write stores nothing until its time is over.
        let is_local = INSTANCES[index] == 0 && (2..4).contains(&self.late);
        self.requests[index] = Request::Missed(match self.lease {
            Lease::Token(token) if !is_local => Some(token),
            _ => None,
        });
        Some(self)
    }

    /// Calls of this instance that have begun and whose response a request may share.
    fn joinable(&self, index: usize, token: Option<u8>, rule: Rule) -> Vec<usize> {
        let suits = |other: &usize| {
            let is_same = |theirs: Option<u8>| match theirs {
                Some(_) => theirs == token,
                None => rule == Rule::RunningFlightIsJoined && token.is_none(),
            };
            *other != index
                && INSTANCES[*other] == INSTANCES[index]
                && matches!(self.requests[*other], Request::Answered(theirs, _) if is_same(theirs))
        };
        (0..3).filter(suits).collect()
    }
}

/// The states after one step, in their canonical form; `None` if an answer is outdated.
fn steps(state: State, rule: Rule) -> Option<Vec<State>> {
    let mut next = state.steps_of_writes(rule);
    for index in 0..3 {
        next.extend(state.steps_of(index, rule)?);
    }
    Some(next.into_iter().map(State::canonical).collect())
}

#[test]
fn a_tombstone_holds_and_each_shortcut_is_found() {
    let results = [
        Rule::Tombstone,
        Rule::GraceInOneProcess,
        Rule::LaterWriteRemoves,
        Rule::ClearRemoves,
        Rule::Evicted,
        Rule::RunningFlightIsJoined,
    ]
    .map(|rule| explore(State::first(), |state| steps(state, rule)));
    let found = [10, 12, 11, 11, 10].map(Err);
    assert_eq!(results[0], Ok(190_604));
    assert_eq!(results[1..], found);
}
