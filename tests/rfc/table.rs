//! What a row says.

/// How much an RFC wants it (RFC 2119).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Must,
    MustNot,
    Should,
    ShouldNot,
    May,
}

impl Level {
    pub fn is_a_must(self) -> bool {
        matches!(self, Self::Must | Self::MustNot)
    }
}

#[derive(Debug)]
pub struct Requirement {
    pub section: &'static str,
    pub level: Level,
    /// The requirement, in our words.
    pub text: &'static str,
    pub row: Row,
}

#[derive(Debug)]
pub enum Row {
    /// By these tests: `file::name`, or `room::file::name` where other files have such a name.
    Tested(&'static [&'static str]),
    /// Left out, and why.
    NotDone(&'static str),
    /// Required of other parties, or not of a cache like this one, and why.
    NotOurs(&'static str),
}

use Row::{NotDone, NotOurs, Tested};

pub const fn tested(names: &'static [&'static str]) -> Row {
    Tested(names)
}

pub const fn not_done(reason: &'static str) -> Row {
    NotDone(reason)
}

pub const fn not_ours(reason: &'static str) -> Row {
    NotOurs(reason)
}

macro_rules! level {
    ($name:ident, $level:ident) => {
        pub const fn $name(section: &'static str, text: &'static str, row: Row) -> Requirement {
            let level = Level::$level;
            Requirement {
                section,
                level,
                text,
                row,
            }
        }
    };
}

level!(must, Must);
level!(must_not, MustNot);
level!(should, Should);
level!(should_not, ShouldNot);
level!(may, May);
