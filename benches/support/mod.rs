//! What the benchmarks have in common.

#[allow(dead_code, reason = "not each benchmark asks for this")]
pub mod workload;

/// Whether to measure, and not only to show that the benchmark works: under `cargo bench` without
/// `--quick`.
pub fn is_measuring() -> bool {
    let args: Vec<String> = std::env::args().collect();
    let has = |flag: &str| args.iter().any(|arg| arg == flag);
    has("--bench") && !has("--quick") && !has("--test")
}

/// The median; of an even number of values the upper one.
#[allow(dead_code, reason = "not each benchmark measures time")]
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
