//! RFC 9111 §2, §3: storing.

use crate::table::{Requirement, may, must, must_not, not_done, not_ours, should, tested};

pub const TABLE: &[Requirement] = &[
    must(
        "2",
        "the key is at least the method and the target URI",
        tested(&[
            "sharing::different_targets_never_share",
            "tower_contract::head_never_poisons_get",
            "tower_contract::two_hosts_never_share",
            "key::tests::no_component_can_forge_another",
        ]),
    ),
    must_not(
        "3",
        "a response is stored whose request method is not understood",
        tested(&[
            "semantics::storing::tests::only_answers_to_get_are_stored",
            "tower_contract::methods_that_are_neither_reads_nor_writes_pass",
        ]),
    ),
    must_not(
        "3",
        "a response is stored whose status is not final",
        tested(&["semantics::storing::tests::section_3_storing_with_explicit_freshness_or_none"]),
    ),
    must_not(
        "3",
        "a 206 or 304, or one with must-understand, is stored whose status is not understood",
        tested(&[
            "directives::section_5_2_2_3_must_understand",
            "validation::a_client_without_conditions_gets_no_304",
            "parts::an_unrequested_part_is_not_stored",
        ]),
    ),
    must_not(
        "3",
        "a response with no-store is stored",
        tested(&[
            "semantics::storing::tests::section_3_storing_with_explicit_freshness_or_none",
            "wire::directives::a_responses",
        ]),
    ),
    must_not(
        "3",
        "a private response is stored by a shared cache, but for the qualified form",
        tested(&[
            "sharing::personal_responses_are_not_stored",
            "directives::section_5_2_2_4_and_7_qualified_forms",
        ]),
    ),
    must_not(
        "3",
        "an answer to a request with Authorization is stored, unless a directive allows it",
        tested(&[
            "semantics::storing::tests::section_3_storing_with_explicit_freshness_or_none",
            "wire::storing::fields_for_one_client_alone",
        ]),
    ),
    must_not(
        "3",
        "a response is stored that has neither explicit freshness nor a status of heuristic freshness, nor says public",
        tested(&[
            "semantics::storing::tests::section_3_storing_with_explicit_freshness_or_none",
            "semantics::freshness::tests::section_4_2_1_lifetime",
            "wire::storing::fields_for_one_client_alone",
        ]),
    ),
    may(
        "3",
        "a cache extension lets a response be stored",
        not_done(
            "There is no such extension that is registered, and must-understand is the only one of its kind.",
        ),
    ),
    must(
        "3.1",
        "all header fields are stored, unrecognized ones too",
        tested(&[
            "bodies::status_and_all_header_lines_come_again_in_their_order",
            "semantics::stored::tests::every_line_and_its_order_survive_compaction",
        ]),
    ),
    must(
        "3.1",
        "Connection and the fields that it names, and those of a proxy or of a connection, are removed before storing",
        tested(&[
            "semantics::fields::hop_by_hop::section_3_1_fields_of_the_connection_go",
            "bodies::fields_of_one_connection_are_not_replayed",
        ]),
    ),
    may(
        "3.1",
        "trailer fields are stored apart from the header, or discarded",
        tested(&["tower_contract::trailers_pass_on_a_miss_and_come_again_on_a_hit"]),
    ),
    must_not(
        "3.1",
        "stored trailer fields are combined with header fields",
        tested(&["wire::storing::hits"]),
    ),
    must(
        "3.2",
        "an update adds each field of the new response and replaces what is stored of it",
        tested(&[
            "semantics::stored::updated_headers::section_3_2_which_fields_are_updated",
            "wire::conditions::validation",
        ]),
    ),
    must_not(
        "3.2",
        "Content-Length and what the content depends on is updated",
        tested(&["semantics::stored::updated_headers::section_3_2_which_fields_are_updated"]),
    ),
    must_not(
        "3.3",
        "parts are stored by a cache that does not understand Range and Content-Range",
        tested(&["parts::an_answer_that_is_no_single_part_is_not_stored"]),
    ),
    must_not(
        "3.3",
        "an incomplete response answers a request for the whole without being completed",
        tested(&[
            "parts::the_whole_is_completed_by_the_missing_part",
            "parts::a_missing_part_that_ends_early_fails",
            "ranges::a_206_is_never_stored_as_the_whole",
        ]),
    ),
    must_not(
        "3.3",
        "parts are sent with another status than 206",
        tested(&[
            "parts::a_part_answers_ranges_within_it",
            "wire::parts::an_origins_parts",
        ]),
    ),
    may(
        "3.3",
        "a 200 that ended early is stored as incomplete",
        not_done("What ended early is of an origin in trouble: nothing of it is kept."),
    ),
    may(
        "3.3",
        "a stored part is completed by a request for what is missing",
        tested(&["parts::the_whole_is_completed_by_the_missing_part"]),
    ),
    may(
        "3.4",
        "parts are combined that share the same strong validator",
        tested(&[
            "semantics::ranges::partial_content::section_3_4_parts_are_combined",
            "semantics::ranges::tests::section_3_4_parts_of_the_same_representation",
            "parts::parts_are_completed_and_put_together",
            "parts::parts_of_two_representations_are_not_put_together",
            "parts::parts_are_put_together_by_when_they_were_modified",
        ]),
    ),
    must(
        "3.4",
        "combining updates the stored header fields",
        tested(&[
            "parts::parts_are_completed_and_put_together",
            "parts::each_part_has_its_own_permission_to_be_stored",
        ]),
    ),
    must_not(
        "3.5",
        "an answer to a request with Authorization, or another credential field, is reused without must-revalidate, public or s-maxage",
        tested(&[
            "semantics::storing::tests::section_3_storing_with_explicit_freshness_or_none",
            "semantics::request_kind::section_3_5_the_kind_of_a_request_is_that_of_its_fields",
            "semantics::request_kind::section_3_5_authorization_is_a_credential_whatever_the_list_says",
            "credentials::a_client_never_gets_the_page_of_another_one",
            "credentials::followers_do_not_get_the_page_of_their_leader",
            "credentials::the_fields_of_stacked_layers_add_up",
            "uncacheable::answers_to_credentials_are_not_shared",
            "uncacheable::credentials_make_no_queue",
        ]),
    ),
    may(
        "3.5",
        "an answer to a request with Authorization is stored and reused if it says must-revalidate, public or s-maxage",
        tested(&["credentials::what_the_response_permits_is_stored_and_shared"]),
    ),
    should(
        "3.5",
        "an origin that must be asked by everybody says so",
        not_ours("It is a recommendation to origins about what they say."),
    ),
];
