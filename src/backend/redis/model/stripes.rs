//! A model of stripes: two POSTs whose responses name the same resource and are stored, a write
//! that invalidates it, evictions, and two requests.
//!
//! A stripe's token may be changed or removed by an invalidation: both hold. A request may get an
//! answer only if that has all writes that were yielded when it started.

use super::explore;

/// What a write does with the token of the stripe, or a fence without it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rule {
    Changed,
    Removed,
    /// A POST may capture the absence of a token.
    AbsentIsUnchanged,
    /// A POST that stores leaves the token alone.
    KeptByPosts,
    /// An invalidation leaves the token alone.
    KeptByInvalidations,
    /// The tokens are numbers, which begin anew after an eviction.
    Numbered,
    /// A POST compares before it invalidates, in two steps.
    ComparedBefore,
}

const POSTS: [u8; 2] = [1, 2];
const WRITE: u8 = 4;
/// A token that no part of a state has.
const NEW: u8 = u8::MAX;

/// A POST by write-through.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Post {
    /// Not begun, captured, committed, (compared,) replaced, yielded.
    step: u8,
    /// The token that it has captured, if any.
    token: Option<u8>,
    /// What the response to it has.
    data: u8,
    has_compared: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Request {
    Idle,
    Missed(u8),
    Answered(u8, u8),
    Done,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    /// The writes that the database has.
    committed: u8,
    stripe: Option<u8>,
    lease: Option<u8>,
    /// The token and the data of the stored response.
    entry: Option<(u8, u8)>,
    posts: [Post; 2],
    /// Not begun, committed, invalidated, yielded.
    write: u8,
    requests: [Request; 2],
}

impl State {
    fn first() -> Self {
        let post = Post {
            step: 0,
            token: None,
            data: 0,
            has_compared: false,
        };
        Self {
            committed: 0,
            stripe: None,
            lease: None,
            entry: None,
            posts: [post; 2],
            write: 0,
            requests: [Request::Idle; 2],
        }
    }

    /// The state that stands for all that differ by the names of tokens only, or by what cannot
    /// matter any more.
    fn canonical(mut self, rule: Rule) -> Self {
        let lease = self.lease;
        self.entry = self.entry.filter(|(token, _)| Some(*token) == lease);
        for post in &mut self.posts {
            if post.step >= 4 {
                *post = Post {
                    step: post.step,
                    ..Self::first().posts[0]
                };
            }
        }
        for request in &mut self.requests {
            if matches!(request, Request::Answered(token, _) if Some(*token) != lease) {
                *request = Request::Done;
            }
        }
        let [first, second] = &mut self.requests;
        let rank = |request: &Request| match request {
            Request::Idle => (0, 0, 0),
            Request::Missed(token) => (1, *token, 0),
            Request::Answered(token, data) => (2, *token, *data),
            Request::Done => (3, 0, 0),
        };
        if rank(first) > rank(second) {
            std::mem::swap(first, second);
        }
        let [one, other] = &mut self.posts;
        let stripes = [&mut self.stripe, &mut one.token, &mut other.token];
        if rule != Rule::Numbered {
            rename(stripes.into_iter().flatten());
        }
        let [first, second] = &mut self.requests;
        let lease = self.lease.iter_mut();
        let entry = self.entry.iter_mut().map(|(token, _)| token);
        rename(
            lease
                .chain(entry)
                .chain(token_of(first))
                .chain(token_of(second)),
        );
        self
    }

