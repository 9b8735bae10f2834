//! RFC 9111 §5.2.2 to §7: what a response's `Cache-Control` says, the older fields, and security.

use crate::table::{
    Requirement, may, must, must_not, not_done, not_ours, should, should_not, tested,
};

pub const TABLE: &[Requirement] = &[
    must(
        "5.2.2.1",
        "max-age: stale once older than that",
        tested(&[
            "semantics::freshness::tests::section_4_2_1_lifetime",
            "wire::directives::a_responses",
        ]),
    ),
    must_not(
        "5.2.2.2",
        "must-revalidate: reused once stale, without validation",
        tested(&[
            "semantics::reuse::stale_use::section_4_2_4_directives_that_forbid_stale_use_win",
            "wire::directives::stale_responses",
        ]),
    ),
    must(
        "5.2.2.2",
        "a disconnected cache answers an error rather than what must be revalidated",
        tested(&["stale::a_dead_origins_stale_response_is_served_unless_that_is_forbidden"]),
    ),
    must(
        "5.2.2.3",
        "must-understand: stored only where the status is known, and then no-store is ignored",
        tested(&[
            "directives::section_5_2_2_3_must_understand",
            "wire::directives::a_responses",
        ]),
    ),
    must_not(
        "5.2.2.4",
        "no-cache: used without validation",
        tested(&["validation::a_no_cache_response_is_stored_and_validated_each_time"]),
    ),
    must_not(
        "5.2.2.4",
        "no-cache with names: these fields are sent without validation",
        tested(&[
            "directives::section_5_2_2_4_and_7_qualified_forms",
            "semantics::cache_control::tests::section_5_2_2_4_and_7_withheld_fields",
        ]),
    ),
    must_not(
        "5.2.2.5",
        "no-store: any part is stored",
        tested(&["wire::directives::a_responses"]),
    ),
    must_not(
        "5.2.2.6",
        "no-transform: the content is transformed",
        not_ours("This cache transforms no content, whatever is said."),
    ),
    must_not(
        "5.2.2.7",
        "private: stored by a shared cache",
        tested(&[
            "sharing::personal_responses_are_not_stored",
            "wire::directives::a_responses",
        ]),
    ),
    must_not(
        "5.2.2.7",
        "private with names: these fields are stored by a shared cache",
        tested(&[
            "directives::section_5_2_2_4_and_7_qualified_forms",
            "wire::directives::a_responses",
        ]),
    ),
    must_not(
        "5.2.2.8",
        "proxy-revalidate: reused once stale by a shared cache, without validation",
        tested(&[
            "semantics::reuse::stale_use::section_4_2_4_directives_that_forbid_stale_use_win",
        ]),
    ),
    may(
        "5.2.2.9",
        "public: stored although it would be prohibited by Authorization or its status",
        tested(&[
            "semantics::storing::tests::section_3_storing_with_explicit_freshness_or_none",
            "wire::storing::fields_for_one_client_alone",
        ]),
    ),
    must(
        "5.2.2.10",
        "s-maxage: takes the place of max-age and Expires in a shared cache",
        tested(&[
            "semantics::freshness::tests::section_4_2_1_lifetime",
            "wire::directives::a_responses",
        ]),
    ),
    must_not(
        "5.2.2.10",
        "s-maxage: reused once stale by a shared cache, without validation, unless configured",
        tested(&[
            "semantics::reuse::stale_use::section_4_2_4_directives_that_forbid_stale_use_win",
            "fields::lifetimes::stale_while_revalidate_counts_beside_s_maxage_where_that_is_allowed",
        ]),
    ),
    must(
        "5.2.3",
        "unrecognized directives are ignored",
        tested(&[
            "semantics::cache_control::tests::section_5_2_2_response_directives",
            "semantics::cache_control::request::section_5_2_1_request_directives",
            "fields::lifetimes::an_unknown_directive_or_a_stated_lifetime_is_clear",
            "semantics::cache_control::readable::section_5_2_3_directives_and_extensions_are_read",
        ]),
    ),
    should_not(
        "5.2.3",
        "a lifetime or a stale window is assigned to a response with a directive that is broken or misspelt",
        tested(&[
            "fields::lifetimes::a_response_that_cannot_be_read_whole_gets_no_stale_window_of_ours",
            "fields::lifetimes::a_response_that_cannot_be_read_whole_gets_no_lifetime_of_ours",
            "semantics::cache_control::readable::section_5_2_a_broken_or_misspelt_directive_is_noticed",
        ]),
    ),
    must(
        "5.3",
        "an Expires that is no date, such as 0, is in the past",
        tested(&[
            "semantics::freshness::tests::section_4_2_1_lifetime",
            "fields::lifetimes::an_expires_of_another_form_is_in_the_past",
        ]),
    ),
    must(
        "5.3",
        "Expires is ignored beside max-age, and beside s-maxage in a shared cache",
        tested(&["semantics::freshness::tests::section_4_2_1_lifetime"]),
    ),
    should(
        "5.4",
        "Pragma: no-cache of a request counts where there is no Cache-Control",
        tested(&[
            "semantics::cache_control::request::section_5_4_pragma_counts_only_without_cache_control",
            "wire::directives::a_requests",
        ]),
    ),
    should_not(
        "5.4",
        "a lifetime is assigned to a response with Pragma: no-cache alone",
        tested(&[
            "semantics::cache_control::readable::section_5_4_pragma_of_a_response_counts_without_cache_control",
        ]),
    ),
    should_not(
        "5.5",
        "Warning is generated",
        tested(&["wire::directives::stale_responses"]),
    ),
    should(
        "7.1",
        "requests that differ in what is not in the key do not poison it",
        tested(&[
            "sharing::errors_that_a_request_provokes_do_not_poison_its_key",
            "query::query_parameters_outside_the_key_do_not_reach_the_origin",
            "tower_contract::content_of_a_get_on_a_cached_path_is_never_taken_for_a_request",
        ]),
    ),
    may(
        "7.2",
        "what a cache holds can be told by timing",
        not_done(
            "Hits are faster, as they must be; what only one client may know is not stored at all.",
        ),
    ),
    should(
        "7.3",
        "Set-Cookie does not by itself inhibit caching",
        tested(&[
            "semantics::storing::tests::set_cookie_is_stored_by_option",
            "sharing::set_cookie_is_replayed_only_where_that_was_asked_for",
        ]),
    ),
];
