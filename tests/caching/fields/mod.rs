//! The meaning of the fields of a response: which statuses and dates count, what a lifetime needs,
//! and which fields belong to the content that is sent.

mod content;
mod hooks;
mod lifetimes;
mod max_ttl;
mod preference;

use crate::support::origin::{Origin, answer};

type Lines = &'static [(&'static str, &'static str)];

/// An origin that always gives this response.
fn saying(status: u16, lines: Lines) -> Origin {
    Origin::at_once(move |_| answer(status, lines, "text"))
}
