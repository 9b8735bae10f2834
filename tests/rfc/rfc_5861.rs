//! RFC 5861: stale-while-revalidate and stale-if-error.

use crate::table::{Requirement, may, must, must_not, should, tested};

pub const TABLE: &[Requirement] = &[
    may(
        "3",
        "a response is served stale for that long",
        tested(&[
            "stale::a_thousand_are_answered_at_once_while_one_refresh_runs",
            "wire::directives::stale_responses",
        ]),
    ),
    should(
        "3",
        "it is validated meanwhile, without blocking",
        tested(&[
            "validation::a_refresh_in_the_background_validates",
            "wire::directives::stale_responses",
        ]),
    ),
    must_not(
        "3",
        "it is served stale beyond that, if it could not be validated",
        tested(&[
            "stale::beyond_its_window_or_without_one_a_stale_response_is_not_served",
            "semantics::reuse::tests::rfc_5861_section_3_stale_while_revalidate",
        ]),
    ),
    may(
        "4",
        "it is used in the place of a 500, 502, 503 or 504",
        tested(&[
            "stale::an_error_is_replaced_where_that_is_allowed",
            "wire::directives::stale_responses",
        ]),
    ),
    must_not(
        "4",
        "it is used in the place of an error beyond that",
        tested(&["semantics::reuse::stale_use::rfc_5861_each_use_has_its_own_window"]),
    ),
    must(
        "4",
        "both in a response and in a request are heard",
        tested(&[
            "stale::an_explicit_stale_if_error_is_the_last_word",
            "semantics::reuse::stale_use::rfc_5861_each_use_has_its_own_window",
        ]),
    ),
];
