//! A few of the faults over a slow link, with responses of 1 MiB among the small ones.
//!
//! All of them take more than five minutes so: `TRC_SLOW_FAULTS=1` runs them.

use std::process::Stdio;

use tokio::process::Command;

use crate::faults::world::{SLOW_FAULTS, is_slow};

/// Those that had assumed small responses, and one fault of each kind.
const TESTS: [&str; 9] = [
    "keys::a_hit_is_one_command",
    "losses::a_flush_empties_it_and_no_more",
    "losses::keys_evicted_by_age_are_misses_and_never_stale",
    "losses::keys_evicted_by_chance_are_misses_and_never_stale",
    "outages::a_black_hole_is_noticed_and_so_is_its_end",
    "outages::connections_that_have_gone_dead_are_given_up_for_new_ones",
    "outages::one_that_was_killed_and_comes_back_empty_is_used_again",
    "slowness::when_it_comes_back_one_of_many_asks_first",
    "strangers::an_entry_of_another_key_is_a_miss",
];

#[tokio::test]
async fn faults_over_a_slow_link_with_large_responses() {
    if is_slow() {
        return;
    }
    let program = std::env::current_exe().expect("this program");
    let names = TESTS.map(|name| format!("faults::{name}"));
    let run = Command::new(program)
        .args(["--exact", "--test-threads", "2"])
        .args(&names)
        .env(SLOW_FAULTS, "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = run.await.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success());
    let all = format!("{} passed", TESTS.len());
    assert!(text.contains(&all), "a test has another name");
}
