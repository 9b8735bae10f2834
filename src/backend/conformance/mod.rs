//! Holds a backend against its contract: for the tests of whoever writes one.
//!
//! ```
//! use tower_response_cache::backend::{MemoryBackend, conformance};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! conformance::check(MemoryBackend::default).await;
//! # });
//! ```

mod fences;
mod finding;
mod fixtures;
mod groups;

use super::Backend;

/// Runs every check on a backend of its own, made by `make`, which must be empty and take responses of 1 KiB.
///
/// It asks for a little more than the contract, so that what it checks can be seen: a backend that nobody else uses keeps
/// what it is given, an invalidation of one resource leaves a handful of others alone, and one of a group some of a handful.
///
/// # Panics
/// When the contract is broken: the message names the rule.
pub async fn check<B: Backend>(make: impl Fn() -> B) {
    finding::stores_and_finds(make()).await;
    fences::refuses_a_put_that_was_overtaken(make()).await;
    fences::refuses_every_kind_of_fence_from_before(make()).await;
    for polls in 0..8 {
        fences::stores_nothing_old_when_a_put_is_overtaken_half_way(make(), polls).await;
    }
    finding::invalidates_queries_and_variants_together(make()).await;
    finding::leaves_other_resources_alone(make()).await;
    finding::keeps_variants_apart(make()).await;
    finding::forgets_the_rule_of_what_no_longer_varies(make()).await;
    fences::clears(make()).await;
    fences::replaces_only_when_nothing_overlapped(make()).await;
    fences::replaces_the_whole_resource(make()).await;
    groups::invalidates_all_members(make()).await;
    groups::refuses_a_member_that_was_overtaken(make()).await;
    for polls in 0..8 {
        groups::stores_nothing_old_when_a_put_is_overtaken_half_way(make(), polls).await;
    }
    groups::leaves_other_groups_alone(make()).await;
    groups::replaces_only_when_no_group_overlapped(make()).await;
    groups::joins_nothing_that_may_be_a_member(make()).await;
    finding::answers_now_what_it_answers_later(make()).await;
}
