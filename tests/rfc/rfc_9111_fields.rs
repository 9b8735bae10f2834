//! RFC 9111 §5.1, §5.2.1: `Age`, and what a request's `Cache-Control` asks.

use crate::table::{Requirement, may, must, must_not, not_ours, should, tested};

pub const TABLE: &[Requirement] = &[
    should(
        "5.1",
        "of several Age values the first counts, and an invalid one is ignored",
        tested(&["semantics::freshness::tests::section_4_2_3_corrected_initial_age"]),
    ),
    must(
        "5.1",
        "an Age that is too large to count is as good as the largest",
        tested(&["semantics::freshness::tests::section_4_2_3_corrected_initial_age"]),
    ),
    must(
        "5.2",
        "directives are obeyed on the way through, and passed on whether or not they mean anything here",
        tested(&[
            "bodies::status_and_all_header_lines_come_again_in_their_order",
            "wire::directives::a_responses",
        ]),
    ),
    must(
        "5.2",
        "names of directives know no case, and arguments come as tokens or as quoted strings",
        tested(&[
            "semantics::cache_control::tests::section_5_2_2_response_directives",
            "semantics::cache_control::request::section_5_2_1_request_directives",
        ]),
    ),
    should(
        "5.2.1.1",
        "max-age: no response that is older",
        tested(&[
            "semantics::reuse::tests::section_5_2_1_request_directives_limit_reuse",
            "wire::directives::a_requests",
        ]),
    ),
    may(
        "5.2.1.2",
        "max-stale: a response that is stale by no more than that",
        tested(&[
            "directives::section_5_2_1_2_max_stale",
            "wire::directives::a_requests",
        ]),
    ),
    should(
        "5.2.1.3",
        "min-fresh: a response that stays fresh for that long",
        tested(&[
            "semantics::reuse::tests::section_5_2_1_request_directives_limit_reuse",
            "wire::directives::a_requests",
        ]),
    ),
    should(
        "5.2.1.4",
        "no-cache: nothing stored without validation",
        tested(&[
            "validation::a_request_with_no_cache_validates_a_fresh_response",
            "wire::directives::a_requests",
        ]),
    ),
    must_not(
        "5.2.1.5",
        "no-store: anything of the request or its response is stored",
        tested(&[
            "semantics::storing::tests::section_3_storing_with_explicit_freshness_or_none",
            "wire::directives::a_requests",
        ]),
    ),
    may(
        "5.2.1.5",
        "no-store is answered from what is stored already",
        tested(&["wire::directives::a_requests"]),
    ),
    must_not(
        "5.2.1.6",
        "no-transform: the content is transformed",
        not_ours("This cache transforms no content, whatever is said."),
    ),
    should(
        "5.2.1.7",
        "only-if-cached: what is stored, or 504",
        tested(&[
            "wire::directives::a_requests",
            "parts::a_part_answers_ranges_within_it",
        ]),
    ),
    may(
        "5.2.1.7",
        "each request directive may be ignored by configuration",
        tested(&[
            "directives::section_5_2_1_each_can_be_ignored",
            "semantics::cache_control::request::section_5_2_1_each_can_be_ignored",
        ]),
    ),
];
