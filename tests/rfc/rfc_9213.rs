//! RFC 9213: targeted Cache-Control.

use crate::table::{Requirement, may, must, not_ours, should_not, tested};

pub const TABLE: &[Requirement] = &[
    must(
        "2.1",
        "it is a Dictionary of structured fields, and ignored where it is none",
        tested(&[
            "semantics::cache_control::tests::rfc_9213_section_2_1_a_targeted_field_replaces_cache_control",
            "wire::directives::a_responses",
        ]),
    ),
    must(
        "2.1",
        "max-age and its like are Integers, and ignored where they are not",
        tested(&[
            "semantics::cache_control::tests::rfc_9213_section_2_1_a_targeted_field_replaces_cache_control",
        ]),
    ),
    should_not(
        "2.1",
        "a lifetime is assigned to a response whose targeted field is malformed or misspelt",
        tested(&[
            "semantics::cache_control::readable::rfc_9213_section_2_1_a_broken_targeted_field_is_noticed",
            "fields::lifetimes::a_response_that_cannot_be_read_whole_gets_no_lifetime_of_ours",
        ]),
    ),
    must(
        "2.1",
        "unknown members and parameters are ignored",
        tested(&[
            "semantics::cache_control::tests::rfc_9213_section_2_1_a_targeted_field_replaces_cache_control",
        ]),
    ),
    must(
        "2.2",
        "the first field of the target list that is valid and not empty counts, and Cache-Control and Expires do not then",
        tested(&[
            "semantics::cache_control::tests::rfc_9213_section_2_1_a_targeted_field_replaces_cache_control",
            "directives::rfc_9213_a_targeted_field_takes_the_place_of_cache_control",
        ]),
    ),
    must(
        "2.2",
        "what is not in the target list is passed on and means nothing",
        tested(&["directives::rfc_9213_a_targeted_field_takes_the_place_of_cache_control"]),
    ),
    may(
        "2.3",
        "the target list is configured",
        tested(&["directives::rfc_9213_a_targeted_field_takes_the_place_of_cache_control"]),
    ),
    must(
        "3.1",
        "CDN-Cache-Control is for content delivery networks",
        not_ours(
            "Who is one is configured; it is in the target list by default, as in other gateways.",
        ),
    ),
];
