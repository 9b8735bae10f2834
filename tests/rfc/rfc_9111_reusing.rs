//! RFC 9111 §4: what stored responses answer.

use crate::table::{
    Requirement, may, must, must_not, not_done, not_ours, should, should_not, tested,
};

pub const TABLE: &[Requirement] = &[
    must_not(
        "4",
        "a stored response is reused for another target URI",
        tested(&[
            "sharing::different_targets_never_share",
            "wire::storing::keys",
        ]),
    ),
    must_not(
        "4",
        "a stored response is reused for a method that does not allow it",
        tested(&[
            "tower_contract::head_is_answered_from_a_stored_get",
            "tower_contract::methods_that_are_neither_reads_nor_writes_pass",
        ]),
    ),
    must_not(
        "4",
        "a stored response is reused for other selecting fields",
        tested(&[
            "semantics::vary::tests::section_4_1_same_selection",
            "wire::storing::variants",
        ]),
    ),
    must_not(
        "4",
        "a stored response with no-cache is reused without validation",
        tested(&[
            "validation::a_no_cache_response_is_stored_and_validated_each_time",
            "wire::conditions::validation",
        ]),
    ),
    must_not(
        "4",
        "a stored response is reused that is neither fresh, nor allowed to be stale, nor validated",
        tested(&[
            "semantics::reuse::tests::section_4_2_fresh_until_the_lifetime_is_reached",
            "stale::beyond_its_window_or_without_one_a_stale_response_is_not_served",
        ]),
    ),
    must(
        "4",
        "an answer from the store has an Age of its current age, also in the place of one that it had",
        tested(&[
            "bodies::age_is_on_hits_only_and_counts_seconds",
            "bodies::an_upstreams_age_is_added_to_our_own",
            "wire::storing::hits",
        ]),
    ),
    must(
        "4",
        "unsafe methods are written through to the origin",
        tested(&["tower_contract::three_identical_writes_reach_the_handler_three_times"]),
    ),
    must(
        "4",
        "of several responses the one with the most recent Date is used",
        tested(&[
            "variants::a_rule_of_variants_that_comes_back_revives_no_older_variant",
            "variants::another_rule_takes_the_place_of_all_variants",
            "redis::backend::variants::a_rule_that_comes_back_revives_no_older_variant",
        ]),
    ),
    may(
        "4",
        "requests that arrive together share one forwarded request",
        tested(&[
            "stampede::a_thousand_misses_are_one_call",
            "wire::connections::two_connections_share_one_call",
        ]),
    ),
    must(
        "4",
        "what a collapsed request may not reuse is forwarded",
        tested(&[
            "uncacheable::uncacheable_responses_are_neither_shared_nor_queued_for",
            "stampede::followers_share_what_was_judged_once",
        ]),
    ),
    must_not(
        "4.1",
        "a response is used if a nominated field does not match",
        tested(&[
            "semantics::vary::tests::section_4_1_same_selection",
            "sharing::selecting_fields_are_compared",
            "wire::storing::variants",
        ]),
    ),
    may(
        "4.1",
        "fields match that are equal by white space, lines, or the rules of the field itself",
        tested(&[
            "variants::requests_that_mean_the_same_select_the_same",
            "semantics::vary::normalize::section_12_5_3_accept_encoding",
            "semantics::vary::normalize::section_12_5_4_accept_language",
            "semantics::vary::normalize::section_12_5_1_accept",
            "semantics::vary::normalize::rfc_9110_section_5_2_other_fields_keep_all_but_their_lines",
        ]),
    ),
    must(
        "4.1",
        "a field that is absent matches only one that is absent",
        tested(&[
            "semantics::vary::tests::section_4_1_same_selection",
            "wire::storing::variants",
        ]),
    ),
    must(
        "4.1",
        "a Vary with a star never matches",
        tested(&[
            "semantics::vary::tests::section_4_1_which_fields_select",
            "wire::storing::variants",
        ]),
    ),
    must(
        "4.1",
        "without a match the request is forwarded, possibly with the validators of the variants there are",
        tested(&[
            "sharing::selecting_fields_are_compared",
            "variants::encodings_do_not_serve_each_other",
        ]),
    ),
    may(
        "4.1",
        "the most preferred of several matching responses is chosen by quality values",
        tested(&[
            "fields::preference::a_request_selects_the_language_it_prefers",
            "semantics::vary::preference::section_12_5_4_the_language_with_the_largest_weight",
            "semantics::vary::preference::section_8_5_the_one_language_of_a_response",
        ]),
    ),
    must(
        "4.2",
        "a response is fresh as long as its age is less than its lifetime",
        tested(&["semantics::reuse::tests::section_4_2_fresh_until_the_lifetime_is_reached"]),
    ),
    should(
        "4.2",
        "dates are read in any letter case",
        tested(&["semantics::fields::date::section_5_6_7_three_forms_in_any_letter_case"]),
    ),
    must_not(
        "4.2",
        "a local zone has an influence, or one other than GMT is taken",
        tested(&[
            "semantics::fields::date::section_5_6_7_any_other_form_is_no_date",
            "fields::lifetimes::an_expires_of_another_form_is_in_the_past",
        ]),
    ),
    must(
        "4.2.1",
        "the lifetime is s-maxage for a shared cache, or else max-age, or else Expires less Date",
        tested(&[
            "semantics::freshness::tests::section_4_2_1_lifetime",
            "wire::directives::a_responses",
        ]),
    ),
    should(
        "4.2.1",
        "of duplicate directives the first, or else the most restrictive counts",
        tested(&[
            "semantics::cache_control::tests::section_5_2_2_response_directives",
            "wire::directives::a_responses",
        ]),
    ),
    should(
        "4.2.1",
        "invalid freshness information is stale",
        tested(&["semantics::freshness::tests::section_4_2_1_lifetime"]),
    ),
    must_not(
        "4.2.2",
        "heuristic freshness is used where there is explicit freshness",
        tested(&["semantics::freshness::tests::section_4_2_1_lifetime"]),
    ),
    must_not(
        "4.2.2",
        "heuristics are used for other statuses than those of RFC 9110 §15.1, unless the response is public",
        tested(&["fields::lifetimes::heuristics_are_for_their_statuses_and_for_public_responses"]),
    ),
    should(
        "4.2.2",
        "a heuristic lifetime is a fraction, as 10 %, of the time since Last-Modified",
        tested(&["semantics::freshness::tests::section_4_2_1_lifetime"]),
    ),
    must(
        "4.2.3",
        "the age is corrected by apparent age, Age and the delay of the response",
        tested(&[
            "semantics::freshness::tests::section_4_2_3_corrected_initial_age",
            "bodies::the_time_a_response_took_counts_as_age",
        ]),
    ),
    must_not(
        "4.2.4",
        "stale responses are generated if a directive forbids it",
        tested(&[
            "semantics::reuse::stale_use::section_4_2_4_directives_that_forbid_stale_use_win",
            "stale::a_dead_origins_stale_response_is_served_unless_that_is_forbidden",
            "wire::directives::stale_responses",
        ]),
    ),
    must_not(
        "4.2.4",
        "stale responses are generated unless disconnected, or allowed by client, origin or configuration",
        tested(&[
            "stale::beyond_its_window_or_without_one_a_stale_response_is_not_served",
            "stale::options_speak_for_responses_that_say_nothing",
        ]),
    ),
    may(
        "4.3.1",
        "a conditional request is made from the stored validators",
        tested(&[
            "semantics::validation::tests::section_4_3_1_conditions_sent_to_the_origin",
            "validation::a_stale_response_is_validated_and_freshened",
        ]),
    ),
    must(
        "4.3.1",
        "If-None-Match holds the entity tags of the responses that are to be validated",
        tested(&[
            "semantics::validation::tests::section_4_3_1_conditions_sent_to_the_origin",
            "wire::conditions::validation",
        ]),
    ),
    should(
        "4.3.1",
        "If-Modified-Since holds the stored Last-Modified, where one response is validated",
        tested(&[
            "semantics::validation::tests::section_4_3_1_conditions_sent_to_the_origin",
            "wire::conditions::validation",
        ]),
    ),
    may(
        "4.3.1",
        "all variants of a key are validated at once",
        not_done(
            "The one that the request selects is validated alone: a 304 then says which it is about.",
        ),
    ),
    must_not(
        "4.3.2",
        "a request is evaluated on conditions that are an origin's, If-Match and If-Unmodified-Since",
        tested(&[
            "validation::the_client_and_the_cache_have_conditions_of_their_own",
            "wire::conditions::a_clients_conditions",
        ]),
    ),
    should(
        "4.3.2",
        "a client's conditions are evaluated on what is stored where that can be reused, and answered 200 or 304",
        tested(&[
            "semantics::validation::tests::section_4_3_2_conditions_of_a_client",
            "validation::a_clients_conditions_are_answered_from_the_stored_response",
            "wire::conditions::a_clients_conditions",
        ]),
    ),
    must(
        "4.3.2",
        "If-Modified-Since without a stored Last-Modified is compared with Date, or the time of receipt",
        tested(&["semantics::validation::tests::section_4_3_2_conditions_of_a_client"]),
    ),
    should(
        "4.3.2",
        "If-Range is evaluated on what is stored, and the whole sent where it fails",
        tested(&[
            "semantics::ranges::tests::section_13_1_5_if_range",
            "wire::parts::parts_of_the_whole",
        ]),
    ),
    must(
        "4.3.2",
        "the fields of a generated 304 are those of a 304 (RFC 9110 §15.4.5)",
        tested(&["wire::conditions::a_clients_conditions"]),
    ),
    must(
        "4.3.2",
        "the client's conditions are combined with the cache's own, or its answer made from the whole",
        tested(&[
            "validation::the_client_and_the_cache_have_conditions_of_their_own",
            "validation::a_clients_validators_never_become_a_stored_304",
        ]),
    ),
    must(
        "4.3.3",
        "a 304 means that what is stored may be used, freshened",
        tested(&[
            "validation::a_stale_response_is_validated_and_freshened",
            "wire::conditions::validation",
        ]),
    ),
    must(
        "4.3.3",
        "a full response answers the request, and may replace what is stored",
        tested(&[
            "validation::a_changed_response_is_replaced",
            "wire::conditions::validation",
        ]),
    ),
    may(
        "4.3.3",
        "a 5xx to a validation is forwarded, or stood in for by what is stored",
        tested(&[
            "validation::an_error_while_validating_is_passed_on_or_replaced_by_the_stale_response",
        ]),
    ),
    must(
        "4.3.4",
        "a 304 with a strong validator updates only what has the same",
        tested(&[
            "semantics::validation::tests::section_4_3_4_a_304_confirms_only_the_response_with_its_validators",
            "validation::a_304_that_does_not_fit_is_followed_by_an_unconditional_request",
        ]),
    ),
    must_not(
        "4.3.4",
        "anything is updated if none has the validator of the 304",
        tested(&[
            "semantics::validation::tests::section_4_3_4_a_304_confirms_only_the_response_with_its_validators",
            "validation::a_304_that_does_not_fit_is_followed_by_an_unconditional_request",
        ]),
    ),
    must(
        "4.3.4",
        "a 304 with a weak validator updates the latest that matches, and one without any the only one there is",
        tested(&[
            "validation::a_304_with_the_strong_form_of_a_stored_weak_tag_confirms_the_response",
            "semantics::validation::tests::section_4_3_4_a_304_confirms_only_the_response_with_its_validators",
        ]),
    ),
    must(
        "4.3.4",
        "each freshened response is updated by the fields of the 304",
        tested(&["semantics::stored::updated_headers::section_3_2_which_fields_are_updated"]),
    ),
    should(
        "4.3.5",
        "a HEAD that describes what is stored updates it, and makes it stale otherwise",
        tested(&[
            "semantics::validation::tests::section_4_3_5_head_updates_or_outdates_the_stored_response",
            "validation::head_updates_the_entry_that_it_describes",
            "validation::head_about_another_version_makes_the_entry_stale_and_removes_nothing",
            "validation::head_makes_no_other_variant_or_query_stale",
            "validation::head_in_another_coding_leaves_all_variants_and_queries",
            "parts::head_updates_stored_parts",
            "wire::conditions::validation",
        ]),
    ),
    must(
        "4.4",
        "the target URI is invalidated by a non-error response to an unsafe or unknown method",
        tested(&[
            "semantics::invalidation::tests::section_4_4_unsafe_and_unknown_methods_invalidate",
            "writes::unsafe_and_unknown_methods_invalidate_and_safe_ones_do_not",
            "wire::writes::unsafe_methods",
        ]),
    ),
    must_not(
        "4.4",
        "an invalidated response is confirmed, completed or updated, and so comes back",
        tested(&[
            "writes::dead_entries::first_window::a_request_after_a_write_gets_nothing_that_a_waiting_refresh_had_found",
            "writes::dead_entries::first_window::stored_parts_are_completed_with_nothing_that_a_write_changed",
            "writes::dead_entries::second_window::a_validation_that_looked_up_between_brings_nothing_back",
            "writes::dead_entries::second_window::a_head_that_looked_up_between_brings_nothing_back",
        ]),
    ),
    may(
        "4.4",
        "what Location and Content-Location name is invalidated, too",
        tested(&[
            "writes::location_and_content_location_of_the_same_authority_are_invalidated",
            "writes::references_are_encoded_as_clients_do",
            "wire::writes::unsafe_methods",
        ]),
    ),
    must_not(
        "4.4",
        "these are invalidated if they are of another origin",
        tested(&[
            "writes::location_and_content_location_of_the_same_authority_are_invalidated",
            "wire::writes::unsafe_methods",
        ]),
    ),
    should_not(
        "4.4",
        "errors invalidate",
        tested(&[
            "writes::the_answer_to_a_write_decides_about_invalidation",
            "strangers::a_method_that_the_service_does_not_implement_changes_nothing",
            "strangers::writes_that_are_refused_after_their_client_left_cost_no_call",
            "writes::without_invalidation_on_unknown_only_success_invalidates",
            "wire::writes::unsafe_methods",
        ]),
    ),
    may(
        "4.4",
        "invalidation reaches further caches",
        not_ours(
            "It reaches all caches on one backend; what lies before or behind them has protocols of its own.",
        ),
    ),
];
