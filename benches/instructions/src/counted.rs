//! Counting: the program under callgrind, once for each kind.

use std::hint::black_box;
use std::process::{Command, Stdio};

use crate::kinds::{KINDS, Kind};

/// The argument that says that the program runs under valgrind. The name of a kind follows.
pub const UNDER_VALGRIND: &str = "--under-valgrind";

/// The instructions of one request of a kind.
pub struct Count {
    pub kind: &'static str,
    pub instructions: u64,
}

/// Does work whose instructions are counted: callgrind collects only inside of this function.
#[inline(never)]
pub fn counted(work: &mut dyn FnMut()) {
    work();
    // Keeps the call from becoming a jump, after which callgrind would not see this function end.
    black_box(());
}

/// Counts the instructions of each kind, or returns `None` if there is no valgrind.
pub fn count_all() -> Option<Vec<Count>> {
    let found = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    let is_there = found.is_ok_and(|status| status.success());
    is_there.then(|| KINDS.iter().map(count).collect())
}

fn count(kind: &Kind) -> Count {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg("--toggle-collect=*counted::counted*")
        .arg("--callgrind-out-file=/dev/null")
        .arg(std::env::current_exe().expect("the path of this program"))
        .args([UNDER_VALGRIND, kind.name])
        .output()
        .expect("valgrind has just answered");
    let log = String::from_utf8_lossy(&run.stderr);
    let collected = log.lines().find_map(|line| line.split_once("Collected : "));
    let Some((_, number)) = collected.filter(|_| run.status.success()) else {
        panic!("{} under valgrind failed:\n{log}", kind.name);
    };
    let total: u64 = number.trim().parse().expect("a number");
    Count {
        kind: kind.name,
        instructions: total / kind.requests as u64,
    }
}
