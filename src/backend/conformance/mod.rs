//! Tests a backend against the contract of [`Backend`], for its own test suite.
//!
//! Available with the feature `test-util`; meant for `[dev-dependencies]`.
//!
//! ```
//! use tower_response_cache::backend::{MemoryBackend, conformance};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! conformance::check(MemoryBackend::default).await;
//! # });
//! ```
//!
//! The checks know the contract and no backend. Start reading at [`check`].

mod expiry;
mod fences;
mod finding;
mod fixtures;
mod grace;
mod groups;
#[cfg(test)]
mod tests;
mod validity;

use super::Backend;

/// Runs all checks, each on a backend of its own.
///
/// `make` creates the backends. Each must be empty and accept responses of 1 KiB.
///
/// To have something to observe, the checks expect a little more than the contract promises: a
/// backend that is used by one check only keeps its responses; an invalidation of a resource
/// leaves a handful of other resources alone; an invalidation of a group leaves at least some
/// responses of other groups alone.
///
/// # Panics
/// If the contract is broken. The message names the rule.
pub async fn check<B: Backend>(make: impl Fn() -> B) {
    // Boxed: together they would need more stack than a thread of tests has.
    Box::pin(finding::stores_and_finds(make())).await;
    Box::pin(fences::refuses_a_put_after_an_invalidation(make())).await;
    Box::pin(fences::refuses_every_kind_of_earlier_fence(make())).await;
    for polls in 0..8 {
        let put = fences::stores_nothing_when_an_invalidation_overtakes_a_put(make(), polls);
        Box::pin(put).await;
    }
    Box::pin(finding::invalidates_queries_and_variants_together(make())).await;
    Box::pin(finding::leaves_other_resources_alone(make())).await;
    Box::pin(finding::keeps_variants_apart(make())).await;
    Box::pin(finding::a_key_is_looked_up_with_a_variant(make())).await;
    Box::pin(finding::a_response_that_does_not_vary_replaces_the_rule(
        make(),
    ))
    .await;
    Box::pin(finding::a_rule_that_comes_back_finds_no_older_variant(
        make(),
    ))
    .await;
    Box::pin(fences::clears(make())).await;
    Box::pin(fences::replaces_only_when_nothing_overlapped(make())).await;
    Box::pin(fences::replaces_the_whole_resource(make())).await;
    Box::pin(fences::removes_one_entry_under_a_fence_that_holds(make())).await;
    Box::pin(groups::invalidates_all_members(make())).await;
    Box::pin(groups::refuses_a_member_after_an_invalidation(make())).await;
    for polls in 0..8 {
        Box::pin(groups::stores_nothing_when_an_invalidation_overtakes_a_put(
            make(),
            polls,
        ))
        .await;
    }
    Box::pin(groups::leaves_other_groups_alone(make())).await;
    Box::pin(groups::invalidates_many_targets(make())).await;
    Box::pin(groups::replaces_only_when_no_group_overlapped(make())).await;
    Box::pin(groups::joins_nothing_that_may_be_a_member(make())).await;
    for invalidation in validity::Invalidation::ALL {
        for polls in 0..8 {
            Box::pin(validity::an_invalidation_during_a_lookup(
                make(),
                invalidation,
                polls,
            ))
            .await;
            Box::pin(validity::a_lookup_during_an_invalidation(
                make(),
                invalidation,
                polls,
            ))
            .await;
        }
    }
    Box::pin(expiry::check(&make)).await;
    Box::pin(grace::a_write_of_unknown_outcome_invalidates(make())).await;
    Box::pin(grace::nothing_is_stored_in_the_period(make())).await;
    Box::pin(finding::get_now_agrees_with_get(make())).await;
}
