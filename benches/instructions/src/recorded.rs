//! The recorded numbers, and the comparison with them.

use std::fmt::Write;
use std::process::Command;

use crate::counted::Count;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded.txt");
const RECORD: &str = "cargo run --release --package instructions -- --record";
/// The percentage by which a number may differ.
const TOLERANCE: f64 = 3.0;
/// The percentage by which it may differ if another version of the compiler made the program.
const OTHER_COMPILER_TOLERANCE: f64 = 10.0;

/// The content of the file.
pub struct Recorded {
    compiler: String,
    counts: Vec<(String, u64)>,
}

impl Recorded {
    /// Reads the file.
    pub fn load() -> Self {
        let text = std::fs::read_to_string(FILE).expect("the recorded numbers");
        let mut compiler = String::new();
        let mut counts = Vec::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(": ").expect("a line `name: value`");
            match name {
                "compiler" => value.clone_into(&mut compiler),
                _ => counts.push((name.to_owned(), value.parse().expect("a number"))),
            }
        }
        Self { compiler, counts }
    }

    /// Replaces the file.
    pub fn save(counts: &[Count]) {
        let mut text = format!("# Instructions per request. Made by: {RECORD}\n");
        let _ = writeln!(text, "compiler: {}", compiler());
        for Count { kind, instructions } in counts {
            let _ = writeln!(text, "{kind}: {instructions}");
        }
        std::fs::write(FILE, &text).expect("the file can be written");
        print!("{text}");
    }

    /// Compares, and prints a line for each kind. Returns whether all numbers are as recorded.
    pub fn is_matched_by(&self, counts: &[Count]) -> bool {
        let compiler = compiler();
        let tolerance = if compiler == self.compiler {
            TOLERANCE
        } else {
            println!(
                "recorded with {}, counted with {compiler}: {OTHER_COMPILER_TOLERANCE} % are allowed",
                self.compiler
            );
            OTHER_COMPILER_TOLERANCE
        };
        let mut is_matched = true;
        for Count { kind, instructions } in counts {
            let Some((_, recorded)) = self.counts.iter().find(|(name, _)| name == kind) else {
                println!("{kind:<22} {instructions:>8}  not recorded: {RECORD}");
                is_matched = false;
                continue;
            };
            let percent = (*instructions as f64 / *recorded as f64 - 1.0) * 100.0;
            let verdict = match percent {
                more if more > tolerance => {
                    "MORE than recorded: find what costs it, or accept it on purpose"
                }
                less if less < -tolerance => "LESS than recorded: record it, so that it stays",
                _ => "",
            };
            is_matched &= verdict.is_empty();
            println!("{kind:<22} {instructions:>8}  {percent:>+5.1} % of {recorded:<8} {verdict}");
        }
        if !is_matched {
            println!("To record these numbers: {RECORD}");
        }
        is_matched
    }
}

/// The version of the compiler, and the machine that it compiles for.
fn compiler() -> String {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.expect("rustc, which has made this program");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let (version, host) = (field("release: "), field("host: "));
    format!(
        "rustc {} {}",
        version.unwrap_or_default(),
        host.unwrap_or_default()
    )
}
