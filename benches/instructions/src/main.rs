//! Counts the instructions that a request takes, and compares them with the recorded numbers.
//!
//! ```text
//! cargo run --release --package instructions               # compares
//! cargo run --release --package instructions -- --record   # records new numbers, on purpose
//! ```
//!
//! The program runs itself under `valgrind --tool=callgrind`. Instructions do not depend on what
//! else the machine does, so one run is enough. A number more than 3 % above the recorded one is a
//! failure: a change made requests slower. One more than 3 % below is a failure, too: record it,
//! or a later change may lose the gain unseen. Without valgrind nothing is compared, and a line
//! says so.
//!
//! Counted is all work from the call of the service to the drop of the response, whose body is read
//! to its end, with tasks in the background. Start reading at `kinds`.

mod counted;
mod kinds;
mod recorded;
#[allow(dead_code, reason = "other benchmarks ask for more")]
#[path = "../../support/workload.rs"]
mod workload;

use std::process::ExitCode;

use self::recorded::Recorded;

fn main() -> ExitCode {
    if option_env!("CARGO_INCREMENTAL") == Some("1") {
        eprintln!("CARGO_INCREMENTAL=1 changes the numbers by some percent: unset it");
        return ExitCode::FAILURE;
    }
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(counted::UNDER_VALGRIND) => kinds::run(&arguments.next().expect("a kind")),
        Some("--record") => match counted::count_all() {
            Some(counts) => Recorded::save(&counts),
            None => return ExitCode::FAILURE,
        },
        None => {
            let Some(counts) = counted::count_all() else {
                println!("skipped: instructions are not compared without valgrind");
                return ExitCode::SUCCESS;
            };
            if !Recorded::load().is_matched_by(&counts) {
                return ExitCode::FAILURE;
            }
        }
        Some(other) => {
            eprintln!("unknown argument {other:?}: use --record, or none");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
