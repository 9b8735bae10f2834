//! RFC 6585: additional statuses, none of which is stored.

use crate::table::{Requirement, may, must_not, not_ours, tested};

const NEVER: &[&str] = &[
    "fields::lifetimes::a_status_whose_definition_forbids_storing_is_never_stored",
    "semantics::storing::tests::section_3_storing_with_explicit_freshness_or_none",
];

pub const TABLE: &[Requirement] = &[
    must_not("3", "a 428 is stored", tested(NEVER)),
    must_not("4", "a 429 is stored", tested(NEVER)),
    may(
        "4",
        "a 429 says by Retry-After how long to wait",
        not_ours("This cache limits no rates; the field of an origin passes."),
    ),
    must_not("5", "a 431 is stored", tested(NEVER)),
    must_not("6", "a 511 is stored", tested(NEVER)),
];
