//! Measures tower-response-cache beside a hand-written floor, other caches, nginx and Varnish.
//!
//! ```text
//! benches/peers/run            everything: some ten minutes
//! benches/peers/run --quick    shows that it works: two minutes
//! benches/peers/run in-process | memory | over-http      one of the three parts
//! ```
//!
//! Start reading at `contestants`, which says what each contestant leaves out.

mod contestants;
mod floor;
mod in_process;
mod inner;
mod memory;
mod over_http;
mod processes;
#[path = "../../support/workload.rs"]
mod workload;

use std::process::ExitCode;

/// How much is measured.
#[derive(Clone, Copy)]
pub struct Effort {
    /// Rounds of each workload within the process.
    pub rounds: usize,
    /// The entries that memory is measured with.
    pub entries: usize,
    /// Rounds over HTTP, and the seconds of each contestant in one.
    pub http_rounds: usize,
    pub http_seconds: usize,
}

const WHOLE: Effort = Effort {
    rounds: 400,
    entries: 200_000,
    http_rounds: 6,
    http_seconds: 3,
};

const QUICK: Effort = Effort {
    rounds: 5,
    entries: 20_000,
    http_rounds: 1,
    http_seconds: 1,
};

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let length = arguments.len();
    arguments.retain(|argument| argument != "--quick");
    let effort = if arguments.len() < length {
        QUICK
    } else {
        WHOLE
    };
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => {
            contestants::print_what_is_left_out();
            in_process::report(effort);
            memory::report(effort);
            over_http::report(effort);
        }
        ["in-process"] => in_process::report(effort),
        ["memory"] => memory::report(effort),
        ["over-http"] => over_http::report(effort),
        // What the program runs itself as.
        ["fill", name, entries] => memory::fill(name, entries),
        ["within", name] => memory::within_cap(name),
        ["serve", name] => over_http::serve(name),
        _ => {
            eprintln!("unknown arguments {arguments:?}: use in-process, memory, over-http or none");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
