//! The names of all tests, as they stand in the sources.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// Full paths: `caching::ranges::name` for `tests/caching/ranges.rs`, `semantics::vary::name` for
/// `src/semantics/vary`.
pub fn tests() -> HashSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = HashSet::new();
    for folder in ["src", "tests"] {
        collect(&root.join(folder), "", &mut names);
    }
    names
}

/// Whether a full path is meant by a shorter one: its last name is the same, and the others occur
/// in it in their order.
pub fn is_meant(full: &str, short: &str) -> bool {
    let (mut full, mut short) = (full.rsplit("::"), short.rsplit("::"));
    full.next() == short.next() && short.all(|wanted| full.any(|module| module == wanted))
}

fn collect(folder: &Path, prefix: &str, names: &mut HashSet<String>) {
    for entry in fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("a name").to_string_lossy();
        let module = match &*stem {
            "main" | "mod" => prefix.to_owned(),
            _ => format!("{prefix}{stem}::"),
        };
        if path.is_dir() {
            collect(&path, &module, names);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("readable");
            names.extend(tests_in(&text).map(|name| format!("{module}{name}")));
        }
    }
}

/// The functions behind an attribute that makes them tests.
fn tests_in(text: &str) -> impl Iterator<Item = &str> {
    let mut is_test = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
            return None;
        }
        let function = line
            .strip_prefix("async ")
            .unwrap_or(line)
            .strip_prefix("fn ");
        let name = function.and_then(|rest| rest.split('(').next());
        std::mem::take(&mut is_test).then_some(name).flatten()
    })
}