    fn changed(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// An invalidation or a replacement leaves another token than before in the stripe, or none.
    fn break_stripe(&mut self, rule: Rule) {
        self.stripe = match (rule, self.stripe) {
            (Rule::Removed, _) => None,
            (Rule::Numbered, Some(token)) => Some(token + 1),
            (_, stripe) => stripe.map(|_| NEW),
        };
    }

    fn steps(self, rule: Rule) -> Option<Vec<Self>> {
        let mut next = Vec::new();
        for index in 0..2 {
            next.extend(self.steps_of_post(index, rule));
            next.extend(self.steps_of_request(index)?);
        }
        match self.write {
            0 => next.push(self.changed(|state| {
                state.write = 1;
                state.committed |= WRITE;
            })),
            1 => next.push(self.changed(|state| {
                state.write = 2;
                state.lease = None;
                if rule != Rule::KeptByInvalidations {
                    state.break_stripe(rule);
                }
            })),
            2 => next.push(self.changed(|state| state.write = 3)),
            _ => {}
        }
        next.push(self.changed(|state| state.stripe = None));
        next.push(self.changed(|state| state.lease = None));
        next.push(self.changed(|state| state.entry = None));
        Some(
            next.into_iter()
                .map(|state| state.canonical(rule))
                .collect(),
        )
    }

    fn steps_of_post(self, index: usize, rule: Rule) -> Option<Self> {
        let post = self.posts[index];
        let held = |state: &Self| state.stripe == post.token;
        Some(match post.step {
            0 => self.changed(|state| {
                if rule != Rule::AbsentIsUnchanged {
                    let new = if rule == Rule::Numbered { 0 } else { NEW };
                    state.stripe = state.stripe.or(Some(new));
                }
                state.posts[index].token = state.stripe;
                state.posts[index].step = 1;
            }),
            1 => self.changed(|state| {
                state.committed |= POSTS[index];
                state.posts[index].data = state.committed;
                state.posts[index].step = 2;
            }),
            2 if rule == Rule::ComparedBefore && !post.has_compared => {
                let holds = held(&self);
                self.changed(|state| {
                    state.posts[index].has_compared = true;
                    state.posts[index].step = if holds { 2 } else { 3 };
                })
            }
            2 => {
                let holds = held(&self) || post.has_compared;
                self.changed(|state| {
                    if rule != Rule::KeptByPosts {
                        state.break_stripe(rule);
                    }
                    state.lease = holds.then_some(NEW);
                    if holds {
                        state.entry = Some((NEW, post.data));
                    }
                    state.posts[index].step = 4;
                })
            }
            // It invalidates alone.
            3 => self.changed(|state| {
                state.break_stripe(rule);
                state.lease = None;
                state.posts[index].step = 4;
            }),
            4 => self.changed(|state| state.posts[index].step = 5),
            _ => return None,
        })
    }

    /// The states after a step of a request; `None` if it is answered with outdated data.
    fn steps_of_request(self, index: usize) -> Option<Option<Self>> {
        let become_ = |request| Some(Some(self.changed(|state| state.requests[index] = request)));
        match self.requests[index] {
            Request::Idle => {
                if let (Some(lease), Some((token, data))) = (self.lease, self.entry)
                    && lease == token
                {
                    let required = self.yielded();
                    return (data & required == required)
                        .then_some(())
                        .and_then(|()| become_(Request::Done));
                }
                Some(Some(self.changed(|state| {
                    let lease = *state.lease.get_or_insert(NEW);
                    state.requests[index] = Request::Missed(lease);
                })))
            }
            Request::Missed(token) => become_(Request::Answered(token, self.committed)),
            Request::Answered(token, data) if Some(token) == self.lease => {
                Some(Some(self.changed(|state| {
                    state.entry = Some((token, data));
                    state.requests[index] = Request::Done;
                })))
            }
            Request::Answered(..) | Request::Done => Some(None),
        }
    }

    fn yielded(&self) -> u8 {
        let write = if self.write == 3 { WRITE } else { 0 };
        let posts = self.posts.iter().zip(POSTS);
        let of_posts = posts.filter(|(post, _)| post.step == 5).map(|(_, bit)| bit);
        of_posts.fold(write, |all, bit| all | bit)
    }
}

fn token_of(request: &mut Request) -> Option<&mut u8> {
    match request {
        Request::Missed(token) | Request::Answered(token, _) => Some(token),
        Request::Idle | Request::Done => None,
    }
}

/// Numbers tokens by their first use.
fn rename<'t>(tokens: impl Iterator<Item = &'t mut u8>) {
    let mut names: Vec<u8> = Vec::new();
    for token in tokens {
        let known = names.iter().position(|name| name == token);
        let number = known.unwrap_or_else(|| {
            names.push(*token);
            names.len() - 1
        });
        *token = number as u8;
    }
}

#[test]
fn a_changed_token_holds_and_each_shortcut_is_found() {
    let result = |rule: Rule| explore(State::first(), |state| state.steps(rule));
    let held = [Rule::Changed, Rule::Removed].map(result);
    let found = [
        Rule::AbsentIsUnchanged,
        Rule::KeptByPosts,
        Rule::KeptByInvalidations,
        Rule::Numbered,
        Rule::ComparedBefore,
    ]
    .map(result);
    assert_eq!(held, [Ok(20_744), Ok(14_808)]);
    assert_eq!(found, [7, 8, 7, 9, 8].map(Err));
}
