//! RFC 8246: immutable.

use crate::table::{Requirement, must_not, not_done, should, should_not, tested};

pub const TABLE: &[Requirement] = &[
    should_not(
        "2",
        "what is immutable and fresh is validated because a client reloads",
        tested(&[
            "directives::rfc_8246_section_2_an_immutable_response_is_not_validated_while_it_is_fresh",
            "wire::directives::a_responses",
        ]),
    ),
    must_not(
        "2",
        "it says anything once it is stale",
        tested(&[
            "directives::rfc_8246_section_2_an_immutable_response_is_not_validated_while_it_is_fresh",
        ]),
    ),
    should(
        "2.1",
        "an incomplete immutable response is completed and validated",
        not_done("A response that ended early is not stored, so that there is none to complete."),
    ),
    should(
        "3",
        "it counts only for what came over a secure channel",
        not_done(
            "A service behind a terminating proxy cannot tell; the layer trusts its own origin.",
        ),
    ),
];
